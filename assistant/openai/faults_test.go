package openai

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestFaults checks that an answer ends in time whatever a model's server does. The reason must be right, and
// the error must not contain the key, which the server repeats wherever it can.
func TestFaults(t *testing.T) {
	const (
		sse, html, js = "text/event-stream", "text/html; charset=utf-8", "application/json"
		said          = "Incorrect API key provided: " + canary
	)
	failure := func(kind, code string) string {
		return `{"error":{"message":"` + said + `","type":"` + kind + `","param":null,"code":"` + code + `"}}`
	}
	fail := func(status int, body string) func(*reply) {
		return func(w *reply) { w.Fail(status, js, body) }
	}
	limited := func(after string) func(*reply) {
		return func(w *reply) {
			w.Header().Set("Retry-After", after)
			w.Fail(429, js, failure("requests", "rate_limit_exceeded"))
		}
	}
	typed := func(contentType string) func(*reply) {
		return func(w *reply) {
			w.Header().Set("Content-Type", contentType)
			w.Stream(w.piece("Hello"), w.finish(), w.done())
		}
	}
	good := func(w *reply) { w.Stream(w.piece("Hello"), w.finish(), w.done()) }

	const (
		unavailable = assistant.ReasonProviderUnavailable
		timeout     = assistant.ReasonProviderTimeout
		limit       = assistant.ReasonProviderRateLimited
		rejected    = assistant.ReasonProviderRejected
		overflow    = assistant.ReasonContextOverflow
		filtered    = assistant.ReasonContentFiltered
	)
	for _, test := range []struct {
		name     string
		answer   func(*reply)
		text     string
		reason   assistant.Reason // "" = complete after all
		log      string           // part of what the operator reads
		retry    time.Duration    // the retry_after that the client receives
		took     time.Duration    // at least; at most a third more, for the jitter of retries
		requests int              // 0 = 1
		// a different result with the Responses API, whose last event contains everything
		tookResponses time.Duration
	}{
		// HTTP errors
		{name: "400", answer: fail(400, failure("invalid_request_error", "unsupported_value")), reason: rejected, log: `status 400, type "invalid_request_error", code "unsupported_value", message "Incorrect API key provided: [redacted]"`},
		{name: "400 context", answer: fail(400, failure("invalid_request_error", "context_length_exceeded")), reason: overflow},
		{name: "400 context, vLLM", answer: fail(400, `{"error":{"message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}}`), reason: overflow},
		{name: "400 context, llama.cpp", answer: fail(400, `{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}`), reason: overflow},
		{name: "400 filter", answer: fail(400, failure("", "content_filter")), reason: filtered},
		{name: "endless header", answer: func(w *reply) { w.Header().Set("X-Filler", strings.Repeat("x", 100<<10)); good(w) }, reason: unavailable, log: "exceeded", took: 1125 * time.Millisecond, requests: 3},
		{name: "401", answer: fail(401, failure("invalid_request_error", "invalid_api_key")), reason: rejected, log: "status 401"},
		{name: "403", answer: fail(403, failure("", "")), reason: rejected, log: "status 403"},
		{name: "404", answer: fail(404, `{"error":{"message":"model 'x' not found","type":"not_found_error"}}`), reason: rejected, log: "model 'x' not found"},
		{name: "404 page", answer: func(w *reply) { w.Fail(404, html, "<h1>Not here</h1>\n") }, reason: rejected, log: `"<h1>Not here</h1>\n"`},
		{name: "404 nothing", answer: fail(404, ""), reason: rejected, log: "status 404"},
		{name: "408", answer: fail(408, ""), reason: timeout, took: 1125 * time.Millisecond, requests: 3},
		{name: "408 of a general type", answer: fail(408, failure("invalid_request_error", "408")), reason: timeout, took: 1125 * time.Millisecond, requests: 3},
		{name: "504", answer: fail(504, ""), reason: timeout, took: 1125 * time.Millisecond, requests: 3},
		{name: "413 of a rate", answer: fail(413, failure("tokens", "rate_limit_exceeded")), reason: overflow},
		{name: "413", answer: fail(413, ""), reason: overflow},
		{name: "422", answer: fail(422, `{"detail":"extra inputs"}`), reason: rejected, log: `status 422, message "extra inputs"`},
		{name: "429 without quota", answer: func(w *reply) {
			w.Header().Set("X-Should-Retry", "false")
			w.Fail(429, js, failure("insufficient_quota", "insufficient_quota"))
		}, reason: rejected},

		// retries
		{name: "429 for a second", answer: limited("1"), reason: limit, retry: time.Second, took: 2 * time.Second, requests: 3},
		{name: "429 for a second, then ok", answer: func(w *reply) {
			if w.Attempt == 1 {
				limited("1")(w)
				return
			}
			good(w)
		}, text: "Hello", took: time.Second, requests: 2},
		{name: "429 for long", answer: limited("45"), reason: limit, retry: 45 * time.Second},
		{name: "429 until a date", answer: func(w *reply) { limited(time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat))(w) }, reason: limit, retry: 2 * time.Second, took: 4 * time.Second, requests: 3},
		{name: "429 until a late date", answer: func(w *reply) { limited(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))(w) }, reason: limit, retry: time.Hour},
		{name: "503 for a second, then ok", answer: func(w *reply) {
			if w.Attempt == 1 {
				w.Header().Set("Retry-After", "1")
				w.Fail(503, js, "")
				return
			}
			good(w)
		}, text: "Hello", took: time.Second, requests: 2},
		{name: "429 for ages", answer: limited("1e300"), reason: limit, retry: 24 * time.Hour},
		{name: "500", answer: fail(500, failure("server_error", "")), reason: unavailable, took: 1125 * time.Millisecond, requests: 3, log: "status 500"},
		{name: "503 page", answer: func(w *reply) { w.Fail(503, html, said) }, reason: unavailable, took: 1125 * time.Millisecond, requests: 3, log: "status 503"},
		{name: "500, then ok", answer: func(w *reply) {
			if w.Attempt == 1 {
				w.Fail(500, js, "")
				return
			}
			good(w)
		}, text: "Hello", took: 375 * time.Millisecond, requests: 2},
		{name: "cut before headers", answer: (*reply).Cut, reason: unavailable, took: 1125 * time.Millisecond, requests: 3, log: "send question: EOF"},
		{name: "cut before headers, then ok", answer: func(w *reply) {
			if w.Attempt == 1 {
				w.Cut()
			}
			good(w)
		}, text: "Hello", took: 375 * time.Millisecond, requests: 2},

		// 200, but no stream
		{name: "page", answer: func(w *reply) { w.Fail(200, html, said) }, reason: unavailable, log: `text/html; charset=utf-8 instead of text/event-stream: "Incorrect`},
		{name: "JSON error", answer: fail(200, failure("server_error", "")), reason: unavailable, log: `type "server_error"`},
		{name: "JSON error with a code", answer: fail(200, `{"error":{"code":429,"message":"slow down"}}`), reason: limit},
		{name: "JSON error as a stream", answer: func(w *reply) { w.Fail(200, sse, failure("server_error", "")) }, reason: unavailable, log: `type "server_error"`},
		{name: "JSON error, created", answer: fail(201, `{"error":{"code":429,"message":"slow down"}}`), reason: limit},
		{name: "JSON error of another kind", answer: fail(200, `{"base_resp":{"status_code":1004,"status_msg":"login fail"}}`), reason: unavailable, log: "login fail"},
		{name: "whole answer as JSON", answer: func(w *reply) { w.Fail(200, js, w.whole("Hello")) }, text: "Hello"},
		{name: "JSON of nothing", answer: fail(200, `{}`), reason: unavailable, log: "without a finish reason; unknown event: {}"},
		{name: "no content", answer: func(w *reply) { w.WriteHeader(http.StatusNoContent) }, reason: unavailable, log: "without a finish reason"},
		{name: "redirect", answer: func(w *reply) { http.Redirect(w, w.r, "http://elsewhere.test/", http.StatusTemporaryRedirect) }, reason: rejected, log: "redirects are not followed"},
		{name: "redirect to itself", answer: func(w *reply) { http.Redirect(w, w.r, w.r.URL.Path, http.StatusMovedPermanently) }, reason: rejected},
		{name: "no content type", answer: func(w *reply) {
			w.Header()["Content-Type"] = nil
			good(w)
		}, text: "Hello"},

		{name: "created", answer: func(w *reply) { w.Header().Set("Content-Type", sse); w.WriteHeader(http.StatusCreated); good(w) }, text: "Hello"},
		{name: "plain text", answer: typed("text/plain; charset=utf-8"), text: "Hello"},
		{name: "the type twice", answer: typed("text/event-stream, text/event-stream"), text: "Hello"},
		{name: "bytes", answer: typed("application/octet-stream"), text: "Hello"},
		{name: "another charset", answer: typed("text/event-stream; charset=ISO-8859-1"), text: "Hello"},
		{name: "a malformed type", answer: typed("text/event-stream;;charset"), text: "Hello"},
		{name: "JSON lines", answer: typed("application/x-ndjson"), text: "Hello"},

		// answers that are none
		{name: "no text", answer: func(w *reply) { w.Stream(w.finish(), w.done()) }, reason: assistant.ReasonEmptyAnswer, log: "answer without text"},
		{name: "white space", answer: func(w *reply) { w.Stream(w.piece("\n "), w.finish(), w.done()) }, reason: assistant.ReasonEmptyAnswer},
		{name: "a tool", answer: func(w *reply) { w.Stream(w.tool(), w.finish(), w.done()) }, reason: assistant.ReasonToolsUnsupported, log: "the model asked for a tool"},

		// streams that break
		{name: "cut before text", answer: func(w *reply) { w.Stream(": hi\n\n"); w.Cut() }, reason: unavailable, log: "read stream: unexpected EOF"},
		{name: "cut after text", answer: func(w *reply) { w.Stream(w.piece("par"), w.piece("tial")); w.Cut() }, text: "partial", reason: unavailable, log: "read stream: unexpected EOF"},
		{name: "end without a finish", answer: func(w *reply) { w.Stream(w.piece("partial")) }, text: "partial", reason: unavailable, log: "without a finish reason"},
		{name: "cut after the finish", answer: func(w *reply) { w.Stream(w.piece("Hello"), w.finish()); w.Cut() }, text: "Hello"},
		{name: "error object", answer: func(w *reply) { w.Stream(w.piece("par"), "data: "+failure("", "")+"\n\n") }, text: "par", reason: unavailable, log: "[redacted]"},
		{name: "bad JSON", answer: func(w *reply) { w.Stream(w.piece("par"), `data: {"choices": `+said+"\n\n") }, text: "par", reason: unavailable, log: "decode "},

		// silence
		{name: "silent before headers", answer: (*reply).Hang, reason: timeout, took: time.Minute, log: "timeout: no piece of the answer within 1m0s"},
		{name: "silent before text", answer: func(w *reply) { w.Stream(": hi\n\n"); w.Hang() }, reason: timeout, took: time.Minute},
		{name: "nothing but comments", answer: func(w *reply) {
			for w.r.Context().Err() == nil {
				w.Stream(": hi\n\n")
				w.Sleep(time.Second)
			}
		}, reason: timeout, took: time.Minute},
		{name: "silent after retries", answer: func(w *reply) {
			if w.Attempt == 1 {
				limited("5")(w)
				return
			}
			w.Hang()
		}, reason: timeout, took: time.Minute, requests: 2},
		{name: "silent in an error", answer: func(w *reply) { w.Header().Set("Content-Length", "100"); w.Fail(400, js, "{"); w.Stream(); w.Hang() }, reason: timeout, took: time.Minute},
		{name: "silent in a page", answer: func(w *reply) { w.Fail(200, html, "<"); w.Stream(); w.Hang() }, reason: timeout, took: time.Minute},
		{name: "silent after text", answer: func(w *reply) { w.Stream(w.piece("par")); w.Hang() }, text: "par", reason: timeout, took: 30 * time.Second, log: "stall_timeout: nothing received within 30s"},
		{name: "slow", answer: func(w *reply) {
			w.Sleep(59 * time.Second)
			for range 3 {
				w.Stream(w.piece("slow "))
				w.Sleep(29 * time.Second)
				w.Stream(": still there\n\n")
				w.Sleep(29 * time.Second)
			}
			w.Stream(w.finish(), w.done())
		}, text: "slow slow slow ", took: 233 * time.Second},
		{name: "without end", answer: func(w *reply) {
			for w.r.Context().Err() == nil {
				w.Stream(w.piece("x"))
				w.Sleep(29 * time.Second)
			}
		}, text: strings.Repeat("x", 21), reason: timeout, took: 10 * time.Minute, log: "max_duration: no complete answer within 10m0s"},
		{name: "silent after the finish", answer: func(w *reply) { w.Stream(w.piece("Hello"), w.finish()); w.Hang() }, text: "Hello", took: 5 * time.Second, tookResponses: drainTime},
		{name: "busy after the finish", answer: func(w *reply) {
			w.Stream(w.piece("Hello"), w.finish())
			for w.r.Context().Err() == nil {
				w.Stream(": hi\n\n")
				w.Sleep(time.Second)
			}
		}, text: "Hello", took: 5 * time.Second, tookResponses: drainTime},
		{name: "open after the end", answer: func(w *reply) { w.Stream(w.piece("Hello"), w.finish(), w.done()); w.Hang() }, text: "Hello", took: 100 * time.Millisecond},

		// too much
		{name: "endless error", answer: func(w *reply) {
			w.Fail(400, sse, "")
			for w.r.Context().Err() == nil {
				w.Stream(strings.Repeat(said, 100))
			}
		}, reason: rejected, log: "Incorrect"},
		{name: "endless line", answer: func(w *reply) {
			w.Stream(w.piece("Hello"), "data: ")
			for w.r.Context().Err() == nil {
				w.Stream(strings.Repeat("x", 10_000))
			}
		}, text: "Hello", reason: unavailable, log: "event longer than 1 MiB"},
	} {
		for _, api := range []string{apiChat, apiResponses} {
			t.Run(api+"/"+test.name, func(t *testing.T) {
				serve(t, Config{API: api}, test.answer, func(t *testing.T, p *Provider, u *upstream) {
					a, took := ask(t.Context(), p), test.took
					if api == apiResponses {
						took = cmp.Or(test.tookResponses, took)
					}
					if a.text != test.text {
						t.Errorf("text = %q, want %q", a.text, test.text)
					}
					if a.took < took || a.took > took*4/3 {
						t.Errorf("took %s, want %s to %s", a.took, took, took*4/3)
					}
					if got, want := len(u.Requests()), max(test.requests, 1); got != want {
						t.Errorf("sent %d requests, want %d", got, want)
					}
					if test.reason == "" {
						if a.err != nil || a.finish != assistant.FinishStop {
							t.Errorf("ended with %q and error %v, want stop", a.finish, a.err)
						}
						return
					}
					fault, ok := errors.AsType[*assistant.ProviderError](a.err)
					if !ok || a.finish != "" {
						t.Fatalf("ended with %q and error %v, want reason %s", a.finish, a.err, test.reason)
					}
					if fault.Reason != test.reason || fault.RetryAfter != test.retry {
						t.Errorf("reason = %s, retry after %s; want %s, %s", fault.Reason, fault.RetryAfter, test.reason, test.retry)
					}
					if log := fault.Error(); !strings.Contains(log, test.log) || strings.Contains(log, canary) || len(log) > 500 {
						t.Errorf("the log says %s; want %s in it, and no key", log, test.log)
					}
				})
			})
		}
	}
}
