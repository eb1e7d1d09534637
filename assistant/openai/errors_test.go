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
)

// TestProviderErrorText checks that the text for the log is short, valid UTF-8, and contains nothing that
// looks like a key.
func TestProviderErrorText(t *testing.T) {
	p := &Provider{key: canary}
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
		fault fault
		want  bool
	}{
		{fault{status: 400, kind: "invalid_request_error"}, true},
		{fault{status: 400, code: "content_filter"}, true},
		{fault{status: 413}, true},
		{fault{status: 422}, true},
		{fault{code: "400"}, true}, // in a stream
		{fault{status: 200, code: "422"}, true},
		{fault{status: 307}, false},
		{fault{status: 401, kind: "invalid_request_error", code: "invalid_api_key"}, false},
		{fault{status: 403}, false},
		{fault{status: 404, kind: "invalid_request_error", code: "model_not_found"}, false},
		{fault{status: 404, code: "400"}, false},
		{fault{status: 408}, false},
		{fault{status: 429, code: "insufficient_quota"}, false},
		{fault{status: 500}, false},
		{fault{code: "server_error"}, false},
		{fault{kind: "invalid_request_error"}, false},
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
