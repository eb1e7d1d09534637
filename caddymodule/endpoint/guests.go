package endpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// ProviderSource is implemented by modules in the namespace http.assistant.providers.
type ProviderSource interface {
	// Provider returns the model. It is called once, after Provision and Validate. Logs and metrics use the name
	// in its Source: the label in the configuration or, without one, the module's name.
	Provider() assistant.Provider
}

var errNoProvider = errors.New(`provider: expected a language model, such as "provider openai" or "provider demo", found nothing`)

// loadProviders makes the chain of providers.
func (h *Handler) loadProviders(ctx caddy.Context) error {
	if len(h.ProvidersRaw) == 0 {
		return errNoProvider
	}
	modules, err := ctx.LoadModule(h, "ProvidersRaw")
	if err != nil {
		return fmt.Errorf("load provider: %w", err)
	}
	var providers []assistant.Provider
	for _, module := range modules.([]any) {
		source, ok := module.(ProviderSource)
		if !ok {
			return fmt.Errorf("module %T is not a provider", module)
		}
		p := source.Provider()
		if err := setting.CheckLabel(p.Source().Provider); err != nil {
			return fmt.Errorf("provider: %w", err)
		}
		providers = append(providers, p)
	}
	if h.chain, err = chain.New(h.log, providers...); err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	return nil
}

// ToolSource is implemented by modules in the namespace http.assistant.tools.
type ToolSource interface {
	// Tools returns the source. It is called once, after Provision and Validate, which open no connection. What it opens
	// later is closed by the module's Cleanup: calls that are under way then end.
	Tools() assistant.Tools
}

// Starter is implemented by a [ToolSource] that has something to do when its configuration begins to serve. Start returns at
// once.
type Starter interface{ Start() }

// ClientToolSource is implemented by a module in the same namespace that lets clients bring tools of their own.
type ClientToolSource interface {
	// AllowClientTools does nothing.
	AllowClientTools()
}

// loadTools makes one source of tools of all.
func (h *Handler) loadTools(ctx caddy.Context) error {
	if len(h.ToolsRaw) == 0 {
		return nil
	}
	modules, err := ctx.LoadModule(h, "ToolsRaw")
	if err != nil {
		return fmt.Errorf("load tools: %w", err)
	}
	for _, module := range modules.([]any) {
		switch source := module.(type) {
		case ClientToolSource:
			h.ownTools = true
		case ToolSource:
			h.tools = append(h.tools, source.Tools())
			if s, ok := source.(Starter); ok {
				h.starters = append(h.starters, s)
			}
		default:
			return fmt.Errorf("module %T is not a source of tools", module)
		}
	}
	return nil
}

// StoreSource is implemented by modules in the namespace http.assistant.stores. Its methods are called after
// Provision and Validate.
type StoreSource interface {
	// Key identifies the store of a handler. A reload that does not change it keeps the open store.
	Key(handler string) string
	// Open opens the store. It is not called again for the same key before that store is closed. No file or
	// connection may be opened or created before Open. Where it fails with assistant.ErrUnavailable it is called
	// again after a while; other errors of the first call refuse the configuration. Where the store has a method
	// Check(context.Context) error, that looks for damage in the background.
	Open(ctx context.Context) (assistant.Store, error)
}

func (h *Handler) loadStore(ctx caddy.Context) error {
	module, err := ctx.LoadModule(h, "StoreRaw")
	if err != nil {
		return fmt.Errorf("load store: %w", err)
	}
	source, ok := module.(StoreSource)
	if !ok {
		return fmt.Errorf("module %T is not a store", module)
	}
	h.storeName = module.(caddy.Module).CaddyModule().ID.Name()
	h.storeKey, h.openStore = source.Key(h.Name), source.Open
	shared, ok := module.(SharedStoreSource)
	h.isShared = ok && shared.IsShared()
	return nil
}

// SharedStoreSource is a [StoreSource] whose store several processes may have open at once: it is an assistant.Cluster.
type SharedStoreSource interface {
	StoreSource
	// IsShared reports whether that is so.
	IsShared() bool
}

// BrokerSource is implemented by modules in the namespace http.assistant.brokers. Its methods are called after
// Provision and Validate.
type BrokerSource interface {
	// Key identifies the broker, without secrets. A reload that does not change it keeps the connection.
	Key() string
	// Broker makes the broker of a store that is open and shared. It is called once.
	Broker(store assistant.Store, log *zap.Logger) (assistant.Broker, error)
}

// loadBroker loads the broker of a store that is shared: where none is configured, that of the store's own name, if there
// is one. A store that is not shared needs none, and allows none but local.
func (h *Handler) loadBroker(ctx caddy.Context) error {
	var module any
	var err error
	switch {
	case h.BrokerRaw != nil:
		module, err = ctx.LoadModule(h, "BrokerRaw")
	case !h.isShared:
		return nil
	case hasModule("http.assistant.brokers." + h.storeName):
		module, err = ctx.LoadModuleByID("http.assistant.brokers."+h.storeName, nil)
	default:
		module, err = ctx.LoadModuleByID("http.assistant.brokers.local", nil)
	}
	if err != nil {
		return fmt.Errorf("load broker: %w", err)
	}
	source, ok := module.(BrokerSource)
	if !ok {
		return fmt.Errorf("module %T is not a broker", module)
	}
	switch name := module.(caddy.Module).CaddyModule().ID.Name(); {
	case h.isShared:
		h.broker = source
	case name != "local":
		return fmt.Errorf("broker %s: expected a store that several servers share, such as store postgres, found store %s", name, h.storeName)
	}
	return nil
}

// brokerKey is the key of the broker, "" where there is none.
func (h *Handler) brokerKey() string {
	if h.broker == nil {
		return ""
	}
	return h.broker.Key()
}

func hasModule(id string) bool {
	_, err := caddy.GetModule(id)
	return err == nil
}
