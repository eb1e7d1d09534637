package e2e

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// told is what an answer's text and question are recognized by.
const told = "xyzzy"

// metered is a site whose log tells everything.
func metered(upstream *harness.Upstream, more string) string {
	return "{\n debug\n}\n" + harness.Site(`
		log
		assistant /ws/assistants/* {
			`+more+`
			user {query.user}
			store sqlite {$HOME}/chat/chat.db
			provider openai {
				base_url `+upstream.URL+`
				api_key {env.OPENAI_API_KEY}
				max_retries 0
			}
		}
	`)
}

// scrape reads Caddy's metrics from its admin address.
func scrape(t *testing.T, c *harness.Caddy) string {
	t.Helper()
	response, body := harness.Fetch(t, "http://"+c.Admin+"/metrics", nil)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET /metrics: %s", response.Status)
	}
	return body
}

// TestMetricsAndLog: after an answer and a failure, metrics and log tell of them, over a reload, and of
// nothing that was said.
func TestMetricsAndLog(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		if strings.Contains(call.Question(), "fail") {
			call.Fail(503, told)
			return
		}
		call.Pieces("Say ", told)
		call.Finish()
	})
	c := harness.Start(t, metered(upstream, ""), "OPENAI_API_KEY="+canary)
	client := harness.Dial(t, c)
	client.Ask("What is " + told + "?")
	client.Until("complete_streaming")
	client.Ask(told + ", fail!")
	client.Until("complete_streaming")
	client.Send("{")
	client.Until("error")
	c.Reload(t, metered(upstream, "max_pending 2"))

	body := scrape(t, c)
	model := `handler="assistants",model="gpt-4o",provider="openai"`
	for _, want := range []string{
		`open_sockets{handler="assistants"} 1`,
		`running_answers{handler="assistants"} 0`,
		`answers_total{finish_reason="stop",` + model + `} 1`,
		`answers_total{finish_reason="error",` + model + `} 1`,
		`provider_errors_total{` + model + `,reason="provider_unavailable"} 1`,
		`errors_total{handler="assistants",reason="provider_unavailable"} 1`,
		`errors_total{handler="assistants",reason="invalid"} 1`,
		`pieces_total{` + model + `} 2`,
		`first_piece_seconds_count{` + model + `} 1`,
		`answer_duration_seconds_count{` + model + `} 2`,
	} {
		if !strings.Contains(body, "caddy_assistant_"+want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	for _, kind := range []string{"input", "output"} {
		series := fmt.Sprintf("caddy_assistant_tokens_total{%s,type=%q} ", model, kind)
		if _, value, ok := strings.Cut(body, series); !ok || strings.HasPrefix(value, "0") {
			t.Errorf("no %s", series)
		}
	}
	client.Vanish()
	c.WaitLog(t, func(e harness.Entry) bool {
		return e["msg"] == "session ended" && e["cause"] == "lost" && e["handler"] == "assistants" && e["messages_in"] == 3.0
	})
	c.WaitLog(t, func(e harness.Entry) bool {
		return e["msg"] == "answer ended" && e["model"] == "gpt-4o" && e["finish_reason"] == "stop" && e["pieces"] == 2.0
	})
	c.WaitLog(t, func(e harness.Entry) bool {
		return e["logger"] == "http.log.access" && e["handler"] == "assistants" && e["status"] == 101.0
	})
	c.WaitLog(t, func(e harness.Entry) bool {
		data, _ := e["data"].(map[string]any)
		return e["name"] == "assistant.answer_finished" && data["finish_reason"] == "error" && data["reason"] == "provider_unavailable"
	})
	for name, text := range map[string]string{"metrics": body, "log": c.Logs.String()} {
		for _, secret := range []string{canary, "What is " + told, "Say " + told} {
			if strings.Contains(text, secret) {
				t.Errorf("%q shows in the %s", secret, name)
			}
		}
	}
}

// TestEventsAtExit: what the end of the server does to an answer and its socket is told before the process
// is gone.
func TestEventsAtExit(t *testing.T) {
	c := harness.Start(t, "{\n debug\n}\n"+harness.Site(`
		assistant /ws/assistants/* {
			drain_timeout 1ms
			provider demo {
				delay 1h
			}
		}
	`))
	client := harness.Dial(t, c)
	client.Ask("Will you ever answer?")
	client.Until("streaming_start")
	c.Stop(t)
	for event, want := range map[string]string{"assistant.answer_finished": "interrupted", "assistant.disconnected": "draining"} {
		c.WaitLog(t, func(e harness.Entry) bool {
			data, _ := e["data"].(map[string]any)
			return e["name"] == event && (data["finish_reason"] == want || data["cause"] == want)
		})
	}
}

// TestTracing: with Caddy's tracing directive an answer is a span, linked to the span of its upgrade, and the
// model's service is told nothing of it.
func TestTracing(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("Say ", told)
		call.Finish()
	})
	c := harness.Start(t, harness.Site(`
		tracing
		assistant /ws/assistants/* {
			provider openai {
				base_url `+upstream.URL+`
			}
		}
	`), "OTEL_TRACES_EXPORTER=console")
	client := harness.Dial(t, c)
	client.Ask("What is " + told + "?")
	client.Until("complete_streaming")
	c.Stop(t) // which flushes
	if header := (<-upstream.Calls).Header; header.Get("Traceparent") != "" || header.Get("Tracestate") != "" || header.Get("Baggage") != "" {
		t.Errorf("the model's service got %v", header)
	}
	request := c.WaitLog(t, func(e harness.Entry) bool { return e["Name"] == "handler" })
	answer := c.WaitLog(t, func(e harness.Entry) bool { return e["Name"] == "chat gpt-4o" })
	want, _ := request["SpanContext"].(map[string]any)
	links, _ := answer["Links"].([]any)
	if len(links) != 1 || !reflect.DeepEqual(links[0].(map[string]any)["SpanContext"], any(want)) {
		t.Errorf("linked to %v, want %v", links, want)
	}
	if text := fmt.Sprint(answer); !strings.Contains(text, "gen_ai.usage.output_tokens") || strings.Contains(text, told) {
		t.Errorf("the span is %s", text)
	}
}

// TestLogContent: with log_content on the debug log has what was said, and still no key.
func TestLogContent(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("Say\n", `"`+told+`"`)
		call.Finish()
	})
	c := harness.Start(t, metered(upstream, "log_content on"), "OPENAI_API_KEY="+canary)
	client := harness.Dial(t, c)
	client.Ask("What is " + told + "?")
	client.Until("complete_streaming")
	for role, content := range map[string]string{"user": "What is " + told + "?", "assistant": "Say\n\"" + told + `"`} {
		c.WaitLog(t, func(e harness.Entry) bool {
			return e["msg"] == "message" && e["level"] == "debug" && e["role"] == role && e["content"] == content
		})
	}
	if strings.Contains(c.Logs.String(), canary) {
		t.Error("the key shows in the log")
	}
}
