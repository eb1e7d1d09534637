package tools

import (
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(Client{}) }

// Client lets pages bring tools of their own. The model calls them, the page makes the calls.
type Client struct{}

// CaddyModule returns the Caddy module information.
func (Client) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.tools.client", New: func() caddy.Module { return new(Client) }}
}

// Settings is the table of tools client, which has none.
func (*Client) Settings() setting.Table { return nil }

// UnmarshalCaddyfile reads client, which takes nothing.
func (c *Client) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return c.Settings().Read(d, "tools client")
}

// AllowClientTools implements endpoint.ClientToolSource.
func (*Client) AllowClientTools() {}

var _ caddyfile.Unmarshaler = (*Client)(nil)
