package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/brokers"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/stores"
	"github.com/caddyserver/caddy/v2"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"
)

// newAdminSite is a site with an admin API.
func newAdminSite(t *testing.T) *caddytest.Site {
	s := caddytest.NewSite(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Admin = l.Addr().String()
	_ = l.Close()
	return s
}

// ask sends a request to the admin API and returns its answer. Like dial, it tries again where the old
// server of a reload drops the connection unread.
func ask(s *caddytest.Site, method, path string) (status int, header http.Header, body string) {
	s.T.Helper()
	req, err := http.NewRequestWithContext(s.T.Context(), method, "http://"+s.Admin+path, nil)
	if err != nil {
		s.T.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	for try := 0; errors.Is(err, syscall.ECONNRESET) && try < 10; try++ {
		res, err = transport.RoundTrip(req)
	}
	if err != nil {
		s.T.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.T.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, res.Header, string(data)
}

// must is an answer that has to have a status, decoded.
func must[T any](s *caddytest.Site, status int, method, path string) (body T) {
	s.T.Helper()
	got, _, text := ask(s, method, path)
	if got != status {
		s.T.Fatalf("%s %s: %d %s, want %d", method, path, got, text, status)
	}
	if text == "" {
		return body
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		s.T.Fatalf("%s %s: %v in %q", method, path, err, text)
	}
	return body
}

// TestAdminRoutes answers what there is not, and what cannot be done, with the right status and JSON.
func TestAdminRoutes(t *testing.T) {
	s := newAdminSite(t)
	s.MustLoad("respond nothing")
	if list := must[Page[HandlerInfo]](s, 200, "GET", "/assistant/"); list.Items == nil || len(list.Items) > 0 {
		t.Errorf("without a handler there are %v", list)
	}
	s.MustLoad(caddytest.Handler("pieces 1", ""))
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/assistant/", 200, ""},
		{"GET", "/assistant/assistants", 200, ""},
		{"GET", "/assistant/assistants/providers", 200, ""},
		{"GET", "/assistant/assistants/tools", 200, ""},
		{"GET", "/assistant/assistants/waiting", 200, ""},
		{"GET", "/assistant/assistants/conversations?user=ann", 200, ""},
		{"GET", "/assistant/assistants/export?user=nobody", 200, ""},
		{"GET", "/assistant/other", 404, ""},
		{"GET", "/assistant/other/sockets", 404, ""},
		{"GET", "/assistant/assistants/nothing", 404, ""},
		{"GET", "/assistant/assistants/sockets/", 404, ""},
		{"GET", "/assistant/assistants/sockets/1/more", 404, ""},
		{"POST", "/assistant/", 405, "GET"},
		{"POST", "/assistant/assistants/sockets", 405, "DELETE, GET"},
		{"GET", "/assistant/assistants/drain", 405, "DELETE, PUT"},
		{"PUT", "/assistant/assistants/answers/1", 405, "DELETE, GET"},
		{"GET", "/assistant/assistants/answers/x", 404, ""},
		{"DELETE", "/assistant/assistants/export?user=ann", 405, "GET"},
		{"DELETE", "/assistant/assistants/sockets/99", 404, ""},
		{"DELETE", "/assistant/assistants/sockets/x", 404, ""},
		{"DELETE", "/assistant/assistants/answers/x", 404, ""},
		{"DELETE", "/assistant/assistants/sockets", 400, ""},
		{"DELETE", "/assistant/assistants/sockets?user=", 400, ""},
		{"GET", "/assistant/assistants/conversations", 400, ""},
		{"GET", "/assistant/assistants/conversations?user=", 400, ""},
		{"DELETE", "/assistant/assistants/conversations?user=", 400, ""},
		{"GET", "/assistant/assistants/export?user=", 400, ""},
		{"GET", "/assistant/assistants/sockets?limit=0", 400, ""},
		{"GET", "/assistant/assistants/sockets?limit=1001", 400, ""},
		{"GET", "/assistant/assistants/answers?limit=x", 400, ""},
		{"GET", "/assistant/assistants/sockets?cursor=x", 400, ""},
		{"GET", "/assistant/assistants/conversations?user=ann&cursor=x", 400, ""},
	} {
		status, header, body := ask(s, test.method, test.path)
		if status != test.status || header.Get("Allow") != test.allow {
			t.Errorf("%s %s: %d, Allow %q, %s", test.method, test.path, status, header.Get("Allow"), body)
		}
		var fault struct{ Error string }
		if status >= 400 && (json.Unmarshal([]byte(body), &fault) != nil || fault.Error == "" || header.Get("Content-Type") != "application/json") {
			t.Errorf("%s %s: no JSON error in %q", test.method, test.path, body)
		}
	}
}

// TestAdminSees lists sockets and answers of stored and own conversations, by page and user, with nothing of
// what was said; and stops and closes only what it is told to, also after reloads.
func TestAdminSees(t *testing.T) {
	s := newAdminSite(t)
	config := caddytest.Handler("model m\n pieces 100000", "")
	s.MustLoad(config)
	ann := s.Dial("user=ann")
	topic := ann.CreateConversation()
	bob := s.Dial("user=bob")
	ann.AskIn(topic, "a secret")
	bob.Send(`{"action":"assistant_message","payload":"a secret","ref":"b"}`)
	ann.Until("streaming")
	bob.Until("streaming")
	for range 3 {
		s.MustLoad(config)
	}

	if got := must[HandlerInfo](s, 200, "GET", "/assistant/assistants"); got.Sockets != 2 || got.Answers != 2 || got.State != conversation.StateServing || got.Address != "/ws/" || got.Store != endpoint.StatusOK {
		t.Errorf("the handler is %+v", got)
	}
	if got := must[Page[ProviderInfo]](s, 200, "GET", "/assistant/assistants/providers"); !slices.Equal(got.Items, []ProviderInfo{{Provider: "counting", Model: "m", State: chain.CircuitClosed}}) {
		t.Errorf("the providers are %+v", got)
	}
	first := must[Page[session.Socket]](s, 200, "GET", "/assistant/assistants/sockets?limit=1")
	second := must[Page[session.Socket]](s, 200, "GET", "/assistant/assistants/sockets?limit=1&cursor="+first.Next)
	if len(first.Items) != 1 || first.Items[0].User != "ann" || first.Items[0].Conversations[0] != strings.TrimPrefix(topic, "conversation:") ||
		len(second.Items) != 1 || second.Items[0].User != "bob" || second.Next != "" || second.Items[0].RemoteAddr == "" || !second.Items[0].ClientIP.IsLoopback() {
		t.Errorf("sockets %+v, then %+v", first, second)
	}
	answers := must[Page[conversation.Answer]](s, 200, "GET", "/assistant/assistants/answers?user=ann")
	if len(answers.Items) != 1 || answers.Items[0].Model != "m" || answers.Items[0].Provider != "counting" {
		t.Fatalf("answers %+v", answers)
	}
	if got := must[endpoint.Health](s, 200, "GET", "/assistant/assistants/health"); got.Status != endpoint.StatusOK || got.Store != (endpoint.StoreHealth{Module: "memory", Status: endpoint.StatusOK}) || len(got.Providers) != 1 {
		t.Errorf("the health is %+v", got)
	}
	for _, path := range []string{"", "assistants", "assistants/health", "assistants/sockets", "assistants/answers", "assistants/conversations?user=ann", "assistants/providers"} {
		if _, _, body := ask(s, "GET", "/assistant/"+path); strings.Contains(body, "secret") {
			t.Errorf("/assistant/%s tells what was said: %s", path, body)
		}
	}

	must[any](s, 204, "DELETE", "/assistant/assistants/answers/"+answers.Items[0].ID)
	if f := ann.Until("complete_streaming"); !strings.Contains(string(f.Payload), `"stopped"`) {
		t.Errorf("ann's answer ended with %s", f.Payload)
	}
	if got := must[map[string]int](s, 200, "DELETE", "/assistant/assistants/sockets?user=bob"); got["sockets"] != 1 {
		t.Errorf("closed %v", got)
	}
	for {
		if _, err := bob.Next(); websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
			break
		} else if err != nil {
			t.Fatalf("bob was closed with %v", err)
		}
	}
	must[any](s, 204, "DELETE", fmt.Sprintf("/assistant/assistants/sockets/%d", first.Items[0].ID))
	if _, err := ann.Next(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
		t.Errorf("ann was closed with %v", err)
	}
}

// TestAdminFollows follows a running answer of another's conversation and of a socket's own from its middle on, up to its
// end: what is read is what the model said.
func TestAdminFollows(t *testing.T) {
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprint("own ", own), func(t *testing.T) {
			s := newAdminSite(t)
			s.MustLoad(caddytest.Handler("model m\n pieces 100000", ""))
			ann := s.Dial("user=ann")
			if own {
				ann.Send(`{"action":"assistant_message","payload":"count","ref":"a"}`)
			} else {
				ann.AskIn(ann.CreateConversation(), "count")
			}
			ann.Until("streaming")
			id := must[Page[conversation.Answer]](s, 200, "GET", "/assistant/assistants/answers").Items[0].ID
			events := follow(s, id)
			first := read(t, events)
			if first.Kind != assistant.KindPiece {
				t.Fatalf("the first event is %+v", first)
			}
			followed := first.Text
			for range 20 {
				followed += read(t, events).Text
			}
			must[any](s, 204, "DELETE", "/assistant/assistants/answers/"+id)
			for e := read(t, events); ; e = read(t, events) {
				if end, ok := e.Body.(assistant.Completed); ok {
					if end.FinishReason != assistant.FinishStopped {
						t.Errorf("ended with %+v", end)
					}
					break
				}
				followed += e.Text
			}
			n, want := len(strings.Fields(followed)), ""
			for i := range n {
				want += fmt.Sprintf("%d ", i)
			}
			if n < 20 || followed != want {
				t.Errorf("followed %q", followed)
			}
			if err := events.Decode(new(assistant.Event)); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// follow begins to follow an answer.
func follow(s *caddytest.Site, id string) *json.Decoder {
	s.T.Helper()
	req, err := http.NewRequestWithContext(s.T.Context(), http.MethodGet, "http://"+s.Admin+"/assistant/assistants/answers/"+id, nil)
	if err != nil {
		s.T.Fatal(err)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/x-ndjson" {
		s.T.Fatalf("follow: %+v, %v", res, err)
	}
	s.T.Cleanup(func() { _ = res.Body.Close() })
	return json.NewDecoder(res.Body)
}

// read reads the next event.
func read(t *testing.T, events *json.Decoder) (e assistant.Event) {
	t.Helper()
	if err := events.Decode(&e); err != nil {
		t.Fatal(err)
	}
	return e
}

// exported reads an export.
func exported(s *caddytest.Site, user string) (conversations []conversation.Whole) {
	s.T.Helper()
	status, header, body := ask(s, "GET", "/assistant/assistants/export?user="+user)
	if status != 200 || header.Get("Content-Type") != "application/x-ndjson" {
		s.T.Fatalf("export: %d %s", status, body)
	}
	for line := range strings.Lines(body) {
		var c conversation.Whole
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			s.T.Fatalf("line %q: %v", line, err)
		}
		conversations = append(conversations, c)
	}
	return conversations
}

// TestAdminBelongings exports and erases what one user has and nothing of another's, whose name may be
// anything, while an answer runs.
func TestAdminBelongings(t *testing.T) {
	for _, store := range []string{"memory", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			s := newAdminSite(t)
			if store == "sqlite" {
				store += " " + t.TempDir() + "/chat.db"
			}
			s.MustLoad(caddytest.Handler("pieces 100000", "store "+store))
			users := []string{"ann", "ann%2F..", "%27%20OR%201%3D1--", "a%26user%3Dann", "%25", "ANN"}
			sockets := map[string]*caddytest.Socket{}
			for _, user := range users {
				c := s.Dial("user=" + user)
				sockets[user] = c
				for range 2 {
					topic := c.CreateConversation()
					c.AskIn(topic, "secret of "+user)
					c.Until("streaming_start")
				}
			}
			for _, user := range users {
				conversations := exported(s, user)
				if len(conversations) != 2 {
					t.Errorf("%s has %d conversations", user, len(conversations))
				}
				for _, c := range conversations {
					if len(c.Messages) != 2 || c.Messages[0].Content != "secret of "+user || c.Messages[1].Status != assistant.StatusStreaming {
						t.Errorf("the export of %s has %+v", user, c)
					}
				}
			}
			for i, user := range users {
				if got := must[map[string]int](s, 200, "DELETE", "/assistant/assistants/conversations?user="+user); got["conversations"] != 2 {
					t.Errorf("erased %v of %s", got, user)
				}
				sockets[user].Until("conversation_deleted")
				sockets[user].Until("conversation_deleted")
				sockets[user].Send(`{"action":"ping"}`)
				sockets[user].Until("pong")
				if got := must[map[string]int](s, 200, "DELETE", "/assistant/assistants/conversations?user="+user); got["conversations"] != 0 {
					t.Errorf("erased %v of %s the second time", got, user)
				}
				for j, other := range users {
					want := 2
					if j <= i {
						want = 0
					}
					if n := len(exported(s, other)); n != want {
						t.Errorf("after the erasure of %s, %s has %d conversations", user, other, n)
					}
				}
			}
			if got := must[HandlerInfo](s, 200, "GET", "/assistant/assistants"); got.Answers != 0 {
				t.Errorf("%d answers run on", got.Answers)
			}
		})
	}
}

