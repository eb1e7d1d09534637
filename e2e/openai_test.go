package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// canary is the key that must never be seen again.
const canary = "sk-canary-4f1d9a7be2"

// withKey are the settings that hand the environment's key to upstream, which is not OpenAI's server.
const withKey = `
	api_key {env.OPENAI_API_KEY}
	organization {env.OPENAI_ORG}
`

// startOpenAI runs Caddy with an assistant that asks upstream, and with every log line there is.
func startOpenAI(t *testing.T, upstream *harness.Upstream, settings string) *harness.Caddy {
	t.Helper()
	return harness.Start(t, "{\n debug\n}\n"+harness.Site(`
		log
		assistant /ws/assistants/* {
			provider openai {
				base_url `+upstream.URL+`
				`+settings+`
			}
		}
	`), "OPENAI_API_KEY="+canary, "OPENAI_ORG=org-test")
}

// TestOpenAI: what an OpenAI-compatible server sends is what the client reads, piece by piece.
func TestOpenAI(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("Hello", " ", "wörld", "</script>")
		call.Finish()
	})
	c := startOpenAI(t, upstream, withKey+"model some-model")
	client := harness.Dial(t, c)
	const first, second = "What is Python?", "Can you give me an example?"
	for _, question := range []string{first, second} {
		client.Ask(question)
		client.Expect(
			`{"action":"streaming_start","payload":{"content":""}}`,
			`{"action":"streaming","payload":{"content":"Hello"}}`,
			`{"action":"streaming","payload":{"content":" "}}`,
			`{"action":"streaming","payload":{"content":"wörld"}}`,
			`{"action":"streaming","payload":{"content":"</script>"}}`,
			`{"action":"complete_streaming","payload":{"content":""}}`,
		)
	}

	question := func(text string) harness.ChatMessage { return harness.ChatMessage{Role: "user", Content: text} }
	answer := harness.ChatMessage{Role: "assistant", Content: "Hello wörld</script>"}
	for _, want := range [][]harness.ChatMessage{
		{question(first)},
		{question(first), answer, question(second)},
	} {
		call := <-upstream.Calls
		if !reflect.DeepEqual(call.Messages, want) {
			t.Errorf("upstream was asked %v, want %v", call.Messages, want)
		}
		if call.Model != "some-model" {
			t.Errorf("model = %q, want some-model", call.Model)
		}
		if got := call.Header.Get("Authorization"); got != "Bearer "+canary {
			t.Errorf("Authorization = %q, want the key of the environment", got)
		}
		if got := call.Header.Get("Openai-Organization"); got != "org-test" {
			t.Errorf("OpenAI-Organization = %q, want the one of the environment", got)
		}
	}
}

// TestUpstreamCancelled: nobody pays for text that nobody reads.
func TestUpstreamCancelled(t *testing.T) {
	const limit = 10 * time.Second // the promise is 100 ms; a busy machine may delay it
	for _, test := range []struct {
		name, sent string // what the model has sent by then
		leave      func(*harness.Client)
		stays      bool
	}{
		{"client gone", "piece", (*harness.Client).Vanish, false},
		{"client gone before the first piece", "", (*harness.Client).Vanish, false},
		{"stopped", "piece", func(c *harness.Client) { c.Send(`{"action":"stop_streaming"}`) }, true},
		{"stopped before the first piece", "", func(c *harness.Client) { c.Send(`{"action":"stop_streaming"}`) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			gone := make(chan time.Time, 1)
			upstream := harness.NewUpstream(t, func(call *harness.Call) {
				if call.Question() == "again" {
					call.Pieces("still here")
					call.Finish()
					return
				}
				if test.sent != "" {
					call.Pieces(test.sent)
				}
				gone <- call.UntilGone()
			})
			client := harness.Dial(t, startOpenAI(t, upstream, withKey))
			client.Ask("Tell me much.")
			<-upstream.Calls
			if test.sent != "" {
				client.Until("streaming")
			}

			left := time.Now()
			test.leave(client)
			select {
			case at := <-gone:
				t.Logf("the request was cancelled after %s", at.Sub(left))
				if at.Sub(left) > limit {
					t.Errorf("the request was cancelled after %s, more than %s", at.Sub(left), limit)
				}
			case <-time.After(harness.Patience):
				t.Fatal("the request was never cancelled")
			}
			if test.stays {
				client.Until("complete_streaming")
				client.Ask("again")
				if got := harness.Answer(client.Until("complete_streaming")); got != "still here" {
					t.Errorf("the next answer is %q", got)
				}
			}
		})
	}
}

