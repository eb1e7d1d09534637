package endpoint

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/guard"
)

// Status says in a word how a handler, or its store, is.
type Status string

const (
	StatusOK          Status = "ok"
	StatusDegraded    Status = "degraded"    // something is wrong, and requests are served all the same
	StatusDamaged     Status = "damaged"     // of a store: damaged pages were found
	StatusUnavailable Status = "unavailable" // the store does not answer
	StatusDraining    Status = "draining"    // nothing new is taken
)

// Health is how a handler is now. It has neither texts nor secrets.
type Health struct {
	Name      string           `json:"name"`
	Status    Status           `json:"status"`
	Store     StoreHealth      `json:"store"`
	Providers []ProviderHealth `json:"providers"`
	Draining  bool             `json:"draining"`
}

// StoreHealth is how a handler's store is.
type StoreHealth struct {
	Module string `json:"module"`
	Status Status `json:"status"`
}

// ProviderHealth is whether a model is asked.
type ProviderHealth struct {
	Provider string             `json:"provider"`
	Model    string             `json:"model"`
	State    chain.CircuitState `json:"state"`
}

// Health asks the store, and looks at everything else. The handler must have started; see [Running].
func (h *Handler) Health(ctx context.Context) Health {
	health := Health{Name: h.Name, Store: StoreHealth{h.storeName, h.StoreStatus(ctx)}, Providers: []ProviderHealth{}, Draining: h.hub.Draining()}
	for _, p := range h.chain.Health() {
		health.Providers = append(health.Providers, ProviderHealth{p.Provider, p.Model, p.State})
	}
	asked := func(p ProviderHealth) bool { return p.State == chain.CircuitClosed }
	switch {
	case health.Draining:
		health.Status = StatusDraining
	case health.Store.Status == StatusUnavailable:
		health.Status = StatusUnavailable
	case health.Store.Status == StatusDamaged || !slices.ContainsFunc(health.Providers, asked):
		health.Status = StatusDegraded
	default:
		health.Status = StatusOK
	}
	return health
}

// WriteTo answers with the health: 200 where a balancer may send new clients, 503 where it should not. Models that
// fail are no reason for 503: they would fail all servers, and the site would be gone with its assistant.
func (s Health) WriteTo(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if s.Status == StatusDraining || s.Status == StatusUnavailable {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	return json.NewEncoder(w).Encode(s)
}

func (h *Handler) serveHealth(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	return h.Health(r.Context()).WriteTo(w)
}

const (
	// pingTimeout is how long a store may take to answer.
	pingTimeout = 2 * time.Second
	// pingValid is how long an answer is used again: anybody may ask for the health.
	pingValid = time.Second
)

// pulse is the last answer of a store.
type pulse struct {
	mu  sync.Mutex // held while the store is asked
	at  time.Time
	err error
}

// of asks the store unless it has just been asked.
func (p *pulse) of(ctx context.Context, store *guard.Opening) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() || time.Since(p.at) >= pingValid {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
		defer cancel()
		p.err = store.Ping(ctx)
		p.at = time.Now()
	}
	return p.err
}

// StoreStatus asks the store. The handler must have started; see [Running].
func (h *Handler) StoreStatus(ctx context.Context) Status {
	switch {
	case h.hub.pulse.of(ctx, h.hub.store) != nil:
		return StatusUnavailable
	case h.hub.store.Damage() != nil:
		return StatusDamaged
	}
	return StatusOK
}
