package caddymodule

import (
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/demo"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// ProviderSource is what a module in the namespace http.assistant.providers must be. Provider is called
// once, after Provision and Validate.
type ProviderSource interface {
	Provider() assistant.Provider
}

// Demo is a built-in model that needs no key and no network: it shows the page and the protocol.
type Demo struct {
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
		return &demo.Provider{Delay: demo.DefaultDelay}
	}
	return &demo.Provider{Delay: time.Duration(*d.Delay)}
}

// UnmarshalCaddyfile reads:
//
//	provider demo {
//		delay <duration>
//	}
func (d *Demo) UnmarshalCaddyfile(disp *caddyfile.Dispenser) error {
	return readBlock(disp, "provider demo", subdirectives{
		"delay": func(p *params) error { return p.duration(optional(&d.Delay)) },
	})
}

var (
	_ ProviderSource        = (*Demo)(nil)
	_ caddyfile.Unmarshaler = (*Demo)(nil)
)
