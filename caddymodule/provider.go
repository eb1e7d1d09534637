package caddymodule

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/demo"
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
		if err := checkLabel(p.Source().Provider); err != nil {
			return err
		}
		providers = append(providers, p)
	}
	h.chain, err = assistant.NewChain(h.log, providers...)
	return err
}

var providerLabel = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func checkLabel(label string) error {
	if !providerLabel.MatchString(label) {
		return fmt.Errorf("label of a provider: expected up to 64 letters, digits, dots, dashes and underscores, found %q", label)
	}
	return nil
}

// readProvider reads "<name> [<label>] { … }".
func readProvider(d *caddyfile.Dispenser, label *string, known subdirectives, repeatable ...string) error {
	d.Next()
	title := "provider " + d.Val()
	if d.NextArg() {
		*label = d.Val()
		if err := checkLabel(*label); err != nil {
			return d.WrapErr(err)
		}
		title += " " + *label
	}
	return readRest(d, title, known, repeatable...)
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

// Provider returns the model.
func (d *Demo) Provider() assistant.Provider {
	if d.Delay == nil {
		return &demo.Provider{Label: d.Label, Delay: demo.DefaultDelay}
	}
	return &demo.Provider{Label: d.Label, Delay: time.Duration(*d.Delay)}
}

// UnmarshalCaddyfile reads:
//
//	provider demo [<label>] {
//		delay <duration>
//	}
func (d *Demo) UnmarshalCaddyfile(disp *caddyfile.Dispenser) error {
	return readProvider(disp, &d.Label, subdirectives{
		"delay": func(p *params) error { return p.duration(optional(&d.Delay)) },
	})
}

var (
	_ ProviderSource        = (*Demo)(nil)
	_ caddyfile.Unmarshaler = (*Demo)(nil)
)
