package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Upstream is an OpenAI-compatible server that answers as a test says.
type Upstream struct {
	URL   string       // base URL for the provider
	Calls <-chan *Call // every request, as it arrives
}

// Call is one chat completion that was asked for.
type Call struct {
	Header   http.Header
	Model    string
	Messages []ChatMessage

	w http.ResponseWriter
	r *http.Request
}

// ChatMessage is one message of the request.
type ChatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// NewUpstream runs a server that hands each request to answer, in a goroutine of its own.
func NewUpstream(t testing.TB, answer func(*Call)) *Upstream {
	t.Helper()
	calls := make(chan *Call, 1000) // more than any test asks for
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" {
			t.Errorf("upstream got %s %s", r.Method, r.URL.Path)
			http.NotFound(w, r)
			return
		}
		call := &Call{Header: r.Header, w: w, r: r}
		var body struct {
			Model    string
			Stream   bool
			Messages []ChatMessage
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || !body.Stream {
			t.Errorf("upstream got a request that asks for no stream (%v)", err)
		}
		call.Model, call.Messages = body.Model, body.Messages
		calls <- call
		answer(call)
	}))
	t.Cleanup(server.Close)
	return &Upstream{URL: server.URL + "/v1", Calls: calls}
}

// Question is the last message.
func (c *Call) Question() string { return c.Messages[len(c.Messages)-1].Content }

// Pieces sends chunks of text.
func (c *Call) Pieces(texts ...string) {
	for _, text := range texts {
		c.chunk(map[string]any{"content": text}, nil)
	}
}

// Finish ends the answer as a whole one.
func (c *Call) Finish() {
	c.chunk(map[string]any{}, "stop")
	c.Event("[DONE]")
}

// Event sends one server-sent event.
func (c *Call) Event(data string) {
	c.w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(c.w, "data: %s\n\n", data)
	_ = http.NewResponseController(c.w).Flush() // a client that is gone is UntilGone's business
}

// Fail answers with an HTTP status and an error object that holds text.
func (c *Call) Fail(status int, text string) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_ = json.NewEncoder(c.w).Encode(map[string]any{"error": map[string]any{"message": text, "type": "test"}})
}

// Cut drops the connection in the middle of the answer.
func (c *Call) Cut() { panic(http.ErrAbortHandler) }

// UntilGone returns when the server has given the request up, and tells when that was.
func (c *Call) UntilGone() time.Time {
	<-c.r.Context().Done()
	return time.Now()
}

func (c *Call) chunk(delta map[string]any, finish any) {
	data, err := json.Marshal(map[string]any{
		"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": c.Model,
		"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}},
	})
	if err != nil {
		panic(err) // maps of strings
	}
	c.Event(string(data))
}
