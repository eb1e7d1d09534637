package caddymodule

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/demo"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
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

// Demo is a built-in model that needs no key and no network: it shows the page and the protocol.
type Demo struct {
	// Its name in logs and metrics, which tells several of a chain apart. Default: demo
	Label string `json:"label,omitempty"`

	// The pause before each word. Default: 25ms
	Delay *caddy.Duration `json:"delay,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Demo) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.providers.demo", New: func() caddy.Module { return new(Demo) }}
}

// Settings is the table of provider demo.
func (d *Demo) Settings() setting.Table {
	return setting.Table{{
		{Name: "delay", Value: setting.DurationOrZero().IntoOptional(&d.Delay), Default: "25ms", Help: "before each word"},
	}}
}

// Provision fills in the defaults.
func (d *Demo) Provision(caddy.Context) error { return d.Settings().SetDefaults() }

// Validate checks what the types do not.
func (d *Demo) Validate() error { return d.Settings().Check() }

// Provider returns the model.
func (d *Demo) Provider() assistant.Provider {
	return &demo.Provider{Label: d.Label, Delay: time.Duration(*d.Delay)}
}

// UnmarshalCaddyfile reads provider demo [<label>] and its block.
func (d *Demo) UnmarshalCaddyfile(disp *caddyfile.Dispenser) error {
	return d.Settings().ReadLabelled(disp, "provider demo", &d.Label)
}

var (
	_ ProviderSource        = (*Demo)(nil)
	_ caddy.Provisioner     = (*Demo)(nil)
	_ caddy.Validator       = (*Demo)(nil)
	_ caddyfile.Unmarshaler = (*Demo)(nil)
)
