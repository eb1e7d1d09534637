package assistant

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"go.uber.org/zap"
)

// errStopping is why sessions end when their Hub is closed.
var errStopping = errors.New("server is stopping")

// Hub holds what is alive: sessions and the goroutines of conversations. It knows no settings, so it
// outlives every change of them.
type Hub struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	log    *zap.Logger

	mu     sync.Mutex // orders Go and Close
	closed bool
	wg     sync.WaitGroup
}

// NewHub makes a Hub. A nil logger means none.
func NewHub(log *zap.Logger) *Hub {
	if log == nil {
		log = zap.NewNop()
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Hub{ctx: ctx, cancel: cancel, log: log}
}

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

// Close ends every session with close code 1012 (service restart) and every running answer, and waits
// for them until ctx is done.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel(errStopping)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
