package openai

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// TestProviderErrorText: what the log gets is short, valid, and without anything that looks like a key.
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

// TestRetryAfter: seconds, milliseconds and dates, and what is none of them.
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
