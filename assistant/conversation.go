package assistant

import (
	"context"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
)

// maxLogBytes bounds what a conversation's log holds for followers that lag.
const maxLogBytes = 16 << 20

// conversation is a conversation in use: its log, its questions in order of arrival, and, while there
// are any, the one goroutine that answers them.
type conversation struct {
	// fixed
	ctx context.Context // running answers end with it
	hub *Hub
	log *stream.Log[event]

	mu      sync.Mutex // also orders what is appended around the start of a turn
	running *turn      // nil when idle
	pending []*turn    // bounded by ask

	// the answering goroutine's
	history []Turn // what the model is told, alternating and ending with an answer
}

func newConversation(ctx context.Context, hub *Hub) *conversation {
	return &conversation{ctx: ctx, hub: hub, log: stream.New(maxLogBytes, event.size)}
}

// ask puts t behind the questions that are there. It returns false when maxPending of them wait.
func (c *conversation) ask(t *turn, maxPending int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.running == nil:
		c.startLocked(t)
		return c.hub.Go(c.work)
	case len(c.pending) >= maxPending:
		return false
	}
	c.pending = append(c.pending, t)
	c.log.Append(event{kind: eventNotice, turn: t, detail: NoticePayload{NoticeQueued, "The question waits for an earlier one."}})
	return true
}

func (c *conversation) startLocked(t *turn) {
	t.ctx, t.cancel = context.WithCancelCause(c.ctx)
	c.running = t
}

// work answers until no question is left.
func (c *conversation) work() {
	for t := c.running; t != nil; t = c.next() {
		c.answer(t)
	}
}

// next ends the running turn and starts the one that waits longest; nil when there is none.
func (c *conversation) next() *turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running.cancel(nil)
	c.running = nil
	if len(c.pending) > 0 && c.ctx.Err() == nil {
		c.startLocked(c.pending[0])
		c.pending = c.pending[1:]
	}
	return c.running
}

// stop ends the running answer, if messageID is its id or empty. Found is called with it first, before
// its last events are appended.
func (c *conversation) stop(messageID string, found func(*turn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.running; t != nil && (messageID == "" || messageID == t.id) {
		found(t)
		t.cancel(errStopped)
	}
}

// answer runs a turn from its start to its one end.
func (c *conversation) answer(t *turn) {
	c.log.Append(event{kind: eventStarted, turn: t})
	err := t.run(c.history, func(e event) { c.log.Append(e) })
	if t.finish == FinishError {
		c.log.Append(event{kind: eventFailed, turn: t, detail: describeError(err)})
	}
	c.history = t.remember(c.history)
	t.logEnd(err)
	c.log.Append(event{kind: eventCompleted, turn: t, detail: t.completed()})
}
