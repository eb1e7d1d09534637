package e2e

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// answers is a model's server that says the same to everybody.
func answers(t *testing.T, text string) *harness.Upstream {
	return harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces(strings.SplitAfter(text, " ")...)
		call.Finish()
	})
}

// chain is a site whose first model is at base and whose second is at backup.
func chain(base, backup string) string {
	provider := func(label, url string) string {
		return "provider openai " + label + " {\nbase_url " + url + "\napi_key {env.OPENAI_API_KEY}\nmodel " + label + "-model\nmax_retries 0\n}\n"
	}
	return harness.Site("assistant /ws/assistants/* {\n" + provider("main", base) + provider("backup", backup) + "}\n")
}

// TestFallback: when the first provider is down the answer comes from the second, whole and once; who asked
// with a ref is told, and the operator too. What the first said is seen by nobody but the operator.
func TestFallback(t *testing.T) {
	const said = "Incorrect API key provided: " + canary
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	failing := func(answer func(*harness.Call)) string { return harness.NewUpstream(t, answer).URL }
	for _, test := range []struct{ name, base, reason string }{
		{"not there", "http://" + closed.Addr().String() + "/v1", "provider_unavailable"},
		{"500", failing(func(c *harness.Call) { c.Fail(500, said) }), "provider_unavailable"},
		{"bad key", failing(func(c *harness.Call) { c.Fail(401, said) }), "provider_rejected"},
		{"rate limit", failing(func(c *harness.Call) { c.Fail(429, said) }), "provider_rate_limited"},
		{"cut before text", failing((*harness.Call).Cut), "provider_unavailable"},
		{"an error in the stream, then its end", failing(func(c *harness.Call) { c.Event(`{"error_code":42901,"error_msg":"` + said + `"}`); c.Event("[DONE]") }), "provider_rate_limited"},
		{"the end of the stream alone", failing(func(c *harness.Call) { c.Event("[DONE]") }), "empty_answer"},
		{"white space alone", failing(func(c *harness.Call) { c.Pieces("\n", " "); c.Finish() }), "empty_answer"},
		{"a tool that was not offered", failing(func(c *harness.Call) {
			c.Event(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"1"}]},"finish_reason":"tool_calls"}]}`)
		}), "tools_unsupported"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := harness.Start(t, chain(test.base, answers(t, "I am the backup.").URL), "OPENAI_API_KEY="+canary)
			client := harness.Dial(t, c)
			client.Send(`{"action":"assistant_message","payload":"Who are you?","ref":"q"}`)
			frames := client.Until("complete_streaming")
			var actions []string
			for _, f := range frames {
				actions = append(actions, f.Action)
			}
			want := []string{"streaming_start", "notice", "streaming", "streaming", "streaming", "streaming", "complete_streaming"}
			if !reflect.DeepEqual(actions, want) {
				t.Fatalf("got %v, want %v", actions, want)
			}
			if text := harness.Answer(frames); text != "I am the backup." {
				t.Errorf("the answer is %q", text)
			}
			notice := `{"reason":"provider_fallback","detail":"The usual model cannot answer: backup-model answers instead.","model":"backup-model"}`
			if !harness.SameJSON(t, string(frames[1].Payload), notice) {
				t.Errorf("the notice is %s", frames[1].Text)
			}
			if end := string(frames[6].Payload); !strings.Contains(end, `"finish_reason":"stop"`) {
				t.Errorf("the end is %s", end)
			}
			client.Ask("Who are you?") // plainly: the frames of the tutorial and no others
			client.Expect(`{"action":"streaming_start","payload":{"content":""}}`, `{"action":"streaming","payload":{"content":"I "}}`)
			frames = append(frames, client.Until("complete_streaming")...)

			ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
			defer cancel()
			entry, err := c.Logs.Wait(ctx, func(e harness.Entry) bool { return e["msg"] == "provider failed, another is asked" })
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprint(entry["level"], entry["provider"], entry["model"], entry["reason"], entry["next_provider"], entry["next_model"])
			if want := fmt.Sprint("warn", "main", "main-model", test.reason, "backup", "backup-model"); got != want {
				t.Errorf("logged %v", entry)
			}
			expectNoCanary(t, c, frames)
		})
	}
}

// TestFallbackPassesOver: after three failures in a row the first provider is left alone, but not after
// questions that it refuses, which are no fault of it.
func TestFallbackPassesOver(t *testing.T) {
	for status, want := range map[int]int{503: 3, 400: 10} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			first := harness.NewUpstream(t, func(call *harness.Call) { call.Fail(status, "out of order") })
			client := harness.Dial(t, harness.Start(t, chain(first.URL, answers(t, "Backup.").URL), "OPENAI_API_KEY="+canary))
			for range 10 {
				client.Ask("Who are you?")
				if text := harness.Answer(client.Until("complete_streaming")); text != "Backup." {
					t.Fatalf("the answer is %q", text)
				}
			}
			if n := len(first.Calls); n != want {
				t.Errorf("the first was asked %d times, want %d", n, want)
			}
		})
	}
}

// TestNoFallbackAfterText: an answer that broke off is not begun again by another model.
func TestNoFallbackAfterText(t *testing.T) {
	first := harness.NewUpstream(t, func(call *harness.Call) { call.Reasoning("Hm."); call.Cut() })
	second := answers(t, "Backup.")
	client := harness.Dial(t, harness.Start(t, chain(first.URL, second.URL), "OPENAI_API_KEY="+canary))
	client.Send(`{"action":"assistant_message","payload":"Who are you?","ref":"q"}`)
	frames := client.Until("complete_streaming")
	if len(frames) != 4 || frames[1].Action != "reasoning" || frames[2].Action != "error" || len(second.Calls) != 0 {
		t.Errorf("got %v, and the second was asked %d times", frames, len(second.Calls))
	}
}

// TestResponses: the same answer by the other API, with its reasoning.
func TestResponses(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Reasoning("They greet.")
		call.Pieces("Hello", " wörld")
		call.Finish()
	})
	c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\ninstructions \"Be brief.\"\nprovider openai {\nbase_url "+upstream.URL+"\nmodel some-model\napi responses\n}\n}\n"))
	client := harness.Dial(t, c)
	client.Send(`{"action":"assistant_message","payload":"Hi","ref":"q"}`)
	frames := client.Until("complete_streaming")
	if text := harness.Answer(frames); text != "Hello wörld" {
		t.Errorf("the answer is %q", text)
	}
	if f := frames[1]; f.Action != "reasoning" || f.Content() != "They greet." {
		t.Errorf("the second frame is %s, want the reasoning", f.Text)
	}
	call := <-upstream.Calls
	if call.Model != "some-model" || call.Instructions != "Be brief." || !reflect.DeepEqual(call.Messages, []harness.ChatMessage{{Role: "user", Content: "Hi"}}) {
		t.Errorf("upstream was asked %q, %q: %v", call.Model, call.Instructions, call.Messages)
	}
}
