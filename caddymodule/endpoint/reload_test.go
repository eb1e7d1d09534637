package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/brokers"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/providers"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/stores"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"
)

// TestReload changes model, instructions and limits under 50 running answers, and then reloads ten times
// more: no socket is closed, no piece is lost or doubled, and the next answers have the new settings.
func TestReload(t *testing.T) {
	s := caddytest.NewSite(t)
	old, young := &caddytest.Counting{Name: "old", Pieces: 200}, &caddytest.Counting{Name: "young", Pieces: 10}
	s.MustLoad(caddytest.Handler("model old\n pieces 200", `instructions "first"`))
	var answering, done sync.WaitGroup
	reloaded := make(chan struct{})
	gaps := make([]time.Duration, 50)
	for i := range gaps {
		c := s.Dial("user=ann")
		c.Send(`{"action":"assistant_message","payload":"count","ref":"1"}`)
		c.Until("streaming_start")
		answering.Add(1)
		done.Go(func() {
			c.Until("streaming")
			answering.Done()
			_, text, gap, err := c.Answer()
			if want := strings.TrimPrefix(old.Want("first"), "0 "); err != nil || text != want {
				t.Errorf("running answer: %v, text %q, want %q", err, text, want)
			}
			gaps[i] = gap
			<-reloaded
			c.Send(`{"action":"assistant_message","payload":"again","ref":"2"}`)
			model, text, _, err := c.Answer()
			if err != nil || model != "young" || text != young.Want("second "+"{unknown}") {
				t.Errorf("next answer: %v, model %s, text %q", err, model, text)
			}
		})
	}
	answering.Wait()
	for range 11 {
		s.MustLoad(caddytest.Handler("model young\n pieces 10", "instructions \"second {unknown}\"\n max_pending 2"))
	}
	close(reloaded)
	done.Wait()
	longest := time.Duration(0)
	for _, gap := range gaps {
		longest = max(longest, gap)
	}
	t.Logf("longest gap between two frames of a socket: %v", longest)
}

// TestReloadStored keeps an answer in a stored conversation through ten reloads, while its client is
// cut off and comes back; and the conversation itself.
func TestReloadStored(t *testing.T) {
	s := caddytest.NewSite(t)
	config := caddytest.Handler("model m\n pieces 300", "")
	s.MustLoad(config)
	c := s.Dial("user=ann")
	c.Send(`{"action":"create_conversation"}`)
	var info assistant.Conversation
	if err := json.Unmarshal(c.Until("conversation_created").Payload, &info); err != nil {
		t.Fatal(err)
	}
	topic := "conversation:" + info.ID
	c.Send(`{"action":"subscribe","topic":%q}`, topic)
	var subscribed session.SubscribedPayload
	_ = json.Unmarshal(c.Until("subscribed").Payload, &subscribed)
	c.Send(`{"action":"assistant_message","payload":"count","topic":%q}`, topic)
	first := c.Until("streaming")
	for range 5 {
		s.MustLoad(config)
	}
	_ = c.Close()
	c = s.Dial("user=ann")
	c.Send(`{"action":"subscribe","topic":%q,"payload":{"epoch":%q,"after":%d}}`, topic, subscribed.Epoch, first.Seq)
	if f := c.Until("subscribed"); !strings.Contains(string(f.Payload), `"recovered":true`) {
		t.Errorf("not recovered: %s", f.Payload)
	}
	for range 5 {
		s.MustLoad(config)
	}
	var text strings.Builder
	for f, err := c.Next(); f.Action != "complete_streaming"; f, err = c.Next() {
		if err != nil {
			t.Fatal(err)
		}
		var p session.StreamingPayload
		_ = json.Unmarshal(f.Payload, &p)
		text.WriteString(p.Content)
	}
	if want := strings.TrimPrefix((&caddytest.Counting{Name: "m", Pieces: 300}).Want(""), "0 "); text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
}

// TestReloadStore moves to another store: the sockets of the old one are told to come again.
func TestReloadStore(t *testing.T) {
	s := caddytest.NewSite(t)
	s.MustLoad(caddytest.Handler("pieces 1", "drain_timeout 1s"))
	c := s.Dial("user=ann")
	c.Send(`{"action":"ping","ref":"1"}`)
	c.Until("pong")
	s.MustLoad(caddytest.Handler("pieces 1", "name other\n drain_timeout 1s"))
	if f := c.Until("notice"); !strings.Contains(string(f.Payload), "draining") {
		t.Errorf("got %s", f.Payload)
	}
	if _, err := c.Next(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("closed with %v", err)
	}
	c = s.Dial("user=ann")
	c.Send(`{"action":"ping"}`)
	c.Until("pong")
}

