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

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"go.uber.org/zap"
)

// HandlerInfo is a handler on this node, its activity and how its store is, and the nodes that share the store.
type HandlerInfo struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	conversation.Activity
	Store endpoint.Status  `json:"store"`
	Node  assistant.NodeID `json:"node,string,omitempty"` // this one; 0 where the store is not shared
	Nodes []NodeInfo       `json:"nodes,omitempty"`       // all, oldest first; none where the store does not answer
}

func infoOf(ctx context.Context, h *endpoint.Handler) HandlerInfo {
	info := HandlerInfo{Name: h.Name, Address: h.Address, Activity: h.Hub().Activity(), Store: h.StoreStatus(ctx), Node: h.Hub().Node()}
	if info.Store != endpoint.StatusUnavailable {
		info.Nodes = nodesOf(ctx, h.Hub())
	}
	return info
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

// ToolInfo is a tool as models see it, for a user without a name. Hash changes when its description or its parameters
// do: who serves it may do that at any time.
type ToolInfo struct {
	Name        string          `json:"name"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Server      string          `json:"server,omitempty"`
	Approve     bool            `json:"approve"`
	Repeatable  bool            `json:"repeatable"`
	Untrusted   bool            `json:"untrusted"`
	Hash        string          `json:"hash"`
}

// listTools asks the servers of the tools. What cannot be had now is missing, and is in the log.
func listTools(op operation) error {
	list := Page[ToolInfo]{Items: []ToolInfo{}}
	tools, err := op.Tools().Tools(op.r.Context(), assistant.Peer{})
	if err != nil {
		op.log.Warn("tools are missing", zap.Error(err))
	}
	for _, t := range tools {
		list.Items = append(list.Items, ToolInfo{t.Name, t.Title, t.Description, t.Parameters, t.Server, t.Approve, t.Repeatable, t.Untrusted, t.Hash()[:12]})
	}
	return answer(op.w, list)
}

// maxWaiting is how many conversations are looked at for calls that wait.
const maxWaiting = 1000

// listWaiting lists the calls of tools that wait, of all users. It has no pages.
func listWaiting(op operation) error {
	calls, err := op.Hub().WaitingCalls(op.r.Context(), maxWaiting)
	if err != nil {
		return err
	}
	return answer(op.w, Page[conversation.WaitingCall]{Items: calls})
}

func listSockets(op operation) error {
	if cursor := op.query().Get("cursor"); cursor != "" {
		if _, err := strconv.ParseUint(cursor, 10, 64); err != nil {
			return errCursor
		}
	}
	return listEverywhere(op, order{Do: "sockets"}, cursorOfSocket, func(a, b SocketInfo) int { return cmp.Compare(a.ID, b.ID) })
}

var errCursor = refuse(http.StatusBadRequest, "cursor: expected the next_cursor of a page")

// Closed is how many sockets were closed.
type Closed struct {
	Sockets     int       `json:"sockets"`
	Unreachable []NodeRef `json:"unreachable,omitempty"` // nodes that do not reply
}

func closeSockets(op operation) error {
	user, err := op.user()
	if err != nil {
		return err
	}
	o := order{Do: "close_sockets", User: &user}
	closed := Closed{Sockets: here[int](op, o)}
	others, unreachable := elsewhere[int](op, o)
	for _, n := range others {
		closed.Sockets += n
	}
	closed.Unreachable = unreachable
	return answer(op.w, closed)
}

func closeSocket(op operation) error {
	return endOne(op, order{Do: "close_socket"}, "no open socket has this id")
}

func listAnswers(op operation) error {
	return listEverywhere(op, order{Do: "answers"}, cursorOfAnswer, func(a, b AnswerInfo) int { return cmp.Compare(a.ID, b.ID) })
}

const noAnswer = "no running answer has this id"

func stopAnswer(op operation) error { return endOne(op, order{Do: "stop_answer"}, noAnswer) }

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
