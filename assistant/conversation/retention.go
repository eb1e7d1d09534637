package conversation

import (
	"context"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.uber.org/zap"
)

// sweepPage is how many conversations one call deletes.
const sweepPage = 500

// Sweep begins to delete conversations without a message for longer than retention, at once and every
// hour, until ctx is done or the Hub is closed. Followers of one that is deleted see that.
func (h *Hub) Sweep(ctx context.Context, retention time.Duration) {
	h.inBackground(ctx, func(ctx context.Context) {
		ticker := time.NewTicker(time.Hour)
		defer ticker.Stop()
		for ctx.Err() == nil {
			h.sweep(ctx, time.Now().Add(-retention))
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	})
}

// inBackground runs f, whose context ends with ctx and when the Hub is closed.
func (h *Hub) inBackground(ctx context.Context, f func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.ctx, cancel)
	begun := h.Go(func() {
		defer cancel()
		defer stop()
		f(ctx)
	})
	if !begun {
		cancel()
	}
}

// sweep deletes what was last updated before t.
func (h *Hub) sweep(ctx context.Context, t time.Time) {
	deleted := 0
	for {
		gone, err := h.store.DeleteBefore(ctx, t, sweepPage)
		if err != nil {
			if ctx.Err() == nil {
				h.log.Error("delete old conversations", zap.Error(err))
			}
			break
		}
		for _, c := range gone {
			h.removed(c)
		}
		if deleted += len(gone); len(gone) < sweepPage {
			break
		}
	}
	if deleted > 0 {
		h.log.Info("deleted old conversations", zap.Int("conversations", deleted), zap.Time("before", t))
	}
}

// isUsed reports whether a stored conversation is open or being answered.
func (h *Hub) isUsed(id string) bool {
	h.inUseMu.Lock()
	defer h.inUseMu.Unlock()
	c := h.inUse[id]
	return c != nil && !c.unused()
}

// vanished shows that a conversation is not in the store any more.
func (h *Hub) vanished(gone assistant.Owned) {
	h.inUseMu.Lock()
	c := h.inUse[gone.ID]
	delete(h.inUse, gone.ID)
	h.inUseMu.Unlock()
	if c != nil {
		c.vanished()
		h.Go(c.releaseIdle)
	}
}

// removed is vanished for what the store has deleted by itself: nobody knows yet.
func (h *Hub) removed(gone assistant.Owned) {
	h.vanished(gone)
	h.changed(gone.Owner, assistant.ChangeDeleted, assistant.Conversation{ID: gone.ID})
}

// Expire begins to deny calls of tools that have waited for approval longer than the settings say, every minute, until ctx is
// done or the Hub is closed.
func (h *Hub) Expire(ctx context.Context) {
	h.inBackground(ctx, func(ctx context.Context) {
		ticker := time.NewTicker(time.Minute)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			if a := h.Using(); a != nil {
				h.expire(ctx, time.Now().Add(-a.ApprovalTimeout))
			}
		}
	})
}

// expire denies what has waited since before t.
func (h *Hub) expire(ctx context.Context, t time.Time) {
	waiting, err := h.store.Waiting(ctx, t, sweepPage)
	if err != nil {
		if ctx.Err() == nil {
			h.log.Warn("look for calls that wait for approval", zap.Error(err))
		}
		return
	}
	for _, w := range waiting {
		c, err := h.Open(w.Owner, w.ID)
		if err != nil {
			continue
		}
		if run := c.waiting(); run != "" {
			if _, err := c.decide(ctx, ending(run, assistant.RequestKey{}, deniedByTime)); err != nil && !assistant.IsRefusal(err) {
				h.log.Warn("deny a call that nobody has decided", zap.String("conversation_id", w.ID), zap.Error(err))
			}
		}
		c.Close()
	}
}
