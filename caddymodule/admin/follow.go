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
	c, ended, err := openAnswer(op, op.r.PathValue("id"))
	if err != nil {
		return err
	}
	defer c.Close()
	op.w.Header().Set("Content-Type", "application/x-ndjson")
	f := &follower{run: op.r.PathValue("id"), out: json.NewEncoder(op.w), rest: http.NewResponseController(op.w), wake: make(chan struct{}, 1)}
	f.out.SetEscapeHTML(false)
	defer func() { _ = f.rest.SetWriteDeadline(time.Time{}) }()
	events, p := c.Follow(nil, conversation.Listener{Mouth: assistant.NewMouth(), Wake: f.raise, TooSlow: func() {}})
	defer events.Close()
	isOver := f.begin(p)
	for last := false; !isOver; {
		if isOver = f.next(events) || last; isOver {
			break
		}
		select {
		case <-f.wake:
		case <-ended: // also where it has never begun: then nothing of it is in the log
			last = true
		case <-op.r.Context().Done():
			return nil
		}
	}
	return nil
}

// openAnswer opens the conversation in which an answer runs, on whatever node. After ended is closed, the log has no more
// events of the answer.
func openAnswer(op operation, id string) (c *conversation.Conversation, ended <-chan struct{}, err error) {
	c, ended, ok := op.hub.OpenAnswer(id)
	if ok {
		return c, ended, nil
	}
	a, unreachable := findAnswer(op, id)
	switch {
	case a == nil && len(unreachable) > 0:
		return nil, nil, refuse(http.StatusServiceUnavailable, "%s on the nodes that reply; %s", noAnswer, silence(unreachable))
	case a == nil:
		return nil, nil, refuse(http.StatusNotFound, noAnswer)
	case a.Conversation == "":
		return nil, nil, refuse(http.StatusNotFound, "the answer is in a socket's own conversation, which only its node has: %s", nameOf(op, a.Node))
	}
	if c, err = op.hub.Open(a.User, a.Conversation); err != nil {
		return nil, nil, err
	}
	return c, endedElsewhere(op, id), nil
}

// findAnswer returns an answer that another node gives; nil where there is none.
func findAnswer(op operation, id string) (*AnswerInfo, []NodeRef) {
	found, unreachable := elsewhere[[]AnswerInfo](op, order{Do: "answer", ID: id})
	for _, a := range slices.Concat(found...) {
		return &a, unreachable
	}
	return nil, unreachable
}

// nameOf returns what a node is called.
func nameOf(op operation, id assistant.NodeID) string {
	ref := NodeRef{ID: id}
	for _, n := range nodesOf(op.r.Context(), op.hub) {
		if n.ID == id {
			ref = n.NodeRef
		}
	}
	return ref.String()
}

// lookEvery is how often the nodes are asked whether an answer still runs. What they show is here sooner than that.
const lookEvery = 5 * time.Second

// endedElsewhere returns a channel that is closed when other nodes have said twice that the answer does not run. Its end is
// an event, which comes long before; an answer that has never begun has none.
func endedElsewhere(op operation, id string) <-chan struct{} {
	ended := make(chan struct{})
	op.hub.Go(func() {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for missing := 0; missing < 2; {
			select {
			case <-ticker.C:
			case <-op.r.Context().Done():
				return
			}
			a, unreachable := findAnswer(op, id)
			if missing++; a != nil || len(unreachable) > 0 {
				missing = 0
			}
		}
		close(ended)
	})
	return ended
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
	return false // it has shown nothing yet, or its message is gone: then its end comes without an event
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