// TestUpstreamFaults: whatever the model's server does, the client gets a reason, an end, and keeps the
// socket; what the server said stays here, and the key that it may have repeated nowhere.
func TestUpstreamFaults(t *testing.T) {
	const said = "Incorrect API key provided: " + canary
	for _, test := range []struct {
		name   string
		answer func(*harness.Call)
		text   string
		reason string
	}{
		{"400", func(c *harness.Call) { c.Fail(400, said) }, "", "provider_rejected"},
		{"401", func(c *harness.Call) { c.Fail(401, said) }, "", "provider_rejected"},
		{"403", func(c *harness.Call) { c.Fail(403, said) }, "", "provider_rejected"},
		{"429", func(c *harness.Call) { c.Fail(429, said) }, "", "provider_rate_limited"},
		{"500", func(c *harness.Call) { c.Fail(500, said) }, "", "provider_unavailable"},
		{"cut", func(c *harness.Call) { c.Pieces("par", "tial"); c.Cut() }, "partial", "provider_unavailable"},
		{"no end", func(c *harness.Call) { c.Pieces("par", "tial") }, "partial", "provider_unavailable"},
		{"error object", func(c *harness.Call) { c.Pieces("partial"); c.Event(`{"error":{"message":"` + said + `"}}`) }, "partial", "provider_unavailable"},
		{"bad JSON", func(c *harness.Call) { c.Pieces("partial"); c.Event(`{"choices":[` + said) }, "partial", "provider_unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			upstream := harness.NewUpstream(t, func(call *harness.Call) {
				if call.Question() == "again" {
					call.Pieces("still here")
					call.Finish()
					return
				}
				test.answer(call)
			})
			c := startOpenAI(t, upstream, withKey+"max_retries 0")
			client := harness.Dial(t, c)
			client.Ask("What is Python?")
			frames := client.Until("complete_streaming")
			if got := harness.Answer(frames); got != test.text {
				t.Errorf("text = %q, want %q", got, test.text)
			}
			fault := frames[len(frames)-2]
			if fault.Action != "error" || !strings.Contains(string(fault.Payload), `"reason":"`+test.reason+`"`) {
				t.Errorf("the frame before the last is %s, want an error of reason %s", fault.Text, test.reason)
			}
			for _, frame := range frames {
				if strings.Contains(frame.Text, "Incorrect") {
					t.Errorf("the client was told what the server said: %s", frame.Text)
				}
			}
			client.Ask("again")
			frames = append(frames, client.Until("complete_streaming")...)
			if got := harness.Answer(frames); got != test.text+"still here" {
				t.Errorf("all answers are %q", got)
			}
			expectNoCanary(t, c, frames)
		})
	}
}

// expectNoCanary looks for the key wherever it might have been written or sent.
func expectNoCanary(t *testing.T, c *harness.Caddy, frames []harness.Frame) {
	t.Helper()
	places := map[string]string{"GET /config/": c.Config(t), "the log": c.Logs.String()}
	if !strings.Contains(places["GET /config/"], `"openai"`) {
		t.Error("GET /config/ does not show the assistant's configuration")
	}
	for i, frame := range frames {
		places[fmt.Sprintf("frame %d", i)] = frame.Text
	}
	autosaved := false
	err := filepath.WalkDir(c.Home, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a file that was being written, and has its own name now
		}
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		places[path] = string(text)
		autosaved = autosaved || entry.Name() == "autosave.json"
		return err
	})
	if err != nil || !autosaved {
		t.Errorf("no autosave.json to look into (%v)", err)
	}
	for place, text := range places {
		if strings.Contains(text, canary) {
			t.Errorf("the key is in %s", place)
		}
	}
}

// TestKeys: the key is taken from where a placeholder says, is sent only where it was meant to go, and is
// never shown.
func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, setting, sent string }{
		{"environment", "api_key {env.OPENAI_API_KEY}", "Bearer " + canary},
		{"file", "api_key {file." + file + "}", "Bearer " + canary},
		{"OpenAI's key for another server", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			upstream := harness.NewUpstream(t, func(call *harness.Call) {
				call.Pieces("Hello")
				call.Finish()
			})
			c := startOpenAI(t, upstream, test.setting)
			client := harness.Dial(t, c)
			client.Ask("What is Python?")
			frames := client.Until("complete_streaming")
			if got := (<-upstream.Calls).Header.Get("Authorization"); got != test.sent {
				t.Errorf("Authorization = %q, want %q", got, test.sent)
			}
			expectNoCanary(t, c, frames)
		})
	}
}