// TestComeBack takes the handler away and puts it back at once: the one that comes back does not get the
// hub that is being drained, and finds what was stored.
func TestComeBack(t *testing.T) {
	s := caddytest.NewSite(t)
	config := caddytest.Handler("pieces 1", "store sqlite "+t.TempDir()+"/chat.db\n drain_timeout 1s")
	s.MustLoad(config)
	c := s.Dial("user=ann")
	c.Send(`{"action":"create_conversation"}`)
	c.Until("conversation_created")
	for range 3 {
		s.MustLoad("respond gone")
		s.MustLoad(config)
		c = s.Dial("user=ann")
		c.Send(`{"action":"list_conversations"}`)
		if f := c.Until("conversations"); !strings.Contains(string(f.Payload), "conversation_id") {
			t.Errorf("the conversation is gone: %s", f.Payload)
		}
	}
}

// TestComeBackWhileDraining gives a handler its store back while an answer still keeps the store: the reload does not
// wait for that, what needs the store does, and nothing is lost.
func TestComeBackWhileDraining(t *testing.T) {
	s, name := caddytest.NewSite(t), caddytest.Fresh()
	path := t.TempDir() + "/chat.db"
	config := caddytest.Handler("pieces 1000000", "name "+name+"\n store sqlite "+path+"\n drain_timeout 2s")
	s.MustLoad(config)
	c := s.Dial("user=ann")
	c.Send(`{"action":"create_conversation"}`)
	var info assistant.Conversation
	_ = json.Unmarshal(c.Until("conversation_created").Payload, &info)
	c.Send(`{"action":"subscribe","topic":"conversation:%s"}`, info.ID)
	c.Send(`{"action":"assistant_message","payload":"count","topic":"conversation:%s"}`, info.ID)
	c.Until("streaming")
	var first *pooledHub
	for range 2 { // twice, so that one that has never had the store is retired too
		s.MustLoad(caddytest.Handler("pieces 1", "name "+name+"\n drain_timeout 2s"))
		s.MustLoad(config)
		h := Running()[0].hub
		if first == nil {
			first = h
		}
	}
	select {
	case <-first.before:
		t.Error("the reloads waited for the drain, or the answer did not hold it up")
	default:
	}
	c = s.Dial("user=ann")
	c.Send(`{"action":"list_messages","payload":{"conversation_id":"%s"}}`, info.ID)
	if f := c.Until("messages"); !strings.Contains(string(f.Payload), `"interrupted"`) {
		t.Errorf("got %s", f.Payload)
	}
	select {
	case <-first.gone:
	default:
		t.Error("two stores have the file open")
	}
}

// TestRefusedReload keeps the settings that were there when a new configuration fails to start.
func TestRefusedReload(t *testing.T) {
	s := caddytest.NewSite(t)
	s.MustLoad(caddytest.Handler("model old\n pieces 1", ""))
	c := s.Dial("user=ann")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	bad := caddytest.Handler("model young\n pieces 1", "") + "}\nhttp://127.0.0.2:1 {\n bind 192.0.2.1\n"
	if err := s.Load(bad); err == nil {
		t.Fatal("a configuration with an address that is not ours was loaded")
	}
	c.Send(`{"action":"assistant_message","payload":"who","ref":"1"}`)
	if model, _, _, err := c.Answer(); err != nil || model != "old" {
		t.Errorf("got an answer of %q, %v", model, err)
	}
}

// TestRefusedConfiguration answers requests that came to a configuration which is refused before its assistants
// have started: they would wait for ever.
func TestRefusedConfiguration(t *testing.T) {
	ctx, refuse := caddy.NewContext(caddy.Context{Context: context.Background()})
	h := &Handler{Name: "assistants", ctx: ctx, started: make(chan struct{})}
	done := make(chan error)
	go func() {
		done <- h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/ws/", nil), nil)
	}()
	refuse()
	refused, ok := errors.AsType[caddyhttp.HandlerError](<-done)
	if !ok || refused.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %v, want 503", refused)
	}
}

