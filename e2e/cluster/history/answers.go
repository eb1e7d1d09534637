package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// oneEnding checks I3.
func (r *reading) oneEnding() {
	ends := make(map[string]map[string]bool) // by message id: the finish reasons that were told
	end := func(id, finish string) {
		if ends[id] == nil {
			ends[id] = make(map[string]bool)
		}
		ends[id][finish] = true
	}
	for _, s := range r.stretches {
		r.placesOfAnswers(s, end)
		if s.open && s.last.Running != "" {
			r.broken("%v waits for the end of %.8s", s, s.last.Running)
		}
	}
	r.replays(end)
	for _, c := range r.stored {
		for _, m := range c.Messages {
			if m.Status == "streaming" {
				r.broken("%.8s of conversation %.8s is stored as streaming", m.ID, c.ID)
			} else if m.Role == "assistant" && ends[m.ID] != nil {
				end(m.ID, m.Finish)
			}
		}
	}
	for id, told := range ends {
		reasons := slices.Sorted(maps.Keys(told))
		switch {
		case len(reasons) == 1 && reasons[0] != "":
		case slices.Equal(reasons, []string{"error", "interrupted"}):
			// Its end could not be stored, so that it was buried: documented.
		default:
			r.broken("%.8s ended with %q", id, reasons)
		}
	}
}

// placesOfAnswers looks at the order of a stretch's events, and tells the ends.
func (r *reading) placesOfAnswers(s *stretch, end func(id, finish string)) {
	ended := make(map[string]bool)
	for _, m := range s.snapshot.Messages {
		if m.Role == "assistant" {
			end(m.ID, m.Finish)
		}
	}
	for _, f := range s.frames {
		for _, m := range f.Messages {
			if m.Role == "assistant" {
				end(m.ID, m.Finish)
			}
		}
		switch running := f.before.running; f.Action {
		case "streaming_start":
			if running != "" || ended[f.ID] {
				r.broken("%v got the start of %.8s while %.8s ran, or for the second time", s, f.ID, running)
			}
		case "streaming", "reasoning":
			if running == "" {
				r.broken("%v got a piece (%d) while no answer ran", s, f.Seq)
			}
		case "complete_streaming":
			if running != f.ID {
				r.broken("%v got the end of %.8s while %q ran", s, f.ID, running)
			}
			ended[f.ID] = true
			end(f.ID, f.Finish)
		}
	}
}

// replays looks at answers that were told once more because their question was sent again. Their frames have no number.
func (r *reading) replays(end func(id, finish string)) {
	for _, e := range r.Entries {
		if e.Kind == Received && e.Seq == 0 && e.Action == "complete_streaming" && e.Conversation != "" {
			end(e.ID, e.Finish)
		}
	}
}

// acceptedIsStored checks I4. The answer is stored too, unless it may have made room for another one.
func (r *reading) acceptedIsStored() {
	for _, s := range r.stretches {
		if r.gone(s.conversation) {
			continue
		}
		for _, f := range s.frames {
			if f.Action != "streaming_start" {
				continue
			}
			if q := f.after.question; q != "" && r.message(s.conversation, q) == nil && r.commands[s.conversation]["replace"] == 0 {
				r.broken("question %.8s of conversation %.8s was accepted and is not stored", q, s.conversation)
			}
			if r.message(s.conversation, f.ID) == nil && r.commands[s.conversation]["regenerate"]+r.commands[s.conversation]["replace"] == 0 {
				r.broken("answer %.8s of conversation %.8s was begun and is not stored", f.ID, s.conversation)
			}
		}
	}
}

// gone reports whether a conversation was deleted, also where nobody was told: who asked for it was cut off.
func (r *reading) gone(conversation string) bool {
	_, told := r.deleted[conversation]
	_, stored := r.stored[conversation]
	return told || !stored && r.commands[conversation]["delete_conversation"] > 0
}

// message is a stored message; nil = it is not stored.
func (r *reading) message(conversation, id string) *Message {
	messages := r.stored[conversation].Messages
	if i := slices.IndexFunc(messages, func(m Message) bool { return m.ID == id }); i >= 0 {
		return &messages[i]
	}
	return nil
}

// storedAsShown checks I6.
func (r *reading) storedAsShown() {
	for _, s := range r.stretches {
		for _, m := range s.last.Messages {
			r.shownWhole(s, m)
		}
		if stored := r.message(s.conversation, s.last.Running); stored != nil {
			r.shownPartly(s, *stored)
		}
	}
	for _, c := range r.stored {
		for i, m := range c.Messages {
			if m.Role == "assistant" && i > 0 && m.Content != "" && !r.modelSaid(c.Messages[i-1].Content, m) {
				r.broken("answer %.8s (%s) of conversation %.8s is stored as %d bytes that the model has not sent", m.ID, m.Finish, c.ID, len(m.Content))
			}
		}
	}
}

