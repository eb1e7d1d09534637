package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
	"go.uber.org/zap"
)

// pipe is a Conn whose other end is the test.
type pipe struct {
	in     chan string   // what the client sends
	gate   chan struct{} // where it is set, a Send waits for a token
	closed chan struct{} // by Close
	left   chan error    // why Recv fails, where the client leaves or breaks off
	ended  chan error    // what Serve returned

	onRecv, onSend, onClose func() // called first, where they are set

	awaited *reception // the reader's
	tries   bool       // it is a trier
	tried   int        // calls of TrySend

	mu     sync.Mutex
	sends  [][]string // the frames of each Send
	closes []string   // "code reason" of each Close
}

// pipes counts them: every second one can try.
var pipes atomic.Uint64

func newPipe() *pipe {
	return &pipe{tries: pipes.Add(1)%2 == 0, in: make(chan string), closed: make(chan struct{}), left: make(chan error, 1), ended: make(chan error, 1)}
}

func (p *pipe) Recv() ([]byte, error) {
	if p.awaited == nil {
		p.Await()
	}
	next := p.awaited
	p.awaited = nil
	return next.data, next.err
}

// Await waits for what Recv returns next.
func (p *pipe) Await() {
	if p.onRecv != nil {
		p.onRecv()
	}
	select {
	case frame := <-p.in:
		p.awaited = &reception{[]byte(frame), nil}
	case err := <-p.left:
		p.awaited = &reception{nil, err}
	case <-p.closed:
		p.awaited = &reception{nil, errors.New("connection is closed")}
	}
}

// reception is what Recv returns.
type reception struct {
	data []byte
	err  error
}

func (p *pipe) Send(messages ...[]byte) error {
	if p.onSend != nil {
		p.onSend()
	}
	if p.gate != nil {
		select {
		case <-p.gate:
		case <-p.closed:
		}
	}
	var frames []string
	for _, m := range messages {
		frames = append(frames, string(m))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.closes) > 0 {
		return errors.New("connection is closed")
	}
	p.sends = append(p.sends, frames)
	return nil
}

func (p *pipe) CanTry() bool { return p.tries }

// TrySend is Send where that needs no wait, and mostly.
func (p *pipe) TrySend(messages ...[]byte) (rest func() error, err error) {
	if p.tried++; p.gate == nil && p.tried%3 > 0 {
		return nil, p.Send(messages...)
	}
	return func() error { return p.Send(messages...) }, nil
}

func (p *pipe) Close(code int, reason string) error {
	p.mu.Lock()
	p.closes = append(p.closes, closing{code, reason}.String())
	first := len(p.closes) == 1
	p.mu.Unlock()
	if first {
		close(p.closed)
	}
	if p.onClose != nil {
		p.onClose()
	}
	return nil
}

// frames are all that was sent, in order; the next call returns what came since.
func (p *pipe) frames(t testing.TB) (frames []frame) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range slices.Concat(p.sends...) {
		f := frame{text: text}
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatalf("frame %q: %v", text, err)
		}
		frames = append(frames, f)
	}
	p.sends = nil
	return frames
}

// closing is how a connection was closed.
type closing struct {
	code   int
	reason string
}

func (c closing) String() string { return string(must(json.Marshal([]any{c.code, c.reason}))) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// frame is what the server sent.
type frame struct {
	Action  string
	Payload payload
	Topic   string
	Ref     string
	Seq     uint64

	text string
}

// payload holds the fields of all payloads that are objects.
type payload struct {
	Content        string
	Reason         string
	Detail         string
	MessageID      string `json:"message_id"`
	ConversationID string `json:"conversation_id"`
	FinishReason   string `json:"finish_reason"`
}

func (p *payload) UnmarshalJSON(data []byte) error {
	if data[0] != '{' { // null, or the items of a validation error
		return nil
	}
	type plain payload
	return json.Unmarshal(data, (*plain)(p))
}

// actions of the frames.
func actions(frames []frame) (names []string) {
	for _, f := range frames {
		names = append(names, f.Action)
	}
	return names
}

type (
	model = assistanttest.Model
	named = assistanttest.Named
)

var (
	finished = assistanttest.Finished
	echoes   = assistanttest.Echoes
	fails    = assistanttest.Fails
	flaky    = assistanttest.Flaky
)

func question(req assistant.Request) string { return req.Turns[len(req.Turns)-1].Content }

// server serves pipes.
type server struct {
	t   testing.TB
	hub *conversation.Hub
	*conversation.Assistant
}

func newServer(t testing.TB, p assistant.Provider) *server {
	t.Helper()
	return newServerOn(t, memory.Open(memory.Config{}), conversation.Config{Provider: p}, nil)
}

func newServerOn(t testing.TB, store assistant.Store, c conversation.Config, log *zap.Logger) *server {
	t.Helper()
	hub := conversation.NewHub(store, log)
	s := &server{t, hub, conversation.New(hub, c)}
	t.Cleanup(s.close)
	return s
}

func (s *server) close() {
	stopped, stop := context.WithCancel(context.Background())
	stop() // running answers get no time
	if err := s.hub.Close(stopped); err != nil {
		s.t.Errorf("close hub: %v", err)
	}
}

// serve begins a session on p.
func (s *server) serve(p *pipe, peer assistant.Peer) *pipe {
	s.t.Helper()
	if !s.hub.Go(func() { p.ended <- session.Serve(s.Assistant, p, peer) }) {
		s.t.Fatal("the hub is closed")
	}
	return p
}

// dial begins a session of an anonymous client.
func (s *server) dial() *pipe {
	s.t.Helper()
	return s.serve(newPipe(), assistant.Peer{})
}

// dialStored begins a session of ann's that follows a new stored conversation, and returns its topic.
func (s *server) dialStored() (p *pipe, topic string) {
	s.t.Helper()
	p = s.serve(newPipe(), assistant.Peer{User: "ann"})
	p.in <- `{"action":"create_conversation","ref":"c"}`
	synctest.Wait()
	created := p.frames(s.t)
	topic = "conversation:" + created[0].Payload.ConversationID
	p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic)
	synctest.Wait()
	if got := actions(p.frames(s.t)); !slices.Equal(got, []string{"subscribed", "snapshot"}) {
		s.t.Fatalf("%s was answered %v", topic, got)
	}
	return p, topic
}

// newChain is a chain of providers; a model is named by its place.
func newChain(t testing.TB, providers ...assistant.Provider) *chain.Chain {
	t.Helper()
	for i, p := range providers {
		if _, ok := p.(model); ok {
			providers[i] = named{Provider: p, Name: fmt.Sprintf("p%d", i)}
		}
	}
	return must(chain.New(nil, providers...))
}

// heap is what is in use, in bytes.
func heap() int {
	var stats runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}
