package providers

import (
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/demo"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(Demo{}) }

// Demo is a built-in model that needs no key and no network. It is there to try the page and the protocol.
type Demo struct {
	// The name in logs and metrics, which distinguishes several in a chain. Default: demo
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
	_ caddy.Provisioner     = (*Demo)(nil)
	_ caddy.Validator       = (*Demo)(nil)
	_ caddyfile.Unmarshaler = (*Demo)(nil)
)