// TestReloadBroker: another broker makes the handler another node, with another hub; the same one keeps it.
func TestReloadBroker(t *testing.T) {
	s, name := caddytest.NewSite(t), caddytest.Fresh()
	load := func(broker string) *conversation.Hub {
		s.MustLoad(caddytest.Handler("pieces 1", "name "+name+"\n store postgres postgres://ann:secret@127.0.0.1:1/chat\n "+broker))
		return Running()[0].Hub()
	}
	first := load("")
	if load("broker postgres") != first {
		t.Error("the store's own broker was replaced by itself")
	}
	if load("broker local") == first {
		t.Error("another broker was not used")
	}
}

// TestReloadNoBroker: a store that one process has keeps its hub, whether or not that is said.
func TestReloadNoBroker(t *testing.T) {
	s, name := caddytest.NewSite(t), caddytest.Fresh()
	load := func(broker string) *conversation.Hub {
		s.MustLoad(caddytest.Handler("pieces 1", "name "+name+"\n store memory\n "+broker))
		return Running()[0].Hub()
	}
	if load("") != load("broker local") {
		t.Error("the conversations are gone")
	}
}

// TestLateConnection has a connection come when the last handler has gone: its hub is not used again.
func TestLateConnection(t *testing.T) {
	key := hubKey{store: "memory of " + caddytest.Fresh()}
	open := func(context.Context) (assistant.Store, error) { return memory.Open(memory.Config{}), nil }
	h, err := openHub(key, open, nil, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if !h.acquire() {
		t.Fatal("a hub in use takes no connection")
	}
	h.giveBack()
	h.leave(0)
	<-h.gone
	if h.acquire() {
		t.Error("a hub that is gone takes a connection")
	}
	if n, there := hubs.References(key); there {
		t.Errorf("the hub is there again, with %d references", n)
	}
}

// TestBound refuses what is not the user's before the upgrade, and opens what is.
func TestBound(t *testing.T) {
	s := caddytest.NewSite(t)
	s.MustLoad(caddytest.Handler("pieces 1", "") + "handle_errors {\n respond \"custom {err.status_code}\" 404\n}")
	c := s.Dial("user=ann")
	c.Send(`{"action":"create_conversation"}`)
	var info assistant.Conversation
	_ = json.Unmarshal(c.Until("conversation_created").Payload, &info)
	for _, query := range []string{"user=bob&conversation=" + info.ID, "conversation=" + info.ID, "user=ann&conversation=00000000-0000-4000-8000-000000000000", "user=ann&conversation=x"} {
		_, res, err := websocket.DefaultDialer.Dial(fmt.Sprintf("ws://127.0.0.1:%d/ws/?%s", s.Port, query), nil)
		if err == nil || res == nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %v, %v, want 404", query, res, err)
		}
	}
	bound := s.Dial("user=ann&conversation=" + info.ID)
	bound.Until("snapshot")
}

// TestOpenFiles opens the store's file once, whatever is reloaded, and closes it when no configuration uses it.
func TestOpenFiles(t *testing.T) {
	s := caddytest.NewSite(t)
	file := t.TempDir() + "/chat.db"
	config := caddytest.Handler("pieces 1", "store sqlite "+file)
	s.MustLoad(config)
	c := s.Dial("user=ann")
	c.Send(`{"action":"create_conversation"}`)
	c.Until("conversation_created")
	before := openFiles(t, "")
	for range 50 {
		s.MustLoad(config)
	}
	c.Send(`{"action":"list_conversations"}`)
	if f := c.Until("conversations"); !strings.Contains(string(f.Payload), "conversation_id") {
		t.Errorf("the conversation is gone: %s", f.Payload)
	}
	caddytest.Eventually(t, "as many files open after 50 reloads as before", func() bool { return openFiles(t, "") <= before+2 })
	if n := openFiles(t, file); n == 0 {
		t.Errorf("%s is not open at all", file)
	}
	s.MustLoad("respond gone")
	if _, err := c.Next(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("closed with %v", err)
	}
	caddytest.Eventually(t, "the file closed", func() bool { return openFiles(t, file) == 0 })
}

// openFiles counts this process's open files whose names begin with prefix.
func openFiles(t *testing.T, prefix string) (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}
