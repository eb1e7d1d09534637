package termchat_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/caddy-assistant/caddy-assistant/termchat"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience tells a stuck test from a slow one.
const patience = 2 * time.Minute

// site is an assistant behind an address at which one hub can follow another, as when a server restarts.
type site struct {
	t      *testing.T
	model  *assistanttest.Script
	store  assistant.Store
	http   *httptest.Server
	cutter *cutter
	config conversation.Config

	mu        sync.Mutex
	assistant *conversation.Assistant
	hub       *conversation.Hub
}

func newSite(t *testing.T, script string) *site {
	model := assistanttest.NewScript(script)
	return newSiteOf(t, model, conversation.Config{Provider: model})
}

func newSiteOf(t *testing.T, model *assistanttest.Script, config conversation.Config) *site {
	s := &site{t: t, model: model, store: memory.Open(memory.Config{}), config: config}
	s.start()
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.cutter = &cutter{Listener: s.http.Listener}
	s.http.Listener = s.cutter
	s.http.Start()
	t.Cleanup(func() {
		s.stop()
		s.http.Close()
		_ = s.store.Close()
	})
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/secured/" && r.Header.Get("Authorization") != "Bearer t" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	conn, err := ws.Upgrade(w, r, ws.Options{})
	if refused, ok := errors.AsType[*ws.HandshakeError](err); ok {
		w.WriteHeader(refused.Status)
		return
	}
	s.mu.Lock()
	hub, a := s.hub, s.assistant
	s.mu.Unlock()
	if !hub.Go(func() { _ = session.Serve(a, conn, assistant.Peer{User: "ann"}) }) {
		_ = conn.Close(1012, "restarts")
	}
}

func (s *site) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub = conversation.NewHub(s.store, nil)
	s.assistant = conversation.New(s.hub, s.config)
}

// stop gives running answers no time.
func (s *site) stop() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.hub.Close(now); err != nil {
		s.t.Error(err)
	}
}

// cutter cuts the connections that it has accepted.
type cutter struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cutter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return conn, err
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	c.conns = nil
}

// screen is what a terminal shows, and can be waited for.
type screen struct {
	t    *testing.T
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{}
}

func newScreen(t *testing.T) *screen { return &screen{t: t, more: make(chan struct{}, 1)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func (s *screen) wait(text string) {
	s.t.Helper()
	for deadline := time.After(patience); !strings.Contains(s.String(), text); {
		select {
		case <-s.more:
		case <-deadline:
			s.t.Fatalf("%q is never shown, only %q", text, s.String())
		}
	}
}

// terminal is a chat and its user.
type terminal struct {
	t          *testing.T
	out, notes *screen
	interrupts chan struct{}
	ended      chan error
}

func (s *site) chat(config termchat.Config) *terminal {
	term := &terminal{s.t, newScreen(s.t), newScreen(s.t), make(chan struct{}), make(chan error, 1)}
	if config.URL == "" {
		config.URL = "ws" + strings.TrimPrefix(s.http.URL, "http") + "/"
	}
	config.Out, config.Err, config.Interrupts = term.out, term.notes, term.interrupts
	go func() { term.ended <- termchat.Run(context.Background(), config) }()
	return term
}

// end is how the chat ended.
func (term *terminal) end() error {
	term.t.Helper()
	select {
	case err := <-term.ended:
		return err
	case <-time.After(patience):
		term.t.Fatalf("the chat does not end; it shows %q and %q", term.out, term.notes)
		return nil
	}
}

// TestOneQuestion is answered with what the model says and nothing else, without what steers a terminal.
func TestOneQuestion(t *testing.T) {
	s := newSite(t, "text \"Hello \"\ntext \"\\x1b[31mred\\x07\\u009b2J\\u202e\\r\\n\\tend\\x7f\"\nfinish stop")
	term := s.chat(termchat.Config{Question: "Hi?"})
	if err := term.end(); err != nil {
		t.Error(err)
	}
	if got := term.out.String(); got != "Hello [31mred2J\n\tend\n" {
		t.Errorf("shown %q", got)
	}
}

// TestQuestions asks one after the other in one conversation, which another chat goes on with.
func TestQuestions(t *testing.T) {
	s := newSite(t, "echo\nfinish stop")
	in, typed := io.Pipe()
	term := s.chat(termchat.Config{In: in})
	for i := range 3 {
		_, _ = fmt.Fprintf(typed, "question %d\n\n", i)
		term.out.wait(fmt.Sprintf("question %d", i))
	}
	_ = typed.Close()
	if err := term.end(); err != nil {
		t.Error(err)
	}
	if got := term.out.String(); strings.Count(got, "question 0") < 3 {
		t.Errorf("the model does not receive the earlier messages: %q", got)
	}
	_, id, _ := strings.Cut(term.notes.String(), "[conversation ")
	id, _, _ = strings.Cut(id, "]")
	again := s.chat(termchat.Config{Conversation: id, In: strings.NewReader("")})
	if err := again.end(); err != nil || !strings.Contains(again.notes.String(), "> question 1\n") {
		t.Errorf("%v, the second chat shows %q", err, again.notes)
	}
}

// TestHistory shows why an answer failed also to who comes later, and no reasoning.
func TestHistory(t *testing.T) {
	s := newSite(t, "reasoning \"Hm.\"\ntext \"Once upon \"\nfail provider_timeout\n\nfail context_overflow")
	in, typed := io.Pipe()
	term := s.chat(termchat.Config{In: in})
	for _, sentence := range []string{"did not answer in time", "too long for the language model"} {
		_, _ = io.WriteString(typed, "Tell me.\n")
		term.notes.wait(sentence)
	}
	_ = typed.Close()
	if err := term.end(); err != nil {
		t.Error(err)
	}
	_, notes, _ := strings.Cut(term.notes.String(), "[conversation ")
	id, _, _ := strings.Cut(notes, "]")
	again := s.chat(termchat.Config{Conversation: id, In: strings.NewReader("")})
	const want = "> Tell me.\nOnce upon \n[The language model did not answer in time.]\n" +
		"> Tell me.\n[The question is too long for the language model.]\n> "
	if err := again.end(); err != nil || !strings.Contains(again.notes.String(), want) {
		t.Errorf("%v, the second chat shows %q, want %q", err, again.notes, want)
	}
}

// TestUnknownParts are of a newer server: the rest of the history is shown all the same.
func TestUnknownParts(t *testing.T) {
	const topic = `"topic":"conversation:c"`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := ws.Upgrade(w, r, ws.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		for _, text := range []string{
			`{"action":"subscribed","payload":{"epoch":"e","seq":1,"recovered":false,"streaming":null},` + topic + `,"ref":"enter"}`,
			`{"action":"snapshot","payload":{"messages":[{"role":"user","content":"Draw."},{"role":"assistant","content":"There.","parts":[{"type":"text","text":"There."},{"type":"hologram"}]}]},` + topic + `,"seq":1}`,
		} {
			if err := conn.Send([]byte(text)); err != nil {
				t.Error(err)
			}
		}
		_, _ = conn.Recv() // until the chat ends
	}))
	defer server.Close()
	s := &site{t: t, http: server}
	term := s.chat(termchat.Config{Conversation: "c", In: strings.NewReader("")})
	const want = "> Draw.\nThere.\n[there is something that a terminal cannot show]\n"
	if err := term.end(); err != nil || !strings.Contains(term.notes.String(), want) {
		t.Errorf("%v, shown %q, want %q", err, term.notes, want)
	}
}

