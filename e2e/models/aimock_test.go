package models

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// aimockKey is the one that aimock takes.
const aimockKey = "mock-key-7f2c"

// fixture is an answer of aimock, see its documentation of fixtures.
type fixture struct {
	probe
	response map[string]any
	options  map[string]any
	turn     *int // how many answers came before. Default: however many
}

const mocked = "A mocked answer: κόσμε, 👋🏽 and a\nsecond line."

func usage(input, output int) map[string]int {
	return map[string]int{"prompt_tokens": input, "completion_tokens": output}
}

func failure(status int, kind, code, message string) map[string]any {
	return map[string]any{"error": map[string]string{"message": message, "type": kind, "code": code}, "status": status}
}

// aimockFixtures are what aimock is told to do.
var aimockFixtures = []fixture{
	{
		probe:    probe{does: "An answer", text: mocked},
		response: map[string]any{"content": mocked, "usage": usage(11, 7)},
		options:  map[string]any{"chunkSize": 4},
	},
	{
		probe:    probe{does: "Pieces of half a character", text: mocked},
		response: map[string]any{"content": mocked, "usage": usage(11, 7)},
		options:  map[string]any{"chunkSize": 1},
	},
	{
		probe:    probe{does: "A second question", questions: []string{"First?", "And second?"}, text: "It knows the first."},
		response: map[string]any{"content": "It knows the first.", "usage": usage(21, 4)},
		turn:     new(1),
	},
	{
		probe:    probe{does: "Reasoning, then text", text: mocked, model: "deepseek-reasoner"},
		response: map[string]any{"reasoning": "What would a mock say?", "content": mocked, "usage": usage(11, 17)},
	},
	{
		probe:    probe{does: "Usage as the server counts it", text: mocked},
		response: map[string]any{"content": mocked},
	},
	{
		probe:    probe{does: "Cut by the token limit", text: mocked},
		response: map[string]any{"content": mocked, "finishReason": "length", "usage": usage(11, 7)},
	},
	{
		probe:    probe{does: "Cut by the content filter", text: mocked},
		response: map[string]any{"content": mocked, "finishReason": "content_filter", "usage": usage(11, 7)},
	},
	{
		probe:    probe{does: "A call of a tool that nobody has offered"},
		response: map[string]any{"toolCalls": []any{map[string]any{"name": "weather", "arguments": map[string]string{"city": "Bern"}}}},
	},
	{
		probe:    probe{does: "Nothing but white space"},
		response: map[string]any{"content": " \n "},
	},
	{
		probe:    probe{does: "The question is too long"},
		response: failure(400, "invalid_request_error", "context_length_exceeded", "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."),
	},
	{
		probe:    probe{does: "The content filter refuses the question"},
		response: failure(400, "invalid_request_error", "content_filter", "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."),
	},
	{
		probe:    probe{does: "400"},
		response: failure(400, "invalid_request_error", "unknown_parameter", "Unknown parameter: 'seed'."),
	},
	{
		probe: probe{does: "401: the key is wrong", key: "wrong-key-9d1e"},
	},
	{
		probe: probe{does: "404: the model is unknown"},
	},
	{
		probe:    probe{does: "429 with Retry-After"},
		response: failure(429, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached."),
	},
	{
		probe:    probe{does: "429: the quota is used up"},
		response: failure(429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
	},
	{
		probe:    probe{does: "500"},
		response: failure(500, "server_error", "", "The server had an error."),
	},
	{
		probe:    probe{does: "503"},
		response: failure(503, "overloaded_error", "", "Overloaded."),
	},
	{
		probe:    probe{does: "The connection ends before the answer"},
		response: map[string]any{"content": mocked},
		options:  map[string]any{"chaos": map[string]int{"disconnectRate": 1}},
	},
	{
		probe:    probe{does: "The connection ends in mid-answer", text: mocked},
		response: map[string]any{"content": mocked},
		options:  map[string]any{"chunkSize": 2, "latency": 10, "truncateAfterChunks": 9},
	},
	{
		probe:    probe{does: "What comes is no JSON"},
		response: map[string]any{"content": mocked},
		options:  map[string]any{"chaos": map[string]int{"malformedRate": 1}},
	},
	{
		probe:    probe{does: "Silence longer than `timeout`", settings: "timeout 500ms"},
		response: map[string]any{"content": mocked},
		options:  map[string]any{"latency": 60_000},
	},
	{
		probe:    probe{does: "Stopped by the user", stop: true},
		response: map[string]any{"content": strings.Repeat("On and on. ", 10_000)},
		options:  map[string]any{"latency": 10, "chunkSize": 5},
	},
}

// aimock is a running one.
type aimock struct {
	*harness.Peer
	url, version string
}

func startAimock(t *testing.T) aimock {
	t.Helper()
	const folder = "node_modules/@copilotkit/aimock"
	cmd := exec.Command("node", "--import", "./gone.mjs", folder+"/dist/cli.js", "--port", "0", "--fixtures", writeFixtures(t), "--validate-on-load")
	cmd.Env = append(os.Environ(), "AIMOCK_API_KEYS="+aimockKey)
	peer, line := harness.StartPeer(t, cmd, func(line string) bool { return strings.Contains(line, "listening on http://") })
	_, url, _ := strings.Cut(line, "listening on ")
	return aimock{peer, strings.TrimSpace(url), packageVersion(t, folder)}
}

// watcher returns a watcher of requests to paths with a prefix, by the title of the way.
func (a aimock) watcher(prefixes map[string]string) watcher {
	return watcher{who: "aimock", watch: func(way string) func(context.Context) error {
		return a.Watch(func(line string) bool { return strings.HasPrefix(line, "gone "+prefixes[way]) })
	}}
}

// TestAimock asks aimock, which has OpenAI's two APIs and the forms of two other services.
func TestAimock(t *testing.T) {
	a := startAimock(t)
	s := server{name: "aimock", version: a.version, key: aimockKey, ways: []way{
		{title: "chat", settings: "base_url " + a.url + "/v1\napi_key KEY"},
		{title: "Responses", settings: "base_url " + a.url + "/v1\napi responses\napi_key KEY"},
		{title: "Azure's form", settings: "base_url " + a.url + "/openai/deployments/chat\nquery api-version 2024-10-21\nheader api-key KEY"},
		{title: "OpenRouter's form", settings: "base_url " + a.url + "/api/v1\napi_key KEY"},
	}}
	for _, f := range aimockFixtures {
		s.probes = append(s.probes, f.probe)
	}
	s.watchers = []watcher{a.watcher(map[string]string{"chat": "/v1/chat/", "Responses": "/v1/responses", "Azure's form": "/openai/deployments/chat/", "OpenRouter's form": "/api/v1/chat/"})}
	s.run(t)
}

func writeFixtures(t *testing.T) string {
	t.Helper()
	var entries []map[string]any
	for _, f := range aimockFixtures {
		if f.response == nil {
			continue // what aimock does by itself
		}
		match := map[string]any{"userMessage": f.asked()[len(f.asked())-1]}
		if f.turn != nil {
			match["turnIndex"] = *f.turn
		}
		entry := map[string]any{"match": match, "response": f.response}
		maps.Copy(entry, f.options)
		entries = append(entries, entry)
	}
	entries = append(entries, map[string]any{"match": map[string]any{"userMessage": "First?"}, "response": map[string]any{"content": "The first."}})
	data, err := json.MarshalIndent(map[string]any{"fixtures": entries}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fixtures.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// packageVersion is that of an npm package that is installed.
func packageVersion(t *testing.T, folder string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "package.json"))
	if err != nil {
		t.Fatalf("make deps installs it: %v", err)
	}
	var p struct{ Version string }
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return p.Version
}
