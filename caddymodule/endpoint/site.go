package endpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/asyncapi"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Mount is an assistant of a site.
type Mount struct {
	Name    string
	Address string // the path where clients reach it
}

// OnSite returns the assistants of the site that the module of ctx belongs to, in the configuration's order. It is for
// the module's Provision, and finds assistants that are not provisioned yet, too.
//
// A site is what one server routes for the same hosts. A module in a named route or in an error route belongs to all
// sites of its server.
func OnSite(ctx caddy.Context) ([]Mount, error) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil, errors.New("find assistants: not a module of an HTTP server")
	}
	s := search{named: server.NamedRoutes, invoked: map[string]bool{}}
	here := provisioning(server)
	for _, route := range server.Routes {
		if here < 0 || hosts(route) == hosts(server.Routes[here]) {
			s.route(route)
		}
	}
	return s.found, s.err
}

// provisioning returns the index of the route that is being provisioned, -1 if it is a named one or an error route.
// Routes are provisioned in order, so it is the first without handlers.
func provisioning(server *caddyhttp.Server) int {
	return slices.IndexFunc(server.Routes, func(r caddyhttp.Route) bool { return r.Handlers == nil && r.HandlersRaw != nil })
}

// onAnyHost reports whether the module of ctx, which is being provisioned, is on a site without a name: one that serves
// every host.
func onAnyHost(ctx caddy.Context) bool {
	_, route, ok := routeOf(ctx)
	return ok && hosts(route) == ""
}

// routeOf returns the route of the module of ctx, which is being provisioned, and its server. ok is false for a module in a
// named route or in an error route.
func routeOf(ctx caddy.Context) (server *caddyhttp.Server, route caddyhttp.Route, ok bool) {
	server, ok = ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil, route, false
	}
	here := provisioning(server)
	if here < 0 {
		return nil, route, false
	}
	return server, server.Routes[here], true
}

// hosts returns the hosts that a route matches as one text, "" for all.
func hosts(route caddyhttp.Route) string {
	names := hostsOf(route)
	slices.Sort(names)
	return strings.Join(names, " ")
}

func hostsOf(route caddyhttp.Route) (names []string) {
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			if host, ok := matcher.(*caddyhttp.MatchHost); ok {
				names = append(names, *host...)
			}
		}
	}
	return names
}

// Place is where clients reach a site.
type Place struct {
	asyncapi.Server                 // without a host if the configuration names none
	Near            asyncapi.Server // for clients on this machine; without a host if the port is unknown
}

// PlaceOf returns the place of a site with these hosts, of a server that listens on these addresses.
func PlaceOf(listen, hosts []string, tls bool) Place {
	host, port := addressOf(listen)
	if port == 0 {
		return Place{}
	}
	withPort := func(host string) string {
		if tls && port == 443 || !tls && port == 80 {
			return host
		}
		return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
	}
	place := Place{Near: asyncapi.Server{Host: withPort(cmp.Or(host, "localhost")), TLS: tls}}
	for _, name := range hosts {
		if place.Host == "" && !strings.ContainsAny(name, "*{") {
			place.Server = asyncapi.Server{Host: withPort(name), TLS: tls}
		}
	}
	return place
}

// PortOf returns the port of a server that listens on these addresses, 0 if it is unknown.
func PortOf(listen []string) int {
	_, port := addressOf(listen)
	return port
}

// addressOf returns where a server listens. The host is empty if that is all addresses; the port is 0 if there is none,
// or a placeholder stands for it.
func addressOf(listen []string) (host string, port int) {
	if len(listen) == 0 {
		return "", 443
	}
	address, err := caddy.ParseNetworkAddress(listen[0])
	if err != nil || address.IsUnixNetwork() {
		return "", 0
	}
	if ip, err := netip.ParseAddr(address.Host); err == nil && ip.IsUnspecified() {
		address.Host = ""
	}
	return address.Host, int(address.StartPort)
}

// placeOf returns where clients reach the module of ctx, which is being provisioned: Caddy has decided by then which
// servers use TLS. The place is empty for a module in a named route or in an error route.
func placeOf(ctx caddy.Context) Place {
	server, route, ok := routeOf(ctx)
	if !ok {
		return Place{}
	}
	return PlaceOf(server.Listen, hostsOf(route), len(server.TLSConnPolicies) > 0)
}

// search finds assistants in routes, of which some are provisioned.
type search struct {
	named   map[string]*caddyhttp.Route
	invoked map[string]bool
	found   []Mount
	err     error // the first
}

func (s *search) route(route caddyhttp.Route) {
	for _, raw := range route.HandlersRaw { // empty once they are provisioned
		var handler any
		s.err = cmp.Or(s.err, json.Unmarshal(raw, &handler))
		s.raw(handler)
	}
	for _, handler := range route.Handlers {
		switch h := handler.(type) {
		case *Handler:
			s.add(h)
		case *caddyhttp.Invoke:
			s.invoke(h.Name)
		case *caddyhttp.Subroute:
			for _, route := range h.Routes {
				s.route(route)
			}
		}
	}
}

// raw looks into a value of a route's JSON.
func (s *search) raw(value any) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			s.raw(item)
		}
	case map[string]any:
		name, _ := v["name"].(string)
		switch v["handler"] {
		case "assistant":
			address, _ := v["address"].(string)
			h := &Handler{Name: name, Address: address}
			s.err = cmp.Or(s.err, h.SetDefaults())
			s.add(h)
			return
		case "invoke":
			s.invoke(name)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			s.raw(v[key])
		}
	}
}

func (s *search) invoke(name string) {
	if route := s.named[name]; route != nil && !s.invoked[name] {
		s.invoked[name] = true
		s.route(*route)
	}
}

func (s *search) add(h *Handler) {
	if !slices.ContainsFunc(s.found, func(m Mount) bool { return m.Name == h.Name }) {
		s.found = append(s.found, Mount{h.Name, h.Address})
	}
}
