package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/toolset"
)

// oddShop is a shop whose list fails now and then, and that returns what a test wants.
type oddShop struct {
	shop

	away   atomic.Int32 // how many of the next lists fail
	result assistant.Result
}

func (s *oddShop) Tools(ctx context.Context, peer assistant.Peer) ([]assistant.Tool, error) {
	if s.away.Add(-1) >= 0 {
		return nil, errors.New("no answer")
	}
	return s.shop.Tools(ctx, peer)
}

func (s *oddShop) Call(ctx context.Context, c assistant.Call) (assistant.Result, error) {
	r, err := s.shop.Call(ctx, c)
	if s.result.Text != "" {
		r = s.result
	}
	return r, err
}

// serve returns a server with the shop, and a client of it in a stored conversation.
func (s *oddShop) serve(t *testing.T, change func(*conversation.Config)) (server *server, p *pipe, topic string) {
	server = tooled(t, memory.Open(memory.Config{}), &s.shop, func(c *conversation.Config) {
		c.Tools = s
		if change != nil {
			change(c)
		}
	})
	p, topic = server.dialStored()
	return server, p, topic
}

// What was edited is checked against the tool's schema once more before the call: the list may have been away when the
// decision came.
func TestEditedWithoutList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(oddShop)
		_, p, topic := s.serve(t, nil)
		_, id := p.asks(t, topic, `refund {"order":"A"}`, "")
		s.away.Store(1)
		decide(p, topic, "d", id, "call_0", `"decision":"approve","arguments":{"order":"A","to":"me"}`)
		time.Sleep(time.Second)
		if got := told(p.frames(t)); !strings.Contains(got, "[refund failed]") || !strings.HasSuffix(got, "stop>") {
			t.Errorf("got %s", got)
		}
		if got := s.calls(); len(got) > 0 {
			t.Errorf("called beyond its schema: %q", got)
		}
	})
}

// A decision that comes while other calls of the step run is checked, too: the call goes on waiting.
func TestEditedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &oddShop{shop: shop{took: 10 * time.Second}}
		_, p, topic := s.serve(t, nil)
		send(p, topic, "q", `refund {"order":"A"} & again {}`)
		time.Sleep(time.Second)
		id := messageOf(p.frames(t))
		decide(p, topic, "d", id, "call_0", `"decision":"approve","arguments":{"order":"A","to":"me"}`)
		time.Sleep(time.Minute)
		frames := p.frames(t)
		if got := told(frames); !strings.HasSuffix(got, "waiting>") {
			t.Errorf("got %s", got)
		}
		if !strings.Contains(fmt.Sprint(frames), "additional properties 'to' not allowed") {
			t.Errorf("who decided is told %v", frames)
		}
		if got := s.calls(); len(got) != 1 || got[0] != "again{}" {
			t.Errorf("called %q", got)
		}
	})
}

