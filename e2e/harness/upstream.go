package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Upstream is an OpenAI-compatible server that answers as a test says.
type Upstream struct {
	URL   string       // base URL for the provider
	Calls <-chan *Call // every request, as it arrives

	server *httptest.Server
}

// Call is one answer that was asked for, by either of OpenAI's APIs.
type Call struct {
	Header       http.Header
	Model        string
	Instructions string // of the Responses API; in chat completions they are a message
	Messages     []ChatMessage
	Body         []byte // the whole request

	Writer    http.ResponseWriter // for answers of whatever kind
	r         *http.Request
	responses bool
}

// ChatMessage is one message of the request. Of a list of contents, Content is the text.
type ChatMessage struct {
	Role    string
	Content string
}

// UnmarshalJSON implements [json.Unmarshaler].
func (m *ChatMessage) UnmarshalJSON(data []byte) error {
	var message struct {
		Role    string
		Content json.RawMessage
	}
	if err := json.Unmarshal(data, &message); err != nil {
		return err
	}
	m.Role = message.Role
	var contents []struct{ Text string }
	if len(message.Content) == 0 {
		return nil // of a message that calls tools
	}
	if message.Content[0] != '[' {
		return json.Unmarshal(message.Content, &m.Content)
	}
	err := json.Unmarshal(message.Content, &contents)
	for _, c := range contents {
		m.Content += c.Text
	}
	return err
}

// NewUpstream runs a server that hands each request to answer, in a goroutine of its own.
func NewUpstream(t testing.TB, answer func(*Call)) *Upstream {
	t.Helper()
	calls := make(chan *Call, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := &Call{Header: r.Header, Writer: w, r: r, responses: r.URL.Path == "/v1/responses"}
		if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" && !call.responses {
			t.Errorf("upstream got %s %s", r.Method, r.URL.Path)
			http.NotFound(w, r)
			return
		}
		var body struct {
			Model           string
			Stream          bool
			Instructions    string
			Messages, Input []ChatMessage
		}
		data, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(data, &body)
		}
		call.Body = data
		if errors.Is(err, io.ErrUnexpectedEOF) || r.Context().Err() != nil {
			return // who asks was killed meanwhile
		}
		if err != nil || !body.Stream {
			t.Errorf("upstream got a request that asks for no stream (%v)", err)
		}
		call.Model, call.Instructions, call.Messages = body.Model, body.Instructions, append(body.Messages, body.Input...)
		select {
		case calls <- call:
		default: // a test that asks for so many looks at none
		}
		answer(call)
	}))
	t.Cleanup(server.Close)
	return &Upstream{URL: server.URL + "/v1", Calls: calls, server: server}
}

// CloseConnections ends the connections that wait for the next request, and all others.
func (u *Upstream) CloseConnections() { u.server.CloseClientConnections() }

// Question is the last message.
func (c *Call) Question() string { return c.Messages[len(c.Messages)-1].Content }

// Pieces sends chunks of text.
func (c *Call) Pieces(texts ...string) {
	for _, text := range texts {
		if c.responses {
			c.Event(encode(map[string]any{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}))
		} else {
			c.chunk(map[string]any{"content": text}, nil)
		}
	}
}

// Reasoning sends a piece of reasoning.
func (c *Call) Reasoning(text string) {
	if c.responses {
		c.Event(encode(map[string]any{"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": text}))
	} else {
		c.chunk(map[string]any{"reasoning_content": text}, nil)
	}
}

// Usage reports the tokens of the answer, before its end. It is for chat completions.
func (c *Call) Usage(input, output int) {
	c.Event(encode(map[string]any{
		"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": c.Model, "choices": []any{},
		"usage": map[string]any{"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
	}))
}

// Finish ends the answer as a whole one.
func (c *Call) Finish() {
	if c.responses {
		c.Event(encode(map[string]any{"type": "response.completed", "response": map[string]any{"status": "completed"}}))
		return
	}
	c.chunk(map[string]any{}, "stop")
	c.Event("[DONE]")
}

// Event sends one server-sent event.
func (c *Call) Event(data string) {
	c.Writer.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(c.Writer, "data: %s\n\n", data)
	_ = http.NewResponseController(c.Writer).Flush() // a client that is gone is UntilGone's business
}

// Fail answers with an HTTP status and an error object that holds text.
func (c *Call) Fail(status int, text string) {
	c.Writer.Header().Set("Content-Type", "application/json")
	c.Writer.WriteHeader(status)
	_ = json.NewEncoder(c.Writer).Encode(map[string]any{"error": map[string]any{"message": text, "type": "test"}})
}

// Cut drops the connection in the middle of the answer.
func (c *Call) Cut() { panic(http.ErrAbortHandler) }

// Gone is closed when the server has given the request up.
func (c *Call) Gone() <-chan struct{} { return c.r.Context().Done() }

// UntilGone returns when the server has given the request up, and tells when that was.
func (c *Call) UntilGone() time.Time {
	<-c.r.Context().Done()
	return time.Now()
}

func (c *Call) chunk(delta map[string]any, finish any) {
	c.Event(encode(map[string]any{
		"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": c.Model,
		"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}},
	}))
}

func encode(event map[string]any) string {
	data, err := json.Marshal(event)
	if err != nil {
		panic(err) // maps of strings
	}
	return string(data)
}
