package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"go.yaml.in/yaml/v3"
)

// documented says what only a site knows, and the linters ask for.
const documented = demo + `asyncapi /asyncapi* {
	contact "Example team" https://example.com/team team@example.com
	license "Apache 2.0" https://www.apache.org/licenses/LICENSE-2.0
}
`

// TestDocumentIsClean: neither the specification's own parser nor any rule of Spectral's finds a fault, in
// any form of the document.
func TestDocumentIsClean(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site(documented+`assistant /ws/support/* {
		name support
		tags support
		provider demo
		user {query.user}
		conversation {query.conversation}
		origins https://example.com
	}`))
	arguments := []string{"asyncapi/validate.mjs"}
	for _, query := range []string{"", "?view=client", "?view=client&channel=support"} {
		arguments = append(arguments, c.URL("/asyncapi/schema/"+query))
	}
	if out, err := exec.CommandContext(t.Context(), "node", arguments...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDocument: the served document has the names that clients of the tutorial know.
func TestDocument(t *testing.T) {
	c := harness.Start(t, harness.Site(documented))
	document := harness.FetchDocument(t, c)

	var names struct {
		Servers  map[string]struct{ Host, Protocol string }
		Channels map[string]struct {
			Address  string
			Messages map[string]any
		}
		Operations map[string]any
	}
	if err := json.Unmarshal([]byte(document.Text), &names); err != nil {
		t.Fatal(err)
	}
	if server := names.Servers["development"]; server.Host != c.Addr || server.Protocol != "ws" {
		t.Errorf("servers = %v, want development at %s by ws", names.Servers, c.Addr)
	}
	channel := names.Channels["assistants"]
	if channel.Address != harness.AssistantPath {
		t.Errorf("address = %q, want %q", channel.Address, harness.AssistantPath)
	}
	for _, message := range []string{
		"ping_message", "pong_message", "assistant_message", "streaming_start_message",
		"streaming_message", "complete_streaming_message", "error_message",
	} {
		if channel.Messages[message] == nil {
			t.Errorf("no message %s", message)
		}
	}
	for _, operation := range []string{"handle_ping", "handle_assistant_message", "handle_stop_streaming"} {
		if names.Operations[operation] == nil {
			t.Errorf("no operation %s", operation)
		}
	}
}

// TestDocumentForms: every address of the document serves the same one.
func TestDocumentForms(t *testing.T) {
	c := harness.Start(t, harness.Site(documented))
	want := harness.FetchDocument(t, c).Text
	for path, unmarshal := range map[string]func([]byte, any) error{
		"/asyncapi.json":                json.Unmarshal,
		"/asyncapi.yaml":                yaml.Unmarshal,
		"/asyncapi/schema/?format=yaml": yaml.Unmarshal,
	} {
		response, body := c.Get(t, path)
		var value any
		if err := unmarshal([]byte(body), &value); err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("GET %s: %s, %v", path, response.Status, err)
		}
		if got, err := json.Marshal(value); err != nil || !harness.SameJSON(t, string(got), want) {
			t.Errorf("GET %s is another document (%v)", path, err)
		}
	}

	response, body := c.Get(t, "/asyncapi/schema/?format=xml")
	var problem map[string]string
	if err := json.Unmarshal([]byte(body), &problem); err != nil || problem["error"] == "" || response.StatusCode != http.StatusBadRequest {
		t.Errorf("another format: %s %q, want 400 with an error", response.Status, body)
	}
}

// TestFramesAreDocumented: what clients and server send each other is what the document says. Every
// client of every test checks what it receives; this one receives each kind of frame, and also checks
// what it sends.
func TestFramesAreDocumented(t *testing.T) {
	c := harness.Start(t, harness.Site(documented))
	document := harness.FetchDocument(t, c)
	client := harness.Dial(t, c)
	for _, step := range []struct{ send, answer string }{
		{`{"action":"ping"}`, "pong"},
		{`{"action":"ping","payload":null,"ref":"p","version":1}`, "pong"},
		{`{"action":"assistant_message","payload":"What is Python?"}`, "complete_streaming"},
		{`{"action":"assistant_message","payload":"What is Python?","ref":"q1"}`, "complete_streaming"},
		{`{"action":"assistant_message","payload":"Tell me much."}`, "streaming"},
		{`{"action":"assistant_message","payload":"And more.","ref":"q2"}`, "notice"},
		{`{"action":"stop_streaming"}`, "complete_streaming"},
		{`{"action":"stop_streaming","payload":{"message_id":"of another answer"},"ref":"s"}`, "complete_streaming"},
		{`{"action":"ping","topic":"conversation:5f9c1f0a-7f0e-4f0b-9d37-0f6f6c1b7a52","ref":"t"}`, "error"},
	} {
		if err := document.Validate(harness.ParseFrame(t, step.send)); err != nil {
			t.Errorf("the document forbids %s: %v", step.send, err)
		}
		client.Send(step.send)
		client.Until(step.answer)
	}

	for _, wrong := range []string{
		`{"action":"assistant_message"}`,
		`{"action":"assistant_message","payload":{"content":"x"}}`,
		`{"action":"stop_streaming","payload":"x"}`,
	} {
		if document.Validate(harness.ParseFrame(t, wrong)) == nil {
			t.Errorf("the document allows %s", wrong)
		}
		client.Send(wrong)
		client.Until("error")
	}
}

// TestDocsHeaders: the docs page comes with a policy that allows nothing from elsewhere.
func TestDocsHeaders(t *testing.T) {
	c := harness.Start(t, harness.Site(documented))
	response, body := c.Get(t, "/asyncapi/docs/")
	if response.StatusCode != http.StatusOK || !strings.Contains(body, "<html") {
		t.Errorf("GET /asyncapi/docs/: %s\n%.300s", response.Status, body)
	}
	policy := response.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe-eval") || strings.Contains(policy, "http") {
		t.Errorf("Content-Security-Policy = %q", policy)
	}
}
