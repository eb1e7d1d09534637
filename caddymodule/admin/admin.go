// Package admin adds the assistant to Caddy's admin API.
package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(Admin{}) }

// Admin adds to Caddy's admin API what operators of assistants need. <name> is the name of a handler.
//
//	GET    /assistant/                                 the handlers, their activity and nodes
//	GET    /assistant/<name>                           one of them
//	GET    /assistant/<name>/health                    store, models and drain; 503 where no new clients should come
//	GET    /assistant/<name>/waiting                   calls of tools that wait for a person, of all nodes and users
//	POST   /assistant/<name>/check                     ask each model a short question, and the store whether it answers
//	GET    /assistant/<name>/providers                 its models, and which of them are passed over
//	GET    /assistant/<name>/tools                     the tools that models may call, as they see them
//	GET    /assistant/<name>/sockets[?user=]           open sockets
//	DELETE /assistant/<name>/sockets?user=             close all sockets of a user, with 1008
//	DELETE /assistant/<name>/sockets/<socket_id>       close one
//	GET    /assistant/<name>/answers[?user=]           running answers
//	GET    /assistant/<name>/answers/<message_id>      follow one up to its end
//	DELETE /assistant/<name>/answers/<message_id>      stop one, as its clients can
//	GET    /assistant/<name>/conversations?user=       a user's stored conversations, the last updated first
//	DELETE /assistant/<name>/conversations?user=       erase them all
//	GET    /assistant/<name>/export?user=              export them all
//	PUT    /assistant/<name>/drain                     refuse new sockets and questions, end answers, close sockets
//	DELETE /assistant/<name>/drain                     serve again
//
// Everything is JSON. Lists come in pages, {"items": […], "next_cursor"}, with ?limit (1 to 1000, default 100) and
// ?cursor. Errors are {"error"}, with 400, 404, 405, 409 or 503. Only an export and a
// followed answer contain message texts. Lists have no titles, since those are first questions.
//
// A followed answer has a line of JSON (application/x-ndjson) for each of its events: first a piece with the text so
// far, then what comes, at last an event of the kind completed.
//
// An export has a line of JSON (application/x-ndjson) for each conversation, with all its messages, so that neither
// side holds more than one conversation. An export that fails is cut off, so that it does not look complete.
//
// Where nodes share a store, sockets and answers are those of all nodes: each item of a list has its "node", and what
// is closed, stopped or followed may be on any of them. Nodes that do not reply within five seconds are named in
// "unreachable", and what they have is missing; where the id of a socket or answer is found on no other node, the status
// is 503 then. With ?node=local a request is about the node that gets it. Conversations and exports are of the store, and
// so of all nodes. Activity, health, providers and drain are always the node's own. An answer in a socket's own
// conversation can be followed only on its node.
//
// A drain lasts until it is deleted or the process ends; a reload does not end it. Running answers may go on for the
// handler's drain_timeout.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.assistant", New: func() caddy.Module { return new(Admin) }}
}

// Routes returns the table of paths.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/assistant/", Handler: caddy.AdminHandlerFunc(noRoute)},
		{Pattern: "/assistant/{$}", Handler: methods{http.MethodGet: listHandlers}},
		{Pattern: "/assistant/{name}", Handler: methods{http.MethodGet: ofHandler(showHandler)}},
		{Pattern: "/assistant/{name}/health", Handler: methods{http.MethodGet: ofHandler(showHealth)}},
		{Pattern: "/assistant/{name}/check", Handler: methods{http.MethodPost: ofHandler(checkHandler)}},
		{Pattern: "/assistant/{name}/providers", Handler: methods{http.MethodGet: ofHandler(listProviders)}},
		{Pattern: "/assistant/{name}/tools", Handler: methods{http.MethodGet: ofHandler(listTools)}},
		{Pattern: "/assistant/{name}/waiting", Handler: methods{http.MethodGet: ofHandler(listWaiting)}},
		{Pattern: "/assistant/{name}/sockets", Handler: methods{http.MethodGet: ofHandler(listSockets), http.MethodDelete: ofHandler(closeSockets)}},
		{Pattern: "/assistant/{name}/sockets/{id}", Handler: methods{http.MethodDelete: ofHandler(closeSocket)}},
		{Pattern: "/assistant/{name}/answers", Handler: methods{http.MethodGet: ofHandler(listAnswers)}},
		{Pattern: "/assistant/{name}/answers/{id}", Handler: methods{http.MethodGet: ofHandler(followAnswer), http.MethodDelete: ofHandler(stopAnswer)}},
		{Pattern: "/assistant/{name}/conversations", Handler: methods{http.MethodGet: ofHandler(listConversations), http.MethodDelete: ofHandler(eraseConversations)}},
		{Pattern: "/assistant/{name}/export", Handler: methods{http.MethodGet: ofHandler(exportConversations)}},
		{Pattern: "/assistant/{name}/drain", Handler: methods{http.MethodPut: ofHandler(drainHandler), http.MethodDelete: ofHandler(resumeHandler)}},
	}
}

