package endpoint

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/caddy-assistant/caddy-assistant/asyncapi"
)

// Channel describes the handler in the AsyncAPI document.
func (h *Handler) Channel() asyncapi.Channel {
	return asyncapi.Channel{
		Name: h.Name, Address: h.Address, Description: h.Description + h.aboutFiles(), Tags: h.Tags,
		Query: h.query(), Headers: h.headers(), Refusals: h.refusals(),
		CloseCodes: closeCodes, Limits: h.limits(),
	}
}

// aboutFiles says what HTTP is for beside the socket, "" where it is for nothing.
func (h *Handler) aboutFiles() string {
	if !h.hasFiles() {
		return ""
	}
	return fmt.Sprintf("\n\nImages and files of questions are uploaded by HTTP before, as the same user: `POST %s?name=…` with the bytes as body answers 201 with `file_id`, which `send_message` takes in `parts`. "+
		"`GET %[1]s/<file_id>` returns one of the user's own, and `DELETE` removes one that no question uses. "+
		"Errors have the body of the message `error`. See https://github.com/caddy-assistant/caddy-assistant/blob/main/docs/files.md.", h.filesAddress())
}

var closeCodes = map[int]string{
	1000: "The client closed the connection.",
	1007: "The client sent a text message that is not UTF-8.",
	1008: "The client sent twenty malformed frames within a minute, took longer than a minute for one message or reads too slowly, or an operator closed the connection.",
	1009: "The client sent a message over the limit.",
	1011: "The server failed.",
	1012: "The server is restarting: connect again.",
}

// queryPlaceholder is a parameter of the request's URL; the Caddyfile's {query.x} is short for it.
var queryPlaceholder = regexp.MustCompile(`\{(?:http\.request\.uri\.)?query\.([^{}]+)\}`)

// query describes the parameters of the URL that the configuration uses.
func (h *Handler) query() []wire.Property {
	var properties []wire.Property
	described := map[string]bool{}
	for _, t := range []struct{ template, description string }{
		{h.Conversation, "Which stored conversation the connection is bound to."},
		{h.User, "The user, who owns the conversations."},
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

// headers describes the headers that the handler itself uses. Headers that only a proxy may set are left out.
func (h *Handler) headers() []wire.Property {
	origins := "the site's own"
	if len(h.Origins) > 0 {
		origins = "`" + strings.Join(h.Origins, "`, `") + "`"
	}
	return []wire.Property{{Name: "Origin", Schema: &wire.Schema{
		Type: "string", Description: "The origin of the page that connects. Browsers send it; other clients may omit it. Allowed: " + strings.Replace(origins, "`*`", "any", 1) + ".",
	}}}
}

// refusals describes the answers of ServeHTTP other than an upgrade, by status.
func (h *Handler) refusals() map[int]string {
	statuses := map[int]string{
		400: "The handshake is malformed, or the user's name is too long or is not plain text.",
		403: "The page's origin is not allowed.",
		426: "The request is not a WebSocket handshake.",
		503: "The server is stopping, has reached its limit of connections, or cannot reach its store. Try again after Retry-After.",
	}
	if h.Conversation != "" {
		statuses[404] = "The conversation does not exist, or belongs to another user."
	}
	return statuses
}
