package asyncapi_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/caddy-assistant/caddy-assistant/asyncapi"
)

// values are the members of a JSON object.
type values = map[string]any

// TestMirror checks that the client's view is exactly the server's view reversed: the client sends everything
// that the server receives, and vice versa.
func TestMirror(t *testing.T) {
	for name, channels := range map[string][]asyncapi.Channel{"one channel": {assistants}, "two channels": {assistants, support}} {
		for protocolName, p := range map[string]wire.Description{"sample": protocol, "real": session.Protocol()} {
			api := asyncapi.API{Server: asyncapi.Server{Host: "chat.example.com", TLS: true}, Protocol: p, Channels: channels}
			got, want := view(t, api, asyncapi.ClientView), mirror(view(t, api, asyncapi.ServerView))
			for _, part := range slices.Sorted(maps.Keys(want)) {
				if !reflect.DeepEqual(got[part], want[part]) {
					t.Errorf("%s, %s protocol: %s:\n%v\nis not the mirror\n%v", name, protocolName, part, got[part], want[part])
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: the views have %d and %d parts", name, len(got), len(want))
			}
		}
	}
}

func view(t *testing.T, api asyncapi.API, v asyncapi.View) (document values) {
	t.Helper()
	d, err := asyncapi.Build(api, v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(d.JSON(), &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// mirror reverses a server's view. It uses only the document.
func mirror(d values) values {
	d["id"] = strings.Replace(d["id"].(string), ":server", ":client", 1)
	d["operations"] = mirrorOperations(d)
	components := d["components"].(values)
	for _, m := range components["messages"].(values) {
		title := last(m.(values)["payload"])
		components["schemas"].(values)[title].(values)["discriminator"] = "action"
	}
	if channels := d["channels"].(values); len(channels) == 1 {
		for _, c := range channels {
			for _, s := range d["servers"].(values) {
				s.(values)["pathname"] = c.(values)["address"]
			}
			c.(values)["address"] = "/"
		}
	}
	return d
}

func mirrorOperations(d values) values {
	operations := values{}
	for name, o := range d["operations"].(values) {
		operation := maps.Clone(o.(values))
		prefix, _, _ := strings.Cut(name, "handle_") // the channel's name, on all channels but the first
		sent := operation
		if operation["action"] == "receive" {
			operation["action"] = "send"
			operations[strings.Replace(name, "handle_", "send_", 1)] = operation
			sent = operation["reply"].(values)
		} else {
			prefix = strings.TrimSuffix(name, "push")
		}
		for _, ref := range sent["messages"].([]any) {
			message := d["components"].(values)["messages"].(values)[last(ref)].(values)
			operations[prefix+"on_"+message["name"].(string)] = receipt(sent["channel"], ref, message)
		}
	}
	return operations
}

// receipt returns the client's operation for a message of the server.
func receipt(channel, ref any, message values) values {
	operation := values{
		"action": "receive", "channel": channel, "messages": []any{ref},
		"summary": "Handle " + message["name"].(string), "description": message["summary"],
	}
	if tags := message["tags"]; tags != nil {
		operation["tags"] = tags
	}
	return operation
}

// last returns the last part of a reference.
func last(ref any) string {
	to := ref.(values)["$ref"].(string)
	return to[strings.LastIndexByte(to, '/')+1:]
}
