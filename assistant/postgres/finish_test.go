package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// end is an end of the answer, whose events are those pieces and then the end itself.
func (a *streaming) end(finish assistant.FinishReason, status assistant.Status, pieces ...string) assistant.Ending {
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	events := a.pieces(pieces...)
	events = append(events, assistant.Event{Seq: a.seq + 1 + uint64(len(pieces)), Kind: assistant.KindCompleted, Run: a.answer,
		Body: assistant.Completed{FinishReason: finish, At: at}})
	done := assistant.Message{ID: a.answer, Content: "Hello", Status: status, FinishReason: finish}
	return assistant.Ending{At: at, Messages: []assistant.Message{done}, Events: events}
}

// A call whose outcome was unknown has stored what another node may have shown: an end that says something else under the
// same numbers begins the log anew, and one that says the same does not.
func TestFinishAfterUnknown(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	complete := func(a *streaming) assistant.Ending {
		return a.end(assistant.FinishStop, assistant.StatusComplete, " you")
	}
	failed := func(a *streaming) assistant.Ending { return a.end(assistant.FinishError, assistant.StatusFailed) }
	for name, c := range map[string]struct {
		unknown func(a *streaming) error
		end     func(a *streaming) assistant.Ending
		isAnew  bool
	}{
		"the same end": {func(a *streaming) error { return s.Finish(t.Context(), a.claim, complete(a)) }, complete, false},
		"a piece of it": {func(a *streaming) error {
			return s.Extend(t.Context(), a.claim, assistant.Extension{MessageID: a.answer, Events: a.pieces(" you")})
		}, complete, false},
		"another end": {func(a *streaming) error { return s.Finish(t.Context(), a.claim, complete(a)) }, failed, true},
		"another piece": {func(a *streaming) error {
			return s.Extend(t.Context(), a.claim, assistant.Extension{MessageID: a.answer, Events: a.pieces(" all")})
		}, complete, true},
		"more pieces": {func(a *streaming) error {
			return s.Extend(t.Context(), a.claim, assistant.Extension{MessageID: a.answer, Events: a.pieces(" you", " all", "!")})
		}, failed, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := begin(t, s)
			before, err := s.State(t.Context(), "alice", a.claim.ID, 10)
			must(t, err)
			must(t, c.unknown(a))
			end := c.end(a)
			if err := s.Finish(t.Context(), a.claim, end); errors.Is(err, assistant.ErrLost) != c.isAnew || !c.isAnew && err != nil {
				t.Fatalf("got %v", err)
			}
			a.want(t, end.Messages[0].Status, "Hello")
			after, err := s.State(t.Context(), "alice", a.claim.ID, 10)
			must(t, err)
			if isAnew := after.Cursor.Epoch != before.Cursor.Epoch; isAnew != c.isAnew || isAnew == (after.Holder == s.Node()) {
				t.Errorf("before %+v, held by %d; after %+v, held by %d", before.Cursor, before.Holder, after.Cursor, after.Holder)
			}
			last := end.Events[len(end.Events)-1]
			if c.isAnew {
				last.Seq = 1
			}
			stored, err := s.Events(t.Context(), "alice", a.claim.ID, assistant.Cursor{Epoch: after.Cursor.Epoch, Seq: last.Seq - 1}, 10)
			must(t, err)
			if len(stored) != 1 || after.Cursor.Seq != last.Seq {
				t.Fatalf("the log ends at %d with %v", after.Cursor.Seq, stored)
			}
			events, err := stored[0].Events()
			must(t, err)
			if len(events) != 1 || events[0].Seq != last.Seq || events[0].Body.(assistant.Completed) != last.Body.(assistant.Completed) {
				t.Errorf("the log ends with %+v, want %+v", events, last)
			}
		})
	}
	must(t, s.Close())
}
