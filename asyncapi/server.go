package asyncapi

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Server is the server of the channels.
type Server struct {
	// Host is a name or IP address, with the port unless it is the protocol's default. Anything else, such
	// as the content of a forged Host header, is replaced by localhost.
	Host string
	TLS  bool
}

// ServerOf returns the server named by r. Behind a proxy that terminates TLS, the caller has to set TLS.
func ServerOf(r *http.Request) Server { return Server{Host: r.Host, TLS: r.TLS != nil} }

// hostname matches host names in use; RFC 3986 section 3.2.2 would also allow markup.
var hostname = regexp.MustCompile(`^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

// valid returns s with a host that can be shown.
func (s Server) valid() Server {
	if !hostname.MatchString(s.Host) {
		s.Host = "localhost"
	}
	return s
}

func (s Server) protocol() string {
	if s.TLS {
		return "wss"
	}
	return "ws"
}

// namedServer is an entry of the document's servers.
type namedServer struct {
	name string
	Server
	isOther bool // no channel of the document's own site is there
}

// serversOf returns the servers of all channels. The document's own is called production, or development where its host
// is a name of the machine itself; others are called after the first channel there.
func serversOf(api API) []namedServer {
	own := namedServer{name: "production", Server: api.Server.valid()}
	if isLocal(own.Host) {
		own.name = "development"
	}
	servers := []namedServer{own}
	isUsed := len(api.Channels) == 0
	for _, c := range api.Channels {
		s := api.serverOf(c)
		isUsed = isUsed || s == own.Server
		if !slices.ContainsFunc(servers, func(known namedServer) bool { return known.Server == s }) {
			servers = append(servers, namedServer{c.Name + "_server", s, true})
		}
	}
	if !isUsed {
		return servers[1:]
	}
	return servers
}

// serverOf returns where a channel is.
func (api API) serverOf(c Channel) Server {
	if c.Server.Host == "" {
		return api.Server.valid()
	}
	return c.Server.valid()
}

// serverObjects returns the Servers Object.
func (b builder) serverObjects() object {
	var servers object
	for _, s := range b.servers {
		o := object{{"host", s.Host}, {"protocol", s.protocol()}, {"pathname", b.pathname()}}
		if s.isOther {
			o = append(o, member{"x-other-site", true})
		}
		servers = append(servers, member{s.name, o})
	}
	return servers
}

// serversOf returns references to the server of a channel. Without any, a channel is at all servers: some generators
// need that where there is one.
func (b builder) serversOf(c Channel) []object {
	if len(b.servers) == 1 {
		return nil
	}
	i := slices.IndexFunc(b.servers, func(s namedServer) bool { return s.Server == b.API.serverOf(c) })
	return []object{ref("servers", b.servers[i].name)}
}

// isLocal reports whether host, which may have a port, is a name of the machine itself.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && (ip.IsLoopback() || ip.IsUnspecified())
}
