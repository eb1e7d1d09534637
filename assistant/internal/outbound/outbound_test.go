package outbound

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestBounded(t *testing.T) {
	for _, test := range []struct {
		size int
		err  error
	}{{0, nil}, {MaxResponse, nil}, {MaxResponse + 1, ErrTooLarge}, {2 * MaxResponse, ErrTooLarge}} {
		body, err := io.ReadAll(Bounded(io.NopCloser(bytes.NewReader(make([]byte, test.size)))))
		if !errors.Is(err, test.err) || len(body) != min(test.size, MaxResponse) {
			t.Errorf("%d bytes: read %d, error %v", test.size, len(body), err)
		}
	}
}

func TestCheckHeader(t *testing.T) {
	for _, test := range []struct {
		header map[string]string
		want   string // part of the error; "" = none
	}{
		{nil, ""},
		{map[string]string{"Authorization": "Bearer x"}, ""},
		{map[string]string{"A b": "x"}, "expected a name of letters"},
		{map[string]string{"": "x"}, "expected a name of letters"},
		{map[string]string{"host": "x"}, "none of Host"},
		{map[string]string{"idempotency-key": "x"}, "none of Host"},
		{map[string]string{"accept": "x"}, "Accept"},
		{map[string]string{"X-A": "x", "x-a": "y"}, "X-A is given twice"},
		{map[string]string{"X-A": ""}, "found nothing"},
		{map[string]string{"X-A": "canary\nX-B: y"}, "control characters"},
	} {
		err := CheckHeader(test.header, "Accept")
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%q: error %v, want %q", test.header, err, test.want)
		case err != nil && strings.Contains(err.Error(), "canary"):
			t.Errorf("the error repeats the value: %v", err)
		}
	}
}

func TestParseURL(t *testing.T) {
	for text, good := range map[string]bool{
		"https://example.org/mcp?a=b": true, "http://[::1]:8080": true, "ftp://example.org": false, "https://": false,
		"https://user:canary@example.org": false, "https://example.org/#top": false, "example.org": false, "https://a b/": false,
	} {
		if _, err := ParseURL(text); err == nil != good || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: error %v", text, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	s := NewSecrets("Bearer canary-12345", `quote"d secret`, "short")
	for _, text := range []string{"Bearer canary-12345", "key canary-12345!", `{"x":"quote\"d secret"}`, "quote%22d%20secret", "quote%22d+secret"} {
		if got := s.Redact(text); strings.Contains(got, "canary") || strings.Contains(got, "quote") || !strings.Contains(got, redacted) {
			t.Errorf("%s became %s", text, got)
		}
	}
	if got := s.Redact("a short text"); got != "a short text" {
		t.Errorf("became %s", got)
	}
	if got := s.Shorten("a\nb " + strings.Repeat("é", maxError)); len(got) > maxError+len("…") || !strings.HasPrefix(got, "a b é") {
		t.Errorf("shortened to %s", got)
	}
}
