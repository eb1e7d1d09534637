package docs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
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
	place   place
}

// place is where clients reach a route.
type place struct {
	asyncapi.Server                 // without a host if the configuration names none
	near            asyncapi.Server // for clients on this machine; without a host if the port is unknown
}

// url returns the URL of a WebSocket there, or "" if it is unknown.
func (p place) url(path string) string {
	server, scheme := p.Server, "ws"
	if server.Host == "" {
		server = p.near
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
		routes := slices.Clone(server.Routes)
		for _, name := range slices.Sorted(maps.Keys(server.NamedRoutes)) {
			routes = append(routes, server.NamedRoutes[name]) // no host: any site may invoke it
		}
		for _, route := range routes {
			if err := found.search(route.Handle, server.site(route, ports)); err != nil {
				return found, err
			}
		}
	}
	if len(found.assistants) == 0 {
		return found, errors.New("the configuration has no assistant handler")
	}
	return found, nil
}

// API returns what the asyncapi handler would describe: all handlers or, if channel is not empty, the one of that
// name. If server is not empty, it replaces the server in the configuration.
func (m Mounted) API(server, channel string) (asyncapi.API, error) {
	api := asyncapi.API{Protocol: endpoint.Protocol, Server: m.assistants[0].place.Server}
	if len(m.documents) > 0 {
		api.Info, api.Server = m.documents[0].handler.Info, m.documents[0].place.Server
	}
	var app endpoint.App
	for _, a := range m.assistants {
		first, err := app.First(a.handler)
		if first == nil && err == nil {
			err = app.Add(a.handler)
		}
		if err != nil {
			return api, err
		}
	}
	api.Channels = channels(app.Handlers())
	if channel != "" {
		api.Channels = slices.DeleteFunc(api.Channels, func(c asyncapi.Channel) bool { return c.Name != channel })
	}
	if len(api.Channels) == 0 {
		return api, fmt.Errorf("no assistant handler is named %q", channel)
	}
	if server != "" {
		u, err := url.Parse(server)
		if err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Host == "" || cmp.Or(u.Path, "/") != "/" {
			return api, fmt.Errorf("server: expected a URL like wss://chat.example.com, found %q", server)
		}
		api.Server = asyncapi.Server{Host: u.Host, TLS: u.Scheme == "wss"}
	}
	if api.Server.Host == "" {
		return api, errors.New("the configuration does not say where clients reach the site; give --server, such as wss://chat.example.com")
	}
	return api, nil
}

// URL returns the address of a handler's WebSocket.
func (m Mounted) URL(name string) (string, error) {
	i := slices.IndexFunc(m.assistants, func(a mount[*endpoint.Handler]) bool { return a.handler.Name == name })
	if i < 0 {
		return "", fmt.Errorf("no assistant handler is named %q", name)
	}
	at := m.assistants[i]
	address := at.place.url(at.handler.Address)
	if address == "" {
		return "", errors.New("the server's configuration does not say on which port its assistant is: give --url")
	}
	return address, nil
}

// search adds the handlers below a value of a route.
func (m *Mounted) search(value any, site place) error {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			if err := m.search(item, site); err != nil {
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
			m.assistants = append(m.assistants, mount[*endpoint.Handler]{h, site})
			return h.Validate()
		case "asyncapi":
			a := new(AsyncAPI)
			if err := decodeModule(v, a); err != nil {
				return err
			}
			m.documents = append(m.documents, mount[*AsyncAPI]{a, site})
			return a.Validate()
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := m.search(v[key], site); err != nil {
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

// site returns where clients reach a route: its first host, with the port unless that is the scheme's default. ports
// maps the ports whose scheme is certain to whether that is TLS.
func (s *httpServer) site(route siteRoute, ports map[int]bool) place {
	host, port := s.address()
	if port == 0 {
		return place{}
	}
	tls, certain := ports[port]
	if len(s.TLSPolicies) > 0 || !certain {
		tls = len(s.TLSPolicies) > 0 || s.hasCertificates()
	}
	withPort := func(host string) string {
		if tls && port == 443 || !tls && port == 80 {
			return host
		}
		return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
	}
	here := place{near: asyncapi.Server{Host: withPort(cmp.Or(host, "localhost")), TLS: tls}}
	for _, match := range route.Match {
		for _, name := range match.Host {
			if here.Host == "" && !strings.ContainsAny(name, "*{") {
				here.Server = asyncapi.Server{Host: withPort(name), TLS: tls}
			}
		}
	}
	return here
}

// address returns where the server listens. The host is empty if that is all addresses; the port is 0 if there is
// none, or a placeholder stands for it.
func (s *httpServer) address() (host string, port int) {
	if len(s.Listen) == 0 {
		return "", 443
	}
	address, err := caddy.ParseNetworkAddress(s.Listen[0])
	if err != nil || address.IsUnixNetwork() {
		return "", 0
	}
	if ip, err := netip.ParseAddr(address.Host); err == nil && ip.IsUnspecified() {
		address.Host = ""
	}
	return address.Host, int(address.StartPort)
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
