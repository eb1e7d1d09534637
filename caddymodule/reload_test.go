package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(counting{}) }

// counting is a model for tests: it counts, at a pace, and then tells its name and instructions.
type counting struct {
	Name   string `json:"model,omitempty"`
	Pieces int    `json:"pieces,omitempty"`
}

func (counting) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.providers.counting", New: func() caddy.Module { return new(counting) }}
}

func (c *counting) Provider() assistant.Provider { return c }
func (c *counting) Source() assistant.Source {
	return assistant.Source{Provider: "counting", Model: c.Name}
}

func (c *counting) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return setting.Table{{
		{Name: "model", Value: setting.Text("<name>").Into(&c.Name)},
		{Name: "pieces", Value: setting.Number[int]("<n>", 0, 1e6).Into(&c.Pieces)},
	}}.Read(d, "provider counting")
}

func (c *counting) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for i := range c.Pieces {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				yield(assistant.Delta{}, context.Cause(ctx))
				return
			}
			if !yield(assistant.Delta{Text: fmt.Sprintf("%d ", i)}, nil) {
				return
			}
		}
		_ = yield(assistant.Delta{Text: c.Name + "/" + req.Instructions}, nil) &&
			yield(assistant.Delta{FinishReason: assistant.FinishStop}, nil)
	}
}

func (c *counting) want(instructions string) string {
	var b strings.Builder
	for i := range c.Pieces {
		fmt.Fprintf(&b, "%d ", i)
	}
	return b.String() + c.Name + "/" + instructions
}

// site is a Caddy in this process.
type site struct {
	t           *testing.T
	port        int
	admin       string // address of the admin API, or off
	options     string // global ones, besides what all sites have
	certificate string // file for TLS
}

func newSite(t *testing.T) *site {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &site{t: t, port: l.Addr().(*net.TCPAddr).Port, admin: "off"}
}

// load makes Caddy serve these handlers, as caddy reload --force does.
func (s *site) load(handlers string) error {
	s.t.Helper()
	return s.loadSite(fmt.Sprintf("http://127.0.0.1:%d", s.port), handlers)
}

func (s *site) loadSite(address, handlers string) error {
	s.t.Helper()
	text := fmt.Sprintf("{\n admin %s\n persist_config off\n log {\n output discard\n }\n%s\n}\n%s {\n%s\n}\n", s.admin, s.options, address, handlers)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return caddy.Load(config, true)
}

func (s *site) mustLoad(handlers string) {
	s.t.Helper()
	if err := s.load(handlers); err != nil {
		s.t.Fatal(err)
	}
}

func handler(provider, more string) string {
	return "assistant /ws/* {\n user {http.request.uri.query.user}\n conversation {http.request.uri.query.conversation}\n provider counting {\n" + provider + "\n}\n" + more + "\n}\n"
}

// socket is a client that reads frames as they are needed.
type socket struct {
	t *testing.T
	*websocket.Conn
}

type frame struct {
	Action  string
	Topic   string
	Ref     string
	Seq     uint64
	Payload json.RawMessage
}

// dial opens a socket. Right after a reload Caddy may drop a connection that its old server has accepted,
// without an answer: clients try again, as browsers do.
func (s *site) dial(query string) *socket {
	s.t.Helper()
	address := fmt.Sprintf("ws://127.0.0.1:%d/ws/?%s", s.port, query)
	conn, res, err := websocket.DefaultDialer.Dial(address, nil)
	for try := 0; err != nil && res == nil && try < 10; try++ {
		conn, res, err = websocket.DefaultDialer.Dial(address, nil)
	}
	if err != nil {
		s.t.Fatalf("dial: %v (%v)", err, res)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return &socket{s.t, conn}
}

func (c *socket) send(format string, args ...any) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...)); err != nil {
		c.t.Errorf("send: %v", err)
	}
}

func (c *socket) next() (f frame, err error) {
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, data, err := c.ReadMessage()
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	return f, err
}

// until returns the first frame of that action.
func (c *socket) until(action string) frame {
	c.t.Helper()
	for {
		f, err := c.next()
		if err != nil {
			c.t.Fatalf("wait for %s: %v", action, err)
		}
		if f.Action == action {
			return f
		}
	}
}