// TestCut loses the connection before, between and after pieces: the text is shown once and whole, and the
// model is asked once.
func TestCut(t *testing.T) {
	script, want := "wait\n", ""
	const pieces = 5
	for i := range pieces {
		script += fmt.Sprintf("text \"piece %d \"\nwait\n", i)
		want += fmt.Sprintf("piece %d ", i)
	}
	s := newSite(t, script+"finish stop")
	term := s.chat(termchat.Config{Question: "Tell me."})
	for i := range pieces {
		s.model.Release()
		if i%2 == 0 {
			s.cutter.cut() // at any moment
		}
		term.out.wait(fmt.Sprintf("piece %d ", i))
		s.cutter.cut()
	}
	s.model.Release()
	if err := term.end(); err != nil {
		t.Error(err)
	}
	if got := term.out.String(); got != want+"\n" || s.model.Asked() != 1 {
		t.Errorf("shown %q, the model was asked %d times", got, s.model.Asked())
	}
}

// TestRestart interrupts an answer by a restart of the server: the chat says so, and asks nothing twice.
func TestRestart(t *testing.T) {
	s := newSite(t, "text \"Once upon \"\nwait\n\ntext \"again\"\nfinish stop")
	in, typed := io.Pipe()
	term := s.chat(termchat.Config{In: in})
	_, _ = io.WriteString(typed, "Tell me.\n")
	term.out.wait("Once upon ")
	s.stop()
	s.start()
	term.notes.wait("interrupted")
	_, _ = io.WriteString(typed, "And now?\n")
	term.out.wait("again")
	_ = typed.Close()
	if err := term.end(); err != nil || term.out.String() != "Once upon \nagain\n" || s.model.Asked() != 2 {
		t.Errorf("%v, shown %q, asked %d times", err, term.out, s.model.Asked())
	}
}

// TestInterrupt stops the answer at first, also one that has not begun, and then the chat.
func TestInterrupt(t *testing.T) {
	s := newSite(t, "text \"Once \"\nwait")
	once := s.chat(termchat.Config{Question: "Tell me."})
	once.out.wait("Once")
	once.interrupts <- struct{}{}
	if err := once.end(); !errors.Is(err, termchat.ErrInterrupted) || once.out.String() != "Once \n" || s.model.Cancelled() != 1 {
		t.Errorf("%v, shown %q", err, once.out)
	}

	in, typed := io.Pipe()
	defer typed.Close()
	term := s.chat(termchat.Config{In: in})
	_, _ = io.WriteString(typed, "Tell me.\n")
	term.out.wait("Once")
	term.interrupts <- struct{}{}
	term.out.wait("Once \n")
	term.interrupts <- struct{}{}
	if err := term.end(); !errors.Is(err, termchat.ErrInterrupted) {
		t.Error(err)
	}
}

// TestRefused ends at once, and says why, when it cannot go on.
func TestRefused(t *testing.T) {
	s := newSite(t, "fail provider_unavailable")
	secured := "ws" + strings.TrimPrefix(s.http.URL, "http") + "/secured/"
	for name, test := range map[string]struct {
		config termchat.Config
		want   string
	}{
		"nobody":       {termchat.Config{URL: "ws://127.0.0.1:1/"}, "connect"},
		"unknown":      {termchat.Config{URL: secured}, "401"},
		"known":        {termchat.Config{URL: secured, Header: http.Header{"Authorization": {"Bearer t"}}}, "not complete"},
		"conversation": {termchat.Config{Conversation: "00000000-0000-4000-8000-000000000000"}, "There is no such conversation"},
		"model":        {termchat.Config{}, "not complete"},
	} {
		test.config.Question = "Hi?"
		term := s.chat(test.config)
		if err := term.end(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
