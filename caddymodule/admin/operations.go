package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"go.uber.org/zap"
)

// HandlerInfo is a handler, its activity and how its store is.
type HandlerInfo struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	conversation.Activity
	Store endpoint.Status `json:"store"`
}

func infoOf(ctx context.Context, h *endpoint.Handler) HandlerInfo {
	return HandlerInfo{h.Name, h.Address, h.Hub().Activity(), h.StoreStatus(ctx)}
}

func listHandlers(w http.ResponseWriter, r *http.Request) error {
	list := Page[HandlerInfo]{Items: []HandlerInfo{}}
	for _, h := range endpoint.Running() {
		list.Items = append(list.Items, infoOf(r.Context(), h))
	}
	return answer(w, list)
}

func showHandler(op operation) error { return answer(op.w, infoOf(op.r.Context(), op.Handler)) }

func showHealth(op operation) error { return op.Health(op.r.Context()).WriteTo(op.w) }

// ProviderInfo is a model of a handler and its state.
type ProviderInfo struct {
	Provider string             `json:"provider"`
	Model    string             `json:"model"`
	State    chain.CircuitState `json:"state"`
	Since    time.Time          `json:"since,omitzero"` // of the last change between closed and not
	Until    time.Time          `json:"until,omitzero"` // when an open circuit may be tried
	Failures int                `json:"failures"`       // in a row
	Reason   assistant.Reason   `json:"reason,omitempty"`
}

func listProviders(op operation) error {
	list := Page[ProviderInfo]{Items: []ProviderInfo{}}
	for _, h := range op.Chain().Health() {
		list.Items = append(list.Items, ProviderInfo{h.Provider, h.Model, h.State, h.Since.UTC(), h.Until.UTC(), h.Failures, h.Reason})
	}
	return answer(op.w, list)
}

func listSockets(op operation) error {
	limit, err := op.limit()
	if err != nil {
		return err
	}
	var after uint64
	if cursor := op.query().Get("cursor"); cursor != "" {
		if after, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			return errCursor
		}
	}
	sockets := session.Sockets(op.hub, after, limit+1, op.keep())
	return answer(op.w, paged(sockets, limit, func(s session.Socket) string { return strconv.FormatUint(s.ID, 10) }))
}

var errCursor = refuse(http.StatusBadRequest, "cursor: expected the next_cursor of a page")

func closeSockets(op operation) error {
	user, err := op.user()
	if err != nil {
		return err
	}
	return answer(op.w, map[string]int{"sockets": session.CloseSockets(op.hub, user)})
}

func closeSocket(op operation) error {
	id, err := strconv.ParseUint(op.r.PathValue("id"), 10, 64)
	if err != nil || !session.CloseSocket(op.hub, id) {
		return refuse(http.StatusNotFound, "no open socket has this id")
	}
	op.w.WriteHeader(http.StatusNoContent)
	return nil
}

func listAnswers(op operation) error {
	limit, err := op.limit()
	if err != nil {
		return err
	}
	answers := op.hub.Answers(op.query().Get("cursor"), limit+1, op.keep())
	return answer(op.w, paged(answers, limit, func(a conversation.Answer) string { return a.ID }))
}

func stopAnswer(op operation) error {
	if !op.hub.StopAnswer(op.r.PathValue("id")) {
		return refuse(http.StatusNotFound, "no running answer has this id")
	}
	op.w.WriteHeader(http.StatusNoContent)
	return nil
}

// ConversationInfo is a conversation without its texts.
type ConversationInfo struct {
	ID        string    `json:"conversation_id"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func listConversations(op operation) error {
	user, userErr := op.user()
	limit, limitErr := op.limit()
	if err := cmp.Or(userErr, limitErr); err != nil {
		return err
	}
	conversations, next, err := op.hub.Conversations(op.r.Context(), user, op.query().Get("cursor"), limit)
	if errors.Is(err, assistant.ErrNotFound) {
		return errCursor
	}
	if err != nil {
		return err
	}
	list := Page[ConversationInfo]{Items: []ConversationInfo{}, Next: next}
	for _, c := range conversations {
		list.Items = append(list.Items, ConversationInfo{c.ID, c.CreatedAt, c.UpdatedAt})
	}
	return answer(op.w, list)
}

func eraseConversations(op operation) error {
	user, err := op.user()
	if err != nil {
		return err
	}
	n, err := op.hub.Erase(op.r.Context(), user)
	op.log.Info("conversations erased", zap.String("handler", op.Name), zap.String("user", user), zap.Int("conversations", n), zap.Error(err))
	if err != nil {
		return err
	}
	return answer(op.w, map[string]int{"conversations": n})
}

// exportTimeout is how long the client may take to read one conversation of an export.
const exportTimeout = time.Minute

func exportConversations(op operation) error {
	user, err := op.user()
	if err != nil {
		return err
	}
	op.w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(op.w)
	out.SetEscapeHTML(false)
	control := http.NewResponseController(op.w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	n, begun := 0, false
	for c, err := range op.hub.Export(op.r.Context(), user) {
		if err == nil {
			begun = true
			_ = control.SetWriteDeadline(time.Now().Add(exportTimeout))
			err = out.Encode(c)
		}
		if err != nil && !begun {
			return err
		}
		if err != nil {
			op.log.Error("export broke off", zap.String("handler", op.Name), zap.String("user", user), zap.Int("conversations", n), zap.Error(err))
			panic(http.ErrAbortHandler) // the status is sent: only a broken connection still signals an error
		}
		n++
	}
	op.log.Info("conversations exported", zap.String("handler", op.Name), zap.String("user", user), zap.Int("conversations", n))
	return nil
}

func drainHandler(op operation) error {
	// The drain goes on if its client disconnects.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(op.r.Context()), time.Duration(op.DrainTimeout))
	defer cancel()
	op.hub.Drain(ctx)
	return answer(op.w, infoOf(op.r.Context(), op.Handler))
}

func resumeHandler(op operation) error {
	if !op.hub.Resume() {
		return conversation.ErrClosed
	}
	return answer(op.w, infoOf(op.r.Context(), op.Handler))
}
