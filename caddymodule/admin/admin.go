// Package admin is the operators' part of Caddy's admin API.
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

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(Admin{}) }

// Admin adds to Caddy's admin API what operators of assistants need. <name> is that of a handler.
//
//	GET    /assistant/                                 the handlers, with what they are doing
//	GET    /assistant/<name>                           one of them
//	GET    /assistant/<name>/providers                 its models, and which of them are passed over
//	GET    /assistant/<name>/sockets[?user=]           open sockets
//	DELETE /assistant/<name>/sockets?user=             close all of a user's, with 1008
//	DELETE /assistant/<name>/sockets/<socket_id>       close one
//	GET    /assistant/<name>/answers[?user=]           running answers
//	DELETE /assistant/<name>/answers/<message_id>      stop one, as its clients can
//	GET    /assistant/<name>/conversations?user=       a user's stored conversations, the last updated first
//	DELETE /assistant/<name>/conversations?user=       erase them all
//	GET    /assistant/<name>/export?user=              export them all
//	PUT    /assistant/<name>/drain                     take no new sockets and questions, end answers, close sockets
//	DELETE /assistant/<name>/drain                     serve again
//
// Everything is JSON. Lists are {"items": […], "next_cursor"}, by the page: ?limit (1 to 1000, default 100)
// and ?cursor. Faults are {"error"}, with 400, 404, 405, 409 or 503. Only an export contains what was said:
// titles are not listed since they are first questions.
//
// An export has a line of JSON (application/x-ndjson) for each conversation, with all its messages, so that
// neither side holds more than one. One that cannot be finished is cut off, never ended.
//
// A drain lasts until it is deleted or the process ends, whatever is reloaded. Running answers have the
// handler's drain_timeout.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.assistant", New: func() caddy.Module { return new(Admin) }}
}

// Routes is the table of what there is.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/assistant/", Handler: caddy.AdminHandlerFunc(noRoute)},
		{Pattern: "/assistant/{$}", Handler: methods{http.MethodGet: listHandlers}},
		{Pattern: "/assistant/{name}", Handler: methods{http.MethodGet: ofHandler(showHandler)}},
		{Pattern: "/assistant/{name}/providers", Handler: methods{http.MethodGet: ofHandler(listProviders)}},
		{Pattern: "/assistant/{name}/sockets", Handler: methods{http.MethodGet: ofHandler(listSockets), http.MethodDelete: ofHandler(closeSockets)}},
		{Pattern: "/assistant/{name}/sockets/{id}", Handler: methods{http.MethodDelete: ofHandler(closeSocket)}},
		{Pattern: "/assistant/{name}/answers", Handler: methods{http.MethodGet: ofHandler(listAnswers)}},
		{Pattern: "/assistant/{name}/answers/{id}", Handler: methods{http.MethodDelete: ofHandler(stopAnswer)}},
		{Pattern: "/assistant/{name}/conversations", Handler: methods{http.MethodGet: ofHandler(listConversations), http.MethodDelete: ofHandler(eraseConversations)}},
		{Pattern: "/assistant/{name}/export", Handler: methods{http.MethodGet: ofHandler(exportConversations)}},
		{Pattern: "/assistant/{name}/drain", Handler: methods{http.MethodPut: ofHandler(drainHandler), http.MethodDelete: ofHandler(resumeHandler)}},
	}
}

// methods are what can be done with a resource.
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

// refuse is an error whose text is for the client.
func refuse(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// operation is a request about a handler. Its context ends with the request and with the handler's hub.
type operation struct {
	*endpoint.Handler
	hub *assistant.Hub
	log *zap.Logger
	w   http.ResponseWriter
	r   *http.Request
}

// ofHandler finds the handler that a request is about in the configuration that is running now: the admin
// server may be older than that.
func ofHandler(serve func(operation) error) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		handlers := endpoint.Running()
		i := slices.IndexFunc(handlers, func(h *endpoint.Handler) bool { return h.Name == r.PathValue("name") })
		if i < 0 {
			return refuse(http.StatusNotFound, "no assistant handler has this name")
		}
		h := handlers[i]
		err := h.Hub().Do(r.Context(), func(ctx context.Context) error {
			return serve(operation{h, h.Hub(), h.Logger(), w, r.WithContext(ctx)})
		})
		return describe(err)
	}
}

// describe gives err a status. What a store says is for the log.
func describe(err error) error {
	if _, known := errors.AsType[caddy.APIError](err); known || err == nil {
		return err
	}
	switch {
	case errors.Is(err, assistant.ErrAnonymous):
		return refuse(http.StatusBadRequest, "user: expected who owns the conversations, found nothing: anonymous ones belong to nobody")
	case errors.Is(err, assistant.ErrInUse):
		return caddy.APIError{HTTPStatus: http.StatusConflict, Err: err}
	case errors.Is(err, assistant.ErrClosed):
		return refuse(http.StatusServiceUnavailable, "the handler is stopping")
	}
	return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err, Message: "the store failed; Caddy's log tells why"}
}

func (op operation) query() url.Values { return op.r.URL.Query() }

// user is whom the request is about.
func (op operation) user() (string, error) {
	user := op.query().Get("user")
	if user == "" {
		return "", assistant.ErrAnonymous
	}
	return user, nil
}

// keep chooses the users that the request is about: without user, all.
func (op operation) keep() func(string) bool {
	if !op.query().Has("user") {
		return nil
	}
	user := op.query().Get("user")
	return func(u string) bool { return u == user }
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
	Items []T    `json:"items"`
	Next  string `json:"next_cursor,omitempty"`
}

// paged is a page of at most limit of items, which may have one more.
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
