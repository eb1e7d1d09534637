package conversation

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

// drain is one time that a Hub takes nothing new.
type drain struct {
	quiet  chan struct{} // closed when no turn runs
	undone chan struct{} // closed by Resume
	over   bool          // mouths have ended, late ones end at once
	calm   bool          // quiet is closed
}

// settle closes quiet where no turn runs.
func (d *drain) settle(turns int) {
	if turns == 0 && !d.calm {
		d.calm = true
		close(d.quiet)
	}
}

// Draining reports whether the Hub is drained or closed: new connections should be refused.
func (h *Hub) Draining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining != nil
}

// Drain refuses new turns, announces that to mouths, waits until running answers have ended or ctx is
// done, interrupts the rest and ends every mouth with [ErrStopping]. The Hub goes on with
// nothing in it until [Hub.Resume], which may also come first: then Drain returns false.
func (h *Hub) Drain(ctx context.Context) bool {
	d := h.drain(false)
	_, cancel := h.quieten(ctx, d)
	cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining != d {
		return false
	}
	d.over = true
	for m := range h.mouths {
		m.End(ErrStopping)
	}
	return true
}

// Resume undoes Drain. It returns false when the Hub is being closed, which cannot be undone.
func (h *Hub) Resume() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining != nil && !h.closing {
		close(h.draining.undone)
		h.draining = nil
		h.tellDraining()
	}
	return !h.closing
}

// drain lets no turn begin, and announces that.
func (h *Hub) drain(closing bool) *drain {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = h.closing || closing
	if h.draining != nil {
		return h.draining
	}
	h.draining = &drain{quiet: make(chan struct{}), undone: make(chan struct{})}
	h.draining.settle(len(h.answering))
	for m := range h.mouths {
		h.draining.announce(m)
	}
	h.tellDraining()
	return h.draining
}

// tellDraining tells other nodes whether this one takes questions. mu is held.
func (h *Hub) tellDraining() {
	if h.isClustered() {
		h.wg.Go(func() {
			h.telling.Lock()
			defer h.telling.Unlock()
			if err := h.store.SetDraining(h.lasting(), h.Draining()); err != nil {
				h.log.Warn("other nodes not told of the drain", zap.Error(err))
			}
		})
	}
}

// scatter ends the mouths one after the other until half of the time is over, so that their clients, which other nodes
// serve from then on, do not come all at once. Without other nodes it does nothing: mouths stay until their answers have
// ended.
func (h *Hub) scatter(ctx context.Context, d *drain) {
	until, ok := ctx.Deadline()
	mouths := h.Mouths()
	if !ok || len(mouths) == 0 || !h.isClustered() || !h.othersLive() {
		return
	}
	pause := time.Until(until) / 2 / time.Duration(len(mouths))
	for _, m := range mouths {
		select {
		case <-time.After(pause):
		case <-d.undone:
			return
		case <-ctx.Done():
			return
		}
		m.End(ErrStopping)
	}
}

// quieten waits until no turn runs or ctx is done, and then interrupts those that do. Mouths can still
// show how their answers ended. The context that it returns bounds what is left to do.
func (h *Hub) quieten(ctx context.Context, d *drain) (context.Context, context.CancelFunc) {
	h.scatter(ctx, d)
	select {
	case <-d.quiet:
	case <-d.undone:
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	h.interrupt(d)
	select {
	case <-d.quiet:
	case <-d.undone:
	case <-grace.Done():
	}
	return grace, cancel
}

func (h *Hub) interrupt(d *drain) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining != d {
		return
	}
	for t := range h.answering {
		t.cancel(ErrStopping)
	}
}

// Mouth is what follows conversations for a client: the session of a socket, for example. Its methods return at
// once; locks of the engine may be held.
type Mouth interface {
	// Draining says that the server takes no questions now.
	Draining()
	// End ends the mouth soon. cause is why.
	End(cause error)
}

// Attach adds a mouth until Detach. The hub ends it when it is drained or closed.
func (h *Hub) Attach(m Mouth) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mouths[m] = struct{}{}
	if h.draining != nil {
		h.draining.announce(m)
	}
}

// Detach undoes Attach.
func (h *Hub) Detach(m Mouth) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mouths, m)
}

// Mouths returns those that are attached, in no order.
func (h *Hub) Mouths() []Mouth {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.mouths))
}

// announce says to a mouth that the server drains, or ends it where all others have ended.
func (d *drain) announce(m Mouth) {
	m.Draining()
	if d.over {
		m.End(ErrStopping)
	}
}
