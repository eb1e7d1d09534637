package caddymodule_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// mistakes are typical ones, by their golden files: what the message names, and whether the file and the line are known.
// They are not where a mistake shows only when the configuration is loaded: it depends on the environment, or on other
// parts of the configuration.
var mistakes = []struct {
	golden, directive string
	isPlaced          bool
	words             []string // what was found, and what is expected
}{
	{"typo_subdirective", "assistant: ", true, []string{`"provder"`, "did you mean provider?"}},
	{"typo_provider", "assistant: provider: ", true, []string{`"openia"`, "demo, openai", "did you mean openai?"}},
	{"typo_store", "assistant: store: ", true, []string{`"sqllite"`, "did you mean sqlite?"}},
	{"model_outside", "assistant: ", true, []string{`"model"`, "allowed are"}},
	{"provider_outside", "", true, []string{"unrecognized directive: provider"}},
	{"no_provider", "assistant: provider: ", true, []string{"found nothing", "provider openai"}},
	{"name", "assistant: name: ", true, []string{"letters, digits and underscores", "found"}},
	{"same_name", "assistant: name: ", true, []string{`"assistants"`, "differ in address", "the other is at Caddyfile:2"}},
	{"rate", "assistant: rate: ", true, []string{"20/1m", "found"}},
	{"budget_duration", "assistant: budget: ", true, []string{"100000/24h", "found"}},
	{"max_message_size", "assistant: max_message_size: ", true, []string{"1MiB", "found"}},
	{"origins_host", "assistant: origins: ", true, []string{"https://example.com", "found"}},
	{"drain_timeout", "assistant: drain_timeout: ", true, []string{"30s", "found"}},
	{"openai_base_url", "provider openai: base_url: ", true, []string{"http or https", `"localhost:11434"`}},
	{"openai_temperature", "provider openai: temperature: ", true, []string{"0 to 2", "found"}},
	{"openai_model_bare", "provider openai: model: ", true, []string{"{env.NAME}", `"{OPENAI_MODEL}"`}},
	{"openai_effort_request", "provider openai: reasoning_effort: ", true, []string{"{env.NAME}", `"{http.request.uri.query.effort}"`}},
	{"openai_stop_request", "provider openai: stop: ", true, []string{"{env.NAME}", `"{http.request.uri.query.stop}"`}},
	{"assistant_argument", "assistant: ", true, []string{"expected a block", "found argument"}},
	{"openai_api_key_bare", "provider openai: api_key: ", false, []string{"{OPENAI_API_KEY} is empty or not set", "did you mean {env.OPENAI_API_KEY}?"}},
	{"openai_api_key_empty", "provider openai: api_key: ", false, []string{"is empty or not set"}},
	{"same_store", "assistant", false, []string{`"a" and "b"`, "give one of them another"}},
	{"assistant_chat_socket_several", "assistant_chat", false, []string{"socket: expected one of this site's assistants", "found nothing"}},
	{"asyncapi_no_assistant", "asyncapi", false, []string{"channels: expected", "found nothing"}},
}

// TestMistakes holds that the message of each typical mistake names the directive, what was found and what is expected,
// and the file and the line where Caddy knows them.
func TestMistakes(t *testing.T) {
	place := regexp.MustCompile(`(, at |^error: )Caddyfile:\d+`)
	for _, m := range mistakes {
		text, err := os.ReadFile("testdata/error_" + m.golden + ".caddyfiletest")
		if err != nil {
			t.Error(err)
			continue
		}
		_, message, _ := strings.Cut(string(text), "----------\n")
		for _, want := range append(m.words, m.directive) {
			if !strings.Contains(message, want) {
				t.Errorf("%s: no %q in\n%s", m.golden, want, message)
			}
		}
		if place.MatchString(message) != m.isPlaced {
			t.Errorf("%s: has a place: %t, want %t:\n%s", m.golden, !m.isPlaced, m.isPlaced, message)
		}
	}
}