// answer reads one answer: its model, its whole text, and the longest wait between two frames. Numbers
// without a gap are checked on the way.
func (c *socket) answer() (model, text string, gap time.Duration, err error) {
	var b strings.Builder
	var seq uint64
	for last := time.Now(); ; {
		f, err := c.next()
		if err != nil {
			return model, b.String(), gap, err
		}
		gap, last = max(gap, time.Since(last)), time.Now()
		if f.Seq != 0 && seq != 0 && f.Seq != seq+1 {
			return model, b.String(), gap, fmt.Errorf("seq %d after %d", f.Seq, seq)
		}
		seq = f.Seq
		var p struct{ Content, Model string }
		_ = json.Unmarshal(f.Payload, &p)
		switch f.Action {
		case "streaming_start":
			model = p.Model
		case "streaming":
			b.WriteString(p.Content)
		case "complete_streaming":
			return model, b.String(), gap, nil
		}
	}
}

// TestReload changes model, instructions and limits under 50 running answers, and then reloads ten times
// more: no socket is closed, no piece is lost or doubled, and the next answers have the new settings.
func TestReload(t *testing.T) {
	s := newSite(t)
	old, young := &counting{"old", 200}, &counting{"young", 10}
	s.mustLoad(handler("model old\n pieces 200", `instructions "first"`))
	var answering, done sync.WaitGroup
	reloaded := make(chan struct{})
	gaps := make([]time.Duration, 50)
	for i := range gaps {
		c := s.dial("user=ann")
		c.send(`{"action":"assistant_message","payload":"count","ref":"1"}`)
		c.until("streaming_start")
		answering.Add(1)
		done.Go(func() {
			c.until("streaming")
			answering.Done()
			_, text, gap, err := c.answer()
			if want := strings.TrimPrefix(old.want("first"), "0 "); err != nil || text != want {
				t.Errorf("running answer: %v, text %q, want %q", err, text, want)
			}
			gaps[i] = gap
			<-reloaded
			c.send(`{"action":"assistant_message","payload":"again","ref":"2"}`)
			model, text, _, err := c.answer()
			if err != nil || model != "young" || text != young.want("second "+"{unknown}") {
				t.Errorf("next answer: %v, model %s, text %q", err, model, text)
			}
		})
	}
	answering.Wait()
	for range 11 {
		s.mustLoad(handler("model young\n pieces 10", "instructions \"second {unknown}\"\n max_pending 2"))
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
	s := newSite(t)
	config := handler("model m\n pieces 300", "")
	s.mustLoad(config)
	c := s.dial("user=ann")
	c.send(`{"action":"create_conversation"}`)
	var info assistant.Conversation
	if err := json.Unmarshal(c.until("conversation_created").Payload, &info); err != nil {
		t.Fatal(err)
	}
	topic := "conversation:" + info.ID
	c.send(`{"action":"subscribe","topic":%q}`, topic)
	var subscribed assistant.SubscribedPayload
	_ = json.Unmarshal(c.until("subscribed").Payload, &subscribed)
	c.send(`{"action":"assistant_message","payload":"count","topic":%q}`, topic)
	first := c.until("streaming")
	for range 5 {
		s.mustLoad(config)
	}
	_ = c.Close()
	c = s.dial("user=ann")
	c.send(`{"action":"subscribe","topic":%q,"payload":{"epoch":%q,"after":%d}}`, topic, subscribed.Epoch, first.Seq)
	if f := c.until("subscribed"); !strings.Contains(string(f.Payload), `"recovered":true`) {
		t.Errorf("not recovered: %s", f.Payload)
	}
	for range 5 {
		s.mustLoad(config)
	}
	var text strings.Builder
	for f, err := c.next(); f.Action != "complete_streaming"; f, err = c.next() {
		if err != nil {
			t.Fatal(err)
		}
		var p assistant.StreamingPayload
		_ = json.Unmarshal(f.Payload, &p)
		text.WriteString(p.Content)
	}
	if want := strings.TrimPrefix((&counting{"m", 300}).want(""), "0 "); text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
}

// TestReloadStore moves to another store: the sockets of the old one are told to come again.
func TestReloadStore(t *testing.T) {
	s := newSite(t)
	s.mustLoad(handler("pieces 1", "drain_timeout 1s"))
	c := s.dial("user=ann")
	c.send(`{"action":"ping","ref":"1"}`)
	c.until("pong")
	s.mustLoad(handler("pieces 1", "name other\n drain_timeout 1s"))
	if f := c.until("notice"); !strings.Contains(string(f.Payload), "draining") {
		t.Errorf("got %s", f.Payload)
	}
	if _, err := c.next(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("closed with %v", err)
	}
	c = s.dial("user=ann")
	c.send(`{"action":"ping"}`)
	c.until("pong")
}

// TestComeBack takes the handler away and puts it back at once: the one that comes back does not get the
// hub that is being drained, and finds what was stored.
func TestComeBack(t *testing.T) {
	s := newSite(t)
	config := handler("pieces 1", "store sqlite "+t.TempDir()+"/chat.db\n drain_timeout 1s")
	s.mustLoad(config)
	c := s.dial("user=ann")
	c.send(`{"action":"create_conversation"}`)
	c.until("conversation_created")
	for range 3 {
		s.mustLoad("respond gone")
		s.mustLoad(config)
		c = s.dial("user=ann")
		c.send(`{"action":"list_conversations"}`)
		if f := c.until("conversations"); !strings.Contains(string(f.Payload), "conversation_id") {
			t.Errorf("the conversation is gone: %s", f.Payload)
		}
	}
}

// TestRefusedReload keeps the settings that were there when a new configuration fails to start.
func TestRefusedReload(t *testing.T) {
	s := newSite(t)
	s.mustLoad(handler("model old\n pieces 1", ""))
	c := s.dial("user=ann")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	bad := handler("model young\n pieces 1", "") + "}\nhttp://127.0.0.2:1 {\n bind 192.0.2.1\n"
	if err := s.load(bad); err == nil {
		t.Fatal("a configuration with an address that is not ours was loaded")
	}
	c.send(`{"action":"assistant_message","payload":"who","ref":"1"}`)
	if model, _, _, err := c.answer(); err != nil || model != "old" {
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

// TestLateConnection has a connection come when the last handler has gone: its hub is not used again.
func TestLateConnection(t *testing.T) {
	key := hubKey{fresh(), "memory"}
	open := func() (assistant.Store, error) { return memory.Open(memory.Config{}), nil }
	h, err := openHub(key, open, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if !h.acquire() {
		t.Fatal("a hub in use takes no connection")
	}
	h.release()
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
	s := newSite(t)
	s.mustLoad(handler("pieces 1", "") + "handle_errors {\n respond \"custom {err.status_code}\" 404\n}")
	c := s.dial("user=ann")
	c.send(`{"action":"create_conversation"}`)
	var info assistant.Conversation
	_ = json.Unmarshal(c.until("conversation_created").Payload, &info)
	for _, query := range []string{"user=bob&conversation=" + info.ID, "conversation=" + info.ID, "user=ann&conversation=00000000-0000-4000-8000-000000000000", "user=ann&conversation=x"} {
		_, res, err := websocket.DefaultDialer.Dial(fmt.Sprintf("ws://127.0.0.1:%d/ws/?%s", s.port, query), nil)
		if err == nil || res == nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %v, %v, want 404", query, res, err)
		}
	}
	bound := s.dial("user=ann&conversation=" + info.ID)
	bound.until("snapshot")
}

// TestOpenFiles opens the store's file once, whatever is reloaded, and closes it when nobody needs it.
func TestOpenFiles(t *testing.T) {
	s := newSite(t)
	file := t.TempDir() + "/chat.db"
	config := handler("pieces 1", "store sqlite "+file)
	s.mustLoad(config)
	c := s.dial("user=ann")
	c.send(`{"action":"create_conversation"}`)
	c.until("conversation_created")
	before := openFiles(t, "")
	for range 50 {
		s.mustLoad(config)
	}
	c.send(`{"action":"list_conversations"}`)
	if f := c.until("conversations"); !strings.Contains(string(f.Payload), "conversation_id") {
		t.Errorf("the conversation is gone: %s", f.Payload)
	}
	eventually(t, "as many files open after 50 reloads as before", func() bool { return openFiles(t, "") <= before+2 })
	if n := openFiles(t, file); n == 0 {
		t.Errorf("%s is not open at all", file)
	}
	s.mustLoad("respond gone")
	if _, err := c.next(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("closed with %v", err)
	}
	eventually(t, "the file closed", func() bool { return openFiles(t, file) == 0 })
}

// eventually waits for what happens in the background: old servers and the last connection's hub end there.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(30 * time.Second); !happened(); {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("still waiting for %s", what)
		}
	}
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
