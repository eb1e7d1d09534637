// Package docs makes the AsyncAPI document of a configuration, be it running or in a file.
package docs

import (
	"errors"
	"net"
	"net/http"
	"slices"
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

// AsyncAPI serves the AsyncAPI document of its site's assistant handlers, and a page that shows it.
// The page is at …/docs/. The document is at …/schema/ as JSON, with ?format=yaml as YAML, with ?view=client from the
// client's point of view; and at …/asyncapi.json and …/asyncapi.yaml. Everything is built in.
type AsyncAPI struct {
	asyncapi.Info

	// Whether the page can connect and send messages: "on" or "off". It uses the visitor's own login and the real
	// model. Default: on
	TryIt string `json:"try_it,omitempty"`

	// The names of the assistant handlers that are described, in place of all that are on this site. They may be on other
	// sites: then the document says where, and tells the site's visitors their limits and origins. Default: this site's
	Channels []string `json:"channels,omitempty"`

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
		{Name: "channels", Value: setting.Texts("<name...>").Into(&a.Channels), Without: "this site's", Help: "the assistants that are described, also of other sites; required where this one has none"},
		{Name: "try_it", Value: setting.Choice("on", "off").Into(&a.TryIt), Default: "on", Help: "the page can send messages, as its visitor, to the real model"},
	}}
}

// Provision sets up a.
func (a *AsyncAPI) Provision(ctx caddy.Context) error {
	if err := a.Settings().SetDefaults(); err != nil {
		return err
	}
	site, err := endpoint.OnSite(ctx)
	if err != nil {
		return err
	}
	if len(site) == 0 && len(a.Channels) == 0 {
		return errors.New("channels: expected the names of assistants, since this site has none; found nothing")
	}
	app, err := endpoint.AppOf(ctx)
	if err != nil {
		return err
	}
	app.Expect("asyncapi: channels", a.Channels)
	a.handler = &asyncapi.Handler{
		Info:     a.Info,
		Protocol: endpoint.Protocol,
		Channels: func(r *http.Request) []asyncapi.Channel { return a.channels(app.Handlers(), site, r) },
		NoTryIt:  a.TryIt == "off",
	}
	return nil
}

// channels returns the channels that are described: those on this site, or those that are named.
func (a *AsyncAPI) channels(handlers []*endpoint.Handler, site []endpoint.Mount, r *http.Request) (channels []asyncapi.Channel) {
	for _, h := range handlers {
		isHere := slices.ContainsFunc(site, func(m endpoint.Mount) bool { return m.Name == h.Name })
		if !isDescribed(h.Name, isHere, a.Channels) {
			continue
		}
		c := h.Channel()
		if !isHere {
			c.Server = serverFor(h.Place(), r)
		}
		channels = append(channels, c)
	}
	return channels
}

// isDescribed reports whether a document that names these channels, or none, has the assistant of that name.
func isDescribed(name string, isHere bool, channels []string) bool {
	if len(channels) == 0 {
		return isHere
	}
	return slices.Contains(channels, name)
}

// serverFor returns where the client that has sent r reaches a place. A site without a name has that of the request.
func serverFor(p endpoint.Place, r *http.Request) asyncapi.Server {
	if p.Host != "" || p.Near.Host == "" {
		return p.Server
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, port, err := net.SplitHostPort(p.Near.Host); err == nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	return asyncapi.Server{Host: host, TLS: p.Near.TLS}
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
