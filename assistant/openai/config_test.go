package openai

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	sdk "github.com/openai/openai-go/v3"
)

// TestConfigErrors checks that each error names the wrong setting, what was expected and what was found, but
// contains no key.
func TestConfigErrors(t *testing.T) {
	const key = "sk-" + canary
	number := func(x float64) *float64 { return &x }
	minus := -1
	extra := func(name, value string) map[string]json.RawMessage {
		return map[string]json.RawMessage{name: json.RawMessage(value)}
	}
	for _, test := range []struct {
		config Config
		want   []string
	}{
		{Config{}, []string{"api_key: expected a key, found nothing"}},
		{Config{BaseURL: "https://api.openai.com/v1"}, []string{"api_key: expected a key, found nothing"}},
		{Config{APIKey: key + "\n"}, []string{"api_key: expected printable ASCII"}},
		{Config{APIKey: "Bearer " + key}, []string{"api_key: expected printable ASCII"}},
		{Config{APIKey: `"` + key + `"`}, []string{"api_key: expected printable ASCII"}},
		{Config{APIKey: "schlüssel-" + canary}, []string{"api_key: expected printable ASCII"}},
		{Config{APIKey: key, Organization: "org 1"}, []string{`organization: expected printable ASCII without spaces, found "org 1"`}},
		{Config{APIKey: key, Project: "proj\n"}, []string{`project: expected printable ASCII without spaces, found "proj\n"`}},
		{Config{APIKey: key, BaseURL: key}, []string{`base_url: expected an http or https URL without user, query and fragment, found "[redacted]"`}},
		{Config{BaseURL: "localhost:11434/v1"}, []string{`base_url: expected an http or https URL`, `found "localhost:11434/v1"`}},
		{Config{BaseURL: "/v1"}, []string{`base_url: expected`}},
		{Config{BaseURL: "ftp://model.test"}, []string{`base_url: expected`}},
		{Config{BaseURL: "http://:80/v1"}, []string{`base_url: expected`}},
		{Config{BaseURL: "https://model.test/v1?api-version=1"}, []string{`base_url: expected`}},
		{Config{BaseURL: "https://user:" + key + "@model.test/v1"}, []string{`base_url: expected`, `user:[redacted]`}},
		{Config{BaseURL: "https://user:x/" + canary + "@model.test/v1"}, []string{`base_url: expected`, `user:[redacted]@model.test/v1`}},
		{Config{BaseURL: "https://model.test/v1?key=" + canary}, []string{`base_url: expected`, `model.test/v1?[redacted]`}},
		{Config{BaseURL: "http://model.test/%zz"}, []string{`base_url: expected`}},
		{Config{APIKey: key, Temperature: &Temperature{Value: 2.1}}, []string{"temperature: expected a number from 0 to 2, found 2.1"}},
		{Config{APIKey: key, Temperature: &Temperature{Value: math.NaN()}}, []string{"temperature: expected a number from 0 to 2, found NaN"}},
		{Config{APIKey: key, TopP: number(-0.1)}, []string{"top_p: expected a number from 0 to 1, found -0.1"}},
		{Config{APIKey: key, MaxTokens: -1}, []string{"max_tokens: expected no negative value, found -1"}},
		{Config{APIKey: key, MaxRetries: &minus}, []string{"max_retries: expected no negative value, found -1"}},
		{Config{APIKey: key, Timeout: -time.Second}, []string{"timeout: expected no negative value, found -1s"}},
		{Config{APIKey: key, StallTimeout: -1}, []string{"stall_timeout: expected no negative value, found -1ns"}},
		{Config{APIKey: key, MaxDuration: -time.Hour}, []string{"max_duration: expected no negative value, found -1h0m0s"}},
		{Config{APIKey: key, Extra: extra("stream", "false")}, []string{`extra: expected a field that is not one of messages, stream, `, `found "stream"`}},
		{Config{APIKey: key, Extra: extra("temperature", "1")}, []string{`extra: expected`, `found "temperature"`}},
		{Config{APIKey: key, API: "assistants"}, []string{`api: expected chat or responses, found "assistants"`}},
		{Config{APIKey: key, API: "responses", Seed: new(int64(1))}, []string{"seed: expected only with api chat; the Responses API has none"}},
		{Config{APIKey: key, API: "responses", Stop: []string{"END"}}, []string{"stop: expected only with api chat"}},
		{Config{APIKey: key, API: "responses", ReasoningSummary: "long"}, []string{`reasoning_summary: expected auto, concise or detailed, found "long"`}},
		{Config{APIKey: key, ReasoningSummary: "auto"}, []string{"reasoning_summary: expected only with api responses"}},
		{Config{APIKey: key, API: "responses", Extra: extra("previous_response_id", `"r"`)}, []string{`extra: expected a field that is not one of input, instructions,`, `found "previous_response_id"`}},
		{Config{APIKey: key, Extra: extra("", "1")}, []string{`extra: expected`}},
		{Config{APIKey: key, Extra: extra("user", "{")}, []string{`extra user: expected JSON, found "{"`}},
		{Config{APIKey: key, Extra: extra("user", key)}, []string{`extra user: expected JSON, found "[redacted]"`}},
		{Config{APIKey: key, Timeout: -1, MaxTokens: -2}, []string{"max_tokens: ", "timeout: "}},
	} {
		p, err := New(test.config)
		if p != nil || err == nil {
			t.Errorf("%q: got %v, %v, want an error", test.want, p, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q, want %q in it", err, want)
			}
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("error %q holds the key", err)
		}
	}
}

// TestDefaults checks that a key, or a server of one's own, is all that is needed.
func TestDefaults(t *testing.T) {
	for _, c := range []Config{{APIKey: "sk-" + canary}, {BaseURL: "http://[::1]:8000"}} {
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if p.Source().Model != "gpt-4o" {
			t.Errorf("model = %q, want gpt-4o", p.Source().Model)
		}
		if want := (limits{time.Minute, 30 * time.Second, 10 * time.Minute}); p.limits != want {
			t.Errorf("limits = %v, want %v", p.limits, want)
		}
	}
}

// TestMaxTokensField checks that the newer name is sent to OpenAI and to its models elsewhere, which accept
// no other.
func TestMaxTokensField(t *testing.T) {
	for _, test := range []struct {
		baseURL, model string
		newer          bool
	}{
		{"", "gpt-4o", true},
		{"https://api.openai.com/v1", "gpt-4o", true},
		{"https://eu.api.openai.com/v1/", "gpt-4o", true},
		{"https://broker.test/v1", "gpt-4o", false},
		{"https://broker.test/v1", "o3-mini", true},
		{"https://broker.test/v1", "openai/gpt-5", true},
		{"https://broker.test/v1", "openai/gpt-10-mini", true},
		{"http://localhost:11434/v1", "gpt-oss:20b", false},
		{"http://localhost:11434/v1", "olmo2", false},
		{"http://localhost:11434/v1", "llama3.2", false},
	} {
		_, sent := newChat(Config{BaseURL: test.baseURL, Model: test.model, MaxTokens: 5}).request(assistant.Request{})
		params := sent.(sdk.ChatCompletionNewParams)
		if got := params.MaxCompletionTokens.Valid(); got != test.newer || params.MaxTokens.Valid() == got {
			t.Errorf("%s at %q: max_completion_tokens %v, max_tokens %v", test.model, test.baseURL, got, params.MaxTokens.Valid())
		}
	}
}
