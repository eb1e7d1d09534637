package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// shop is a source of tools: look only reads, refund needs approval, mail hands out what strangers wrote, ask asks for input.
// It keeps a ledger of all calls.
type shop struct {
	took    time.Duration // of a call
	changed atomic.Bool   // the descriptions are others

	mu     sync.Mutex
	ledger []string
	ids    []string
}

func (s *shop) Tools(context.Context, assistant.Peer) ([]assistant.Tool, error) {
	order := json.RawMessage(`{"type":"object","properties":{"order":{"type":"string"},"amount":{"type":"number"}},"required":["order"],"additionalProperties":false}`)
	description := "Refunds."
	if s.changed.Load() {
		description = "Refunds everything."
	}
	return []assistant.Tool{
		{Name: "look", Parameters: order, Server: "shop"},
		{Name: "refund", Title: "Refund an order", Description: description, Parameters: order, Approve: true, Server: "shop"},
		{Name: "mail", Parameters: json.RawMessage(`{"type":"object"}`), Untrusted: true, Server: "mail"},
		{Name: "broken", Parameters: json.RawMessage(`{"type":"object"}`), Server: "shop"},
		{Name: "ask", Parameters: json.RawMessage(`{"type":"object"}`), Server: "shop"},
		{Name: "again", Parameters: json.RawMessage(`{"type":"object"}`), Repeatable: true, Server: "shop"},
	}, nil
}

func (s *shop) Call(ctx context.Context, c assistant.Call) (assistant.Result, error) {
	s.mu.Lock()
	s.ledger, s.ids = append(s.ledger, c.Name+string(c.Arguments)), append(s.ids, c.ID)
	s.mu.Unlock()
	select {
	case <-time.After(s.took):
	case <-ctx.Done():
		return assistant.Result{}, context.Cause(ctx)
	}
	if c.Name == "look" && strings.Contains(string(c.Arguments), "slow") {
		for i := range 10 {
			c.Progress(assistant.Progress{Done: float64(i), Total: 10, Text: "look\x00ing"})
			time.Sleep(100 * time.Millisecond)
		}
		go func() {
			time.Sleep(time.Second)
			c.Progress(assistant.Progress{Done: 99}) // too late
		}()
	}
	if c.Name == "ask" {
		if c.Answers == nil || c.State == "once" {
			return assistant.Result{Needs: &assistant.Needs{State: map[string]string{"": "once", "once": "twice"}[c.State], Inputs: []assistant.Input{
				{ID: "size", Message: "Which size?", Schema: json.RawMessage(`{"type":"object","properties":{"size":{"type":"integer"}},"required":["size"]}`)},
				{ID: "pay", Message: "Please pay.", URL: "https://pay.example.org/1"},
			}}}, nil
		}
		return assistant.Result{Text: c.State + " " + string(c.Answers)}, nil
	}
	if c.Name == "broken" {
		return assistant.Result{}, errors.New("the connection broke")
	}
	return assistant.Result{Text: c.Name + " done", Structured: json.RawMessage(`{"ok":true}`), IsError: strings.Contains(string(c.Arguments), "fail")}, nil
}

func (s *shop) calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ledger)
}

// caller is a model that does what the question says: words that are separated by "; ", one step each. "name {…}" calls a
// tool, several with " & "; anything else is said. What it got from tools it says at last.
func caller(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
	last := req.Turns[len(req.Turns)-1]
	var told []string
	step := 0
	if last.Role == assistant.RoleAssistant {
		step = 1
		for i, p := range last.Parts {
			if r, ok := p.(assistant.ToolResultPart); ok {
				told = append(told, r.ForModel())
				if i+1 < len(last.Parts) && last.Parts[i+1].Type() != "tool_result" {
					step++
				}
			}
		}
		last = req.Turns[len(req.Turns)-2]
	}
	steps := strings.Split(last.Content, "; ")
	if step >= len(steps) || req.Tools == nil {
		_ = yield(assistant.Delta{Text: "told: " + strings.Join(told, ", ")}) && yield(finished)
		return nil
	}
	for i, word := range strings.Split(steps[step], " & ") {
		name, arguments, isCall := strings.Cut(word, " ")
		if !isCall || !strings.HasPrefix(arguments, "{") {
			yield(assistant.Delta{Text: word})
			continue
		}
		half := len(arguments) / 2
		_ = yield(assistant.Delta{Calls: &[]assistant.CallPiece{{Index: i, ID: fmt.Sprint("call_", i), Name: name, Arguments: arguments[:half]}}}) &&
			yield(assistant.Delta{Calls: &[]assistant.CallPiece{{Index: i, Arguments: arguments[half:]}}})
	}
	yield(assistant.Delta{FinishReason: assistant.FinishToolCalls, Usage: &assistant.Usage{InputTokens: 10, OutputTokens: 1, TotalTokens: 11}})
	return nil
}

