package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"go.uber.org/zap"
)

func init() { endpoint.ServeOperations(serveOrder) }

// NodeRef names a node. Ids are text in JSON, for they have more digits than a number of JavaScript's.
type NodeRef struct {
	ID   assistant.NodeID `json:"id,string,omitempty"`
	Name string           `json:"name,omitempty"`
}

// NodeInfo is a node that lives.
type NodeInfo struct {
	NodeRef
	JoinedAt time.Time `json:"joined_at"`
	Draining bool      `json:"draining"`
}

// nodesTimeout is how long the store may take to say which nodes there are.
const nodesTimeout = 2 * time.Second

// nodesOf returns the nodes that share a hub's store; none where it is not shared or does not say.
func nodesOf(ctx context.Context, hub *conversation.Hub) (nodes []NodeInfo) {
	if hub.Node() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, nodesTimeout)
	defer cancel()
	all, _ := hub.Nodes(ctx)
	for _, n := range all {
		nodes = append(nodes, NodeInfo{NodeRef{n.ID, n.Name}, n.JoinedAt.UTC(), n.Draining})
	}
	return nodes
}

// SocketInfo is an open socket and the node that has it.
type SocketInfo struct {
	session.Socket
	Node assistant.NodeID `json:"node,string,omitempty"` // 0 where the store is not shared
}

// AnswerInfo is a running answer and the node that gives it.
type AnswerInfo struct {
	conversation.Answer
	Node assistant.NodeID `json:"node,string,omitempty"` // 0 where the store is not shared
}

// order is what one node asks of another, so that an operation concerns all of them.
type order struct {
	Do     string  `json:"do"` // one of orders
	ID     string  `json:"id,omitempty"`
	User   *string `json:"user,omitempty"`   // nil = all
	Cursor string  `json:"cursor,omitempty"` // of a list
	Limit  int     `json:"limit,omitempty"`
}

// keep returns a filter for the order's user; nil for all.
func (o order) keep() func(string) bool {
	if o.User == nil {
		return nil
	}
	return func(user string) bool { return user == *o.User }
}

// orders are all that a node does for others, by name. Each is about what the node itself has.
var orders = map[string]func(*conversation.Hub, order) any{
	"sockets":       socketsHere,      // Page[SocketInfo]
	"close_sockets": closeSocketsHere, // int: how many there were
	"close_socket":  closeSocketHere,  // bool: whether there was one
	"answers":       answersHere,      // Page[AnswerInfo]
	"answer":        answerHere,       // []AnswerInfo: one or none
	"stop_answer":   stopAnswerHere,   // bool: whether there was one
}

func socketsHere(hub *conversation.Hub, o order) any {
	after, _ := strconv.ParseUint(o.Cursor, 10, 64) // checked before
	items := []SocketInfo{}
	for _, s := range session.Sockets(hub, after, o.Limit+1, o.keep()) {
		items = append(items, SocketInfo{s, hub.Node()})
	}
	return paged(items, o.Limit, cursorOfSocket)
}

func cursorOfSocket(s SocketInfo) string { return strconv.FormatUint(s.ID, 10) }

func closeSocketsHere(hub *conversation.Hub, o order) any {
	if o.User == nil {
		return 0
	}
	return session.CloseSockets(hub, *o.User)
}

func closeSocketHere(hub *conversation.Hub, o order) any {
	id, err := strconv.ParseUint(o.ID, 10, 64)
	return err == nil && session.CloseSocket(hub, id)
}

func answersHere(hub *conversation.Hub, o order) any {
	items := []AnswerInfo{}
	for _, a := range hub.Answers(o.Cursor, o.Limit+1, o.keep()) {
		items = append(items, AnswerInfo{a, hub.Node()})
	}
	return paged(items, o.Limit, cursorOfAnswer)
}

func cursorOfAnswer(a AnswerInfo) string { return a.ID }

func answerHere(hub *conversation.Hub, o order) any {
	items := []AnswerInfo{}
	for _, a := range hub.Answers("", math.MaxInt, nil) {
		if a.ID == o.ID {
			items = append(items, AnswerInfo{a, hub.Node()})
		}
	}
	return items
}

