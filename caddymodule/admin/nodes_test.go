package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/clustertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// nodes are two hubs on one database, as two servers have them.
type nodes struct {
	t    *testing.T
	bus  *brokertest.Bus
	hubs []*conversation.Hub
	a    []*conversation.Assistant
}

// forgetful is a store that can be told not to say which nodes there are.
type forgetful struct {
	assistant.Cluster
	isAway bool
}

func (s *forgetful) Nodes(ctx context.Context) ([]assistant.Node, error) {
	if s.isAway {
		return nil, errors.New("password of the database")
	}
	return s.Cluster.Nodes(ctx)
}

// onNodes runs a test with two nodes, whose model counts every 100 ms until it is stopped, or up to 50.
func onNodes(t *testing.T, test func(*testing.T, *nodes, *forgetful)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &nodes{t: t, bus: brokertest.NewBus()}
		db, first := clustertest.NewDatabase(), (*forgetful)(nil)
		for range 2 {
			store := &forgetful{Cluster: db.Open()}
			first = cmp.Or(first, store)
			hub := conversation.NewHub(store, nil)
			n.a = append(n.a, conversation.New(hub, conversation.Config{Provider: assistanttest.Model(counts)}))
			hub.OnOperation(func(_ context.Context, operation []byte) []byte { return serveOrder(hub, operation) })
			hub.Connect(func() (assistant.Broker, error) { return n.bus.Broker(), nil })
			n.hubs = append(n.hubs, hub)
			t.Cleanup(func() {
				stopped, stop := context.WithCancel(context.Background())
				stop()
				if err := hub.Close(stopped); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		test(t, n, first)
	})
}

// counts is the model.
func counts(ctx context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
	for i := range 50 {
		if !yield(assistant.Delta{Text: fmt.Sprintf("%d ", i)}) {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	yield(assistanttest.Finished)
	return nil
}

// ask begins an answer in a new conversation of the user's.
func (n *nodes) ask(node int, user string) (conversationID string) {
	n.t.Helper()
	c, err := n.hubs[node].Create(n.t.Context(), user, "")
	if err == nil {
		_, err = n.hubs[node].Do(n.t.Context(), user, c.ID, assistant.Ask{Text: "count"})
	}
	if err != nil {
		n.t.Fatal(err)
	}
	synctest.Wait()
	return c.ID
}

// line is the connection of a socket, whose client says what is in it and reads nothing.
type line struct {
	in     chan string
	once   sync.Once
	closed chan struct{}
}

func (l *line) Recv() ([]byte, error) {
	select {
	case text := <-l.in:
		return []byte(text), nil
	case <-l.closed:
		return nil, io.EOF
	}
}
func (l *line) Send(...[]byte) error { return nil }
func (l *line) Close(int, string) error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// dial opens a socket.
func (n *nodes) dial(node int, user string) *line {
	n.t.Helper()
	l := &line{in: make(chan string), closed: make(chan struct{})}
	n.hubs[node].Go(func() { _ = session.Serve(n.a[node], l, assistant.Peer{User: user}) })
	synctest.Wait()
	return l
}

func (l *line) isClosed() bool {
	synctest.Wait()
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// do asks a node's admin API. The path is below the handler's; an id is its second part.
func (n *nodes) do(node int, method, path string) (status int, body string) {
	n.t.Helper()
	serve := map[string]func(operation) error{
		"GET sockets": listSockets, "DELETE sockets": closeSockets, "DELETE sockets/": closeSocket,
		"GET answers": listAnswers, "GET answers/": followAnswer, "DELETE answers/": stopAnswer,
	}
	r := httptest.NewRequestWithContext(n.t.Context(), method, "/"+path, nil)
	resource, id, found := strings.Cut(r.URL.Path[1:], "/")
	r.SetPathValue("id", id)
	if found {
		resource += "/"
	}
	w := httptest.NewRecorder()
	err := describe(serve[method+" "+resource](operation{new(endpoint.Handler), n.hubs[node], zap.NewNop(), w, r}))
	if fault, ok := errors.AsType[caddy.APIError](err); ok {
		return fault.HTTPStatus, cmp.Or(fault.Message, fault.Err.Error())
	}
	return w.Code, w.Body.String()
}

// list reads a list of a node by pages of that size.
func list[T any](n *nodes, node, limit int, path string) (items []T, unreachable []NodeRef) {
	n.t.Helper()
	for cursor := ""; ; {
		status, body := n.do(node, http.MethodGet, fmt.Sprintf("%s&limit=%d&cursor=%s", path, limit, cursor))
		var p Page[T]
		if err := json.Unmarshal([]byte(body), &p); err != nil || status != http.StatusOK || len(p.Items) > limit {
			n.t.Fatalf("%s: %d %s, %v", path, status, body, err)
		}
		items, unreachable = append(items, p.Items...), p.Unreachable
		if cursor = p.Next; cursor == "" {
			return items, unreachable
		}
	}
}

// TestNodesAnswers lists, by any page, follows and stops answers of both nodes on each.
func TestNodesAnswers(t *testing.T) {
	onNodes(t, func(t *testing.T, n *nodes, _ *forgetful) {
		ofAnn := n.ask(0, "ann")
		for i := range 5 {
			n.ask(i%2, "bob")
		}
		for node := range n.hubs {
			for limit := range 7 {
				got, unreachable := list[AnswerInfo](n, node, limit+1, "answers?")
				at := map[assistant.NodeID]int{}
				for _, a := range got {
					at[a.Node]++
				}
				if len(got) != 6 || at[1] != 4 || at[2] != 2 || unreachable != nil || !slices.IsSortedFunc(got, func(a, b AnswerInfo) int { return strings.Compare(a.ID, b.ID) }) {
					t.Errorf("node %d lists by %d: %+v, without %v", node, limit+1, got, unreachable)
				}
			}
		}
		if local, _ := list[AnswerInfo](n, 1, 2, "answers?node=local"); len(local) != 2 || local[0].Node != 2 {
			t.Errorf("node 2 alone has %+v", local)
		}
		got, _ := list[AnswerInfo](n, 1, 2, "answers?user=ann")
		if len(got) != 1 || got[0].User != "ann" || got[0].Conversation != ofAnn {
			t.Fatalf("ann has %+v", got)
		}
		if status, _ := n.do(1, http.MethodDelete, "answers/"+got[0].ID+"?node=local"); status != http.StatusNotFound {
			t.Errorf("node 2 alone stops the other's with %d", status)
		}
		var followed string
		var wg sync.WaitGroup
		wg.Go(func() { _, followed = n.do(1, http.MethodGet, "answers/"+got[0].ID) })
		time.Sleep(time.Second)
		if status, body := n.do(1, http.MethodDelete, "answers/"+got[0].ID); status != http.StatusNoContent {
			t.Errorf("node 2 stops it with %d %s", status, body)
		}
		wg.Wait()
		if text, end := told(t, followed); !strings.HasPrefix(text, "0 1 2 3 4 5 6 7 8 ") || end != assistant.FinishStopped {
			t.Errorf("followed %q to its end %q", text, end)
		}
		for node := range n.hubs {
			if status, body := n.do(node, http.MethodDelete, "answers/"+got[0].ID); status != http.StatusNotFound {
				t.Errorf("node %d stops it again with %d %s", node, status, body)
			}
		}
		if rest, _ := list[AnswerInfo](n, 0, 100, "answers?"); len(rest) != 5 {
			t.Errorf("then there are %+v", rest)
		}
	})
}

// told returns what the lines of a followed answer say.
func told(t *testing.T, lines string) (text string, end assistant.FinishReason) {
	for line := range strings.Lines(lines) {
		var e assistant.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Kind == assistant.KindPiece {
			text += e.Text
		}
		if c, ok := e.Body.(assistant.Completed); ok {
			end = c.FinishReason
		}
	}
	return text, end
}

// TestNodesFollow follows an answer of the other node to its own end: nothing is missing or doubled.
func TestNodesFollow(t *testing.T) {
	onNodes(t, func(t *testing.T, n *nodes, _ *forgetful) {
		n.ask(0, "ann")
		time.Sleep(time.Second)
		got, _ := list[AnswerInfo](n, 1, 2, "answers?")
		_, followed := n.do(1, http.MethodGet, "answers/"+got[0].ID)
		want := ""
		for i := range 50 {
			want += fmt.Sprintf("%d ", i)
		}
		if text, end := told(t, followed); text != want || end != assistant.FinishStop {
			t.Errorf("followed %q to its end %q", text, end)
		}
	})
}

// TestNodesSockets lists sockets of both nodes on each, and closes them from the other.
func TestNodesSockets(t *testing.T) {
	onNodes(t, func(t *testing.T, n *nodes, _ *forgetful) {
		anns, bobs := []*line{n.dial(0, "ann"), n.dial(1, "ann"), n.dial(1, "ann")}, []*line{n.dial(0, "bob"), n.dial(0, "bob")}
		for node := range n.hubs {
			for limit := range 6 {
				got, unreachable := list[SocketInfo](n, node, limit+1, "sockets?")
				if len(got) != 5 || unreachable != nil || !slices.IsSortedFunc(got, func(a, b SocketInfo) int { return cmp.Compare(a.ID, b.ID) }) {
					t.Errorf("node %d lists by %d: %+v, without %v", node, limit+1, got, unreachable)
				}
			}
		}
		if status, body := n.do(0, http.MethodDelete, "sockets?user=ann"); status != http.StatusOK || body != `{"sockets":3}`+"\n" {
			t.Errorf("node 1 closes ann's: %d %s", status, body)
		}
		for i, l := range anns {
			if !l.isClosed() {
				t.Errorf("ann's socket %d is open", i)
			}
		}
		rest, _ := list[SocketInfo](n, 1, 1, "sockets?")
		if len(rest) != 2 || rest[0].User != "bob" || rest[0].Node != 1 {
			t.Fatalf("then there are %+v", rest)
		}
		if status, body := n.do(1, http.MethodDelete, "sockets/"+strconv.FormatUint(rest[0].ID, 10)); status != http.StatusNoContent || !bobs[0].isClosed() || bobs[1].isClosed() {
			t.Errorf("node 2 closes the first of bob's: %d %s", status, body)
		}
		if status, _ := n.do(1, http.MethodDelete, "sockets/"+strconv.FormatUint(rest[0].ID, 10)); status != http.StatusNotFound {
			t.Errorf("and again with %d", status)
		}
	})
}

// TestNodesOwn does not follow an answer that only the other node has, and says which.
func TestNodesOwn(t *testing.T) {
	onNodes(t, func(t *testing.T, n *nodes, _ *forgetful) {
		n.dial(0, "ann").in <- `{"action":"assistant_message","payload":"count"}`
		synctest.Wait()
		got, _ := list[AnswerInfo](n, 1, 2, "answers?")
		if len(got) != 1 || got[0].Conversation != "" {
			t.Fatalf("the answers are %+v", got)
		}
		if status, body := n.do(1, http.MethodGet, "answers/"+got[0].ID); status != http.StatusNotFound || !strings.Contains(body, "(node 1)") {
			t.Errorf("followed with %d %s", status, body)
		}
		if status, body := n.do(1, http.MethodDelete, "answers/"+got[0].ID); status != http.StatusNoContent {
			t.Errorf("stopped with %d %s", status, body)
		}
	})
}

// TestNodesUnreachable shows what there is, and names who does not reply; what is found nowhere may be there.
func TestNodesUnreachable(t *testing.T) {
	onNodes(t, func(t *testing.T, n *nodes, store *forgetful) {
		n.ask(0, "ann")
		n.ask(1, "ann")
		n.dial(0, "ann")
		all, _ := list[AnswerInfo](n, 0, 9, "answers?")
		away := all[slices.IndexFunc(all, func(a AnswerInfo) bool { return a.Node == 2 })].ID
		check := func(want NodeRef) {
			t.Helper()
			got, unreachable := list[AnswerInfo](n, 0, 9, "answers?")
			if len(got) != 1 || got[0].Node != 1 || !slices.Equal(unreachable, []NodeRef{want}) {
				t.Errorf("listed %+v, without %+v", got, unreachable)
			}
			for _, method := range []string{http.MethodGet, http.MethodDelete} {
				if status, body := n.do(0, method, "answers/"+away); status != http.StatusServiceUnavailable || !strings.Contains(body, want.String()) || strings.Contains(body, "password") {
					t.Errorf("%s: %d %s", method, status, body)
				}
			}
			if _, body := n.do(0, http.MethodDelete, "sockets?user=bob"); !strings.Contains(body, want.Name) {
				t.Errorf("closed %s", body)
			}
			if _, unreachable := list[AnswerInfo](n, 0, 9, "answers?node=local"); unreachable != nil {
				t.Errorf("asked for this node alone, %v is missed", unreachable)
			}
		}
		n.bus.Cut(2, true)
		check(NodeRef{2, "test"})
		store.isAway = true
		check(NodeRef{Name: "all other nodes"})
		store.isAway = false
		n.bus.Cut(2, false)
		if status, body := n.do(0, http.MethodDelete, "answers/"+away); status != http.StatusNoContent {
			t.Errorf("at last: %d %s", status, body)
		}
	})
}

// TestNodesListed says which nodes there are, with ids as text.
func TestNodesListed(t *testing.T) {
	onNodes(t, func(t *testing.T, n *nodes, store *forgetful) {
		got, err := json.Marshal(nodesOf(t.Context(), n.hubs[1]))
		if want := `[{"id":"1","name":"test","joined_at":"0001-01-01T00:00:00Z","draining":false},{"id":"2","name":"test","joined_at":"0001-01-01T00:00:00Z","draining":false}]`; string(got) != want || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		store.isAway = true
		if got := nodesOf(t.Context(), n.hubs[0]); got != nil {
			t.Errorf("without the store there are %v", got)
		}
	})
}

// TestServeOrder answers an order of a later version with nothing.
func TestServeOrder(t *testing.T) {
	onNodes(t, func(t *testing.T, n *nodes, _ *forgetful) {
		for _, text := range []string{"", "{", `{"do":"drain"}`, `{}`} {
			if got := serveOrder(n.hubs[0], []byte(text)); got != nil {
				t.Errorf("%q is answered with %s", text, got)
			}
		}
	})
}

// TestJoined reads lists of several nodes by pages: each item comes once, in order.
func TestJoined(t *testing.T) {
	cursor := func(n int) string { return strconv.Itoa(n) }
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 0))
		parts, total := make([][]int, 1+random.IntN(4)), random.IntN(20)
		for i := range total {
			at := random.IntN(len(parts))
			parts[at] = append(parts[at], i)
		}
		limit, after, got := 1+random.IntN(8), -1, []int{}
		for isFirst, next := true, ""; isFirst || next != ""; isFirst = false {
			if next != "" {
				after, _ = strconv.Atoi(next)
			}
			var pages []Page[int]
			for _, part := range parts {
				rest := slices.DeleteFunc(slices.Clone(part), func(n int) bool { return n <= after })
				pages = append(pages, paged(rest[:min(limit+1, len(rest))], limit, cursor))
			}
			page := joined(pages, limit, cursor, cmp.Compare[int])
			if got, next = append(got, page.Items...), page.Next; len(page.Items) > limit || len(got) > total || page.Next != "" && len(got) == total {
				t.Fatalf("seed %d: page %+v after %d", seed, page, after)
			}
		}
		if len(got) != total || !slices.IsSorted(got) {
			t.Fatalf("seed %d: %v of %d", seed, got, total)
		}
	}
}

// TestEndedElsewhere gives up an answer that no node has any more, and never one whose node does not reply.
func TestEndedElsewhere(t *testing.T) {
	onNodes(t, func(t *testing.T, n *nodes, _ *forgetful) {
		n.bus.Cut(2, true)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		ended := endedElsewhere(operation{new(endpoint.Handler), n.hubs[0], zap.NewNop(), httptest.NewRecorder(), r}, "x")
		time.Sleep(time.Minute)
		select {
		case <-ended:
			t.Fatal("given up while its node does not reply")
		default:
		}
		n.bus.Cut(2, false)
		began := time.Now()
		<-ended
		if took := time.Since(began); took < lookEvery || took > 3*lookEvery {
			t.Errorf("given up after %v", took)
		}
	})
}