// tooled is a server with the shop.
func tooled(t *testing.T, store assistant.Store, s *shop, change func(*conversation.Config)) *server {
	c := conversation.Config{Provider: model(caller), Tools: s}
	if change != nil {
		change(&c)
	}
	return newServerOn(t, store, c, nil)
}

// steps tells what a client saw of answers, in short: text, calls by their state, results, and how legs begin and end.
func told(frames []frame) string {
	var b strings.Builder
	for _, f := range frames {
		switch f.Action {
		case "streaming_start":
			b.WriteString("<")
		case "complete_streaming":
			b.WriteString(f.Payload.FinishReason + ">")
		case "streaming":
			b.WriteString(f.Payload.Content)
		case "tool_call":
			var p struct{ Payload struct{ Name, State string } }
			_ = json.Unmarshal([]byte(f.text), &p)
			fmt.Fprintf(&b, "[%s %s]", p.Payload.Name, p.Payload.State)
		case "tool_result":
			fmt.Fprintf(&b, "(%s)", f.Payload.Content)
		case "error":
			fmt.Fprintf(&b, "!%s", f.Payload.Reason)
		}
	}
	return b.String()
}

func send(p *pipe, topic, ref, content string) {
	p.request(topic, ref, "send_message", fmt.Sprintf(`"content":%q`, content))
}

func decide(p *pipe, topic, ref, message, call, decision string) {
	p.request(topic, ref, "decide_tool_call", fmt.Sprintf(`"message_id":%q,"call_id":%q,%s`, message, call, decision))
}