func stopAnswerHere(hub *conversation.Hub, o order) any { return hub.StopAnswer(o.ID) }

// serveOrder carries out an order of another node. It returns nothing for one that this version does not know.
func serveOrder(hub *conversation.Hub, data []byte) []byte {
	var o order
	if err := json.Unmarshal(data, &o); err != nil || orders[o.Do] == nil {
		return nil
	}
	result, _ := json.Marshal(orders[o.Do](hub, o)) // plain values
	return result
}

// here carries out an order on this node.
func here[T any](op operation, o order) T { return orders[o.Do](op.hub, o).(T) }

// elsewhere has all other nodes carry out an order, unless the request is about this one alone. Those that do not
// reply are unreachable; one without an id stands for all, where the store does not say which there are.
func elsewhere[T any](op operation, o order) (results []T, unreachable []NodeRef) {
	if op.isLocal() || op.hub.Node() == 0 {
		return nil, nil
	}
	data, _ := json.Marshal(o) // plain values
	others, err := op.hub.Operate(op.r.Context(), data)
	if err != nil {
		op.log.Warn("other nodes not asked", zap.String("handler", op.Name), zap.Error(err))
		return nil, []NodeRef{{Name: "all other nodes"}}
	}
	for _, other := range others {
		var result T
		if err := cmp.Or(other.Err, json.Unmarshal(other.Result, &result)); err != nil {
			op.log.Warn("node does not reply", zap.String("handler", op.Name), zap.Int64("node", int64(other.Node.ID)), zap.String("name", other.Node.Name), zap.Error(err))
			unreachable = append(unreachable, NodeRef{other.Node.ID, other.Node.Name})
			continue
		}
		results = append(results, result)
	}
	return results, unreachable
}

// isLocal reports whether the request is about this node alone.
func (op operation) isLocal() bool { return op.query().Get("node") == "local" }

// listEverywhere answers with one page of what all nodes have.
func listEverywhere[T any](op operation, o order, cursor func(T) string, compare func(a, b T) int) error {
	var err error
	if o.Limit, err = op.limit(); err != nil {
		return err
	}
	o.Cursor, o.User = op.query().Get("cursor"), op.chosen()
	page := here[Page[T]](op, o)
	others, unreachable := elsewhere[Page[T]](op, o)
	page = joined(append(others, page), o.Limit, cursor, compare)
	page.Unreachable = unreachable
	return answer(op.w, page)
}

// joined makes one page of those that nodes have for the same cursor.
func joined[T any](pages []Page[T], limit int, cursor func(T) string, compare func(a, b T) int) Page[T] {
	all, isMore := []T{}, false
	for _, p := range pages {
		all, isMore = append(all, p.Items...), isMore || p.Next != ""
	}
	slices.SortFunc(all, compare)
	page := paged(all, limit, cursor)
	if isMore && page.Next == "" { // the node that has more has filled the page
		page.Next = cursor(all[len(all)-1])
	}
	return page
}

// endOne ends what only one node has: none says that no node has it.
func endOne(op operation, o order, none string) error {
	o.ID = op.r.PathValue("id")
	if !here[bool](op, o) {
		found, unreachable := elsewhere[bool](op, o)
		switch {
		case slices.Contains(found, true):
		case len(unreachable) > 0:
			return refuse(http.StatusServiceUnavailable, "%s on the nodes that reply; %s", none, silence(unreachable))
		default:
			return refuse(http.StatusNotFound, "%s", none)
		}
	}
	op.w.WriteHeader(http.StatusNoContent)
	return nil
}

// silence says which nodes do not reply.
func silence(unreachable []NodeRef) string {
	var names []string
	for _, n := range unreachable {
		names = append(names, n.String())
	}
	return "no reply from " + strings.Join(names, ", ")
}

func (n NodeRef) String() string {
	if n.ID == 0 {
		return n.Name
	}
	return fmt.Sprintf("%s (node %d)", n.Name, n.ID)
}
