package caddymodule

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
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
	key      hubKey
	store    assistant.Store
	handlers atomic.Int32 // of configurations that are loaded
	log      *zap.Logger
}

// openHub takes a reference for a handler that starts, and opens the store for the first.
func openHub(key hubKey, open func() (assistant.Store, error), log *zap.Logger) (*pooledHub, error) {
	v, _, err := hubs.LoadOrNew(key, func() (caddy.Destructor, error) {
		store, err := open()
		if err != nil {
			return nil, err
		}
		return &pooledHub{Hub: assistant.NewHub(store, log), key: key, store: store, log: log}, nil
	})
	if err != nil {
		return nil, err
	}
	h := v.(*pooledHub)
	h.handlers.Add(1)
	return h, nil
}

// acquire takes a reference for a connection.
func (h *pooledHub) acquire() { hubs.LoadOrStore(h.key, h) }

func (h *pooledHub) release() {
	if _, err := hubs.Delete(h.key); err != nil {
		h.log.Error("close store", zap.Error(err))
	}
}

// leave gives the reference of a handler back. When it was the last one's, because the handler is gone
// from the configuration or has another store now, sockets and answers are drained in the background.
func (h *pooledHub) leave(timeout time.Duration) {
	if h.handlers.Add(-1) > 0 || caddy.Exiting() {
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
	return h.store.Close()
}
