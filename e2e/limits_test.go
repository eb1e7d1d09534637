package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/coder/websocket"
)

// startLimited runs Caddy with an assistant that asks upstream, within limits.
func startLimited(t *testing.T, upstream *harness.Upstream, limits string) *harness.Caddy {
	t.Helper()
	return harness.Start(t, harness.Site(`
		assistant /ws/assistants/* {
			provider openai {
				base_url `+upstream.URL+`
			}
			`+limits+`
		}
	`))
}

// TestBudgetEndsAnswer: an answer that comes to the end of the budget ends at once, and so does the request to
// the model's server; what has come is kept, and there is no other answer.
func TestBudgetEndsAnswer(t *testing.T) {
	gone := make(chan time.Time, 1)
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("These are ", "twelve tokens ", "of text, more ", "or less. ", "And this is ", "too much.")
		gone <- call.UntilGone() // it would go on and on
	})
	client := harness.Dial(t, startLimited(t, upstream, "budget 15/1h"))
	id := client.Create()
	topic := `"topic":"conversation:` + id + `"`
	client.Send(`{"action":"subscribe",` + topic + `}`)
	client.Until("snapshot")
	client.Send(`{"action":"assistant_message","payload":"Tell me.",` + topic + `}`)
	frames := client.Until("complete_streaming")
	const kept = "These are twelve tokens of text, more or less. And this is "
	if got := harness.Answer(frames); got != kept {
		t.Errorf("the answer is %q, want %q", got, kept)
	}
	if end := frames[len(frames)-1]; !strings.Contains(end.Text, `"finish_reason":"budget"`) {
		t.Errorf("it ends with %s", end.Text)
	}
	select {
	case <-gone:
	case <-time.After(harness.Patience):
		t.Fatal("the request to the model was never cancelled")
	}
	client.Send(`{"action":"list_messages","payload":{"conversation_id":"` + id + `"}}`)
	messages := client.Until("messages")
	if text := messages[len(messages)-1].Text; !strings.Contains(text, kept) || !strings.Contains(text, `"status":"stopped","finish_reason":"budget"`) {
		t.Errorf("stored is %s", text)
	}
	expectRefused(t, client, "budget_exceeded")
	if n := len(upstream.Calls); n != 1 {
		t.Errorf("the model was asked %d times", n)
	}
}

// TestStoppedAnswerCounts: what a stopped answer has used of the budget is gone, also on another socket.
func TestStoppedAnswerCounts(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("These are about ten tokens of text here.")
		call.UntilGone()
	})
	c := startLimited(t, upstream, "budget 12/1h")
	client := harness.Dial(t, c)
	client.Ask("Hi")
	client.Until("streaming")
	client.Send(`{"action":"stop_streaming"}`)
	client.Until("complete_streaming")
	client.Vanish()
	expectRefused(t, harness.Dial(t, c), "budget_exceeded")
}

// TestRate: a question above the rate is refused and can be asked later.
func TestRate(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("Hello")
		call.Finish()
	})
	client := harness.Dial(t, startLimited(t, upstream, "rate 2/1h"))
	for range 2 {
		client.Ask("Hi")
		client.Until("complete_streaming")
	}
	expectRefused(t, client, "rate_limited")
}

// expectRefused asks, and wants that reason and when to try again.
func expectRefused(t *testing.T, client *harness.Client, reason string) {
	t.Helper()
	client.Ask("And now?")
	frames := client.Until("error")
	var payload struct {
		Reason       string
		Retryable    bool
		RetryAfterMS int64 `json:"retry_after_ms"`
	}
	if err := json.Unmarshal(frames[len(frames)-1].Payload, &payload); err != nil {
		t.Fatal(err)
	}
	if wait := time.Duration(payload.RetryAfterMS) * time.Millisecond; payload.Reason != reason || !payload.Retryable || wait <= 0 || wait > time.Hour {
		t.Errorf("refused with %s, want %s and a time within the hour", frames[len(frames)-1].Text, reason)
	}
}

// TestMaxConnections: above the limit there is no upgrade, but a status and when to try again. Behind a trusted
// proxy each of its clients is counted, of IPv6 each network.
func TestMaxConnections(t *testing.T) {
	c := harness.Start(t, "{\n servers {\n trusted_proxies static 127.0.0.1/32\n }\n}\n"+harness.Site(`
		assistant /ws/assistants/* {
			provider demo
			max_connections 3 per_user 1
		}
	`))
	for _, step := range []struct {
		from   string
		status int
	}{
		{"2001:db8:0:1::1", http.StatusSwitchingProtocols},
		{"2001:db8:0:1::2", http.StatusServiceUnavailable},
		{"2001:db8:0:2::2", http.StatusSwitchingProtocols},
		{"192.0.2.1", http.StatusSwitchingProtocols},
		{"192.0.2.2", http.StatusServiceUnavailable},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
		defer cancel()
		options := &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {step.from}}}
		conn, response, err := websocket.Dial(ctx, c.URL(harness.AssistantPath), options)
		if response == nil {
			t.Fatal(err)
		}
		if err == nil {
			defer conn.CloseNow()
		}
		if response.StatusCode != step.status {
			t.Errorf("%s: status = %s, want %d", step.from, response.Status, step.status)
		}
		if retry := response.Header.Get("Retry-After"); (retry != "") != (step.status == http.StatusServiceUnavailable) {
			t.Errorf("%s: Retry-After = %q", step.from, retry)
		}
	}
}
