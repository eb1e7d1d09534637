package assistant

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// errStopping is why sessions and answers end when their Hub is closed.
var errStopping = errors.New("server is stopping")

const (
	// storeTimeout bounds one call of the store.
	storeTimeout = 10 * time.Second
	// closeGrace is how long Close goes on after its context: answers are stored, sockets say goodbye.
	closeGrace = time.Second
)

// Hub holds what is alive: conversations in use, sessions, the store, and their goroutines. It belongs to
// no generation of settings: [Hub.Use] replaces those while everything goes on.
type Hub struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	store    Store
	log      *zap.Logger
	accounts *accounts
	current  atomic.Pointer[Assistant] // the newest settings

	// Locks are taken in this order: inUseMu, that of a conversation, mu, that of a session.
	inUseMu sync.Mutex
	inUse   map[string]*conversation

	mu        sync.Mutex
	draining  *drain                  // no new sessions and turns; nil = serving
	closing   bool                    // and that for good
	closed    bool                    // no new goroutines
	answering map[*turn]*conversation // turns that run
	sessions  map[*Session]struct{}
	entered   uint64 // sessions so far
	wg        sync.WaitGroup
}

// NewHub makes a Hub on a store, which stays the caller's to close. A nil logger means none.
func NewHub(store Store, log *zap.Logger) *Hub {
	if log == nil {
		log = zap.NewNop()
	}
	h := &Hub{store: store, log: log, accounts: newAccounts(), answering: make(map[*turn]*conversation),
		sessions: make(map[*Session]struct{}), inUse: make(map[string]*conversation)}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h
}

// Use makes a the settings of every session's next turn and returns the ones before it, nil at first.
// Running answers keep the settings that they began with.
func (h *Hub) Use(a *Assistant) (previous *Assistant) { return h.current.Swap(a) }

// Using returns the newest settings; nil before the first Use.
func (h *Hub) Using() *Assistant { return h.current.Load() }

// Go runs f on a goroutine that Close waits for. A panic of f is logged and goes no further. It returns
// false, and does nothing, once the Hub is closed.
func (h *Hub) Go(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				h.log.Error("goroutine panicked", zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
			}
		}()
		f()
	})
	return true
}

// ErrClosed says that a Hub is closed.
var ErrClosed = errors.New("assistant is closed")

// Do calls f with a context that ends with ctx and with the Hub, which waits for f. Once the Hub is closed
// it returns ErrClosed and does nothing.
func (h *Hub) Do(ctx context.Context, f func(context.Context) error) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return ErrClosed
	}
	h.wg.Add(1)
	h.mu.Unlock()
	defer h.wg.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.ctx, func() { cancel(errStopping) })()
	return f(ctx)
}

// Close refuses new sessions and turns, tells clients, waits until running answers have ended or ctx is
// done, interrupts the rest, closes every session with 1012 (service restart) and waits for all that, a
// second at most. Its error tells that something was still alive then.
func (h *Hub) Close(ctx context.Context) error {
	grace, cancel := h.quieten(ctx, h.drain(true))
	defer cancel()
	h.cancel(errStopping)
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-grace.Done():
		return errors.New("sessions or answers did not end in time")
	}
}

// begin counts a turn of c that is about to run; false once the hub drains.
func (h *Hub) begin(c *conversation, t *turn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining != nil {
		return false
	}
	t.started = now()
	h.answering[t] = c
	return true
}

func (h *Hub) end(t *turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.answering, t)
	if len(h.answering) == 0 && h.draining != nil {
		close(h.draining.quiet)
	}
}

// enter and leave keep the list of sessions.
func (h *Hub) enter(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entered++
	s.id, s.since = h.entered, time.Now()
	h.sessions[s] = struct{}{}
	if h.draining != nil {
		s.drain(h.draining)
	}
}

func (h *Hub) leave(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s)
}

// storeContext is for store calls that must end well whatever becomes of their cause.
func (h *Hub) storeContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(h.ctx), storeTimeout)
}

// allowed tells with ErrNotFound that the user may not touch the conversation. All verbs ask here.
func (h *Hub) allowed(ctx context.Context, user, id string) error {
	if c := h.used(id); c != nil {
		if c.owner != user {
			return ErrNotFound
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	_, err := h.store.Conversation(ctx, user, id)
	return err
}

// open returns the user's conversation with one follower more; its unfollow takes that away.
func (h *Hub) open(user, id string, contextTokens int) (*conversation, error) {
	h.inUseMu.Lock()
	c := h.inUse[id]
	if c == nil {
		c = newConversation(h.ctx, h, user, id)
		h.inUse[id] = c
	}
	c.follow()
	h.inUseMu.Unlock()
	c.load.Do(func() { c.loadErr = c.read(contextTokens) })
	err := c.loadErr
	if err != nil {
		h.forget(c) // the next one tries again
	} else if c.owner != user {
		err = ErrNotFound
	}
	if err != nil {
		c.unfollow()
		return nil, err
	}
	return c, nil
}

// used returns the conversation if somebody has it open.
func (h *Hub) used(id string) *conversation {
	h.inUseMu.Lock()
	defer h.inUseMu.Unlock()
	if c := h.inUse[id]; c != nil && c.loaded() {
		return c
	}
	return nil
}

// forget takes c from the list; those who follow it go on.
func (h *Hub) forget(c *conversation) {
	h.inUseMu.Lock()
	defer h.inUseMu.Unlock()
	if h.inUse[c.id] == c {
		delete(h.inUse, c.id)
	}
}

// evict forgets c if nobody uses it.
func (h *Hub) evict(c *conversation) {
	h.inUseMu.Lock()
	defer h.inUseMu.Unlock()
	if h.inUse[c.id] == c && c.unused() {
		delete(h.inUse, c.id)
	}
}

// remove deletes a user's conversation, in use or not; by is who asked for it, nil where no client did.
func (h *Hub) remove(user, id string, by *request) error {
	c, err := h.open(user, id, 0)
	if err != nil {
		return err
	}
	defer c.unfollow()
	err = c.remove(by)
	if err == nil || errors.Is(err, ErrNotFound) {
		h.forget(c)
	}
	return err
}

// Sweep begins to delete conversations without a message for longer than retention, at once and every
// hour, until ctx is done or the Hub is closed.
func (h *Hub) Sweep(ctx context.Context, retention time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.ctx, cancel)
	begun := h.Go(func() {
		defer cancel()
		defer stop()
		ticker := time.NewTicker(time.Hour)
		defer ticker.Stop()
		for ctx.Err() == nil {
			h.sweep(ctx, retention)
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	})
	if !begun {
		cancel()
	}
}

func (h *Hub) sweep(ctx context.Context, retention time.Duration) {
	n, err := h.store.DeleteBefore(ctx, time.Now().Add(-retention))
	switch {
	case err != nil && ctx.Err() == nil:
		h.log.Error("delete old conversations", zap.Error(err))
	case n > 0:
		h.log.Info("deleted old conversations", zap.Int("conversations", n), zap.Duration("retention", retention))
	}
}
