// Package tools makes the sources of tools guest modules of the assistant handler.
package tools

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/mcp"
	"github.com/caddy-assistant/caddy-assistant/assistant/toolset"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(MCP{}) }

// MCP is the tools of a server of the Model Context Protocol.
//
// In url, command, env and header, placeholders like {env.SHOP_TOKEN} and {file./run/secrets/shop} are replaced when the
// configuration is loaded; dumps of the configuration do not show their values. All others in header are replaced for
// the user who asks, with every request.
type MCP struct {
	mcp.Config

	// The longest wait for a connection, a list or a result. Default: 30s
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Whether a question fails while it is not known which tools the server has. Otherwise the model answers without them.
	Required bool `json:"required,omitempty"`

	// How old the list of tools may be. Default: 5m
	Refresh caddy.Duration `json:"refresh,omitempty"`

	source *mcp.Source
	tools  *lasting
}

// CaddyModule returns the Caddy module information.
func (MCP) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.tools.mcp", New: func() caddy.Module { return new(MCP) }}
}

// Settings is the table of tools mcp.
func (m *MCP) Settings() setting.Table {
	return setting.Table{{
		{Name: "url", Value: setting.Secret("<url>", &m.URL), Help: "of a server over streamable HTTP, or:"},
		{Name: "command", Value: setting.Texts("<program> <arg...>").Into(&m.Command), Help: "of one that is started once for all users"},
		{Name: "env", Value: setting.SecretPair("<name> <value>", "a name and a value, in quotes where it has spaces", &m.Env), Help: "of the program, besides PATH and HOME; may be repeated"},
		{Name: "header", Value: setting.SecretPair("<name> <value>", "a name and a value, in quotes where it has spaces", &m.Header), Help: `of every request, such as Authorization "Bearer {http.auth.user.token}"; may be repeated`},
		{Name: "oauth", Value: setting.Block(&m.OAuth, oauthSettings), Without: "none", Help: "gets a token for the server, one for all users"},
		{Name: "allow", Value: setting.Texts("<glob...>").Into(&m.Allow), Without: "all tools", Help: "by the server's names"},
		{Name: "deny", Value: setting.Texts("<glob...>").Into(&m.Deny), Without: "none"},
		{Name: "approve", Value: setting.Each(rule(), &m.Approve), Without: "writes", Help: "which calls a person must agree to; may be repeated, the last that names a tool decides"},
		{Name: "repeatable", Value: setting.Texts("<glob...>").Into(&m.Repeatable), Without: "tools that only read", Help: "may be called again after a crash in the middle of a call"},
		{Name: "untrusted", Value: setting.Flag().Into(&m.Untrusted), Default: "off", Help: "strangers may write what the tools return"},
		{Name: "required", Value: setting.Flag().Into(&m.Required), Default: "off", Help: "no answers without these tools: a question fails while their list cannot be had"},
		{Name: "timeout", Value: setting.Duration().Into(&m.Timeout), Default: "30s"},
		{Name: "refresh", Value: setting.Duration().Into(&m.Refresh), Default: "5m", Help: "the list of tools is at most this old"},
	}}
}

// oauthSettings is the table of oauth.
func oauthSettings(o *mcp.OAuth) setting.Table {
	return setting.Table{{
		{Name: "token_url", Value: setting.Secret("<url>", &o.TokenURL), Help: "required"},
		{Name: "client_id", Value: setting.Secret("<id>", &o.ClientID), Help: "required"},
		{Name: "client_secret", Value: setting.Secret("<secret>", &o.ClientSecret), Help: "required"},
		{Name: "scopes", Value: setting.Texts("<scope...>").Into(&o.Scopes)},
	}}
}

// rule is a mode and the tools that it is for.
func rule() setting.Form[mcp.Rule] {
	return setting.Form[mcp.Rule]{
		Takes: "never | always | writes [<glob...>]", Expected: "never, always or writes, and perhaps names of tools",
		Parse: func(words []string) (mcp.Rule, bool) {
			if len(words) == 0 {
				return mcp.Rule{}, false
			}
			return mcp.Rule{Mode: words[0], Tools: words[1:]}, true
		},
		Fault: func(r mcp.Rule) (string, bool) {
			return r.Mode, !slices.Contains([]string{"never", "always", "writes"}, r.Mode)
		},
	}
}

// Provision makes the source. It opens no connection and starts no program.
func (m *MCP) Provision(ctx caddy.Context) error {
	if err := cmp.Or(m.Settings().Check(), m.Settings().SetDefaults()); err != nil {
		return fmt.Errorf("%s: %w", m.title(), err)
	}
	c, err := m.config()
	if err != nil {
		return fmt.Errorf("%s: %w", m.title(), err)
	}
	c.Logger = ctx.Logger()
	c.Version, _ = caddy.Version()
	if m.source, err = mcp.New(c); err != nil {
		return fmt.Errorf("%s: %w", m.title(), err)
	}
	m.tools = &lasting{source: m.source, log: ctx.Logger()}
	return nil
}

// config returns the configuration with its placeholders replaced.
func (m *MCP) config() (mcp.Config, error) {
	c := m.Config
	c.Timeout, c.Refresh = time.Duration(m.Timeout), time.Duration(m.Refresh)
	c.Command, c.Env, c.Header = slices.Clone(c.Command), maps.Clone(c.Env), maps.Clone(c.Header)
	errs := []error{fill("url", &c.URL)}
	if m.OAuth != nil {
		c.OAuth = new(*m.OAuth)
		errs = append(errs, fill("oauth token_url", &c.OAuth.TokenURL), fill("oauth client_id", &c.OAuth.ClientID), fill("oauth client_secret", &c.OAuth.ClientSecret))
	}
	for i := range c.Command {
		errs = append(errs, fill("command", &c.Command[i]))
	}
	for name, value := range c.Env {
		errs = append(errs, fill("env "+name, &value))
		c.Env[name] = value
	}
	for name, value := range c.Header {
		errs = append(errs, fillTemplate("header "+name, &value))
		c.Header[name] = value
	}
	return c, errors.Join(errs...)
}

// title names the source in messages.
func (m *MCP) title() string { return strings.TrimSpace("tools mcp " + m.Label) }

// Tools returns the server's tools.
func (m *MCP) Tools() assistant.Tools {
	if m.Required {
		return toolset.Required{Source: m.tools}
	}
	return m.tools
}

// Start implements endpoint.Starter: it connects to the server, or starts the program.
func (m *MCP) Start() { m.source.Warm() }

// Cleanup ends the sessions and the program. After a reload it waits for calls that are under way, in the background.
func (m *MCP) Cleanup() error {
	switch {
	case m.source == nil:
		return nil
	case caddy.Exiting():
		return m.source.Close()
	}
	m.tools.retire()
	return nil
}

// UnmarshalCaddyfile reads tools mcp <label> and its block.
func (m *MCP) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return m.Settings().ReadLabelled(d, "tools mcp", &m.Label)
}

var (
	_ caddy.Provisioner     = (*MCP)(nil)
	_ caddy.CleanerUpper    = (*MCP)(nil)
	_ caddyfile.Unmarshaler = (*MCP)(nil)
)
