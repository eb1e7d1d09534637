package endpoint

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/guard"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/observe"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// hubs holds what outlives a configuration: conversations in use, sessions and the store. Each handler has a
// reference, and the connections have one, so a reload closes nothing that a live socket uses.
var hubs = caddy.NewUsagePool()

// hubKey identifies a hub by its store, whatever the handlers are called that use it: a reload may give one another
// name.
type hubKey struct {
	store, broker string
	generation    int // counts hubs of one store, of which the last one may be in use
}

// last is the newest hub of each store.
var last struct {
	sync.Mutex
	hubs map[hubKey]predecessor // by a key without generation
}

// predecessor is what is known of a hub that may have gone.
type predecessor struct {
	generation int
	gone       <-chan struct{}
}

// pooledHub is a hub with its store.
type pooledHub struct {
	*conversation.Hub
	key    hubKey
	store  *guard.Opening
	events *observe.Emitter
	log    *zap.Logger
	before <-chan struct{} // closed after the store of the hub before; nil = there was none
	gone   chan struct{}   // closed after the store
	pulse  pulse

	mu          sync.Mutex
	handlers    int  // of configurations that are loaded
	connections int  // they have one reference together
	retired     bool // the last handler has left: the hub drains and takes no new one
}

// patience is how long a start waits for a store to open, which otherwise goes on in the background.
const patience = 3 * time.Second

// openHub returns the hub of a handler that starts, with a reference to it. The first one opens the store. A retired
// hub of the same store is not used again: the next one opens the store when that has closed it.
func openHub(key hubKey, open func(context.Context) (assistant.Store, error), broker BrokerSource, log *zap.Logger) (*pooledHub, error) {
	last.Lock()
	defer last.Unlock()
	base := key
	var before <-chan struct{}
	for {
		if p, known := last.hubs[base]; known {
			key.generation, before = p.generation, p.gone
		}
		v, loaded, err := hubs.LoadOrNew(key, func() (caddy.Destructor, error) { return newHub(key, before, open, broker, log) })
		if err != nil {
			return nil, err
		}
		h := v.(*pooledHub)
		if !loaded {
			if last.hubs == nil {
				last.hubs = make(map[hubKey]predecessor)
			}
			last.hubs[base] = predecessor{key.generation, h.gone}
		}
		if h.join() {
			return h, nil
		}
		last.hubs[base] = predecessor{key.generation + 1, h.gone}
		h.release()
	}
}

// newHub opens the store of a hub, at once or, where the hub before still has it, in the background. Without a broker it
// is no node among others.
func newHub(key hubKey, before <-chan struct{}, open func(context.Context) (assistant.Store, error), broker BrokerSource, log *zap.Logger) (*pooledHub, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if before != nil {
		select {
		case <-before:
			before = nil
		default:
			cancel()
		}
	}
	store, err := guard.Open(ctx, func(ctx context.Context) (assistant.Store, error) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-orClosed(before):
			return open(ctx)
		}
	}, log)
	if err != nil {
		return nil, err
	}
	h := &pooledHub{Hub: conversation.NewHub(store, log), key: key, store: store, events: observe.NewEmitter(log), log: log, before: before, gone: make(chan struct{})}
	if serveOperation != nil {
		h.OnOperation(func(_ context.Context, operation []byte) []byte { return serveOperation(h.Hub, operation) })
	}
	if broker != nil {
		h.Connect(func() (assistant.Broker, error) { return brokerOf(store, broker, log) })
	}
	return h, nil
}

// brokerOf makes the broker of a store that is open: as its source has opened it, not as it is guarded.
func brokerOf(store *guard.Opening, broker BrokerSource, log *zap.Logger) (assistant.Broker, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	opened, err := store.Opened(ctx)
	if err != nil {
		return nil, err
	}
	return broker.Broker(opened, log)
}

// orClosed returns c or, where that is nil, a closed channel.
func orClosed(c <-chan struct{}) <-chan struct{} {
	if c != nil {
		return c
	}
	closed := make(chan struct{})
	close(closed)
	return closed
}

// serveOperation is set by ServeOperations.
var serveOperation func(hub *conversation.Hub, operation []byte) []byte

// ServeOperations sets what carries out operations that other nodes ask for by Hub.Operate. It is called by an init
// function, so that a node serves them also where its own admin API is off.
func ServeOperations(serve func(hub *conversation.Hub, operation []byte) []byte) {
	serveOperation = serve
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

// acquire notes a connection, which has a part in one reference until giveBack. It returns false, and notes none, once
// the hub is retired: the hub may be closed by then.
func (h *pooledHub) acquire() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.retired {
		return false
	}
	if h.connections++; h.connections == 1 {
		hubs.LoadOrStore(h.key, h) // only counts: h is in the pool
	}
	return true
}

// giveBack undoes acquire. It does not wait.
func (h *pooledHub) giveBack() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.connections--; h.connections == 0 {
		go h.release() // the last release waits for the goroutines of connections
	}
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
			h.log.Warn("drain assistant", zap.Error(err))
		}
	}()
}

// Destruct ends what still runs and closes the store, once no reference to the hub is left.
func (h *pooledHub) Destruct() error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Close(now); err != nil {
		h.log.Warn("stop assistant", zap.Error(err))
	}
	observe.ProvidersHealthy.Remove(h.Hub)
	err := h.store.Close()
	go func() {
		<-orClosed(h.before) // where this one has never opened the store
		close(h.gone)
	}()
	return err
}
