package endpoint

import (
	"errors"
	"fmt"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/observe"
	"github.com/caddyserver/caddy/v2"
)

// ProviderSource is what a module in the namespace http.assistant.providers must be. Provider is called
// once, after Provision and Validate. Its Source names it in logs and metrics: by the label that was
// given, which tells two of a kind apart, or else by the module's name.
type ProviderSource interface {
	Provider() assistant.Provider
}

// loadProviders makes the chain.
func (h *Handler) loadProviders(ctx caddy.Context) error {
	if len(h.ProvidersRaw) == 0 {
		return errors.New(`no provider: name the language model, such as "provider openai" or "provider demo"`)
	}
	modules, err := ctx.LoadModule(h, "ProvidersRaw")
	if err != nil {
		return fmt.Errorf("load provider: %w", err)
	}
	var providers []assistant.Provider
	for _, module := range modules.([]any) {
		source, ok := module.(ProviderSource)
		if !ok {
			return fmt.Errorf("module %T is no provider", module)
		}
		p := source.Provider()
		if err := setting.CheckLabel(p.Source().Provider); err != nil {
			return fmt.Errorf("provider: %w", err)
		}
		providers = append(providers, p)
	}
	h.chain, err = assistant.NewChain(h.log, providers...)
	return err
}

// StoreSource is what a module in the namespace http.assistant.stores must be. Its methods are called
// after Provision and Validate.
type StoreSource interface {
	// Key tells stores apart: while a handler's key stays the same over reloads, so does the open store.
	Key(handler string) string
	// Open opens the store, at most once for each key at a time. Nothing may be opened or created before.
	Open() (assistant.Store, error)
}

func (h *Handler) loadStore(ctx caddy.Context) error {
	module, err := ctx.LoadModule(h, "StoreRaw")
	if err != nil {
		return fmt.Errorf("load store: %w", err)
	}
	source, ok := module.(StoreSource)
	if !ok {
		return fmt.Errorf("module %T is no store", module)
	}
	h.storeKey, h.openStore = source.Key(h.Name), observe.Store(source.Open, h.Name, module.(caddy.Module).CaddyModule().ID.Name())
	return nil
}