// shownWhole compares a message that a client knows as ended.
func (r *reading) shownWhole(s *stretch, m Message) {
	stored := r.message(s.conversation, m.ID)
	switch {
	case stored == nil || stored.Content == m.Content:
	case stored.Finish != "interrupted" || m.Finish == "interrupted":
		r.broken("%v was shown %d bytes of %.8s, %d are stored (%s)", s, len(m.Content), m.ID, len(stored.Content), stored.Finish)
	case !strings.HasPrefix(m.Content, stored.Content) && !strings.HasPrefix(stored.Content, m.Content):
		r.broken("%v was shown another text of %.8s than is stored", s, m.ID)
	}
}

// shownPartly compares an answer of which a client has not seen the end over this socket. What it was shown some time
// before the last piece of it must be stored.
func (r *reading) shownPartly(s *stretch, stored Message) {
	switch shown := s.last.Text; {
	case strings.HasPrefix(stored.Content, shown):
	case stored.Finish != "interrupted" || !strings.HasPrefix(shown, stored.Content):
		r.broken("%v was shown %d bytes of %.8s, which is stored with %d others (%s)", s, len(shown), stored.ID, len(stored.Content), stored.Finish)
	default:
		r.lostLittle(s, stored)
	}
}

// lostLittle looks at when the text was shown that is not stored.
func (r *reading) lostLittle(s *stretch, stored Message) {
	last := s.began // without frames, all of it was in the snapshot
	if len(s.frames) > 0 {
		last = s.frames[len(s.frames)-1].At
	}
	for _, f := range s.frames {
		if f.after.running == stored.ID && f.after.size > len(stored.Content) && last-f.At > r.Loss {
			r.broken("%v was shown %d bytes of %.8s %v before the last piece, and only %d are stored", s, f.after.size, stored.ID, last-f.At, len(stored.Content))
			return
		}
	}
}

// modelSaid reports whether the stored answer is what the model sent for the question: all, or a beginning where it was
// cut.
func (r *reading) modelSaid(question string, m Message) bool {
	return slices.ContainsFunc(r.Calls, func(c Call) bool {
		if c.Question != question || !strings.HasPrefix(c.Text, m.Content) {
			return false
		}
		return m.Finish != "stop" || c.Finished && c.Text == m.Content
	})
}

// buriedIsBuried checks I7: where an answer's start was of another epoch, this one shows what is stored and no more.
func (r *reading) buriedIsBuried() {
	for _, s := range r.stretches {
		if s.restored && s.first.running != "" && r.foreign(s, s.first.running) && r.epochs(s.first.running) > 0 {
			stored := r.message(s.conversation, s.first.running)
			if stored != nil && stored.Content != s.snapshot.Running.Content {
				r.broken("%v began with %d bytes of %.8s, which another epoch began; %d are stored", s, s.first.size, stored.ID, len(stored.Content))
			}
		}
		for _, f := range s.frames {
			if merges(f.Action) && r.foreign(s, f.before.running) {
				r.broken("%v got a piece (%d) of %.8s, which another epoch began", s, f.Seq, f.before.running)
			}
		}
	}
}

// foreign reports whether an answer began in another epoch than the stretch's.
func (r *reading) foreign(s *stretch, id string) bool {
	return r.epochs(id) > 0 && !r.starts[id][s.epoch]
}

func (r *reading) epochs(id string) int { return len(r.starts[id]) }

// restIsStored checks I13.
func (r *reading) restIsStored() {
	for _, s := range r.stretches {
		if !s.open || !s.restored && !s.recovered {
			continue
		}
		stored := r.stored[s.conversation].Messages
		known := s.last.Messages
		if len(known) > len(stored) || len(known) < len(stored) && !s.last.More {
			r.broken("%v shows %d messages, %d are stored", s, len(known), len(stored))
			continue
		}
		if s.last.More && len(known) > 0 { // it knows the last ones
			first := slices.IndexFunc(stored, func(m Message) bool { return m.ID == known[0].ID })
			stored = stored[max(first, 0):]
		}
		for i, m := range stored {
			if i >= len(known) {
				r.broken("%v lacks message %d of %d: %s", s, i+1, len(stored), describeMessage(m))
				break
			}
			if k := known[i]; k.ID != m.ID || k.Content != m.Content || k.Finish != m.Finish {
				r.broken("%v shows as message %d of %d %s, stored is %s", s, i+1, len(known), describeMessage(k), describeMessage(m))
				break
			}
		}
	}
}

// describeMessage is a message in short.
func describeMessage(m Message) string {
	return fmt.Sprintf("%s %.8s %q, %d bytes (%.40q)", m.Role, m.ID, m.Finish, len(m.Content), m.Content)
}