// TestAdminAtOnce lists, exports, stops, erases and reloads while users chat: nothing breaks.
func TestAdminAtOnce(t *testing.T) {
	s := newAdminSite(t)
	config := caddytest.Handler("pieces 20", "")
	s.MustLoad(config)
	var chatting, asking sync.WaitGroup
	for range 4 {
		c := s.Dial("user=ann")
		chatting.Go(func() {
			for i := range 20 {
				c.Send(`{"action":"create_conversation","ref":"c"}`)
				c.Send(`{"action":"assistant_message","payload":"count","ref":"%d"}`, i)
				c.Until("complete_streaming")
			}
		})
	}
	done := make(chan struct{})
	for _, request := range []string{"GET sockets", "GET answers", "GET export?user=ann", "DELETE conversations?user=ann"} {
		method, path, _ := strings.Cut(request, " ")
		asking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if status, _, body := ask(s, method, "/assistant/assistants/"+path); status != 200 {
					t.Errorf("%s: %d %s", request, status, body)
				}
			}
		})
	}
	chatting.Wait()
	close(done)
	asking.Wait()
}

// TestAdminDrain drains a handler, which a reload does not undo, and lets it serve again.
func TestAdminDrain(t *testing.T) {
	s := newAdminSite(t)
	config := caddytest.Handler("pieces 100000", "drain_timeout 100ms")
	s.MustLoad(config)
	c := s.Dial("user=ann")
	c.Send(`{"action":"assistant_message","payload":"count","ref":"1"}`)
	c.Until("streaming")
	for range 2 { // again is no fault
		if got := must[HandlerInfo](s, 200, "PUT", "/assistant/assistants/drain"); got.State != conversation.StateDrained || got.Answers != 0 {
			t.Errorf("drained %+v", got)
		}
	}
	if f := c.Until("complete_streaming"); !strings.Contains(string(f.Payload), `"interrupted"`) {
		t.Errorf("the answer ended with %s", f.Payload)
	}
	if _, err := c.Next(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("closed with %v", err)
	}
	s.MustLoad(config)
	address := fmt.Sprintf("ws://127.0.0.1:%d/ws/", s.Port)
	_, res, err := websocket.DefaultDialer.Dial(address, nil)
	for try := 0; err != nil && res == nil && try < 10; try++ { // like dial
		_, res, err = websocket.DefaultDialer.Dial(address, nil)
	}
	if err == nil || res == nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a new socket gets %v, %v", res, err)
	}
	if got := must[HandlerInfo](s, 200, "DELETE", "/assistant/assistants/drain"); got.State != conversation.StateServing {
		t.Errorf("resumed %+v", got)
	}
	c = s.Dial("user=ann")
	c.Send(`{"action":"assistant_message","payload":"count"}`)
	c.Until("streaming")
}

