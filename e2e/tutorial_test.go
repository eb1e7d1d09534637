package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// demo is an assistant that needs no network.
const demo = `
	assistant /ws/assistants/* {
		provider demo {
			delay 1ms
		}
	}
`

// TestTutorial lets a client that knows only the tutorial talk to the demo, under everything that Caddy
// may wrap around a response: each of these once broke upgrades.
func TestTutorial(t *testing.T) {
	variants := []struct{ name, global, directives string }{
		{"plain", "", ""},
		{"log", "", "log"},
		{"metrics", "metrics", ""},
		{"tracing", "", "tracing"},
		{"encode", "", "encode"},
		{"header", "", "header X-Test now\n header >X-Test later"},
		{"log encode", "", "log\n encode"},
		{"log header", "", "log\n header >X-Test later"},
		{"all", "metrics", "log\n tracing\n encode\n header >X-Test later"},
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			caddyfile := "{\n" + v.global + "\n}\n" + harness.Site(v.directives+demo)
			c := harness.Start(t, caddyfile, "OTEL_TRACES_EXPORTER=none")
			client := harness.Dial(t, c)

			client.Send(`{"action":"ping"}`)
			client.Expect(`{"action":"pong","payload":null}`)
			for _, question := range []string{"What is Python?", "Can you give me an example?"} {
				client.Ask(question)
				if answer := expectAnswer(t, client); !strings.Contains(answer, question) {
					t.Errorf("the demo does not repeat %q:\n%s", question, answer)
				}
			}
			if strings.Contains(v.directives, "log") {
				client.Vanish()
				c.WaitLog(t, func(e harness.Entry) bool {
					return e["logger"] == "http.log.access" && e["status"] == 101.0
				})
			}
		})
	}
}

// expectAnswer reads one whole answer, checks that its frames are the tutorial's to the last key, and
// returns its text.
func expectAnswer(t *testing.T, client *harness.Client) string {
	t.Helper()
	client.Expect(`{"action":"streaming_start","payload":{"content":""}}`)
	var text strings.Builder
	for {
		frame := client.Next()
		piece, err := json.Marshal(frame.Content())
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case harness.SameJSON(t, frame.Text, `{"action":"complete_streaming","payload":{"content":""}}`):
			if text.Len() == 0 {
				t.Error("the answer has no text")
			}
			return text.String()
		case frame.Content() == "" || !harness.SameJSON(t, frame.Text, `{"action":"streaming","payload":{"content":`+string(piece)+`}}`):
			t.Fatalf("not a frame of the tutorial's answers: %s", frame.Text)
		}
		text.WriteString(frame.Content())
	}
}
