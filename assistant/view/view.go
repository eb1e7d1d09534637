// Package view holds a conversation as its followers see it: the log of its events, and what they add up to.
//
// A view changes by events alone. So the node that answers and every node that shows the same conversation, which get
// the same events, are in the same state after each of them.
package view

import (
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
)

const (
	// maxLogBytes bounds what a conversation's log holds for followers that lag.
	maxLogBytes = 16 << 20
	// PageMessages and pageBytes bound a page of messages, such as a snapshot has. One message is always in it.
	PageMessages = 50
	pageBytes    = 1 << 20
)

// View is a conversation as it is after the last event of its log. It is not safe for concurrent use, but Log is.
type View struct {
	// Epoch names the numbering of Log.
	Epoch string
	Log   *stream.Log[assistant.Event]
	Info  assistant.Conversation
	// Messages are the last ones, oldest first, without the running answer; More reports that the store has older
	// ones.
	Messages []assistant.Message
	More     bool
	// Running is the answer between its start and its end; nil = there is none.
	Running *Answer
	// Gone is the number of KindDeleted; 0 = it has not come.
	Gone uint64
}

// Answer is a running answer as it is shown.
type Answer struct {
	ID            string
	Source        assistant.Source
	At            time.Time // when it was stored
	ReasoningLive bool      // its reasoning does not belong to its message
	Reason        assistant.Reason
	Text          Text
	Usage         *assistant.Usage // of an answer that goes on: until then; nil = none
}

// New returns the view of a state.
func New(s assistant.State) *View {
	v := &View{Epoch: s.Cursor.Epoch, Log: stream.NewAt(s.Cursor.Seq, maxLogBytes, assistant.Event.Size), Info: s.Conversation, Messages: s.Messages, More: s.More}
	if s.Running != nil {
		v.Resume(*s.Running)
	}
	return v
}

// Resume makes a message that is not whole the running answer.
func (v *View) Resume(m assistant.Message) {
	v.Running = &Answer{ID: m.ID, Source: assistant.Source{Provider: m.Provider, Model: m.Model}, At: m.CreatedAt}
	for _, part := range m.AllParts() {
		switch p := part.(type) {
		case assistant.TextPart:
			v.Running.Text.Add(assistant.KindPiece, p.Text)
		case assistant.ReasoningPart:
			v.Running.Text.Add(assistant.KindReasoning, p.Text)
		default:
			v.Running.Text.AddPart(part)
		}
	}
}

// Cursor returns the place of the last event.
func (v *View) Cursor() assistant.Cursor { return assistant.Cursor{Epoch: v.Epoch, Seq: v.Log.Last()} }

// Apply adds an event to the log, and its effect to the view. It returns the event's number. The log's watchers are
// still to be notified.
func (v *View) Apply(e assistant.Event) uint64 {
	v.Change(&e)
	return v.Log.Put(e)
}

// Change has the effect of an event that the log is not to have. The snapshot of an [assistant.Replaced] is filled in.
func (v *View) Change(e *assistant.Event) {
	switch body := e.Body.(type) {
	case nil: // a piece
		if v.runs(e.Run) {
			v.Running.Text.Add(e.Kind, e.Text)
		}
	case assistant.Replaced:
		if i := v.index(body.From); i >= 0 {
			v.Messages = v.Messages[:i:i]
		}
		body.Snapshot = v.Snapshot()
		e.Body = body
	case assistant.Asked:
		v.Messages = append(v.Messages, body.Message)
	case assistant.Renamed:
		v.Info.Title = body.Conversation.Title
	case assistant.ToolCall:
		v.part(e.Run, body.Call)
	case assistant.ToolResult:
		v.part(e.Run, body.Result)
	case assistant.Added:
		v.part(e.Run, body.Part)
	case assistant.Started:
		if body.Resumed && v.resume(e.Run, body) {
			return
		}
		v.Running = &Answer{ID: e.Run, Source: body.Source, At: body.At, ReasoningLive: body.ReasoningLive}
		v.Info.UpdatedAt = body.At
	case assistant.Source:
		if v.runs(e.Run) {
			v.Running.Source = body
		}
	case assistant.Failed:
		if v.runs(e.Run) {
			v.Running.Reason = body.Reason
		}
	case assistant.Completed:
		if v.runs(e.Run) {
			v.complete(body)
		}
	case assistant.Deleted:
		v.Gone = v.Log.Last() + 1
	}
}

// part adds a part to an answer, which runs or waits.
func (v *View) part(run string, part assistant.Part) {
	if v.runs(run) {
		v.Running.Text.AddPart(part)
		return
	}
	if i := v.index(run); i >= 0 {
		m := v.Messages[i]
		m.SetParts(m.AllParts().With(part))
		v.Messages = slices.Clone(v.Messages)
		v.Messages[i] = m
	}
}

// resume makes the last message the running answer again.
func (v *View) resume(run string, s assistant.Started) bool {
	last := len(v.Messages) - 1
	if last < 0 || v.Messages[last].ID != run {
		return false
	}
	m := v.Messages[last]
	v.Messages = v.Messages[:last:last]
	v.Resume(m)
	v.Running.Source, v.Running.ReasoningLive, v.Running.Usage = s.Source, s.ReasoningLive, m.Usage
	v.Info.UpdatedAt = s.At
	return true
}