// failingStore answers so many reads of messages, and no more.
type failingStore struct {
	assistant.Store
	reads int
}

func (s *failingStore) Messages(ctx context.Context, owner, id, before string, limit int) ([]assistant.Message, bool, error) {
	if s.reads--; s.reads < 0 {
		return nil, false, errors.New("password of the database")
	}
	return s.Store.Messages(ctx, owner, id, before, limit)
}

// TestAdminStoreFails tells of a store that fails without what it says, and cuts an export off.
func TestAdminStoreFails(t *testing.T) {
	for reads := range 2 {
		store := memory.Open(memory.Config{})
		for i := range 2 {
			id, now := fmt.Sprintf("00000000-0000-4000-8000-%012d", i), time.Now()
			if err := store.Create(t.Context(), "ann", assistant.Conversation{ID: id, CreatedAt: now, UpdatedAt: now}); err != nil {
				t.Fatal(err)
			}
		}
		hub := conversation.NewHub(&failingStore{store, reads}, nil)
		failed := make(chan error, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			failed <- describe(exportConversations(operation{new(endpoint.Handler), hub, zap.NewNop(), w, r}))
		}))
		res, err := server.Client().Get(server.URL + "/?user=ann")
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		server.Close()
		switch reads {
		case 0:
			fault, ok := errors.AsType[caddy.APIError](<-failed)
			if !ok || fault.HTTPStatus != http.StatusServiceUnavailable || fault.Message == "" || strings.Contains(fault.Message, "password") {
				t.Errorf("at first: %+v", fault)
			}
		case 1:
			if err == nil {
				t.Error("an export that is not complete looks as if it were")
			}
		}
	}
}