// JSON that is none, or that cannot be shown or stored, is left out of a result. Its text is told.
func TestOddStructured(t *testing.T) {
	for name, structured := range map[string]string{
		"a name twice":  `{"a":1,"a":2}`,
		"no UTF-8":      "{\"a\":\"\xff\"}",
		"half a letter": `{"a":"\ud800"}`,
		"deep":          `{"a":1,"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &oddShop{result: assistant.Result{Text: "x", Structured: json.RawMessage(structured)}}
				server, p, topic := s.serve(t, nil)
				send(p, topic, "q", `look {"order":"A"}`)
				time.Sleep(time.Minute)
				if got := told(p.frames(t)); !strings.Contains(got, "(x)") || !strings.HasSuffix(got, "told: xstop>") {
					t.Errorf("got %.300s", got)
				}
				if got := server.watch(t, topic).frames(t); len(got) != 2 || got[1].Action != "snapshot" {
					t.Errorf("another tab got %.300v", got)
				}
			})
		})
	}
}

// An answer that was stopped behind a call goes on from what the call has returned, also where that has sources.
func TestContinueAfterSources(t *testing.T) {
	for name, sources := range map[string][]assistant.SourcePart{
		"none": nil,
		"one":  {{SourceID: "1", URL: "https://example.org/", Title: "E"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &oddShop{result: assistant.Result{Text: "x", Sources: sources}}
				hangs := true
				_, p, topic := s.serve(t, func(c *conversation.Config) {
					c.Provider = model(func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
						if hangs && req.Turns[len(req.Turns)-1].Role == assistant.RoleAssistant {
							<-ctx.Done()
							return context.Cause(ctx)
						}
						return caller(ctx, req, yield)
					})
				})
				_, id := p.asks(t, topic, `look {"order":"A"}`, "")
				p.in <- fmt.Sprintf(`{"action":"stop_streaming","topic":%q,"ref":"x"}`, topic)
				time.Sleep(time.Second)
				_ = p.frames(t)
				hangs = false
				p.request(topic, "c", "continue_answer", fmt.Sprintf(`"message_id":%q`, id))
				time.Sleep(time.Second)
				if got := told(p.frames(t)); got != "<told: xstop>" {
					t.Errorf("got %s", got)
				}
				if got := s.calls(); len(got) != 1 {
					t.Errorf("called %q", got)
				}
			})
		})
	}
}

// A tool of the page that has the name of one of the server's is never taken for that, also while the server's is not
// listed: what the page says it has returned counts as written by strangers.
func TestClientToolOfServersName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(oddShop)
		_, p, topic := s.serve(t, clientTools)
		s.away.Store(1)
		_, id := p.asks(t, topic, `look {"order":"A"}; again {}`, `,"client_tools":[{"name":"look","description":"x","parameters":{"type":"object"}}]`)
		p.request(topic, "r", "submit_tool_result", fmt.Sprintf(`"message_id":%q,"call_id":"call_0","content":"poison"`, id))
		time.Sleep(time.Second)
		if got := told(p.frames(t)); !strings.Contains(got, "[again waiting]") || !strings.HasSuffix(got, "waiting>") {
			t.Errorf("got %s", got)
		}
		if got := s.calls(); len(got) > 0 {
			t.Errorf("called %q", got)
		}
	})
}

// All results of an answer together have a bound: what a page submits beyond it is not kept.
func TestManyResults(t *testing.T) {
	const calls = 16
	synctest.Test(t, func(t *testing.T) {
		_, p, topic := new(oddShop).serve(t, clientTools)
		var words []string
		for i := range calls {
			words = append(words, fmt.Sprintf(`cart {"n":%d}`, i))
		}
		_, id := p.asks(t, topic, strings.Join(words, " & "), `,"client_tools":[{"name":"cart","description":"x","parameters":{"type":"object"}}]`)
		for i := range calls {
			p.request(topic, "r", "submit_tool_result", fmt.Sprintf(`"message_id":%q,"call_id":"call_%d","content":%q,"structured":%q`,
				id, i, strings.Repeat("😀", 65000), strings.Repeat("x", 250<<10)))
			time.Sleep(time.Second)
		}
		results, size := 0, 0
		for _, f := range p.frames(t) {
			if f.Action == "tool_result" {
				results, size = results+1, size+len(f.text)
			}
		}
		if results != calls || size > 5<<20 {
			t.Errorf("%d results have %d bytes, want %d of 4 MiB at most, and their frames", results, size, calls)
		}
	})
}

// slowFinish is a store that takes its time for ends.
type slowFinish struct {
	assistant.Store

	isSlow atomic.Bool
}

func (s *slowFinish) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	if s.isSlow.Load() {
		time.Sleep(2 * time.Second)
	}
	return s.Store.Finish(ctx, c, e)
}

// A stop that comes while a decision is under way stops what goes on after it.
func TestStopWhileDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sh, store := new(shop), &slowFinish{Store: memory.Open(memory.Config{})}
		s := tooled(t, store, sh, nil)
		p, topic := s.dialStored()
		_, id := p.asks(t, topic, `refund {"order":"A"}; look {"order":"B"}`, "")
		other := s.watch(t, topic)
		_ = other.frames(t)
		store.isSlow.Store(true)
		decide(p, topic, "d", id, "call_0", `"decision":"approve"`)
		time.Sleep(time.Second)
		other.request(topic, "x", "stop_streaming", fmt.Sprintf(`"message_id":%q`, id))
		time.Sleep(time.Minute)
		if got := told(other.frames(t)); !strings.HasSuffix(got, "stopped>") {
			t.Errorf("stopped, and saw %s; called %q", got, sh.calls())
		}
	})
}

// Tools that need approval are offered to anonymous clients only where the operator says so; others always. The page's own
// take the place of none.
func TestToolsForAnonymous(t *testing.T) {
	for offers, want := range map[bool]string{false: "mail,broken,ask,again,look", true: "mail,broken,ask,again,look,refund"} {
		t.Run(fmt.Sprint(offers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var offered []string
				s := tooled(t, memory.Open(memory.Config{}), new(shop), func(c *conversation.Config) {
					c.ToolsForAnonymous, c.ClientTools = offers, true
					c.Provider = model(func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
						for _, tool := range req.Tools {
							offered = append(offered, tool.Name)
						}
						return caller(ctx, req, yield)
					})
				})
				p := newPipe()
				s.serve(p, assistant.Peer{})
				p.request("", "q", "send_message", `"content":"look {\"order\":\"A\"}","client_tools":[{"name":"refund","description":"x","parameters":{"type":"object"}}]`)
				time.Sleep(time.Second)
				if got := told(p.frames(t)); !strings.HasSuffix(got, "stop>") {
					t.Errorf("got %s", got)
				}
				slices.Sort(offered)
				names := strings.Split(want, ",")
				slices.Sort(names)
				if offered = slices.Compact(offered); !slices.Equal(offered, names) {
					t.Errorf("the model was offered %q, want %q", offered, names)
				}
			})
		})
	}
}

// Where tools are required, an answer whose list of them cannot be had fails and costs nothing, and the model is not asked.
// A call that waits goes on waiting when it is approved then.
func TestToolsRequired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(oddShop)
		asked := 0
		_, p, topic := s.serve(t, func(c *conversation.Config) {
			c.Tools = toolset.Required{Source: s}
			c.Budget = limits.Budget{Tokens: 1000, Per: time.Hour}
			c.Provider = model(func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
				asked++
				return caller(ctx, req, yield)
			})
		})
		for range 20 { // of which each would take a tenth of the budget
			s.away.Store(1)
			if got, _ := p.asks(t, topic, `look {"order":"`+strings.Repeat("A", 400)+`"}`, ""); asked != 0 || !strings.Contains(got, "!provider_unavailable") {
				t.Fatalf("got %s, the model was asked %d times", got, asked)
			}
		}
		got, id := p.asks(t, topic, `refund {"order":"A"}`, "")
		if !strings.HasSuffix(got, "waiting>") {
			t.Fatalf("with the list got %s", got)
		}
		s.away.Store(1)
		decide(p, topic, "d", id, "call_0", `"decision":"approve"`)
		time.Sleep(time.Second)
		if got := told(p.frames(t)); got != "!provider_unavailable" {
			t.Errorf("approved while the tools are away: %s", got)
		}
		decide(p, topic, "d2", id, "call_0", `"decision":"approve"`)
		time.Sleep(time.Second)
		if got := told(p.frames(t)); !strings.Contains(got, "(refund done)") || !strings.HasSuffix(got, "stop>") {
			t.Errorf("approved with the tools: %s", got)
		}
	})
}

// What strangers may have written makes calls need approval: an anonymous visitor who may not approve is not asked.
func TestTaintForAnonymous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(shop)
		server := tooled(t, memory.Open(memory.Config{}), s, nil)
		p := newPipe()
		server.serve(p, assistant.Peer{})
		send(p, "", "q", `mail {}; look {"order":"A"}`)
		time.Sleep(time.Minute)
		if got := told(p.frames(t)); !strings.Contains(got, "[look denied]") || !strings.HasSuffix(got, "stop>") {
			t.Errorf("got %s", got)
		}
		if got := s.calls(); len(got) != 1 {
			t.Errorf("called %q", got)
		}
	})
}
