// Command gorilla is Caddy with the chat server that one writes in an afternoon: gorilla/websocket as it comes, the
// streaming of OpenAI's SDK, and encoding/json. The directive is gorilla_chat <base url>.
package main

import (
	"encoding/json"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/gorilla/websocket"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func init() {
	caddy.RegisterModule(new(handler))
	httpcaddyfile.RegisterHandlerDirective("gorilla_chat", parse)
	httpcaddyfile.RegisterDirectiveOrder("gorilla_chat", httpcaddyfile.Before, "respond")
}

func main() { caddycmd.Main() }

// handler answers each question by itself, in the frames of the assistants tutorial.
type handler struct {
	BaseURL string `json:"base_url"` // of the model's service

	client   openai.Client
	upgrader websocket.Upgrader
}

// CaddyModule implements caddy.Module.
func (*handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gorilla_chat", New: func() caddy.Module { return new(handler) }}
}

func parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	var c handler
	h.Next()
	if !h.AllArgs(&c.BaseURL) {
		return nil, h.ArgErr()
	}
	return &c, nil
}

// Provision implements caddy.Provisioner.
func (c *handler) Provision(caddy.Context) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 10_000 // with 2, the default, short answers would wait for connections
	c.client = openai.NewClient(option.WithBaseURL(c.BaseURL), option.WithAPIKey("none"),
		option.WithMaxRetries(0), option.WithHTTPClient(&http.Client{Transport: transport}))
	return nil
}

type message struct {
	Action  string  `json:"action"`
	Payload payload `json:"payload"`
}

type payload struct {
	Content string `json:"content"`
}

func (c *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	conn, err := c.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil // the answer is sent
	}
	defer conn.Close()
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return nil
		}
		var question struct{ Payload string }
		if err := json.Unmarshal(data, &question); err != nil {
			return nil
		}
		if err := c.answer(r, conn, question.Payload); err != nil {
			return err
		}
	}
}

func (c *handler) answer(r *http.Request, conn *websocket.Conn, question string) error {
	if err := conn.WriteJSON(message{Action: "streaming_start"}); err != nil {
		return err
	}
	stream := c.client.Chat.Completions.NewStreaming(r.Context(), openai.ChatCompletionNewParams{
		Model:    "gpt-4o",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(question)},
	})
	defer stream.Close()
	for stream.Next() {
		chunk := stream.Current()
		if len(chunk.Choices) == 0 || chunk.Choices[0].Delta.Content == "" {
			continue
		}
		if err := conn.WriteJSON(message{"streaming", payload{chunk.Choices[0].Delta.Content}}); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	return conn.WriteJSON(message{Action: "complete_streaming"})
}
