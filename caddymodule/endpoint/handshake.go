package endpoint

import (
	"regexp"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/caddy-assistant/caddy-assistant/asyncapi"
)

// Channel describes the handler in the AsyncAPI document.
func (h *Handler) Channel() asyncapi.Channel {
	return asyncapi.Channel{
		Name: h.Name, Address: h.Address, Description: h.Description, Tags: h.Tags,
		Query: h.query(), Headers: h.headers(), Refusals: h.refusals(),
		CloseCodes: closeCodes, Limits: h.limits(),
	}
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

// queryPlaceholder is a parameter of the request's URL; the Caddyfile's {query.x} is short for it.
var queryPlaceholder = regexp.MustCompile(`\{(?:http\.request\.uri\.)?query\.([^{}]+)\}`)

// query describes the parameters of the handshake's URL that the configuration looks at.
func (h *Handler) query() []wire.Property {
	var properties []wire.Property
	described := map[string]bool{}
	for _, t := range []struct{ template, description string }{
		{h.Conversation, "Which stored conversation the connection is bound to."},
		{h.User, "Who the user is, and so the owner of conversations."},
	} {
		for _, match := range queryPlaceholder.FindAllStringSubmatch(t.template, -1) {
			if name := match[1]; !described[name] {
				described[name] = true
				properties = append(properties, wire.Property{Name: name, Schema: &wire.Schema{Type: "string", Description: t.description}})
			}
		}
	}
	return properties
}

// headers describes what the handler itself looks at. Those that only a proxy may set are not for clients.
func (h *Handler) headers() []wire.Property {
	origins := "the site's own"
	if len(h.Origins) > 0 {
		origins = "`" + strings.Join(h.Origins, "`, `") + "`"
	}
	return []wire.Property{{Name: "Origin", Schema: &wire.Schema{
		Type: "string", Description: "Which page connects; browsers send it, other clients need not. Allowed: " + strings.Replace(origins, "`*`", "any", 1) + ".",
	}}}
}

// refusals are what ServeHTTP answers instead of an upgrade.
func (h *Handler) refusals() map[int]string {
	statuses := map[int]string{
		400: "The handshake is malformed, or the user's name is too long or no text.",
		403: "The page's origin is not allowed.",
		426: "The request is no WebSocket handshake.",
		503: "The server stops, has as many connections as it may, or cannot reach its store: try again after Retry-After.",
	}
	if h.Conversation != "" {
		statuses[404] = "The conversation is not there or not the user's."
	}
	return statuses
}
