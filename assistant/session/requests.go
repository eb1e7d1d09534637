package session

import (
	"cmp"
	"maps"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// newKey names the next command. It is the reader's.
func (s *Session) newKey() assistant.RequestKey {
	s.commands++
	return assistant.RequestKey{Mouth: s.mouth, N: s.commands}
}

// ask gives the command of a question, and notes that the answer's frames belong to the request of that
// envelope. An earlier request of the session for the same answer ends there: its ref gets a notice.
func (s *Session) ask(c *conversation.Conversation, e wire.Envelope, key assistant.RequestKey, cmd assistant.Command) error {
	s.order.Lock()
	defer s.order.Unlock()
	receipt, err := c.Do(s.ctx, cmd)
	if err != nil {
		return err
	}
	if earlier, ok := s.runs[receipt.Run]; ok {
		if was := s.asked[earlier]; was.Ref != "" && was.Ref != e.Ref {
			s.reply(was, msgNotice.With(notice(assistant.NoticeSuperseded)))
		}
		delete(s.asked, earlier)
	}
	s.noteLocked(receipt.Run, key, e)
	if receipt.Queued && e.Extended() {
		s.reply(e, msgNotice.With(notice(assistant.NoticeQueued)))
	}
	return nil
}

// stop gives the command to stop. Where the session has asked for the answer without a ref, or not at all, its
// last frames belong to the request to stop.
func (s *Session) stop(c *conversation.Conversation, e wire.Envelope, cmd assistant.Stop) error {
	s.order.Lock()
	defer s.order.Unlock()
	receipt, err := c.Do(s.ctx, cmd)
	if err != nil || e.Ref == "" {
		return err
	}
	switch earlier, mine := s.runs[receipt.Run]; {
	case !mine:
		s.noteLocked(receipt.Run, cmd.From, e)
	case s.asked[earlier].Ref == "":
		s.noteLocked(receipt.Run, earlier, e) // the engine knows the asker by that key
	}
	return nil
}

// noteLocked notes the request of an answer's frames. order is held.
func (s *Session) noteLocked(run string, key assistant.RequestKey, e wire.Envelope) {
	put(&s.asked, key, e)
	put(&s.runs, run, key)
	s.generation++
}

// put sets an element of a map, which is made where there is none.
func put[K comparable, V any](m *map[K]V, key K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[key] = v
}

// joinLocked notes that a request's frames are those of another answer. order is held.
func (s *Session) joinLocked(e assistant.Event) {
	maps.DeleteFunc(s.runs, func(_ string, key assistant.RequestKey) bool { return key == e.From })
	put(&s.runs, e.Run, e.From)
	s.generation++
}

// begin notes a request before its command is given, for the event of that topic which answers it.
func (s *Session) begin(key assistant.RequestKey, e wire.Envelope, topic string) {
	e.Topic = topic
	s.order.Lock()
	defer s.order.Unlock()
	put(&s.asked, key, e)
	s.changing = key
}

// finish ends what begin began. Where the command has succeeded, answer is what the client gets if its event is
// skipped: by a snapshot, or since the session stops following.
func (s *Session) finish(key assistant.RequestKey, topic string, answer wire.Frame, err error) {
	s.order.Lock()
	defer s.order.Unlock()
	s.changing = assistant.RequestKey{}
	e, waits := s.asked[key]
	switch {
	case !waits: // the event has come
	case err != nil:
		delete(s.asked, key)
	case s.followed(topic) == nil:
		delete(s.asked, key)
		s.reply(e, answer)
	default:
		put(&s.answers, key, answer)
	}
	s.emptyLocked()
}

// decided ends what begin began for a decision: its events have come, or will.
func (s *Session) decided(key assistant.RequestKey, err error) {
	s.order.Lock()
	defer s.order.Unlock()
	s.changing = assistant.RequestKey{}
	if err != nil {
		delete(s.asked, key)
	}
	s.emptyLocked()
}

// requestLocked returns the request that an event answers; mine is false where it is none of this session's.
// The last event of a request ends it. order is held.
func (s *Session) requestLocked(e assistant.Event) (envelope wire.Envelope, mine bool) {
	key := e.From
	if key == (assistant.RequestKey{}) {
		key = s.runs[e.Run]
	}
	envelope, mine = s.asked[key]
	if mine && e.Kind == assistant.KindStarted && s.runs[e.Run] != key { // of an answer that goes on
		s.noteLocked(e.Run, key, envelope)
	}
	if mine && s.endsLocked(e, key) {
		delete(s.asked, key)
		delete(s.answers, key)
		maps.DeleteFunc(s.runs, func(_ string, k assistant.RequestKey) bool { return k == key })
		s.generation++
		s.emptyLocked()
	}
	return envelope, mine
}

// emptyLocked gives the maps back when nothing is in them: they are large for a session that asks now and then. order
// is held.
func (s *Session) emptyLocked() {
	if len(s.asked)+len(s.runs)+len(s.answers) == 0 {
		s.asked, s.runs, s.answers = nil, nil, nil
	}
}

// endsLocked reports whether an event is the last that answers its request.
func (s *Session) endsLocked(e assistant.Event, key assistant.RequestKey) bool {
	switch e.Kind {
	case assistant.KindCompleted:
		return true
	case assistant.KindToolCall: // of a decision after which others are still to be made
		call := e.Body.(assistant.ToolCall)
		return e.From == key && !call.GoesOn && call.Call.State == assistant.CallRunning // else a result comes
	case assistant.KindToolResult:
		return e.From == key && !e.Body.(assistant.ToolResult).GoesOn
	case assistant.KindFailed: // before its start, or of a decision that came too late: there is no answer to come
		return e.Seq == 0 && (s.runs[e.Run] == key || e.From == key)
	default: // a rename, a deletion
		return e.Run == "" && e.Seq != 0
	}
}

// forgetLocked drops the requests about a conversation that the session has left, or whose events it skips, but not
// the kept ones. order is held.
func (s *Session) forgetLocked(topic string, kept map[assistant.RequestKey]bool) {
	maps.DeleteFunc(s.asked, func(key assistant.RequestKey, e wire.Envelope) bool {
		if cmp.Or(e.Topic, s.home) != topic || kept[key] || key == s.changing {
			return false
		}
		if answer, ok := s.answers[key]; ok {
			delete(s.answers, key)
			s.reply(e, answer)
		}
		return true
	})
	maps.DeleteFunc(s.runs, func(_ string, key assistant.RequestKey) bool {
		_, ok := s.asked[key]
		return !ok
	})
	s.generation++
	s.emptyLocked()
}

// keptLocked are the requests whose events are still to come after a snapshot: a client that comes back before an
// answer's end sees its frames as any other follower does. order is held.
func (s *Session) keptLocked(sub *subscription, p conversation.Position) map[assistant.RequestKey]bool {
	kept := make(map[assistant.RequestKey]bool)
	for _, run := range p.Unended {
		kept[s.runs[run]] = true
	}
	for _, key := range p.Addressed {
		kept[key] = true
	}
	for _, e := range sub.ready {
		kept[e.From] = true
	}
	return kept
}

// refuseLocked refuses the questions about a conversation that is gone, of which no event will come. order is held.
func (s *Session) refuseLocked(topic string) {
	for run, key := range s.runs {
		if e, ok := s.asked[key]; ok && cmp.Or(e.Topic, s.home) == topic {
			s.reply(e, msgError.With(errorPayload(assistant.Failed{Reason: assistant.ReasonUnknownTopic})))
			delete(s.asked, key)
			delete(s.runs, run)
		}
	}
}
