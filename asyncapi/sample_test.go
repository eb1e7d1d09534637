package asyncapi_test

import (
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/caddy-assistant/caddy-assistant/asyncapi"
)

// The payloads of the examples, as servers write them.
type (
	content struct {
		Content string `json:"content"`
	}
	completion struct {
		Content string `json:"content"`
		Usage   *usage `json:"usage,omitempty"`
	}
	usage struct {
		Tokens int `json:"tokens"`
	}
	stop struct {
		MessageID string `json:"message_id"`
	}
	notice struct {
		Detail string  `json:"detail"`
		After  *string `json:"after"`
	}
	failure struct {
		Detail string `json:"detail"`
		Reason string `json:"reason"`
	}
)

func text(description string) *wire.Schema {
	return &wire.Schema{Type: "string", Description: description}
}

func named(title string) *wire.Schema { return &wire.Schema{Ref: title} }

func object(title string, properties ...wire.Property) *wire.Schema {
	return &wire.Schema{Title: title, Description: "What " + title + " holds.", Type: "object", Properties: properties}
}

// protocol is the tutorial's, extended by everything else that a description can contain.
var protocol = wire.Description{
	Operations: []wire.OperationDescription{
		{
			Name: "handle_ping", Action: "ping", Summary: "Handle ping requests", Description: "Simple ping-pong for connectivity testing",
			Message: "ping_message", Replies: []string{"pong_message", "error_message"}, Tags: []string{"connection"},
		},
		{
			Name: "handle_assistant_message", Action: "assistant_message", Summary: "Handle user message",
			Description: "Process user message and generate AI response", Message: "assistant_message",
			Replies: []string{"notice_message", "streaming_start_message", "streaming_message", "complete_streaming_message", "error_message"},
			Tags:    []string{"chat"},
		},
		{
			Name: "handle_stop_streaming", Action: "stop_streaming", Summary: "Handle stop requests", Description: "Stop the running answer.",
			Message: "stop_streaming_message", Replies: []string{"complete_streaming_message", "error_message"}, Tags: []string{"chat"},
		},
	},
	Pushed: &wire.OperationDescription{Name: "push", Summary: "Tell", Description: "What happens.", Replies: []string{"notice_message", "error_message"}},
	Messages: []wire.MessageDescription{
		{Key: "ping_message", Title: "PingMessage", Action: "ping", Description: "A ping.", Direction: wire.FromClient, Tags: []string{"connection"}},
		{
			Key: "assistant_message", Title: "AssistantMessage", Action: "assistant_message", Description: "A question.", Direction: wire.FromClient,
			Payload: &wire.Schema{Type: "string", MinLength: new(1)}, Example: "What is <Python> & Co?", Tags: []string{"chat"},
		},
		{
			Key: "stop_streaming_message", Title: "StopStreamingMessage", Action: "stop_streaming", Description: "Stop.", Direction: wire.FromClient,
			Payload: named("StopPayload"), PayloadOptional: true, Example: &stop{"m1"}, Tags: []string{"chat"},
		},
		{Key: "pong_message", Title: "PongMessage", Action: "pong", Description: "The answer to a ping.", Direction: wire.FromServer, Tags: []string{"connection"}},
		{
			Key: "error_message", Title: "ErrorMessage", Action: "error", Description: "Something failed.", Direction: wire.FromServer,
			Payload: &wire.Schema{AnyOf: []*wire.Schema{named("ErrorPayload"), {Type: "array", Items: named("Item")}}},
			Example: failure{"Too many.", "busy"},
		},
		{
			Key: "notice_message", Title: "NoticeMessage", Action: "notice", Description: "Something to know.", Direction: wire.FromServer,
			Payload: named("NoticePayload"), PayloadOptional: true, Example: notice{Detail: "It waits."},
		},
		{
			Key: "streaming_start_message", Title: "StreamingStartMessage", Action: "streaming_start", Description: "It starts.",
			Direction: wire.FromServer, Payload: named("StreamingPayload"), Example: content{},
		},
		{
			Key: "streaming_message", Title: "StreamingMessage", Action: "streaming", Description: "A piece.", Direction: wire.FromServer,
			Payload: named("StreamingPayload"), Example: content{"Python is"},
		},
		{
			Key: "complete_streaming_message", Title: "CompleteStreamingMessage", Action: "complete_streaming", Description: "It is complete.",
			Direction: wire.FromServer, Payload: named("CompletePayload"), Example: completion{Usage: &usage{152}},
		},
	},
	Schemas: []*wire.Schema{
		object("StopPayload", wire.Property{Name: "message_id", Required: true, Schema: &wire.Schema{Type: "string", MaxLength: new(64), Description: "Which."}}),
		{Title: "Reason", Description: "Why.", Type: "string", Enum: []string{"busy", "internal"}},
		object("ErrorPayload",
			wire.Property{Name: "detail", Required: true, Schema: text("For people.")},
			wire.Property{Name: "reason", Required: true, Schema: named("Reason")}),
		object("Item",
			wire.Property{Name: "loc", Required: true, Schema: &wire.Schema{Type: "array", Description: "Where.", Items: &wire.Schema{Type: "string"}}},
			wire.Property{Name: "seen", Schema: &wire.Schema{Type: "string", Format: "date-time", Description: "When."}}),
		object("NoticePayload",
			wire.Property{Name: "detail", Required: true, Schema: text("For people.")},
			wire.Property{Name: "after", Required: true, Nullable: true, Schema: text("What it waits for.")}),
		object("StreamingPayload", wire.Property{Name: "content", Required: true, Schema: text("The text.")}),
		object("Usage", wire.Property{Name: "tokens", Required: true, Schema: &wire.Schema{Type: "integer", Minimum: new(int64(0)), Maximum: new(int64(1 << 40)), Description: "Sum."}}),
		object("CompletePayload",
			wire.Property{Name: "content", Required: true, Schema: text("Empty.")},
			wire.Property{Name: "usage", Schema: named("Usage")}),
	},
}

var (
	assistants = asyncapi.Channel{
		Name: "assistants", Address: "/ws/assistants/", Description: "AI Assistant WebSocket API", Tags: []string{"ai", "chat"},
	}
	support = asyncapi.Channel{
		Name: "support", Address: "/ws/support/", Description: "Another route", Tags: []string{"help"},
		Query:      []wire.Property{{Name: "conversation", Schema: &wire.Schema{Type: "string", Format: "uuid", Description: "What to resume."}}},
		Headers:    []wire.Property{{Name: "Origin", Schema: text("The page's origin.")}},
		Refusals:   map[int]string{403: "A foreign page."},
		CloseCodes: map[int]string{1009: "A message was too large.", 1008: "Too many malformed messages."},
		Limits:     map[string]int64{"max_message_bytes": 1 << 20},
	}
)

// elsewhere is a channel of another site, at the address of assistants.
var elsewhere = asyncapi.Channel{Name: "elsewhere", Address: assistants.Address, Server: asyncapi.Server{Host: "localhost:8080"}}

func build(t testing.TB, view asyncapi.View, channels ...asyncapi.Channel) asyncapi.Document {
	t.Helper()
	document, err := asyncapi.Build(asyncapi.API{
		Server: asyncapi.Server{Host: "chat.example.com", TLS: true}, Protocol: protocol, Channels: channels,
	}, view)
	if err != nil {
		t.Fatal(err)
	}
	return document
}
