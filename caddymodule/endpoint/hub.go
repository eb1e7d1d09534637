package endpoint

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/observe"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// hubs holds what outlives a configuration: conversations in use, sessions and the store. Each handler and each
// connection has a reference, so a reload closes nothing that a live socket uses.
var hubs = caddy.NewUsagePool()

// hubKey identifies a hub: the same handler with another store gets a new one.
type hubKey struct{ handler, store string }

// pooledHub is a hub with its store.
type pooledHub struct {
	*conversation.Hub
	key    hubKey
	store  assistant.Store
	events *observe.Emitter
	log    *zap.Logger
	gone   chan struct{} // closed after the store

	mu       sync.Mutex
	handlers int  // of configurations that are loaded
	retired  bool // the last handler has left: the hub drains and takes no new one
}

// goneTimeout is how long a handler waits for a retired hub of the same name and store to close.
const goneTimeout = 30 * time.Second

// openHub returns the hub of a handler that starts, with a reference to it. The first one opens the store.
func openHub(key hubKey, open func() (assistant.Store, error), log *zap.Logger) (*pooledHub, error) {
	deadline := time.NewTimer(goneTimeout)
	defer deadline.Stop()
	for {
		v, _, err := hubs.LoadOrNew(key, func() (caddy.Destructor, error) {
			store, err := open()
			if err != nil {
				return nil, err
			}
			hub := conversation.NewHub(store, log)
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
			return nil, errors.New("an earlier handler with this name and store is still draining")
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

// acquire takes a reference for a connection. It returns false, and takes none, once the hub is retired: the hub
// may be closed by then.
func (h *pooledHub) acquire() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.retired {
		hubs.LoadOrStore(h.key, h) // only counts: h is in the pool
	}
	return !h.retired
}

func (h *pooledHub) release() {
	if _, err := hubs.Delete(h.key); err != nil {
		h.log.Error("close store", zap.Error(err))
	}
}

// leave returns the reference of a handler. After the last one, because the configuration no longer has the handler
// or gives it another store, sockets and answers are drained in the background.
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

// Destruct ends what still runs and closes the store, once no reference to the hub is left.
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
