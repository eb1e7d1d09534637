package openai

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
)

// TestProviderErrorText checks that the text for the log is short, valid UTF-8, and contains nothing that
// looks like a key.
func TestProviderErrorText(t *testing.T) {
	p := &Provider{secrets: newSecrets(Config{APIKey: canary})}
	for _, test := range []struct{ in, want string }{
		{"dial tcp: connection refused", "dial tcp: connection refused"},
		{"key " + canary + " is wrong", "key [redacted] is wrong"},
		{"Authorization: Bearer abc.def-123, sent", "Authorization: [redacted] sent"},
		{"authorization: bearer " + canary, "authorization: [redacted]"},
		{"provided: sk-proj-ab***yz. Find yours at", "provided: [redacted] Find yours at"},
		{`{"key":"sk-abc"}`, `{"key":"[redacted]"}`},
		{"a task-force and a risk-free desk", "a task-force and a risk-free desk"},
		{strings.Repeat("é", 300), strings.Repeat("é", 200) + "…"},
		{"x" + strings.Repeat("é", 300), "x" + strings.Repeat("é", 199) + "…"},
		{strings.Repeat("x", 395) + " " + canary, strings.Repeat("x", 395) + " [red…"},
	} {
		err := p.providerError(errors.New(test.in))
		if got := err.Err.Error(); got != test.want || !utf8.ValidString(got) {
			t.Errorf("%q became %q, want %q", test.in, got, test.want)
		}
	}
}

// TestFaultOfQuestion checks which faults concern a single question only.
func TestFaultOfQuestion(t *testing.T) {
	for _, test := range []struct {
		fault answer.ServiceError
		want  bool
	}{
		{answer.ServiceError{Status: 400, Type: "invalid_request_error"}, true},
		{answer.ServiceError{Status: 400, Code: "content_filter"}, true},
		{answer.ServiceError{Status: 413}, true},
		{answer.ServiceError{Status: 422}, true},
		{answer.ServiceError{Code: "400"}, true}, // in a stream
		{answer.ServiceError{Status: 200, Code: "422"}, true},
		{answer.ServiceError{Status: 307}, false},
		{answer.ServiceError{Status: 401, Type: "invalid_request_error", Code: "invalid_api_key"}, false},
		{answer.ServiceError{Status: 403}, false},
		{answer.ServiceError{Status: 404, Type: "invalid_request_error", Code: "model_not_found"}, false},
		{answer.ServiceError{Status: 404, Code: "400"}, false},
		{answer.ServiceError{Status: 408}, false},
		{answer.ServiceError{Status: 429, Code: "insufficient_quota"}, false},
		{answer.ServiceError{Status: 500}, false},
		{answer.ServiceError{Code: "server_error"}, false},
		{answer.ServiceError{Type: "invalid_request_error"}, false},
	} {
		if got := new(Provider).providerError(&test.fault); got.OfQuestion != test.want {
			t.Errorf("%v: of the question: %v", got, got.OfQuestion)
		}
	}
	if late("timeout", time.Second).(*assistant.ProviderError).OfQuestion || new(Provider).providerError(errors.New("EOF")).OfQuestion {
		t.Error("a connection that breaks is no fault of the question")
	}
}

// TestRetryAfter reads seconds, milliseconds and dates, and values that are none of these.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a bubble's clock stands still
		in90s := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
		for _, test := range []struct {
			seconds, milliseconds string
			want                  time.Duration
		}{
			{"", "", 0},
			{"7", "", 7 * time.Second},
			{"0.25", "", 250 * time.Millisecond},
			{"7", "1500", 1500 * time.Millisecond},
			{in90s, "", 90 * time.Second},
			{in90s, "20", 20 * time.Millisecond},
			{"Mon, 02 Jan 1995 15:04:05 GMT", "", 0},
			{"Mon, 02 Jan 2695 15:04:05 GMT", "", maxRetryAfter},
			{"-5", "", 0},
			{"NaN", "", 0},
			{"Inf", "", maxRetryAfter},
			{"1e400", "", 0},
			{"soon", "", 0},
		} {
			header := http.Header{}
			header.Set("Retry-After", test.seconds)
			header.Set("Retry-After-Ms", test.milliseconds)
			if got := retryAfter(header); got != test.want {
				t.Errorf("Retry-After %q, Retry-After-Ms %q: got %s, want %s", test.seconds, test.milliseconds, got, test.want)
			}
		}
	})
}
