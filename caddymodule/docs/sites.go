package docs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/asyncapi"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddyserver/caddy/v2"
)

// Mounted holds the handlers of a configuration that is not loaded, in the order of its servers and routes. They are
// decoded and have their defaults, but are not provisioned: that needs secrets and opens log files.
type Mounted struct {
	assistants []mount[*endpoint.Handler]
	documents  []mount[*AsyncAPI]
}

// mount is a handler and where clients reach it.
type mount[H any] struct {
	handler H
	site    site
}

// site is what one server routes for the same hosts.
type site struct {
	server, hosts string
	isAny         bool // any site of the server: a named route, which each of them may invoke
	endpoint.Place
}

// has reports whether a handler on the site other is on s, too.
func (s site) has(other site) bool {
	return s.server == other.server && (s.hosts == other.hosts || s.isAny || other.isAny)
}

// url returns the URL of a WebSocket there, or "" if it is unknown.
func (s site) url(path string) string {
	server, scheme := s.Server, "ws"
	if server.Host == "" {
		server = s.Near
	}
	if server.Host == "" {
		return ""
	}
	if server.TLS {
		scheme = "wss"
	}
	return (&url.URL{Scheme: scheme, Host: server.Host, Path: path}).String()
}

// httpServer is the part of an HTTP server's configuration that says which sites it has.
type httpServer struct {
	Listen      []string             `json:"listen"`
	Routes      []siteRoute          `json:"routes"`
	NamedRoutes map[string]siteRoute `json:"named_routes"`
	TLSPolicies []json.RawMessage    `json:"tls_connection_policies"`
	AutoHTTPS   struct {
		Disable bool     `json:"disable"`
		Skip    []string `json:"skip"`
	} `json:"automatic_https"`
}

type siteRoute struct {
	Match []struct {
		Host []string `json:"host"`
	} `json:"match"`
	Handle any `json:"handle"`
}

