package conversation

import (
	"context"
	"iter"
	"slices"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
)

// Events implements [assistant.Member].
func (m member) Events(ctx context.Context, id string, after assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	return func(yield func(assistant.Batch, error) bool) {
		c := m.used(id)
		if c == nil {
			yield(assistant.Batch{}, assistant.ErrNoNode)
			return
		}
		c.yieldEvents(ctx, after, yield)
	}
}

// maxBatchEvents is how many events are handed to another node at once.
const maxBatchEvents = 1024

// yieldEvents yields the log after a cursor as long as this node holds the conversation.
func (c *Conversation) yieldEvents(ctx context.Context, after assistant.Cursor, yield func(assistant.Batch, error) bool) {
	wake := make(chan struct{}, 1)
	log, epoch, leave := c.lendLog(wake)
	defer leave()
	if epoch != after.Epoch {
		yield(assistant.Batch{}, assistant.ErrGone)
		return
	}
	for {
		isHeld := c.holds() // before the log is read: what comes after is the next holder's
		events, err := recorder.Tail(log, after.Seq)
		if err != nil {
			yield(assistant.Batch{}, assistant.ErrGone)
			return
		}
		for part := range slices.Chunk(events, maxBatchEvents) {
			b, err := assistant.NewBatch(epoch, part)
			if after.Seq = b.Last; !yield(b, err) || err != nil {
				return
			}
		}
		switch {
		case len(events) > 0:
			continue
		case !isHeld:
			return
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// lendLog returns the log for another node; wake is woken when there is more, or the conversation was given back.
func (c *Conversation) lendLog(wake chan struct{}) (log *stream.Log[assistant.Event], epoch string, leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	log = c.view.Log
	unwatch := log.Watch(func() { stream.Wake(wake) })
	if c.feeds == nil {
		c.feeds = make(map[chan struct{}]struct{})
	}
	c.feeds[wake] = struct{}{}
	return log, c.view.Epoch, func() {
		unwatch()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.feeds, wake)
	}
}
