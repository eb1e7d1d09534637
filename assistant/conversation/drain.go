package conversation

import (
	"context"
	"maps"
	"slices"
)

// drain is one time that a Hub takes nothing new.
type drain struct {
	quiet  chan struct{} // closed when no turn runs
	undone chan struct{} // closed by Resume
	over   bool          // mouths have ended, late ones end at once
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
	if len(h.answering) == 0 {
		close(h.draining.quiet)
	}
	for m := range h.mouths {
		h.draining.announce(m)
	}
	return h.draining
}

// quieten waits until no turn runs or ctx is done, and then interrupts those that do. Mouths can still
// show how their answers ended. The context that it returns bounds what is left to do.
func (h *Hub) quieten(ctx context.Context, d *drain) (context.Context, context.CancelFunc) {
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

// Attach adds a mouth until detach is called. The hub ends it when it is drained or closed.
func (h *Hub) Attach(m Mouth) (detach func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mouths[m] = struct{}{}
	if h.draining != nil {
		h.draining.announce(m)
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.mouths, m)
	}
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