// FindMounted returns the handlers in a configuration in JSON, at any depth of its routes.
func FindMounted(config []byte) (Mounted, error) {
	var root struct {
		Apps struct {
			HTTP struct {
				HTTPPort  int                    `json:"http_port"`
				HTTPSPort int                    `json:"https_port"`
				Servers   map[string]*httpServer `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	var found Mounted
	if err := json.Unmarshal(config, &root); err != nil {
		return found, fmt.Errorf("decode configuration: %w", err)
	}
	app := root.Apps.HTTP
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		ports := map[int]bool{cmp.Or(app.HTTPPort, 80): false, cmp.Or(app.HTTPSPort, 443): true}
		for _, route := range server.Routes {
			if err := found.search(route.Handle, server.site(name, route, ports)); err != nil {
				return found, err
			}
		}
		for _, route := range slices.Sorted(maps.Keys(server.NamedRoutes)) {
			here := server.site(name, server.NamedRoutes[route], ports)
			here.isAny = true
			if err := found.search(server.NamedRoutes[route].Handle, here); err != nil {
				return found, err
			}
		}
	}
	if len(found.assistants) == 0 {
		return found, errors.New("the configuration has no assistant handler")
	}
	return found, nil
}

// API returns what the first asyncapi handler would describe, without one all handlers of the first site that has any
// or, if channel is not empty, the handler of that name. If server is not empty, it is the document's.
func (m Mounted) API(server, channel string) (asyncapi.API, error) {
	api := asyncapi.API{Protocol: endpoint.Protocol}
	here, names := m.assistants[0].site, []string(nil)
	if len(m.documents) > 0 {
		d := m.documents[0]
		api.Info, here, names = d.handler.Info, d.site, d.handler.Channels
	}
	if channel != "" {
		names = []string{channel}
	}
	all, err := m.inSite(here)
	if err != nil {
		return api, err
	}
	for _, a := range all {
		isHere := here.has(a.site)
		if !isDescribed(a.handler.Name, isHere, names) {
			continue
		}
		c := a.handler.Channel()
		if !isHere {
			c.Server = cmp.Or(a.site.Server, a.site.Near)
		}
		api.Channels = append(api.Channels, c)
	}
	for _, name := range names {
		if !slices.ContainsFunc(api.Channels, func(c asyncapi.Channel) bool { return c.Name == name }) {
			return api, fmt.Errorf("no assistant handler is named %q", name)
		}
	}
	if len(api.Channels) == 0 {
		return api, errors.New("the site of the asyncapi directive has no assistant handler; name one by channels or --channel")
	}
	if channel != "" && api.Channels[0].Server.Host != "" { // then the document has no other server
		here.Server, api.Channels[0].Server = api.Channels[0].Server, asyncapi.Server{}
	}
	api.Server, err = serverOf(here, server)
	return api, err
}

// inSite returns the handlers by name, each once: on the site here, if it is there.
func (m Mounted) inSite(here site) (all []mount[*endpoint.Handler], err error) {
	var app endpoint.App
	for _, a := range m.assistants {
		first, err := app.First(a.handler)
		if first == nil && err == nil {
			err = app.Add(a.handler)
		}
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all, func(known mount[*endpoint.Handler]) bool { return known.handler.Name == a.handler.Name })
		switch {
		case i < 0:
			all = append(all, a)
		case here.has(a.site) && !here.has(all[i].site):
			all[i] = a
		}
	}
	slices.SortFunc(all, func(x, y mount[*endpoint.Handler]) int { return cmp.Compare(x.handler.Name, y.handler.Name) })
	return all, nil
}

// serverOf returns the server of a document: the one that is given as a URL or, without one, the site's.
func serverOf(here site, given string) (asyncapi.Server, error) {
	if given == "" {
		if here.Host == "" {
			return asyncapi.Server{}, errors.New("the configuration does not say where clients reach the site; give --server, such as wss://chat.example.com")
		}
		return here.Server, nil
	}
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Host == "" || cmp.Or(u.Path, "/") != "/" {
		return asyncapi.Server{}, fmt.Errorf("server: expected a URL like wss://chat.example.com, found %q", given)
	}
	return asyncapi.Server{Host: u.Host, TLS: u.Scheme == "wss"}, nil
}

// URL returns the address of a handler's WebSocket.
func (m Mounted) URL(name string) (string, error) {
	i := slices.IndexFunc(m.assistants, func(a mount[*endpoint.Handler]) bool { return a.handler.Name == name })
	if i < 0 {
		return "", fmt.Errorf("no assistant handler is named %q", name)
	}
	at := m.assistants[i]
	address := at.site.url(at.handler.Address)
	if address == "" {
		return "", errors.New("the server's configuration does not say on which port its assistant is: give --url")
	}
	return address, nil
}

// search adds the handlers below a value of a route.
func (m *Mounted) search(value any, here site) error {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			if err := m.search(item, here); err != nil {
				return err
			}
		}
	case map[string]any:
		switch v["handler"] {
		case "assistant":
			h := new(endpoint.Handler)
			if err := decodeModule(v, h); err != nil {
				return err
			}
			if err := h.SetDefaults(); err != nil {
				return err
			}
			m.assistants = append(m.assistants, mount[*endpoint.Handler]{h, here})
			return h.Validate()
		case "asyncapi":
			a := new(AsyncAPI)
			if err := decodeModule(v, a); err != nil {
				return err
			}
			m.documents = append(m.documents, mount[*AsyncAPI]{a, here})
			return a.Validate()
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := m.search(v[key], here); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeModule decodes a module as Caddy does, without the key that names it.
func decodeModule(config map[string]any, module any) error {
	config = maps.Clone(config)
	delete(config, "handler")
	data, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return caddy.StrictUnmarshalJSON(data, module)
}

// site returns the site of a route. ports maps the ports whose scheme is certain to whether that is TLS.
func (s *httpServer) site(name string, route siteRoute, ports map[int]bool) site {
	var hosts []string
	for _, match := range route.Match {
		hosts = append(hosts, match.Host...)
	}
	place := endpoint.PlaceOf(s.Listen, hosts, s.isTLS(ports))
	slices.Sort(hosts)
	return site{server: name, hosts: strings.Join(hosts, " "), Place: place}
}

// isTLS reports whether clients reach the server by TLS.
func (s *httpServer) isTLS(ports map[int]bool) bool {
	if len(s.TLSPolicies) > 0 {
		return true
	}
	if tls, certain := ports[endpoint.PortOf(s.Listen)]; certain {
		return tls
	}
	return s.hasCertificates()
}

// hasCertificates reports whether Caddy obtains certificates for any of the server's names, so that it serves TLS
// (autohttps.go of its HTTP app).
func (s *httpServer) hasCertificates() bool {
	if s.AutoHTTPS.Disable {
		return false
	}
	for _, route := range s.Routes {
		for _, match := range route.Match {
			for _, name := range match.Host {
				if !slices.Contains(s.AutoHTTPS.Skip, name) {
					return true
				}
			}
		}
	}
	return false
}
