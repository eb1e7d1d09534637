package session_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/gorilla/websocket"
)

// shouter is a provider of one's own: it answers with the question in capitals, word by word.
type shouter struct{}

func (shouter) Source() assistant.Source {
	return assistant.Source{Provider: "shouter", Model: "capitals"}
}

func (shouter) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		question := req.Turns[len(req.Turns)-1].Content
		for word := range strings.FieldsSeq(question) {
			if ctx.Err() != nil {
				yield(assistant.Delta{}, context.Cause(ctx))
				return
			}
			if !yield(assistant.Delta{Text: strings.ToUpper(word) + " "}, nil) {
				return
			}
		}
		yield(assistant.Delta{FinishReason: assistant.FinishStop}, nil)
	}
}

// Serve an assistant from net/http, without Caddy, with a provider of one's own.
func Example() {
	hub := conversation.NewHub(memory.Open(memory.Config{}), nil)
	a := conversation.New(hub, conversation.Config{Provider: shouter{}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := ws.Upgrade(w, r, ws.Options{})
		if err != nil {
			return // the client has got its answer
		}
		hub.Go(func() { _ = session.Serve(a, conn, assistant.Peer{RemoteAddr: r.RemoteAddr}) })
	}))
	defer server.Close()
	defer func() { _ = hub.Close(context.Background()) }()

	client, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	_ = client.WriteMessage(websocket.TextMessage, []byte(`{"action":"assistant_message","payload":"hello there"}`))
	for range 4 {
		_, frame, err := client.ReadMessage()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(frame))
	}
	// Output:
	// {"action":"streaming_start","payload":{"content":""}}
	// {"action":"streaming","payload":{"content":"HELLO "}}
	// {"action":"streaming","payload":{"content":"THERE "}}
	// {"action":"complete_streaming","payload":{"content":""}}
}