// watch returns another client of the same user, which follows the conversation.
func (s *server) watch(t *testing.T, topic string) *pipe {
	t.Helper()
	p := newPipe()
	s.serve(p, assistant.Peer{User: "ann"})
	p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q,"ref":"s"}`, topic)
	time.Sleep(time.Second)
	return p
}

// messageOf returns the id of the last answer that began.
func messageOf(frames []frame) (id string) {
	for _, f := range frames {
		if f.Action == "streaming_start" {
			id = f.Payload.MessageID
		}
	}
	return id
}

// TestToolSteps holds what becomes of calls that need no approval, and what the model is told of them.
func TestToolSteps(t *testing.T) {
	for name, test := range map[string]struct{ question, want, ledger string }{
		"one":             {`look {"order":"A"}`, `<[look preparing][look running][look done](look done)told: look done stop>`, `look{"order":"A"}`},
		"two steps":       {`look {"order":"A"}; look {"order":"B"}`, `<[look preparing][look running][look done](look done)[look preparing][look running][look done](look done)told: look done, look done stop>`, `look{"order":"A"} look{"order":"B"}`},
		"two at once":     {`look {"order":"A"} & again {}`, `<[look preparing][again preparing][look running][again running]`, `again{} look{"order":"A"}`},
		"no such tool":    {`rob {}`, `<[rob preparing][rob failed](There is no tool of this name.)told: There is no tool of this name. stop>`, ``},
		"not valid":       {`look {"order":1}`, `<[look preparing][look failed](The arguments are not valid: order got number, want string)`, ``},
		"missing":         {`look {}`, `<[look preparing][look failed](The arguments are not valid: order is missing)`, ``},
		"too much":        {`look {"order":"A","x":1}`, `<[look preparing][look failed](The arguments are not valid: `, ``},
		"no JSON":         {`look {"order":`, `<[look preparing][look failed](The arguments are not valid: they are no JSON object)`, ``},
		"a key twice":     {`look {"order":"A","order":"B"}`, `<[look preparing][look failed](The arguments are not valid: `, ``},
		"too deep":        {`again {"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", `<[again preparing][again failed](The arguments are not valid: `, ``},
		"fails":           {`look {"order":"fail"}`, `<[look preparing][look running][look failed](look done)`, `look{"order":"fail"}`},
		"is not known":    {`broken {}`, `<[broken preparing][broken running][broken unknown](It is not known whether this was done.)`, `broken{}`},
		"the same thrice": {`again {}; again {}; again {}; again {}`, ``, `again{} again{}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tools := &shop{}
				p, topic := tooled(t, memory.Open(memory.Config{}), tools, nil).dialStored()
				_ = p.frames(t)
				send(p, topic, "q", test.question)
				time.Sleep(time.Minute)
				got := strings.ReplaceAll(told(p.frames(t)), "stop>", " stop>")
				calls := strings.Join(slices.Sorted(slices.Values(tools.calls())), " ")
				if !strings.HasPrefix(got, test.want) || calls != test.ledger {
					t.Errorf("got  %s\nwant %s, calls %q", got, test.want, calls)
				}
			})
		})
	}
}

// TestToolLimits holds that a model ends after its last step, which has no tools, and that it cannot call too much at once.
func TestToolLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tools := &shop{}
		p, topic := tooled(t, memory.Open(memory.Config{}), tools, func(c *conversation.Config) { c.MaxSteps = 3 }).dialStored()
		send(p, topic, "q", `look {"order":"1"}; look {"order":"2"}; look {"order":"3"}; look {"order":"4"}`)
		time.Sleep(time.Minute)
		if got := tools.calls(); len(got) != 2 {
			t.Errorf("called %q", got)
		}
		frames := p.frames(t)
		if !slices.ContainsFunc(frames, func(f frame) bool { return f.Action == "notice" && f.Payload.Reason == "tool_steps" }) {
			t.Errorf("no notice: %s", told(frames))
		}
		if end := frames[len(frames)-1]; end.Payload.FinishReason != "stop" || !strings.Contains(end.text, `"input_tokens":53`) {
			t.Errorf("ended %s", end.text) // two steps have told of ten tokens each; the last one is estimated
		}
		many := strings.TrimSuffix(strings.Repeat(`look {"order":"x"} & `, 20), " & ")
		send(p, topic, "q2", many)
		time.Sleep(time.Minute)
		if got := strings.Count(told(p.frames(t)), "too many calls"); got < 4 {
			t.Errorf("%d were too many, want 4", got)
		}
	})
}

// TestApproval holds that a call waits for a person, over reloads of the page and decisions in other tabs, is made once, with
// what was approved, and that the answer goes on then.
func TestApproval(t *testing.T) {
	for name, test := range map[string]struct{ decision, want, ledger string }{
		"approved": {`"decision":"approve"`, `[refund running]<[refund done](refund done)told: refund donestop>`, `refund{"order":"A","amount":12}`},
		"edited":   {`"decision":"approve","arguments":{"order":"A","amount":1}`, `[refund running]<[refund done](refund done)told: refund donestop>`, `refund{"order":"A","amount":1}`},
		"denied":   {`"decision":"deny","reason":"no"`, `[refund denied](The user has denied this. Reason: no)<told: The user has denied this. Reason: nostop>`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tools := &shop{}
				s := tooled(t, memory.Open(memory.Config{}), tools, nil)
				a, topic := s.dialStored()
				_ = a.frames(t)
				send(a, topic, "q", `refund {"order":"A","amount":12}`)
				time.Sleep(time.Hour)
				frames := a.frames(t)
				if got, want := told(frames), `<[refund preparing][refund waiting]waiting>`; got != want || len(tools.calls()) > 0 {
					t.Fatalf("got %s, want %s, called %q", got, want, tools.calls())
				}
				id := messageOf(frames)
				b := s.watch(t, topic)
				if got := b.frames(t); !strings.Contains(got[len(got)-1].text, `"state":"waiting","waiting_for":"approval"`) {
					t.Fatalf("another tab sees %s", got[len(got)-1].text)
				}
				decide(b, topic, "d", id, "call_0", test.decision)
				synctest.Wait()
				decide(a, topic, "late", id, "call_0", `"decision":"deny"`)
				time.Sleep(time.Minute)
				frames = b.frames(t)
				if got := told(frames); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
				if i := slices.IndexFunc(frames, func(f frame) bool { return f.Ref != "d" }); i >= 0 {
					t.Errorf("a frame without the ref: %s", frames[i].text)
				}
				if got := strings.Join(tools.calls(), " "); got != test.ledger {
					t.Errorf("called %q, want %q", got, test.ledger)
				}
				if got := told(a.frames(t)); !strings.Contains(got, "!not_waiting") || strings.Count(got, "stop>") != 1 {
					t.Errorf("the other tab saw %s", got)
				}
			})
		})
	}
}

// TestForgedDecisions holds that only the call that waits can be decided, by who owns it, within its schema.
func TestForgedDecisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tools := &shop{}
		s := tooled(t, memory.Open(memory.Config{}), tools, nil)
		p, topic := s.dialStored()
		send(p, topic, "q", `refund {"order":"A"}`)
		time.Sleep(time.Second)
		id := messageOf(p.frames(t))
		foreign := newPipe()
		s.serve(foreign, assistant.Peer{User: "bob"})
		for name, test := range map[string]struct {
			p                         *pipe
			message, call, body, want string
		}{
			"another call":    {p, id, "call_1", `"decision":"approve"`, "not_waiting"},
			"another message": {p, assistant.NewID(), "call_0", `"decision":"approve"`, "not_waiting"},
			"another user":    {foreign, id, "call_0", `"decision":"approve"`, "unknown_topic"},
			"beyond schema":   {p, id, "call_0", `"decision":"approve","arguments":{"order":"A","to":"me"}`, "json_schema"},
			"no object":       {p, id, "call_0", `"decision":"approve","arguments":[1]`, "dict_type"},
			"no decision":     {p, id, "call_0", `"decision":"yes"`, "literal_error"},
			"denied, edited":  {p, id, "call_0", `"decision":"deny","arguments":{}`, "value_error"},
		} {
			decide(test.p, topic, "f", test.message, test.call, test.body)
			time.Sleep(time.Second)
			got := test.p.frames(t)
			if len(got) != 1 || got[0].Action != "error" || !strings.Contains(got[0].text, test.want) {
				t.Errorf("%s: got %v, want %s", name, got, test.want)
			}
		}
		if len(tools.calls()) > 0 {
			t.Errorf("called %q", tools.calls())
		}
		decide(p, topic, "d", id, "call_0", `"decision":"approve"`)
		time.Sleep(time.Second)
		if got := tools.calls(); len(got) != 1 {
			t.Errorf("called %q", got)
		}
	})
}

// TestPoisonedResult holds that what strangers wrote cannot make the model call another server's tool without a person, also
// where it is told as an error.
func TestPoisonedResult(t *testing.T) {
	for _, mail := range []string{"mail{}", `mail{"box":"fail"}`} {
		synctest.Test(t, func(t *testing.T) {
			tools := &shop{}
			p, topic := tooled(t, memory.Open(memory.Config{}), tools, nil).dialStored()
			_ = p.frames(t)
			send(p, topic, "q", strings.Replace(mail, "{", " {", 1)+`; look {"order":"secret"}`)
			time.Sleep(time.Second)
			if got := told(p.frames(t)); !strings.HasSuffix(got, "[look preparing][look waiting]waiting>") {
				t.Errorf("got %s", got)
			}
			if got := tools.calls(); !slices.Equal(got, []string{mail}) {
				t.Errorf("called %q", got)
			}
		})
	}
}

// TestDecisionsAtOnce holds that decisions of two calls count both, whichever is first.
func TestDecisionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tools := &shop{}
		s := tooled(t, memory.Open(memory.Config{}), tools, nil)
		a, topic := s.dialStored()
		b := s.serve(newPipe(), assistant.Peer{User: "ann"})
		b.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic)
		send(a, topic, "q", `refund {"order":"A"} & refund {"order":"B"}`)
		time.Sleep(time.Second)
		id := messageOf(a.frames(t))
		decide(a, topic, "a", id, "call_0", `"decision":"approve"`)
		decide(b, topic, "b", id, "call_1", `"decision":"approve"`)
		time.Sleep(time.Minute)
		if got := strings.Join(slices.Sorted(slices.Values(tools.calls())), " "); got != `refund{"order":"A"} refund{"order":"B"}` {
			t.Errorf("called %q", got)
		}
		if got := told(a.frames(t)); !strings.HasSuffix(got, "told: refund done, refund donestop>") {
			t.Errorf("got %s", got)
		}
	})
}

// TestCallsOfOneID holds that an approval is for one call, although the model names the next by the same id.
func TestCallsOfOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tools := &shop{}
		p, topic := tooled(t, memory.Open(memory.Config{}), tools, nil).dialStored()
		send(p, topic, "q", `refund {"order":"A"}; refund {"order":"B"}`)
		time.Sleep(time.Second)
		id := messageOf(p.frames(t))
		decide(p, topic, "d", id, "call_0", `"decision":"approve"`)
		time.Sleep(time.Second)
		if got := told(p.frames(t)); !strings.HasSuffix(got, "[refund waiting]waiting>") {
			t.Fatalf("got %s", got)
		}
		decide(p, topic, "again", id, "call_0", `"decision":"approve"`)
		time.Sleep(time.Second)
		if got := told(p.frames(t)); got != "!not_waiting" {
			t.Errorf("the approval again: %s", got)
		}
		if got := tools.calls(); !slices.Equal(got, []string{`refund{"order":"A"}`}) {
			t.Errorf("called %q", got)
		}
	})
}

// TestQuestionAgain holds that a question that is sent again, by a client that came back, does not end the answer that waits.
func TestQuestionAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, topic := tooled(t, memory.Open(memory.Config{}), &shop{}, nil).dialStored()
		_ = p.frames(t)
		question := fmt.Sprintf(`{"action":"send_message","topic":%q,"payload":{"content":"refund {\"order\":\"A\"}","client_id":%q}}`, topic, assistant.NewID())
		p.in <- question
		time.Sleep(time.Second)
		first := p.frames(t)
		p.in <- question
		time.Sleep(time.Second)
		if got := told(p.frames(t)); got != "<[refund waiting]waiting>" {
			t.Errorf("sent again: %s", got)
		}
		decide(p, topic, "d", messageOf(first), "call_0", `"decision":"approve"`)
		time.Sleep(time.Second)
		if got := told(p.frames(t)); !strings.HasSuffix(got, "told: refund donestop>") {
			t.Errorf("got %s", got)
		}
		p.in <- question
		time.Sleep(time.Second)
		if got, want := told(p.frames(t)), "<[refund done](refund done)told: refund donestop>"; got != want {
			t.Errorf("sent again at the end: %s, want %s", got, want)
		}
	})
}

// TestWaitingEnds holds that an answer that waits ends when it is stopped, when another question comes, and when nobody
// decides in time: nothing is called.
func TestWaitingEnds(t *testing.T) {
	for name, end := range map[string]func(s *server, p *pipe, topic string){
		"stopped": func(_ *server, p *pipe, topic string) {
			p.in <- fmt.Sprintf(`{"action":"stop_streaming","topic":%q,"ref":"x"}`, topic)
		},
		"superseded": func(_ *server, p *pipe, topic string) { send(p, topic, "x", "hello") },
		"expired":    func(*server, *pipe, string) { time.Sleep(25 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tools, store := &shop{}, memory.Open(memory.Config{})
				s := tooled(t, store, tools, nil)
				s.hub.Expire(t.Context())
				p, topic := s.dialStored()
				_ = p.frames(t)
				send(p, topic, "q", `refund {"order":"A"} & refund {"order":"B"}`)
				time.Sleep(time.Second)
				_ = p.frames(t)
				end(s, p, topic)
				time.Sleep(time.Minute)
				got := told(p.frames(t))
				if !strings.HasPrefix(got, "[refund denied](") || strings.Count(got, "[refund denied]") != 2 || !strings.Contains(got, ")<stopped>") || len(tools.calls()) > 0 {
					t.Errorf("got %s, called %q", got, tools.calls())
				}
				messages, _, err := store.Messages(t.Context(), "ann", strings.TrimPrefix(topic, "conversation:"), "", 10)
				if err != nil || messages[1].Status != assistant.StatusStopped || len(messages[1].Parts.Calls(assistant.CallDenied)) != 2 {
					t.Errorf("stored: %+v, %v", messages, err)
				}
			})
		})
	}
}

// TestPlainClients holds that a client of the tutorial sees text and nothing else: calls without approval are made, and
// tools that need it are not there.
func TestPlainClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tools := &shop{}
		p := tooled(t, memory.Open(memory.Config{}), tools, nil).dial()
		p.in <- `{"action":"assistant_message","payload":"look {\"order\":\"A\"} & refund {\"order\":\"A\"}"}`
		time.Sleep(time.Minute)
		frames := p.frames(t)
		if got, want := actions(frames), []string{"streaming_start", "streaming", "complete_streaming"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := tools.calls(); !slices.Equal(got, []string{`look{"order":"A"}`}) {
			t.Errorf("called %q", got)
		}
	})
}

// TestStopDuringCall holds that a stop ends a call, of which it is not known then whether it was made, and that the answer can
// go on: what is repeatable is made again, and nothing else.
func TestStopDuringCall(t *testing.T) {
	for tool, again := range map[string]int{"look": 0, "again": 1} {
		t.Run(tool, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tools := &shop{took: 10 * time.Second}
				p, topic := tooled(t, memory.Open(memory.Config{}), tools, nil).dialStored()
				_ = p.frames(t)
				arguments := map[string]string{"look": `{"order":"A"}`, "again": "{}"}[tool]
				send(p, topic, "q", tool+" "+arguments)
				time.Sleep(time.Second)
				p.in <- fmt.Sprintf(`{"action":"stop_streaming","topic":%q}`, topic)
				time.Sleep(time.Second)
				frames := p.frames(t)
				if got := told(frames); !strings.HasSuffix(got, fmt.Sprintf("[%s unknown](It is not known whether this was done.)stopped>", tool)) {
					t.Fatalf("got %s", got)
				}
				p.in <- fmt.Sprintf(`{"action":"continue_answer","topic":%q,"ref":"c","payload":{"message_id":%q}}`, topic, messageOf(frames))
				time.Sleep(time.Minute)
				if got := told(p.frames(t)); !strings.HasSuffix(got, "stop>") || len(tools.calls()) != 1+again {
					t.Errorf("went on %s, called %q", got, tools.calls())
				}
				p.in <- fmt.Sprintf(`{"action":"continue_answer","topic":%q,"ref":"c","payload":{"message_id":%q}}`, topic, messageOf(frames))
				time.Sleep(time.Minute)
				if got := told(p.frames(t)); got != "!nothing_to_continue" {
					t.Errorf("again %s", got)
				}
			})
		})
	}
}

// TestIntentIsStored holds that no call is made of which the store does not know.
func TestIntentIsStored(t *testing.T) {
	for _, durability := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			tools, store := &shop{}, &oddStore{Store: memory.Open(memory.Config{})}
			p, topic := tooled(t, store, tools, func(c *conversation.Config) { c.Strict = durability }).dialStored()
			_ = p.frames(t)
			store.panics.Store("Extend")
			send(p, topic, "q", `look {"order":"A"}`)
			time.Sleep(time.Minute)
			store.panics.Store("")
			if got := told(p.frames(t)); !strings.HasSuffix(got, "!storage_unavailableerror>") || len(tools.calls()) > 0 {
				t.Errorf("strict %v: got %s, called %q", durability, got, tools.calls())
			}
			send(p, topic, "q2", `look {"order":"B"}`)
			time.Sleep(time.Minute)
			if got := tools.calls(); len(got) != 1 {
				t.Errorf("strict %v: called %q", durability, got)
			}
		})
	}
}
