package tools

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/httptool"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(HTTP{}) }

// HTTP is a tool that is one HTTP request.
//
// In url, header and body, {args.name} is an argument. Placeholders like {env.SHOP_TOKEN} and {file./run/secrets/shop}
// are replaced when the configuration is loaded; dumps of the configuration do not show their values. All others are
// replaced for the user who asks, with every call.
type HTTP struct {
	httptool.Config

	// The longest wait for the response. Default: 30s
	Timeout caddy.Duration `json:"timeout,omitempty"`

	tool *httptool.Tool
}

// CaddyModule returns the Caddy module information.
func (HTTP) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.tools.http", New: func() caddy.Module { return new(HTTP) }}
}

// Settings is the table of tools http.
func (h *HTTP) Settings() setting.Table {
	return setting.Table{{
		{Name: "title", Value: setting.Text("<text>").Into(&h.Title), Without: "the label", Help: "for people"},
		{Name: "description", Value: setting.Text("<text>").Into(&h.Description), Help: "required; tells the model what the tool does, and when to call it"},
		{Name: "parameters", Value: jsonText("<json>").Into(&h.Parameters), Without: "no arguments", Help: "the JSON Schema of the arguments"},
		{Name: "method", Value: setting.Choice("GET", "POST", "PUT", "PATCH", "DELETE").Into(&h.Method), Default: "POST"},
		{Name: "url", Value: setting.Secret("<url>", &h.URL), Help: "required; arguments are {args.<name>}, in path and query"},
		{Name: "header", Value: setting.SecretPair("<name> <value>", "a name and a value, in quotes where it has spaces", &h.Header), Help: "may be repeated"},
		{Name: "body", Value: setting.Text("<template>").Into(&h.Body), Without: "the arguments as JSON; none with GET and DELETE"},
		{Name: "approve", Value: setting.Choice("never", "always").Into(&h.Approve), Without: "never with GET, otherwise always", Help: "whether a person must agree to each call"},
		{Name: "repeatable", Value: setting.Flag().Into(&h.Repeatable), Without: "only with GET", Help: "may be made again after a crash in the middle of a call"},
		{Name: "untrusted", Value: setting.Flag().Into(&h.Untrusted), Default: "off", Help: "strangers may write what the tool returns"},
		{Name: "timeout", Value: setting.Duration().Into(&h.Timeout), Default: "30s"},
	}}
}

func jsonText(takes string) setting.Form[json.RawMessage] {
	return setting.Form[json.RawMessage]{
		Takes: takes, Expected: "JSON, in backticks or a heredoc",
		Parse: func(words []string) (json.RawMessage, bool) {
			if len(words) != 1 {
				return nil, false
			}
			return json.RawMessage(words[0]), json.Valid([]byte(words[0]))
		},
	}
}

// Provision makes the tool. It opens no connection.
func (h *HTTP) Provision(caddy.Context) error {
	if err := cmp.Or(h.Settings().Check(), h.Settings().SetDefaults()); err != nil {
		return fmt.Errorf("%s: %w", h.title(), err)
	}
	c, err := h.config()
	if err != nil {
		return fmt.Errorf("%s: %w", h.title(), err)
	}
	if h.tool, err = httptool.New(c); err != nil {
		return fmt.Errorf("%s: %w", h.title(), err)
	}
	return nil
}

// config returns the configuration with those placeholders replaced that are the same for all calls.
func (h *HTTP) config() (httptool.Config, error) {
	c := h.Config
	c.Timeout, c.Header = time.Duration(h.Timeout), maps.Clone(c.Header)
	errs := []error{fillTemplate("url", &c.URL), fillTemplate("body", &c.Body)}
	for name, value := range c.Header {
		errs = append(errs, fillTemplate("header "+name, &value))
		c.Header[name] = value
	}
	return c, errors.Join(errs...)
}

// title names the tool in messages.
func (h *HTTP) title() string { return strings.TrimSpace("tools http " + h.Label) }

// Tools returns the tool.
func (h *HTTP) Tools() assistant.Tools { return h.tool }

// UnmarshalCaddyfile reads tools http <label> and its block.
func (h *HTTP) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return h.Settings().ReadLabelled(d, "tools http", &h.Label)
}

var (
	_ caddy.Provisioner     = (*HTTP)(nil)
	_ caddyfile.Unmarshaler = (*HTTP)(nil)
)
