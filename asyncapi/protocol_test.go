package asyncapi_test

import (
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/asyncapi"
	"github.com/caddy-assistant/caddy-assistant/asyncapi/asyncapitest"
)

// TestProtocol checks the document of the real table: every field is described and every example valid.
func TestProtocol(t *testing.T) {
	for _, view := range []asyncapi.View{asyncapi.ServerView, asyncapi.ClientView} {
		document, err := asyncapi.Build(asyncapi.API{
			Server: asyncapi.Server{Host: "localhost:8080"}, Protocol: session.Protocol(),
			Channels: []asyncapi.Channel{{Name: "assistants", Address: "/ws/assistants/", Description: "AI Assistant WebSocket API", Tags: []string{"ai", "chat"}}},
		}, view)
		if err != nil {
			t.Fatal(err)
		}
		if err := asyncapitest.Check(document.JSON()); err != nil {
			t.Errorf("%s view: %v", view, err)
		}
	}
}
