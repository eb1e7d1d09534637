package openai

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	// canary is the key that must never appear in any output.
	canary = "canary-4f1d9a7be2"
	done   = "data: [DONE]\n\n"
)

// openaiURL is a base URL as OpenAI's own, over connections that the tests make.
const openaiURL = "http://api.openai.com/v1"

// piece is a chunk with text.
func piece(text string) string {
	return fmt.Sprintf("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q},\"finish_reason\":null}]}\n\n", text)
}

// outputText is an event of the Responses API with text.
func outputText(text string) string {
	return fmt.Sprintf("event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":%q}\n\n", text)
}

// completed is the last event of the Responses API.
const completed = `data: {"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":9,"output_tokens":5,"total_tokens":14}}}` + "\n\n"

// finish is a chunk with a finish reason.
func finish(reason string) string {
	return fmt.Sprintf("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":%q}]}\n\n", reason)
}

var question = assistant.Request{Turns: []assistant.Turn{{Role: assistant.RoleUser, Content: "What is Go?"}}}

// upstream is a model's server whose connections are pipes, so that it fits into a bubble of fake time.
type upstream struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	mu       sync.Mutex
	requests []request
	dialed   int
}

type request struct {
	path   string
	header http.Header
	body   string
}

// serve runs test with a provider of c and the server that it asks, in a synctest bubble. The test fails when
// either leaves a goroutine behind.
func serve(t *testing.T, c Config, answer func(w *reply), test func(t *testing.T, p *Provider, u *upstream)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body) // otherwise the server never notices that the client has left
			if err != nil {
				t.Errorf("read request: %v", err)
			}
			u.mu.Lock()
			u.requests = append(u.requests, request{r.URL.Path, r.Header, string(body)})
			u.mu.Unlock()
			answer(&reply{ResponseWriter: w, r: r, Attempt: len(u.Requests())})
		})}
		go func() { _ = server.Serve(u) }()

		p := mustNew(t, c)
		p.transport.DialContext = u.dial
		test(t, p, u)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		_ = server.Close()
	})
}

// mustNew returns a provider of c, with a default for the fields that the tests do not care about.
func mustNew(t *testing.T, c Config) *Provider {
	t.Helper()
	if c.APIKey == "" {
		c.APIKey = canary
	}
	if c.BaseURL == "" {
		c.BaseURL = "http://model.test/v1"
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Requests returns the requests that have arrived so far.
func (u *upstream) Requests() []request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.requests
}

func (u *upstream) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if address != "model.test:80" && address != "api.openai.com:80" {
		return nil, fmt.Errorf("dialed %s, neither the server nor its port", address)
	}
	near, far := net.Pipe()
	select {
	case u.conns <- far:
		u.mu.Lock()
		defer u.mu.Unlock()
		u.dialed++
		return near, nil
	case <-u.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (u *upstream) Accept() (net.Conn, error) {
	select {
	case c := <-u.conns:
		return c, nil
	case <-u.done:
		return nil, net.ErrClosed
	}
}

func (u *upstream) Close() error {
	u.once.Do(func() { close(u.done) })
	return nil
}

func (u *upstream) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// reply is the server's reply to one request.
type reply struct {
	http.ResponseWriter
	r       *http.Request
	Attempt int // 1 = the first request to the server
}

// piece, finish and done are parts of an answer in the form of the API that was asked.
func (w *reply) piece(text string) string {
	if w.responses() {
		return outputText(text)
	}
	return piece(text)
}

func (w *reply) finish() string {
	if w.responses() {
		return completed
	}
	return finish("stop")
}

// tool is a call of a tool.
func (w *reply) tool() string {
	if w.responses() {
		return `data: {"type":"response.output_item.added","item":{"type":"function_call","name":"f"}}` + "\n\n"
	}
	return `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]}}]}` + "\n\n"
}

func (w *reply) done() string {
	if w.responses() {
		return "" // there is no end marker
	}
	return done
}

// whole is a whole answer that is no stream.
func (w *reply) whole(text string) string {
	if w.responses() {
		return fmt.Sprintf(`{"object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":%q}]}]}`, text)
	}
	return fmt.Sprintf(`{"object":"chat.completion","choices":[{"message":{"content":%q},"finish_reason":"stop"}]}`, text)
}

func (w *reply) responses() bool { return w.r.URL.Path == "/v1/responses" }

// Stream sends parts of an event stream, at once.
func (w *reply) Stream(parts ...string) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	for _, part := range parts {
		_, _ = io.WriteString(w, part)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Fail sends an HTTP error.
func (w *reply) Fail(status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// Hang waits until the client has left.
func (w *reply) Hang() { <-w.r.Context().Done() }

// Sleep waits, or until the client has left.
func (w *reply) Sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.r.Context().Done():
	}
}

// Cut drops the connection.
func (w *reply) Cut() { panic(http.ErrAbortHandler) }

// outcome is everything that Stream yielded.
type outcome struct {
	text, reasoning string
	finish          assistant.FinishReason
	usage           *assistant.Usage
	err             error
	first, took     time.Duration // until the first piece, and in all
}

func ask(ctx context.Context, p *Provider) outcome {
	var a outcome
	begin := time.Now()
	for d, err := range p.Stream(ctx, question) {
		if a.first == 0 && d.Text+d.Reasoning != "" {
			a.first = time.Since(begin)
		}
		a.text += d.Text
		a.reasoning += d.Reasoning
		if d.FinishReason != "" {
			a.finish = d.FinishReason
		}
		if d.Usage != nil {
			a.usage = d.Usage
		}
		a.err = err
	}
	a.took = time.Since(begin)
	return a
}
