package openai

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestProvider runs the contract suite over real connections, with each API.
func TestProvider(t *testing.T) {
	for _, api := range []string{apiChat, apiResponses} {
		t.Run(api, func(t *testing.T) { testProvider(t, Config{API: api}) })
	}
}

func testProvider(t *testing.T, c Config) {
	assistanttest.TestProvider(t, func(t *testing.T) assistant.Provider {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			reply := &reply{ResponseWriter: w, r: r}
			for _, text := range []string{"Go", " is", " a", " language", "."} {
				reply.Stream(reply.piece(text))
			}
			reply.Stream(reply.finish(), `data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}}`+"\n\n", reply.done())
		}))
		c.BaseURL = server.URL + "/v1"
		p := mustNew(t, c)
		t.Cleanup(func() {
			_ = p.Close()
			server.Close()
		})
		return p
	})
}

// TestRequest checks exactly what is sent.
func TestRequest(t *testing.T) {
	conversation := assistant.Request{
		Instructions: "Be brief.",
		Turns: []assistant.Turn{
			{Role: assistant.RoleUser, Content: "What is <Go> & \"why\"?"},
			{Role: assistant.RoleAssistant, Content: "A language.\n"},
			{Role: assistant.RoleUser, Content: "Größe? \U0001F600"},
		},
	}
	const plain = `"stream": true, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "What is Go?"}]`
	one, seed := 1.0, int64(-7)
	for _, test := range []struct {
		name   string
		config Config
		req    assistant.Request
		header map[string]string // "" = must not be there
		body   string
	}{
		{
			"defaults",
			Config{BaseURL: openaiURL},
			question,
			map[string]string{"Authorization": "Bearer " + canary, "OpenAI-Organization": "", "OpenAI-Project": "", "Content-Type": "application/json", "Accept-Encoding": ""},
			`{"model": "gpt-4o", "temperature": 0.7, ` + plain + `}`,
		},
		{
			"everything",
			Config{
				Organization: "org-1", Project: "proj_1", Model: "some/model", Temperature: &Temperature{}, TopP: &one, MaxTokens: 100, Seed: &seed,
				Stop: []string{"END", "\n\n"}, ReasoningEffort: "low",
				Extra: map[string]json.RawMessage{"top_k": json.RawMessage(`40`), "dotted.name": json.RawMessage(`{"a": [null, "x"]}`), "stream_options": json.RawMessage(`null`)},
			},
			conversation,
			map[string]string{"OpenAI-Organization": "org-1", "OpenAI-Project": "proj_1"},
			`{
				"model": "some/model", "temperature": 0, "top_p": 1, "max_tokens": 100, "seed": -7, "stop": ["END", "\n\n"], "reasoning_effort": "low",
				"top_k": 40, "dotted.name": {"a": [null, "x"]}, "stream": true, "stream_options": null,
				"messages": [
					{"role": "system", "content": "Be brief."},
					{"role": "user", "content": "What is <Go> & \"why\"?"},
					{"role": "assistant", "content": "A language.\n"},
					{"role": "user", "content": "Größe? 😀"}
				]
			}`,
		},
		{
			"reasoning model",
			Config{Model: "openai/gpt-5-mini", MaxTokens: 100},
			question, nil,
			`{"model": "openai/gpt-5-mini", "max_completion_tokens": 100, ` + plain + `}`,
		},
		{
			"a lower limit of the request's",
			Config{Model: "llama3.2", MaxTokens: 100},
			assistant.Request{Turns: question.Turns, MaxTokens: 99}, nil,
			`{"model": "llama3.2", "max_tokens": 99, ` + plain + `}`,
		},
		{
			"a higher limit of the request's, and a name of the site's own",
			Config{Model: "llama3.2", Extra: map[string]json.RawMessage{"max_completion_tokens": json.RawMessage(`100`)}},
			assistant.Request{Turns: question.Turns, MaxTokens: 2000}, nil,
			`{"model": "llama3.2", "max_completion_tokens": 100, ` + plain + `}`,
		},
		{
			"responses, a limit of the request's alone",
			Config{API: "responses", Model: "some"},
			assistant.Request{Turns: question.Turns, MaxTokens: 7}, nil,
			`{"model": "some", "max_output_tokens": 16, "store": false, "stream": true, "input": [{"type": "message", "role": "user", "content": "What is Go?"}]}`,
		},
		{
			"reasoning effort",
			Config{Model: "qwen3", ReasoningEffort: "none"},
			question, nil,
			`{"model": "qwen3", "reasoning_effort": "none", ` + plain + `}`,
		},
		{
			"responses, defaults",
			Config{API: "responses", BaseURL: openaiURL},
			question,
			map[string]string{"Authorization": "Bearer " + canary, "OpenAI-Organization": "", "OpenAI-Project": "", "Content-Type": "application/json", "Accept-Encoding": ""},
			`{"model": "gpt-4o", "temperature": 0.7, "store": false, "stream": true, "input": [{"type": "message", "role": "user", "content": "What is Go?"}]}`,
		},
		{
			"responses, everything",
			Config{
				API: "responses", Organization: "org-1", Project: "proj_1", Model: "gpt-5", TopP: &one, MaxTokens: 100,
				ReasoningEffort: "low", ReasoningSummary: "auto",
				Extra: map[string]json.RawMessage{"service_tier": json.RawMessage(`"flex"`), "store": json.RawMessage(`true`)},
			},
			conversation,
			map[string]string{"OpenAI-Organization": "org-1", "OpenAI-Project": "proj_1"},
			`{
				"model": "gpt-5", "top_p": 1, "max_output_tokens": 100, "reasoning": {"effort": "low", "summary": "auto"},
				"store": true, "service_tier": "flex", "stream": true, "instructions": "Be brief.",
				"input": [
					{"type": "message", "role": "user", "content": "What is <Go> & \"why\"?"},
					{"type": "message", "role": "assistant", "content": "A language.\n"},
					{"type": "message", "role": "user", "content": "Größe? 😀"}
				]
			}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			serve(t, test.config, func(w *reply) { w.Stream(w.piece("Hi"), w.finish(), w.done()) }, func(t *testing.T, p *Provider, u *upstream) {
				for _, err := range p.Stream(t.Context(), test.req) {
					if err != nil {
						t.Fatal(err)
					}
				}
				sent := u.Requests()[0]
				if want := map[string]string{"": "/v1/chat/completions", "responses": "/v1/responses"}[test.config.API]; sent.path != want {
					t.Errorf("path = %s, want %s", sent.path, want)
				}
				for name, want := range test.header {
					if got := sent.header.Get(name); got != want {
						t.Errorf("%s = %q, want %q", name, got, want)
					}
				}
				if !reflect.DeepEqual(decode(t, sent.body), decode(t, test.body)) {
					t.Errorf("sent %s, want %s", sent.body, test.body)
				}
			})
		})
	}
}

func decode(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("decode %s: %v", text, err)
	}
	return value
}

// TestEnvironment checks that environment variables are ignored.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"OPENAI_API_KEY": "sk-environment", "OPENAI_ADMIN_KEY": "sk-admin", "OPENAI_BASE_URL": "http://environment.test",
		"OPENAI_ORG_ID": "org-environment", "OPENAI_PROJECT_ID": "proj-environment", "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer sk-header\nX-Environment: yes",
	} {
		t.Setenv(name, value)
	}
	serve(t, Config{}, func(w *reply) { w.Stream(piece("Hi"), done) }, func(t *testing.T, _ *Provider, u *upstream) {
		keyless, err := New(Config{BaseURL: "http://model.test/v1"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = keyless.Close() }()
		if keyless.transport.Proxy != nil { // net/http reads HTTP_PROXY only once, so that t.Setenv is no test
			t.Error("the environment's proxy counts")
		}
		keyless.transport.DialContext = u.dial
		if a := ask(t.Context(), keyless); a.err != nil {
			t.Fatal(a.err)
		}
		header := u.Requests()[0].header
		for _, name := range []string{"Authorization", "OpenAI-Organization", "OpenAI-Project", "X-Environment"} {
			if got := header.Get(name); got != "" {
				t.Errorf("%s = %q, want none", name, got)
			}
		}
	})
	if _, err := New(Config{}); err == nil {
		t.Error("a key was found in the environment")
	}
}

// TestLeave checks that the request ends at once when the consumer stops.
func TestLeave(t *testing.T) {
	var gone time.Time
	hang := func(w *reply) {
		w.Stream(piece("Hello"))
		w.Hang()
		gone = time.Now()
	}
	serve(t, Config{}, hang, func(t *testing.T, p *Provider, u *upstream) {
		p.Stream(t.Context(), question)
		synctest.Wait()
		if n := len(u.Requests()); n != 0 {
			t.Errorf("%d requests were sent before the sequence was ranged over", n)
		}
		for range p.Stream(t.Context(), question) {
			break
		}
		left := time.Now()
		synctest.Wait()
		if gone != left {
			t.Errorf("the server noticed at %s that the consumer left at %s", gone, left)
		}
	})
}

// TestCancel checks that a cancelled question ends at once with the cause, whatever it waits for.
func TestCancel(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(*reply)
		text   string
	}{
		{"before headers", (*reply).Hang, ""},
		{"before a retry", func(w *reply) {
			w.Header().Set("Retry-After", "5")
			w.Fail(429, "", "")
		}, ""},
		{"before text", func(w *reply) { w.Stream(": hi\n\n"); w.Hang() }, ""},
		{"after text", func(w *reply) { w.Stream(piece("Hello")); w.Hang() }, "Hello"},
		{"after the finish", func(w *reply) { w.Stream(piece("Hello"), finish("stop")); w.Hang() }, "Hello"},
	} {
		t.Run(test.name, func(t *testing.T) {
			serve(t, Config{}, test.answer, func(t *testing.T, p *Provider, u *upstream) {
				cause := errors.New("stopped")
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(3*time.Second, func() { cancel(cause) })
				a := ask(ctx, p)
				if !errors.Is(a.err, cause) || a.finish != "" || a.text != test.text || a.took != 3*time.Second {
					t.Errorf("got %+v, want the cause after 3s", a)
				}
				if n := len(u.Requests()); n != 1 {
					t.Errorf("sent %d requests", n)
				}
			})
		})
	}
}

// TestPatience checks that only silence of the service counts against the limits.
func TestPatience(t *testing.T) {
	stream := func(w *reply) {
		for _, text := range []string{"one", "two", "three"} {
			w.Stream(piece(text))
			w.Sleep(time.Second)
		}
		w.Stream(finish("stop"), done)
	}
	serve(t, Config{}, stream, func(t *testing.T, p *Provider, _ *upstream) {
		text := ""
		for d, err := range p.Stream(t.Context(), question) {
			if err != nil {
				t.Fatal(err)
			}
			text += d.Text
			time.Sleep(2 * time.Minute) // the bubble's time
		}
		if text != "onetwothree" {
			t.Errorf("text = %q", text)
		}
	})
}

// TestTextAfterFinish checks that text belongs to the answer however long after a finish reason it comes, within the
// limits of silence.
func TestTextAfterFinish(t *testing.T) {
	stream := func(w *reply) {
		w.Stream(`data: {"choices":[{"delta":{"reasoning":"Hm"},"finish_reason":"stop"}]}` + "\n\n")
		for _, text := range []string{"High", " tide"} {
			w.Sleep(20 * time.Second)
			w.Stream(`data: {"choices":[{"delta":{"content":"` + text + `"},"finish_reason":"stop"}]}` + "\n\n")
		}
	}
	serve(t, Config{}, stream, func(t *testing.T, p *Provider, _ *upstream) {
		if a := ask(t.Context(), p); a.text != "High tide" || a.finish != assistant.FinishStop || a.err != nil || a.took != 40*time.Second {
			t.Errorf("got %+v", a)
		}
	})
}

// TestConnections checks that complete answers leave their connections to the next questions, even when the
// end of the response comes after the end marker, and that Close leaves none.
func TestConnections(t *testing.T) {
	const atOnce = 20
	stream := func(w *reply) {
		w.Sleep(time.Second)
		w.Stream(piece("Hello"), finish("stop"), done)
		w.Sleep(drainTime / 2)
	}
	serve(t, Config{}, stream, func(t *testing.T, p *Provider, u *upstream) {
		for _, want := range []int{atOnce, atOnce, 2 * atOnce} {
			if want > atOnce {
				_ = p.Close()
			}
			var group sync.WaitGroup
			for range atOnce {
				group.Go(func() {
					if a := ask(t.Context(), p); a.err != nil {
						t.Error(a.err)
					}
				})
			}
			group.Wait()
			if u.dialed != want {
				t.Errorf("made %d connections, want %d", u.dialed, want)
			}
		}
	})
}

// TestStaleConnection checks that a connection that the server has ended after an answer costs no question, not even
// without retries, and that one which ends without having answered any is a failure.
func TestStaleConnection(t *testing.T) {
	answer := func(w *reply) {
		if w.Attempt == 2 || w.Attempt == 4 {
			w.Cut()
		}
		if w.r.Header["Idempotency-Key"] != nil {
			t.Error("the mark was sent")
		}
		w.Stream(piece("Hello"), finish("stop"), done)
	}
	serve(t, Config{MaxRetries: new(0)}, answer, func(t *testing.T, p *Provider, u *upstream) {
		for range 2 {
			if a := ask(t.Context(), p); a.err != nil || a.text != "Hello" {
				t.Errorf("got %+v", a)
			}
		}
		if n := len(u.Requests()); n != 3 || u.dialed != 2 {
			t.Errorf("%d requests by %d connections, want 3 by 2", n, u.dialed)
		}
		_ = p.Close()
		if a := ask(t.Context(), p); a.err == nil {
			t.Errorf("a new connection that ended was taken for a stale one: %+v", a)
		}
	})
}

// TestUsage checks that the usage which OpenAI reports at the end comes with the finish reason, in one delta.
func TestUsage(t *testing.T) {
	stream := func(w *reply) {
		w.Stream(piece("Hello"), finish("length"))
		w.Sleep(time.Second)
		w.Stream(`data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}}`+"\n\n", done)
	}
	serve(t, Config{}, stream, func(t *testing.T, p *Provider, _ *upstream) {
		var last assistant.Delta
		for d, err := range p.Stream(t.Context(), question) {
			if err != nil {
				t.Fatal(err)
			}
			last = d
		}
		want := assistant.Delta{FinishReason: assistant.FinishLength, Usage: &assistant.Usage{InputTokens: 9, OutputTokens: 5, TotalTokens: 14}}
		if !reflect.DeepEqual(last, want) {
			t.Errorf("last delta = %+v with %+v, want %+v with %+v", last, last.Usage, want, want.Usage)
		}
	})
}
