package endpoint

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/caddyserver/caddy/v2"
	"github.com/gorilla/websocket"
)

// refused returns the reason of the error that answers the next question.
func refused(c *caddytest.Socket) (reason assistant.Reason) {
	c.T.Helper()
	c.Send(`{"action":"assistant_message","payload":"count"}`)
	for {
		f, err := c.Next()
		if err != nil {
			c.T.Fatal(err)
		}
		var p session.ErrorPayload
		switch _ = json.Unmarshal(f.Payload, &p); f.Action {
		case "error":
			return p.Reason
		case "complete_streaming":
			return ""
		}
	}
}

// TestReloadKeepsCounts reloads between questions: what was asked and used counts on, under the same limits and
// under others, for sockets of before and of after.
func TestReloadKeepsCounts(t *testing.T) {
	s := caddytest.NewSite(t)
	load := func(limits string) { s.MustLoad(caddytest.Handler("pieces 2", limits)) }
	load("rate 2/1h")
	c := s.Dial("user=ann")
	for i, step := range []struct {
		limits string
		want   assistant.Reason
	}{
		{"rate 2/1h", ""},
		{"rate 2/1h", ""},
		{"rate 2/1h", assistant.ReasonRateLimited},
		{"rate 5/1h", assistant.ReasonRateLimited},
		{"budget 5/1h", ""}, // a question and its answer need four tokens
		{"budget 5/1h", assistant.ReasonBudgetExceeded},
		{"budget 5/2h", assistant.ReasonBudgetExceeded},
		{"budget 1000/1h", ""},
		{"", ""},
		{"rate 5/1h", assistant.ReasonRateLimited},
		{"budget 5/1h", assistant.ReasonBudgetExceeded},
	} {
		load(step.limits)
		if i%2 == 1 {
			c = s.Dial("user=ann")
		}
		if got := refused(c); got != step.want {
			t.Fatalf("step %d, %s: refused as %q, want %q", i, step.limits, got, step.want)
		}
	}
	if got := refused(s.Dial("user=bob")); got != "" {
		t.Errorf("bob is refused as %q", got)
	}
}

// TestMaxConnections counts sockets exactly: those of earlier configurations count, those that have ended and
// upgrades that fail do not.
func TestMaxConnections(t *testing.T) {
	s := caddytest.NewSite(t)
	load := func(limit string) { s.MustLoad(caddytest.Handler("pieces 1", "max_connections "+limit)) }
	full := func(query string) {
		t.Helper()
		if _, status, retryAfter := s.TryDial(query, nil); status != http.StatusServiceUnavailable || retryAfter != "1" {
			t.Errorf("%s: status %d, Retry-After %q, want 503 and 1", query, status, retryAfter)
		}
	}
	open := func(query string) *websocket.Conn {
		t.Helper()
		deadline := time.Now().Add(caddytest.Patience)
		for {
			conn, status, _ := s.TryDial(query, nil)
			switch {
			case conn != nil:
				return conn
			case status != http.StatusServiceUnavailable || time.Now().After(deadline):
				t.Fatalf("%s: status %d", query, status)
			} // a socket that was closed may still be ending
		}
	}
	load("3 per_user 2")
	for range 10 { // whose upgrade fails
		for _, header := range []http.Header{{"Origin": {"https://evil.example"}}, {"Sec-Websocket-Protocol": {"x"}, "Origin": {"null"}}} {
			if _, status, _ := s.TryDial("user=ann", header); status != http.StatusForbidden {
				t.Fatalf("foreign origin: status %d", status)
			}
		}
		if _, status, _ := s.TryDial("user=ann&conversation=x", nil); status != http.StatusNotFound {
			t.Fatalf("foreign conversation: status %d", status)
		}
	}
	first := open("user=ann")
	second := open("user=ann")
	full("user=ann")
	third := open("user=bob")
	full("user=carol")
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/ws/", s.Port))
	if err != nil || res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("no upgrade: %v, %v", res, err)
	} else {
		_ = res.Body.Close()
	}
	load("3 per_user 2")
	full("user=carol")
	load("3 per_user 3")
	full("user=ann")
	load("4")
	fourth := open("user=ann")
	full("user=carol")
	load("0 per_user 3")
	full("user=ann")
	_ = first.Close()
	open("user=ann")
	full("user=ann")
	for _, conn := range []*websocket.Conn{second, third, fourth} {
		_ = conn.Close()
	}
	load("2")
	open("user=carol") // besides one of ann's
	full("user=carol")
}

// TestUserName holds that a name is one user in either form of Unicode, and another user in another case.
func TestUserName(t *testing.T) {
	s := caddytest.NewSite(t)
	s.MustLoad(caddytest.Handler("pieces 1", "max_connections 0 per_user 1"))
	for _, test := range []struct {
		query  string
		status int
	}{
		{"user=J%C3%B6rg", http.StatusSwitchingProtocols},
		{"user=Jo%CC%88rg", http.StatusServiceUnavailable},
		{"user=j%C3%B6rg", http.StatusSwitchingProtocols},
	} {
		conn, status, _ := s.TryDial(test.query, nil)
		if status != test.status {
			t.Errorf("%s: status %d, want %d", test.query, status, test.status)
		}
		if conn != nil {
			defer func() { _ = conn.Close() }()
		}
	}
}

// TestDocumentedLimits lists the limits that there are, for clients.
func TestDocumentedLimits(t *testing.T) {
	h := Handler{
		Rate: &Rate{20, caddy.Duration(time.Minute), 5}, Budget: &Budget{100, caddy.Duration(time.Hour)},
		MaxConnections: &MaxConnections{9, 3}, MaxQuestionLength: 1000, MaxAnswer: 5000, MaxMessages: 100,
	}
	got := h.limits()
	for name, want := range map[string]int64{
		"rate_questions": 20, "rate_per_ms": 60_000, "rate_burst": 5, "budget_tokens": 100, "budget_per_ms": 3_600_000,
		"max_connections_per_user": 3, "max_question_length": 1000, "max_answer": 5000, "max_messages": 100,
	} {
		if got[name] != want {
			t.Errorf("%s is %d, want %d", name, got[name], want)
		}
	}
	if got, want := len(h.limits()), len(new(Handler).limits())+9; got != want {
		t.Errorf("%d limits are documented, want %d", got, want)
	}
}
