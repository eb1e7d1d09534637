package endpoint

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/observe"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// hubs hold what outlives a configuration: conversations in use, sessions and the store. Handlers and
// connections have a reference each, so that a reload closes nothing under a live socket.
var hubs = caddy.NewUsagePool()

// hubKey tells hubs apart: the same handler on another store begins anew.
type hubKey struct{ handler, store string }

// pooledHub is a hub with its store.
type pooledHub struct {
	*assistant.Hub
	key    hubKey
	store  assistant.Store
	events *observe.Emitter
	log    *zap.Logger
	gone   chan struct{} // closed when the store is

	mu       sync.Mutex
	handlers int  // of configurations that are loaded
	retired  bool // there was none left: it is being drained and takes no new one
}

// goneTimeout is how long a handler that comes back waits for the end of the one before, which drains.
const goneTimeout = 30 * time.Second

// openHub takes a reference for a handler that starts, and opens the store for the first.
func openHub(key hubKey, open func() (assistant.Store, error), log *zap.Logger) (*pooledHub, error) {
	deadline := time.NewTimer(goneTimeout)
	defer deadline.Stop()
	for {
		v, _, err := hubs.LoadOrNew(key, func() (caddy.Destructor, error) {
			store, err := open()
			if err != nil {
				return nil, err
			}
			hub := assistant.NewHub(store, log)
			return &pooledHub{Hub: hub, key: key, store: store, events: observe.NewEmitter(key.handler, log), log: log, gone: make(chan struct{})}, nil
		})
		if err != nil {
			return nil, err
		}
		h := v.(*pooledHub)
		if h.join() {
			return h, nil
		}
		h.release()
		select {
		case <-h.gone:
		case <-deadline.C:
			return nil, errors.New("the handler of this name is still being drained")
		}
	}
}

func (h *pooledHub) join() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.retired {
		return false
	}
	h.handlers++
	return true
}

// acquire takes a reference for a connection. It returns false, and does nothing, once no handler has one: the
// hub may be gone by then.
func (h *pooledHub) acquire() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.retired {
		hubs.LoadOrStore(h.key, h) // it is there
	}
	return !h.retired
}

func (h *pooledHub) release() {
	if _, err := hubs.Delete(h.key); err != nil {
		h.log.Error("close store", zap.Error(err))
	}
}

// leave gives the reference of a handler back. When it was the last one's, because the handler is gone
// from the configuration or has another store now, sockets and answers are drained in the background.
func (h *pooledHub) leave(timeout time.Duration) {
	h.mu.Lock()
	h.handlers--
	last := h.handlers == 0
	h.retired = last
	h.mu.Unlock()
	if !last || caddy.Exiting() {
		h.release()
		return
	}
	go func() {
		defer h.release()
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			h.log.Warn("drain assistant", zap.String("name", h.key.handler), zap.Error(err))
		}
	}()
}

// Destruct ends what is left when nothing refers to the hub any more, and closes the store.
func (h *pooledHub) Destruct() error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Close(now); err != nil {
		h.log.Warn("stop assistant", zap.String("name", h.key.handler), zap.Error(err))
	}
	observe.ProvidersHealthy.Remove(h.key.handler, h.Hub)
	defer close(h.gone)
	return h.store.Close()
}
