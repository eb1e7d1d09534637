// Package caddytest runs Caddy with the assistant in the process of a test, with a model that counts. The test's
// package has to import the modules that its sites use.
package caddytest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what sites are written with
	"github.com/gorilla/websocket"
)

func init() { caddy.RegisterModule(Counting{}) }

// Patience bounds each wait. It tells a stuck test from a slow one.
const Patience = 2 * time.Minute

// Counting is a model for tests: it counts slowly, and then says its name and instructions.
type Counting struct {
	Name   string `json:"model,omitempty"`
	Pieces int    `json:"pieces,omitempty"`
}

func (Counting) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.providers.counting", New: func() caddy.Module { return new(Counting) }}
}

func (c *Counting) Provider() assistant.Provider { return c }
func (c *Counting) Source() assistant.Source {
	return assistant.Source{Provider: "counting", Model: c.Name}
}

func (c *Counting) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return setting.Table{{
		{Name: "model", Value: setting.Text("<name>").Into(&c.Name)},
		{Name: "pieces", Value: setting.Number[int]("<n>", 0, 1e6).Into(&c.Pieces)},
	}}.Read(d, "provider counting")
}

func (c *Counting) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
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

// Want is the whole text of an answer.
func (c *Counting) Want(instructions string) string {
	var b strings.Builder
	for i := range c.Pieces {
		fmt.Fprintf(&b, "%d ", i)
	}
	return b.String() + c.Name + "/" + instructions
}

// Site is a Caddy in this process.
type Site struct {
	T           *testing.T
	Port        int
	Admin       string // address of the admin API, or off
	Options     string // global ones, besides what all sites have
	Certificate string // file for TLS
}

// NewSite makes a site on a free port, which stops with the test.
func NewSite(t *testing.T) *Site {
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
	return &Site{T: t, Port: l.Addr().(*net.TCPAddr).Port, Admin: "off"}
}

// Load makes Caddy serve these handlers, as caddy reload --force does.
func (s *Site) Load(handlers string) error {
	s.T.Helper()
	return s.LoadSite(fmt.Sprintf("http://127.0.0.1:%d", s.Port), handlers)
}

// LoadSite is Load at an address.
func (s *Site) LoadSite(address, handlers string) error {
	s.T.Helper()
	return s.LoadCaddyfile(address + " {\n" + handlers + "\n}\n")
}

// LoadCaddyfile is Load for whole sites.
func (s *Site) LoadCaddyfile(sites string) error {
	s.T.Helper()
	text := fmt.Sprintf("{\n admin %s\n persist_config off\n log {\n output discard\n }\n%s\n}\n%s", s.Admin, s.Options, sites)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		s.T.Fatal(err)
	}
	return caddy.Load(config, true)
}

// MustLoad is Load, which must succeed.
func (s *Site) MustLoad(handlers string) {
	s.T.Helper()
	if err := s.Load(handlers); err != nil {
		s.T.Fatal(err)
	}
}

// Handler writes an assistant directive with the counting model and more settings.
func Handler(provider, more string) string {
	return "assistant /ws/* {\n user {http.request.uri.query.user}\n conversation {http.request.uri.query.conversation}\n provider counting {\n" + provider + "\n}\n" + more + "\n}\n"
}

// Socket is a client that reads frames as they are needed.
type Socket struct {
	T *testing.T
	*websocket.Conn
}

// Frame is one that the server sent.
type Frame struct {
	Action  string
	Topic   string
	Ref     string
	Seq     uint64
	Payload json.RawMessage
}

// Dial opens a socket.
func (s *Site) Dial(query string) *Socket {
	s.T.Helper()
	conn, status, _ := s.TryDial(query, nil)
	if conn == nil {
		s.T.Fatalf("dial: status %d", status)
	}
	return &Socket{s.T, conn}
}

// Send writes a message.
func (c *Socket) Send(format string, args ...any) {
	c.T.Helper()
	if err := c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...)); err != nil {
		c.T.Errorf("send: %v", err)
	}
}

// Next reads one frame.
func (c *Socket) Next() (f Frame, err error) {
	_ = c.SetReadDeadline(time.Now().Add(Patience))
	_, data, err := c.ReadMessage()
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	return f, err
}

// Until returns the first frame of that action.
func (c *Socket) Until(action string) Frame {
	c.T.Helper()
	for {
		f, err := c.Next()
		if err != nil {
			c.T.Fatalf("wait for %s: %v", action, err)
		}
		if f.Action == action {
			return f
		}
	}
}

// Answer reads one answer: its model, its whole text, and the longest wait between two frames. Numbers
// without a gap are checked on the way.
func (c *Socket) Answer() (model, text string, gap time.Duration, err error) {
	var b strings.Builder
	var seq uint64
	for last := time.Now(); ; {
		f, err := c.Next()
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

// TryDial opens a socket, or returns the status and Retry-After of the answer instead. Right after a reload Caddy
// may drop a connection that its old server has accepted, without an answer: clients try again, as browsers do.
func (s *Site) TryDial(query string, header http.Header) (conn *websocket.Conn, status int, retryAfter string) {
	s.T.Helper()
	address := fmt.Sprintf("ws://127.0.0.1:%d/ws/?%s", s.Port, query)
	for try := 0; ; try++ {
		conn, res, err := websocket.DefaultDialer.Dial(address, header)
		switch {
		case err == nil:
			s.T.Cleanup(func() { _ = conn.Close() })
			return conn, res.StatusCode, ""
		case res != nil:
			return nil, res.StatusCode, res.Header.Get("Retry-After")
		case try == 10:
			s.T.Fatalf("dial: %v", err)
		}
	}
}

// Scrape reads the metrics of the configuration that runs, by name and labels. Like TryDial, it tries again.
func (s *Site) Scrape() map[string]string {
	s.T.Helper()
	for try := 0; ; try++ {
		found, err := s.scrape()
		if err == nil {
			return found
		}
		if try == 10 {
			s.T.Fatalf("scrape: %v", err)
		}
	}
}

func (s *Site) scrape() (map[string]string, error) {
	req, err := http.NewRequestWithContext(s.T.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", s.Port), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	found := map[string]string{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "} "); ok {
			found[name+"}"] = value
		}
	}
	return found, nil
}

// Fresh is a handler's name that no test has used: metrics live as long as the process.
func Fresh() string { return fmt.Sprint("fresh_", names.Add(1)) }

var names atomic.Int64

// CreateConversation returns the topic of a new conversation that c follows.
func (c *Socket) CreateConversation() (topic string) {
	c.T.Helper()
	c.Send(`{"action":"create_conversation"}`)
	var info assistant.Conversation
	if err := json.Unmarshal(c.Until("conversation_created").Payload, &info); err != nil {
		c.T.Fatal(err)
	}
	topic = "conversation:" + info.ID
	c.Send(`{"action":"subscribe","topic":%q}`, topic)
	c.Until("snapshot")
	return topic
}

// AskIn asks in a conversation.
func (c *Socket) AskIn(topic, question string) {
	c.T.Helper()
	c.Send(`{"action":"assistant_message","payload":%q,"topic":%q,"ref":"q"}`, question, topic)
}

// Eventually waits for what happens in the background: old servers and the last connection's hub end there.
func Eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(Patience); !happened(); {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("still waiting for %s", what)
		}
	}
}
