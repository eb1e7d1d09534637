package history

import (
	"strings"
	"time"
)

// askedOnce checks I5. Which question a regenerate is about depends on when it comes: so they are counted for each
// conversation.
func (r *reading) askedOnce() {
	again := make(map[string]int) // by conversation
	seen := make(map[string]bool)
	for _, c := range r.Calls {
		conversation, ok := r.asked[c.Question]
		switch {
		case !ok:
			r.broken("the model was asked %q, which nobody has asked", c.Question)
		case seen[c.Question]:
			again[conversation]++
		}
		seen[c.Question] = true
	}
	for conversation, n := range again {
		if regenerates := r.commands[conversation]["regenerate"]; n > regenerates {
			r.broken("questions of conversation %.8s were asked %d times more than once, and regenerated %d times", conversation, n, regenerates)
		}
	}
}

// toldWhatIsStored checks I8. Instructions are no turn.
func (r *reading) toldWhatIsStored() {
	for _, c := range r.Calls {
		stored := r.stored[r.asked[c.Question]].Messages
		for i, m := range stored {
			if m.Role != "user" || m.Content != c.Question || r.commands[r.asked[c.Question]]["replace"] > 0 {
				continue
			}
			told, before := turnsOf(c.Told[:len(c.Told)-1]), stored[:i]
			if !r.isTold(told, before) {
				r.broken("with %q the model was told %d messages, %d are stored before it: %s", c.Question, len(told), len(before), difference(told, before))
			}
		}
	}
}

// isTold reports whether a model was told what is stored: questions with their answers. Those whose answer has no text
// are left out.
func (r *reading) isTold(told, stored []Message) bool {
	for i := 0; i+1 < len(stored); i++ {
		question, answer := stored[i], stored[i+1]
		switch {
		case question.Role != "user" || answer.Role != "assistant":
		case len(told) >= 2 && r.sameTurn(told[0], question) && r.sameTurn(told[1], answer):
			told = told[2:]
		case strings.TrimSpace(answer.Content) != "":
			return false
		}
	}
	return len(told) == 0
}

// sameTurn compares what the model was told with what is stored. Where the end of an answer could not be stored, so that
// clients were told an error, and its node was lost before it could be stored late, less is stored than was known.
func (r *reading) sameTurn(told, stored Message) bool {
	lost := stored.Finish == "interrupted" && r.failed[stored.ID] && strings.HasPrefix(told.Content, stored.Content)
	return told.Role == stored.Role && (told.Content == stored.Content || lost)
}

func turnsOf(messages []Message) (turns []Message) {
	for _, m := range messages {
		if m.Role == "user" || m.Role == "assistant" {
			turns = append(turns, m)
		}
	}
	return turns
}

// difference is the first message that is not in both.
func difference(told, stored []Message) string {
	for i, m := range stored {
		if i >= len(told) {
			return "it was not told " + describeMessage(m)
		}
		if told[i].Content != m.Content {
			return "it was told " + describeMessage(told[i]) + ", stored is " + describeMessage(m)
		}
	}
	return "it was told more"
}

// deletedIsGone checks I9.
func (r *reading) deletedIsGone() {
	for _, e := range r.Entries {
		at, gone := r.deleted[e.Conversation]
		if !gone || e.Kind != Received || e.At <= at+r.Deletion {
			continue
		}
		switch e.Action {
		case "subscribed", "snapshot", "user_message", "streaming_start", "streaming", "reasoning", "notice", "complete_streaming", "conversation_updated", "messages":
			r.broken("%s was shown %s of conversation %.8s %v after it was deleted", e.Client, e.Action, e.Conversation, (e.At - at).Round(time.Millisecond))
		}
	}
}

// stoppedIsGone checks I10.
func (r *reading) stoppedIsGone() {
	told := make(map[string]Entry) // by message id: the first that was told
	for _, e := range r.Entries {
		if _, ok := told[e.ID]; e.Kind == Received && e.Action == "complete_streaming" && e.Finish == "stopped" && e.Seq > 0 && !ok {
			told[e.ID] = e
		}
	}
	for id, e := range told {
		for _, c := range r.Calls {
			if c.Question == r.questions[id] && c.Began < e.At && (c.Ended == 0 || c.Ended > e.At+r.Stop) {
				r.broken("%s was told that %.8s is stopped, and the model went on with %q for more than %v", e.Client, id, c.Question, r.Stop)
			}
		}
	}
}

// paidAsUsed checks I12.
func (r *reading) paidAsUsed() {
	used := make(map[string]int) // by owner
	for _, c := range r.stored {
		for _, m := range c.Messages {
			if m.Usage != nil {
				used[c.Owner] += m.Usage.Total
			}
		}
	}
	for owner, n := range used {
		if r.Budget > 0 && n > r.Budget+r.Overshoot {
			r.broken("%s has used %d tokens of %d, where %d more are the bound", owner, n, r.Budget, r.Overshoot)
		}
	}
	for _, a := range r.Accounts {
		if a.Reserved != 0 {
			r.broken("%d tokens of %s are still reserved", a.Reserved, a.Payer)
		}
		if a.Used != used[a.Payer] {
			r.broken("%s has paid %d tokens and used %d", a.Payer, a.Used, used[a.Payer])
		}
	}
}
