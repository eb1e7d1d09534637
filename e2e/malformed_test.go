package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/coder/websocket"
)

// TestMalformedFrames: each is answered by a validation error, and the socket goes on.
func TestMalformedFrames(t *testing.T) {
	deep := func(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }
	c := harness.Start(t, harness.Site(demo))
	for _, test := range []struct{ name, frame, want string }{ // want: type and location of each item
		{"no JSON", `ping`, "json_invalid []"},
		{"cut", `{"action":"ping"`, "json_invalid []"},
		{"two values", `{"action":"ping"} {}`, "json_invalid []"},
		{"empty", ``, "json_invalid []"},
		{"lone surrogate", `{"action":"assistant_message","payload":"\ud800"}`, "json_invalid []"},
		{"duplicate key", `{"action":"ping","action":"assistant_message","payload":"x"}`, "json_invalid []"},
		{"too deep", `{"action":"ping","x":` + deep(64) + `}`, "json_invalid []"},
		{"far too deep", deep(100_000), "json_invalid []"},
		{"array", `[{"action":"ping"}]`, "model_type []"},
		{"string", `"ping"`, "model_type []"},
		{"null", `null`, "model_type []"},
		{"no action", `{}`, "union_tag_not_found []"},
		{"key of other case", `{"Action":"ping"}`, "union_tag_not_found []"},
		{"unknown action", `{"action":"nope"}`, "union_tag_invalid []"},
		{"action of other case", `{"action":"Ping"}`, "union_tag_invalid []"},
		{"action is a list", `{"action":["ping"]}`, "string_type [action]"},
		{"action is a number", `{"action":1}`, "string_type [action]"},
		{"action is null", `{"action":null}`, "string_type [action]"},
		{"payload missing", `{"action":"assistant_message"}`, "missing [assistant_message payload]"},
		{"payload is null", `{"action":"assistant_message","payload":null}`, "string_type [assistant_message payload]"},
		{"payload is a number", `{"action":"assistant_message","payload":1}`, "string_type [assistant_message payload]"},
		{"payload unwanted", `{"action":"ping","payload":"x"}`, "none_required [ping payload]"},
		{"version is a text", `{"action":"ping","version":"x"}`, "int_parsing [version]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := harness.Dial(t, c)
			client.Send(test.frame)
			frame := client.Next()
			if got := validation(t, frame); got != test.want {
				t.Errorf("answered by %s, want %s\n%s", got, test.want, frame.Text)
			}
			client.Send(`{"action":"ping"}`)
			client.Expect(`{"action":"pong","payload":null}`)
		})
	}
}

func validation(t *testing.T, frame harness.Frame) string {
	t.Helper()
	if frame.Action != "error" {
		return frame.Action
	}
	var items []struct {
		Type string
		Loc  []string
	}
	if err := json.Unmarshal(frame.Payload, &items); err != nil {
		t.Fatalf("payload is no list of items: %s", frame.Text)
	}
	var text []string
	for _, item := range items {
		text = append(text, fmt.Sprint(item.Type, " ", item.Loc))
	}
	return strings.Join(text, ", ")
}

// TestFatalFrames: what no client does by mistake ends the socket, with a status that says why.
func TestFatalFrames(t *testing.T) {
	const limit = 4096
	c := harness.Start(t, harness.Site(strings.Replace(demo, "provider", "max_message_size 4KiB\n provider", 1)))
	for _, test := range []struct {
		name string
		send func(*harness.Client)
		want websocket.StatusCode
	}{
		{"binary too often", func(c *harness.Client) {
			for range 20 {
				c.SendAs(websocket.MessageBinary, []byte(`{"action":"ping"}`))
			}
		}, websocket.StatusPolicyViolation},
		{"no UTF-8", func(c *harness.Client) { c.Send("{\"action\":\"assistant_message\",\"payload\":\"\xff\"}") }, websocket.StatusInvalidFramePayloadData},
		{"over the limit", func(c *harness.Client) { c.Send(strings.Repeat(" ", limit+1)) }, websocket.StatusMessageTooBig},
		{"malformed too often", func(c *harness.Client) {
			for range 20 {
				c.Send("{")
			}
		}, websocket.StatusPolicyViolation},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := harness.Dial(t, c)
			test.send(client)
			if got, _ := client.CloseStatus(); got != test.want {
				t.Errorf("closed with %d, want %d", got, test.want)
			}
		})
	}
	t.Run("at the limit", func(t *testing.T) {
		client := harness.Dial(t, c)
		client.Send(`{"action":"ping"` + strings.Repeat(" ", limit-len(`{"action":"ping"}`)) + `}`)
		client.Expect(`{"action":"pong","payload":null}`)
	})
}

// TestDefaultLimit: without a setting a message may have 1 MiB. The status reaches also a client that is
// still sending.
func TestDefaultLimit(t *testing.T) {
	c := harness.Start(t, harness.Site(demo))
	client := harness.Dial(t, c)
	client.Send(`{"action":"ping"` + strings.Repeat(" ", 1<<20-len(`{"action":"ping"}`)) + `}`)
	client.Expect(`{"action":"pong","payload":null}`)
	client.Send(strings.Repeat(" ", 1<<20+1))
	if got, _ := client.CloseStatus(); got != websocket.StatusMessageTooBig {
		t.Errorf("closed with %d, want %d", got, websocket.StatusMessageTooBig)
	}
}
