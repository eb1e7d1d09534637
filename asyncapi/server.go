package asyncapi

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
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

func (s Server) object(pathname string) object {
	host, protocol, name := s.Host, "ws", "production"
	if !hostname.MatchString(host) {
		host = "localhost"
	}
	if s.TLS {
		protocol = "wss"
	}
	if isLocal(host) {
		name = "development"
	}
	return object{{name, object{{"host", host}, {"protocol", protocol}, {"pathname", pathname}}}}
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
