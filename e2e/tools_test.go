package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// tooled is an assistant with a tool that needs approval, and one that does not.
const tooled = `
	assistant /ws/assistants/* {
		store sqlite {$HOME}/chat/chat.db
		user {query.user}
		provider openai {
			base_url {$UPSTREAM}
			max_retries 0
		}
		tools_for anonymous
		tools http pay {
			description "Pays."
			parameters  ` + "`" + `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}` + "`" + `
			url         {$LEDGER}/pay
			header      Authorization "Bearer {env.CANARY}"
		}
		tools http look {
			description "Looks."
			parameters  ` + "`" + `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}` + "`" + `
			method      GET
			url         {$LEDGER}/look/{args.n}
		}
	}
`

// ledger is a service that counts calls, by their idempotency key, and holds those that a test wants to hold.
type ledger struct {
	*httptest.Server

	mu    sync.Mutex
	calls []string
	holds bool
	began chan struct{} // one for each call that is held
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{began: make(chan struct{}, 100)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // from then on the server sees that the client is gone
		l.mu.Lock()
		l.calls = append(l.calls, r.URL.Path+" "+r.Header.Get("Idempotency-Key"))
		holds := l.holds
		l.mu.Unlock()
		if holds {
			l.began <- struct{}{}
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"ok":true}`)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *ledger) hold(holds bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds = holds
}

// take returns the calls so far, and forgets them.
func (l *ledger) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

// caller is a model that calls the tool that the question names. It waits where stall says so: "call" in the middle of the
// call's arguments, "answer" once the tool has returned.
type caller struct {
	mu    sync.Mutex
	stall string
	began chan struct{}
}

func (m *caller) stalls(at string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stall == at
}

func (m *caller) set(at string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stall = at
}

func (m *caller) answer(c *harness.Call) {
	last := c.Messages[len(c.Messages)-1]
	if last.Role == "tool" {
		if m.stalls("answer") {
			m.began <- struct{}{}
			c.UntilGone()
			return
		}
		c.Pieces("told: " + last.Content)
		c.Finish()
		return
	}
	piece := func(id, name, arguments, finish string) {
		function := map[string]any{"arguments": arguments}
		call := map[string]any{"index": 0, "function": function}
		if name != "" {
			function["name"], call["id"] = name, id
		}
		var reason any
		if finish != "" {
			reason = finish
		}
		data, _ := json.Marshal(map[string]any{"choices": []any{map[string]any{"index": 0, "delta": map[string]any{"tool_calls": []any{call}}, "finish_reason": reason}}})
		c.Event(string(data))
	}
	piece("call_0", last.Content, `{"n"`, "")
	if m.stalls("call") {
		m.began <- struct{}{}
		c.UntilGone()
		return
	}
	piece("", "", ":1}", "tool_calls")
	c.Event("[DONE]")
}

// parts are the calls and results of an answer, in short.
func partsOf(t *testing.T, v conversation) (status, parts string) {
	t.Helper()
	v.Send(fmt.Sprintf(`{"action":"list_messages","payload":{"conversation_id":%q}}`, v.id))
	frames := v.Until("messages")
	var page struct {
		Items []struct {
			Status string
			Parts  []struct{ Type, State, Content, Text string }
		}
	}
	decode(t, frames[len(frames)-1], &page)
	last := page.Items[len(page.Items)-1]
	var b strings.Builder
	for _, p := range last.Parts {
		fmt.Fprintf(&b, "%s %s%s%s; ", p.Type, p.State, p.Content, p.Text)
	}
	return last.Status, strings.TrimSuffix(b.String(), "; ")
}

// startTooled runs it in front of a model, with more of the site, and where its tools lead.
func startTooled(t *testing.T, m *caller, more string) (*harness.Caddy, *ledger) {
	t.Helper()
	l := newLedger(t)
	upstream := harness.NewUpstream(t, m.answer)
	return harness.Start(t, harness.Site(tooled+more), "UPSTREAM="+upstream.URL, "LEDGER="+l.URL, "CANARY=swordfish"), l
}

// TestToolKills kills the server at each point of a call. Afterwards the call's state is what is known, no call is made
// twice, whatever is done then, and no decision is lost. KILLS is how often at each point [3].
func TestToolKills(t *testing.T) {
	kills := 3
	if text := os.Getenv("KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	m := &caller{began: make(chan struct{}, 100)}
	c, l := startTooled(t, m, "")
	id := func(frames []harness.Frame) string {
		var start struct {
			ID string `json:"message_id"`
		}
		for _, f := range frames {
			if f.Action == "streaming_start" {
				decode(t, f, &start)
			}
		}
		return start.ID
	}
	ask := func(v conversation, tool string) []harness.Frame {
		v.send("send_message", fmt.Sprintf(`{"content":%q}`, tool))
		return v.Until("streaming_start")
	}
	again := func(v conversation) conversation {
		c.Kill(t)
		return open(t, harness.Dial(t, c), v.id)
	}
	goOn := func(v conversation, message string) string {
		v.send("continue_answer", fmt.Sprintf(`{"message_id":%q}`, message))
		return harness.Answer(v.Until("complete_streaming"))
	}
	approve := func(v conversation, message string) {
		v.send("decide_tool_call", fmt.Sprintf(`{"message_id":%q,"call_id":"call_0","decision":"approve"}`, message))
	}
	const unknown = "It is not known whether this was done."
	for _, point := range []struct {
		name string
		run  func(v conversation) // to the end
		want int                  // calls
	}{
		{"before it is stored", func(v conversation) {
			m.set("call")
			ask(v, "look")
			<-m.began
			m.set("")
			v = again(v)
			if status, parts := partsOf(t, v); status != "interrupted" || parts != "" {
				t.Errorf("it is %s: %s", status, parts)
			}
		}, 0},
		{"while it waits", func(v conversation) {
			message := id(ask(v, "pay"))
			v.Until("complete_streaming")
			v = again(v)
			if status, parts := partsOf(t, v); status != "waiting" || parts != "tool_call waiting" {
				t.Errorf("it is %s: %s", status, parts)
			}
			approve(v, message)
			if got := harness.Answer(v.Until("complete_streaming")); got != `told: {"ok":true}` {
				t.Errorf("it went on %q", got)
			}
		}, 1},
		{"while it is made", func(v conversation) {
			message := id(ask(v, "pay"))
			v.Until("complete_streaming")
			l.hold(true)
			approve(v, message)
			<-l.began
			l.hold(false)
			v = again(v)
			if status, parts := partsOf(t, v); status != "interrupted" || parts != "tool_call unknown" {
				t.Errorf("it is %s: %s", status, parts)
			}
			if got := goOn(v, message); got != "told: "+unknown {
				t.Errorf("it went on %q", got)
			}
		}, 1},
		{"while one that only reads is made", func(v conversation) {
			l.hold(true)
			message := id(ask(v, "look"))
			<-l.began
			l.hold(false)
			v = again(v)
			if status, parts := partsOf(t, v); status != "interrupted" || parts != "tool_call unknown" {
				t.Errorf("it is %s: %s", status, parts)
			}
			if got := goOn(v, message); got != `told: {"ok":true}` {
				t.Errorf("it went on %q", got)
			}
		}, 2},
		{"after it has returned", func(v conversation) {
			m.set("answer")
			message := id(ask(v, "look"))
			<-m.began
			m.set("")
			v = again(v)
			if status, parts := partsOf(t, v); status != "interrupted" || parts != `tool_call done; tool_result {"ok":true}` {
				t.Errorf("it is %s: %s", status, parts)
			}
			if got := goOn(v, message); got != `told: {"ok":true}` {
				t.Errorf("it went on %q", got)
			}
		}, 1},
	} {
		t.Run(point.name, func(t *testing.T) {
			for range kills {
				v := create(t, c)
				point.run(v)
				calls := l.take()
				keys := slices.Compact(slices.Sorted(slices.Values(calls)))
				if len(calls) != point.want || len(keys) > 1 {
					t.Errorf("the calls are %q, want %d with one key", calls, point.want)
				}
			}
		})
	}
	for name, approval := range map[string]string{"pay": "always", "look": "never"} {
		if out := succeeds(t, c, "tools"); !regexp.MustCompile(`(?m)^` + name + ` .* ` + approval + ` `).MatchString(out) {
			t.Errorf("%s needs approval %s, but the tools are\n%s", name, approval, out)
		}
	}
	if strings.Contains(c.Config(t), "swordfish") {
		t.Error("the configuration shows a header's value")
	}
}