// methods holds the handlers of a path, by method.
type methods map[string]caddy.AdminHandlerFunc

func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	serve, ok := m[r.Method]
	if !ok {
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(m)), ", "))
		return refuse(http.StatusMethodNotAllowed, "method %s is not allowed here", r.Method)
	}
	return serve(w, r)
}

func noRoute(http.ResponseWriter, *http.Request) error {
	return refuse(http.StatusNotFound, "no such path")
}

// refuse returns an error whose text the client sees.
func refuse(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// operation is a request about a handler. Its context ends with the request and with the handler's hub.
type operation struct {
	*endpoint.Handler
	hub *conversation.Hub
	log *zap.Logger
	w   http.ResponseWriter
	r   *http.Request
}

// ofHandler looks up the handler that a request names, in the configuration that is running now: the admin server may
// be older.
func ofHandler(serve func(operation) error) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		handlers := endpoint.Running()
		i := slices.IndexFunc(handlers, func(h *endpoint.Handler) bool { return h.Name == r.PathValue("name") })
		if i < 0 {
			return refuse(http.StatusNotFound, "no assistant handler has this name")
		}
		h := handlers[i]
		if node := r.URL.Query().Get("node"); node != "" && node != "local" {
			return refuse(http.StatusBadRequest, "node: expected local or nothing, found %.20q", node)
		}
		err := h.Hub().Run(r.Context(), func(ctx context.Context) error {
			return serve(operation{h, h.Hub(), h.Logger(), w, r.WithContext(ctx)})
		})
		return describe(err)
	}
}

// describe gives err a status. The text of a store's error goes to the log only.
func describe(err error) error {
	if _, known := errors.AsType[caddy.APIError](err); known || err == nil {
		return err
	}
	switch {
	case errors.Is(err, conversation.ErrAnonymous):
		return refuse(http.StatusBadRequest, "user: expected the owner of the conversations, found nothing; anonymous conversations have no owner")
	case errors.Is(err, conversation.ErrInUse):
		return caddy.APIError{HTTPStatus: http.StatusConflict, Err: err}
	case errors.Is(err, conversation.ErrClosed):
		return refuse(http.StatusServiceUnavailable, "the handler is stopping")
	}
	return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err, Message: "the store failed; see Caddy's log"}
}

func (op operation) query() url.Values { return op.r.URL.Query() }

// user returns the user that the request names.
func (op operation) user() (string, error) {
	user := endpoint.UserName(op.query().Get("user"))
	if user == "" {
		return "", conversation.ErrAnonymous
	}
	return user, nil
}

// chosen returns the user that the request names, or nil for all users.
func (op operation) chosen() *string {
	if !op.query().Has("user") {
		return nil
	}
	return new(endpoint.UserName(op.query().Get("user")))
}

const (
	defaultLimit = 100
	// MaxLimit is the largest page.
	MaxLimit = 1000
)

func (op operation) limit() (int, error) {
	text := cmp.Or(op.query().Get("limit"), strconv.Itoa(defaultLimit))
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > MaxLimit {
		return 0, refuse(http.StatusBadRequest, "limit: expected a number from 1 to %d, found %.20q", MaxLimit, text)
	}
	return n, nil
}

// Page is one page of a list.
type Page[T any] struct {
	Items       []T       `json:"items"`
	Next        string    `json:"next_cursor,omitempty"`
	Unreachable []NodeRef `json:"unreachable,omitempty"` // nodes that do not reply: what they have is missing
}

// paged makes a page of the first limit items. One item more means that there is a next page.
func paged[T any](items []T, limit int, cursor func(T) string) Page[T] {
	p := Page[T]{Items: items}
	if len(items) > limit {
		p.Items = items[:limit]
		p.Next = cursor(items[limit-1])
	}
	return p
}

func answer(w http.ResponseWriter, body any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(body)
}

var _ caddy.AdminRouter = Admin{}
