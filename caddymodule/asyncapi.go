package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/asyncapi"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// AsyncAPI serves the AsyncAPI document of all assistant handlers in the configuration, and a page that
// shows it: …/docs/ is the page, …/schema/ the document as JSON (?format=yaml as YAML, ?view=client as the
// client's mirror), and so are …/asyncapi.json and …/asyncapi.yaml. Everything is built in.
type AsyncAPI struct {
	asyncapi.Info

	// Whether the page can connect and send messages: "on" or "off". It uses the visitor's own login and
	// asks the real model. Default: on
	TryIt string `json:"try_it,omitempty"`

	handler *asyncapi.Handler
}

// CaddyModule returns the Caddy module information.
func (AsyncAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.asyncapi", New: func() caddy.Module { return new(AsyncAPI) }}
}

// Provision sets up a.
func (a *AsyncAPI) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	a.handler = &asyncapi.Handler{Info: a.Info, Protocol: protocol, Channels: app.channels, NoTryIt: a.TryIt == "off"}
	return nil
}

// Validate checks what the types do not.
func (a *AsyncAPI) Validate() error {
	if !slices.Contains([]string{"", "on", "off"}, a.TryIt) {
		return fmt.Errorf("try_it: expected on or off, found %q", a.TryIt)
	}
	return a.Info.Validate()
}

func (a *AsyncAPI) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	err := a.handler.Serve(w, r)
	if status, ok := errors.AsType[asyncapi.StatusError](err); ok {
		return caddyhttp.Error(int(status), err)
	}
	return err
}

// channels describes the handlers of the configuration.
func (a *App) channels() []asyncapi.Channel {
	channels := make([]asyncapi.Channel, len(a.handlers))
	for i, h := range a.handlers {
		channels[i] = asyncapi.Channel{
			Name: h.Name, Address: h.Address, Description: h.Description, Tags: h.Tags,
			Query: h.query(), Headers: h.headers(), Refusals: h.refusals(),
			CloseCodes: closeCodes, Limits: h.limits(),
		}
	}
	return channels
}

var closeCodes = map[int]string{
	1000: "The client closed the connection.",
	1003: "A binary message.",
	1007: "A text message that is not UTF-8.",
	1008: "Twenty malformed frames within a minute, a client that is too slow, or an operator who closed the connection.",
	1009: "A message over the limit.",
	1011: "A fault of the server.",
	1012: "The server restarts: connect again.",
}

// UnmarshalCaddyfile reads:
//
//	asyncapi [<matcher>] {
//		title       <text>
//		version     <version>
//		description <text>
//		contact     <name> [<url>] [<e-mail>]
//		license     <name> [<url>]
//		try_it      on | off
//	}
func (a *AsyncAPI) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readBlock(d, "asyncapi", subdirectives{
		"title":       func(p *params) error { return p.text(&a.Title) },
		"version":     func(p *params) error { return p.text(&a.Version) },
		"description": func(p *params) error { return p.text(&a.Description) },
		"contact":     a.unmarshalContact,
		"license":     a.unmarshalLicense,
		"try_it":      func(p *params) error { return p.choice(&a.TryIt, "on", "off") },
	})
}

func (a *AsyncAPI) unmarshalContact(p *params) error {
	const expected = "a name and perhaps a URL and an e-mail address"
	if p.args = p.RemainingArgs(); len(p.args) < 1 || len(p.args) > 3 {
		return p.expected(expected)
	}
	a.Contact = &asyncapi.Contact{Name: p.args[0]}
	for _, where := range p.args[1:] {
		address := &a.Contact.URL
		if isEmail(where) {
			address = &a.Contact.Email
		}
		if *address != "" {
			return p.expected(expected)
		}
		*address = where
	}
	return nil
}

func (a *AsyncAPI) unmarshalLicense(p *params) error {
	if p.args = p.RemainingArgs(); len(p.args) < 1 || len(p.args) > 2 {
		return p.expected("a name and perhaps a URL")
	}
	a.License = &asyncapi.License{Name: p.args[0]}
	if len(p.args) == 2 {
		a.License.URL = p.args[1]
	}
	return nil
}

func isEmail(s string) bool { return strings.Contains(s, "@") && !strings.Contains(s, "://") }

func parseAsyncAPI(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	a := new(AsyncAPI)
	return a, a.UnmarshalCaddyfile(helper.Dispenser)
}

var (
	_ caddy.Provisioner           = (*AsyncAPI)(nil)
	_ caddy.Validator             = (*AsyncAPI)(nil)
	_ caddyhttp.MiddlewareHandler = (*AsyncAPI)(nil)
	_ caddyfile.Unmarshaler       = (*AsyncAPI)(nil)
)
