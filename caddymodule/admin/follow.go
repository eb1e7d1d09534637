package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
)

// followBatch is how many events are read at once.
const followBatch = 256

// follower writes the events of one answer as lines of JSON, as fast as its client reads.
type follower struct {
	run   string
	shown int // bytes of text written so far
	out   *json.Encoder
	rest  *http.ResponseController
	wake  chan struct{}
}

// followAnswer streams a running answer: its text so far as one piece, then its events, up to its end.
func followAnswer(op operation) error {
	c, done, ok := op.hub.OpenAnswer(op.r.PathValue("id"))
	if !ok {
		return refuse(http.StatusNotFound, "no running answer has this id")
	}
	defer c.Close()
	op.w.Header().Set("Content-Type", "application/x-ndjson")
	f := &follower{run: op.r.PathValue("id"), out: json.NewEncoder(op.w), rest: http.NewResponseController(op.w), wake: make(chan struct{}, 1)}
	f.out.SetEscapeHTML(false)
	defer func() { _ = f.rest.SetWriteDeadline(time.Time{}) }()
	events, p := c.Follow(nil, conversation.Listener{Mouth: assistant.NewMouth(), Wake: f.raise, TooSlow: func() {}})
	defer events.Close()
	ended := f.begin(p)
	for last := false; !ended; {
		if ended = f.next(events) || last; ended {
			break
		}
		select {
		case <-f.wake:
		case <-done: // also where it has never begun: then nothing of it is in the log
			last = true
		case <-op.r.Context().Done():
			return nil
		}
	}
	return nil
}

func (f *follower) raise() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// begin writes what the snapshot has of the answer. It has ended where the snapshot has it no longer as running.
func (f *follower) begin(p conversation.Position) (ended bool) {
	if r := p.Snapshot.Running; r != nil && r.ID == f.run {
		text := r.Content[f.shown:]
		f.shown = len(r.Content)
		return !f.write(assistant.Event{Seq: p.Seq, Kind: assistant.KindPiece, Run: f.run, Text: text})
	}
	for _, m := range p.Snapshot.Messages {
		if m.ID == f.run {
			f.write(
				assistant.Event{Seq: p.Seq, Kind: assistant.KindPiece, Run: f.run, Text: m.Content[f.shown:]},
				assistant.Event{Seq: p.Seq, Kind: assistant.KindCompleted, Run: f.run, Body: assistant.Completed{FinishReason: m.FinishReason, Usage: m.Usage}})
			return true
		}
	}
	return !slices.Contains(p.Unended, f.run) // it has shown nothing yet, or its message is gone
}

// next writes the answer's next events.
func (f *follower) next(from *conversation.Follower) (ended bool) {
	for {
		events, err := from.Read(make([]assistant.Event, 0, followBatch))
		isWhole := len(events) < followBatch
		events = slices.DeleteFunc(events, func(e assistant.Event) bool { return e.Run != f.run })
		for _, e := range events {
			ended = ended || e.Kind == assistant.KindCompleted
			if e.Kind == assistant.KindPiece {
				f.shown += len(e.Text)
			}
		}
		switch {
		case !f.write(events...) || ended:
			return true
		case errors.Is(err, conversation.ErrGone):
			return f.begin(from.Restart(nil))
		case isWhole:
			return false
		}
	}
}

// write reports whether the client has taken the events.
func (f *follower) write(events ...assistant.Event) bool {
	_ = f.rest.SetWriteDeadline(time.Now().Add(exportTimeout))
	for _, e := range events {
		if f.out.Encode(e) != nil {
			return false
		}
	}
	return f.rest.Flush() == nil
}
