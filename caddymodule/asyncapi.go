package caddymodule

import (
	"errors"
	"net/http"

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
	a.handler = &asyncapi.Handler{Info: a.Info, Protocol: protocol, Channels: app.channels}
	return nil
}

// Validate checks the information about the API.
func (a *AsyncAPI) Validate() error { return a.Info.Validate() }

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
			CloseCodes: closeCodes, Limits: h.limits(),
		}
	}
	return channels
}

var closeCodes = map[int]string{
	1000: "The client closed the connection.",
	1003: "A binary message.",
	1007: "A text message that is not UTF-8.",
	1008: "Twenty malformed frames within a minute, or a client that is too slow.",
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
//		contact     <name> [<url or e-mail>]
//		license     <name> [<url>]
//	}
func (a *AsyncAPI) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readBlock(d, "asyncapi", subdirectives{
		"title":       func(p *params) error { return p.text(&a.Title) },
		"version":     func(p *params) error { return p.text(&a.Version) },
		"description": func(p *params) error { return p.text(&a.Description) },
		"contact":     a.unmarshalContact,
		"license":     a.unmarshalLicense,
	})
}

func (a *AsyncAPI) unmarshalContact(p *params) error {
	name, where, err := p.named("a name and perhaps a URL or an e-mail address")
	a.Contact = &asyncapi.Contact{Name: name}
	if isEmail(where) {
		a.Contact.Email = where
	} else {
		a.Contact.URL = where
	}
	return err
}

func (a *AsyncAPI) unmarshalLicense(p *params) error {
	name, where, err := p.named("a name and perhaps a URL")
	a.License = &asyncapi.License{Name: name, URL: where}
	return err
}

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
