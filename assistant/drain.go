package assistant

import "context"

// drain is one time that a Hub takes nothing new.
type drain struct {
	quiet  chan struct{} // closed when no turn runs
	undone chan struct{} // closed by Resume
	over   bool          // sessions are closed, late ones at once
}

// Draining tells whether the Hub is drained or closed: new connections should be refused.
func (h *Hub) Draining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining != nil
}

// Drain refuses new sessions and turns, tells clients, waits until running answers have ended or ctx is
// done, interrupts the rest and closes every session with 1012 (service restart). The Hub goes on with
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
	for s := range h.sessions {
		s.cancel(errStopping)
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

// drain lets no turn begin, and says so to clients.
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
	for s := range h.sessions {
		s.drain(h.draining)
	}
	return h.draining
}

// quieten waits until no turn runs or ctx is done, and then interrupts those that do. Sessions can still
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
		t.cancel(errStopping)
	}
}

// drain tells the client, or ends the session where all others have been.
func (s *Session) drain(d *drain) {
	s.notify(notice(NoticeDraining))
	if d.over {
		s.cancel(errStopping)
	}
}