// runs reports whether the answer of that id is the running one.
func (v *View) runs(id string) bool { return v.Running != nil && v.Running.ID == id }

// complete makes a message of the running answer.
func (v *View) complete(c assistant.Completed) {
	a := v.Running
	a.Text.Join()
	answer, question := a.Ended(c)
	if last := len(v.Messages) - 1; last >= 0 && v.Messages[last].Role == assistant.RoleUser {
		v.Messages[last].Status = question
	}
	v.Messages = append(v.Messages, answer)
	v.Running = nil
	v.Info.UpdatedAt = c.At
}

// Ended returns the answer as the message that it is after its end, and the status of its question then.
func (a *Answer) Ended(c assistant.Completed) (answer assistant.Message, question assistant.Status) {
	answer = assistant.Message{ID: a.ID, Role: assistant.RoleAssistant, Provider: a.Source.Provider, Model: a.Source.Model,
		Status: StatusOf(c.FinishReason), FinishReason: c.FinishReason, Reason: a.Reason, Usage: c.Usage, CreatedAt: a.At}
	parts := a.Text.Parts(!a.ReasoningLive)
	if c.FinishReason != "" && c.FinishReason != assistant.FinishWaiting {
		parts = parts.Cut()
	}
	answer.SetParts(parts)
	if c.FinishReason == assistant.FinishError && !a.Text.HasText() {
		return answer, assistant.StatusFailed
	}
	return answer, assistant.StatusComplete
}

// StatusOf returns the status of an answer that ended so; "" has not ended.
func StatusOf(r assistant.FinishReason) assistant.Status {
	switch r {
	case "":
		return assistant.StatusStreaming
	case assistant.FinishStopped, assistant.FinishBudget:
		return assistant.StatusStopped
	case assistant.FinishError:
		return assistant.StatusFailed
	case assistant.FinishInterrupted:
		return assistant.StatusInterrupted
	case assistant.FinishWaiting:
		return assistant.StatusWaiting
	default:
		return assistant.StatusComplete
	}
}

// Snapshot is the conversation as it is after the last event of the log.
func (v *View) Snapshot() assistant.Snapshot {
	page := LastPage(v.Messages, PageMessages)
	s := assistant.Snapshot{
		Conversation: v.Info, HasMore: v.More || len(page) < len(v.Messages),
		Messages: append([]assistant.Message{}, page...),
	}
	if a := v.Running; a != nil {
		s.Running = &assistant.Running{ID: a.ID, Content: a.Text.Text(), Reasoning: a.Text.Reasoning()}
		if a.Text.HasParts() {
			s.Running.Parts = a.Text.Parts(true)
		}
	}
	return s
}

// LastPage returns the last messages: at most limit, of at most 1 MiB, but at least one.
func LastPage(messages []assistant.Message, limit int) []assistant.Message {
	first, size := len(messages), 0
	for first > 0 && len(messages)-first < limit {
		if size += messages[first-1].Size(); size > pageBytes && first < len(messages) {
			break
		}
		first--
	}
	return messages[first:]
}

// index returns where the message of that id is, -1 when it is not there.
func (v *View) index(id string) int { return IndexOf(v.Messages, id) }

// Before returns the messages before the one of that id, which is there.
func (v *View) Before(id string) []assistant.Message {
	i := v.index(id)
	return v.Messages[:i:i]
}

// IndexOf returns where the message of that id is, -1 when it is not there.
func IndexOf(messages []assistant.Message, id string) int {
	return slices.IndexFunc(messages, func(m assistant.Message) bool { return m.ID == id })
}

// LastID returns the id of the last message that is stored; "" where there is none.
func (v *View) LastID() string {
	switch {
	case v.Running != nil:
		return v.Running.ID
	case len(v.Messages) > 0:
		return v.Messages[len(v.Messages)-1].ID
	}
	return ""
}

// WasAsked reports whether a question with that client id is in memory, and stays there when what begins with dropFrom
// goes.
func (v *View) WasAsked(clientID, dropFrom string) bool {
	for _, m := range v.Messages {
		switch {
		case dropFrom != "" && m.ID == dropFrom:
			return false
		case clientID != "" && m.ClientID == clientID:
			return true
		}
	}
	return false
}

// Question returns the question with that client id and its answer, where they are in memory.
func (v *View) Question(clientID string) []assistant.Message {
	for i, m := range v.Messages {
		if m.ClientID == clientID {
			return slices.Clone(v.Messages[i:min(i+2, len(v.Messages))])
		}
	}
	return nil
}

// Forget lets go the oldest messages, but keeps at least a page, and as many as have that many tokens. stored says that
// the store has them.
func (v *View) Forget(tokens int, stored bool) {
	n := 0
	for left := len(v.Messages) - PageMessages; left >= PageMessages && Tokens(v.Messages[n+PageMessages:]) >= tokens; left -= PageMessages {
		n += PageMessages
	}
	if n > 0 {
		v.Messages, v.More = slices.Clone(v.Messages[n:]), v.More || stored
	}
}

// Tokens estimates how many tokens messages have.
func Tokens(messages []assistant.Message) (n int) {
	for _, m := range messages {
		n += limits.TokensOf(m.Content, m.Parts)
	}
	return n
}
