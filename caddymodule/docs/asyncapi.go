// Package docs makes the AsyncAPI document of a configuration, be it running or in a file.
package docs

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/asyncapi"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(AsyncAPI{})
	httpcaddyfile.RegisterHandlerDirective("asyncapi", parseAsyncAPI)
	// Before respond, which would shadow it where a site has one without a matcher.
	httpcaddyfile.RegisterDirectiveOrder("asyncapi", httpcaddyfile.Before, "respond")
}

// AsyncAPI serves the AsyncAPI document of all assistant handlers in the configuration, and a page that shows it.
// The page is at …/docs/. The document is at …/schema/ as JSON, with ?format=yaml as YAML, with ?view=client from the
// client's point of view; and at …/asyncapi.json and …/asyncapi.yaml. Everything is built in.
type AsyncAPI struct {
	asyncapi.Info

	// Whether the page can connect and send messages: "on" or "off". It uses the visitor's own login and the real
	// model. Default: on
	TryIt string `json:"try_it,omitempty"`

	handler *asyncapi.Handler
}

// CaddyModule returns the Caddy module information.
func (AsyncAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.asyncapi", New: func() caddy.Module { return new(AsyncAPI) }}
}

// Settings is the table of the directive asyncapi.
func (a *AsyncAPI) Settings() setting.Table {
	return setting.Table{{
		{Name: "title", Value: setting.Text("<text>").Into(&a.Title), Without: "Assistant API"},
		{Name: "version", Value: setting.Text("<version>").Into(&a.Version), Without: "1.0.0", Help: "of the API, not of AsyncAPI"},
		{Name: "description", Value: setting.Text("<text>").Into(&a.Description), Without: "how frames and answers work", Help: "as CommonMark"},
		{Name: "contact", Value: contact.IntoOptional(&a.Contact), Without: "none"},
		{Name: "license", Value: license.IntoOptional(&a.License), Without: "none"},
		{Name: "try_it", Value: setting.Choice("on", "off").Into(&a.TryIt), Default: "on", Help: "the page can send messages, as its visitor, to the real model"},
	}}
}

// Provision sets up a.
func (a *AsyncAPI) Provision(ctx caddy.Context) error {
	if err := a.Settings().SetDefaults(); err != nil {
		return err
	}
	app, err := endpoint.AppOf(ctx)
	if err != nil {
		return err
	}
	a.handler = &asyncapi.Handler{
		Info:     a.Info,
		Protocol: endpoint.Protocol,
		Channels: func() []asyncapi.Channel { return channels(app.Handlers()) },
		NoTryIt:  a.TryIt == "off",
	}
	return nil
}

// Validate checks what the types do not.
func (a *AsyncAPI) Validate() error { return errors.Join(a.Settings().Check(), a.Info.Validate()) }

// ServeHTTP serves the document and its page.
func (a *AsyncAPI) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	err := a.handler.Serve(w, r)
	if status, ok := errors.AsType[asyncapi.StatusError](err); ok {
		return caddyhttp.Error(int(status), err)
	}
	return err
}

// channels returns the channels of handlers.
func channels(handlers []*endpoint.Handler) []asyncapi.Channel {
	channels := make([]asyncapi.Channel, len(handlers))
	for i, h := range handlers {
		channels[i] = h.Channel()
	}
	return channels
}

// UnmarshalCaddyfile reads the directive asyncapi; its subdirectives are those of [AsyncAPI.Settings].
func (a *AsyncAPI) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return a.Settings().Read(d, "asyncapi")
}

var contact = setting.Form[asyncapi.Contact]{
	Takes: "<name> [<url>] [<e-mail>]", Expected: "a name and perhaps a URL and an e-mail address",
	Parse: func(words []string) (c asyncapi.Contact, ok bool) {
		if len(words) < 1 || len(words) > 3 {
			return c, false
		}
		c.Name = words[0]
		for _, where := range words[1:] {
			address := &c.URL
			if isEmail(where) {
				address = &c.Email
			}
			if *address != "" {
				return c, false
			}
			*address = where
		}
		return c, true
	},
}

var license = setting.Form[asyncapi.License]{
	Takes: "<name> [<url>]", Expected: "a name and perhaps a URL",
	Parse: func(words []string) (l asyncapi.License, ok bool) {
		if len(words) < 1 || len(words) > 2 {
			return l, false
		}
		l.Name = words[0]
		if len(words) == 2 {
			l.URL = words[1]
		}
		return l, true
	},
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
