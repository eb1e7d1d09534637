package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// request sends an action with a payload.
func (p *pipe) request(topic, ref, action, payload string) {
	t := ""
	if topic != "" {
		t = fmt.Sprintf(`"topic":%q,`, topic)
	}
	p.in <- fmt.Sprintf(`{"action":%q,%s"ref":%q,"payload":{%s}}`, action, t, ref, payload)
}

// asks sends a question and returns what was told until nothing more comes, and the answer's id.
func (p *pipe) asks(t *testing.T, topic, question, more string) (got, id string) {
	t.Helper()
	content, _ := json.Marshal(question)
	p.request(topic, "q", "send_message", `"content":`+string(content)+more)
	time.Sleep(time.Minute)
	frames := p.frames(t)
	return told(frames), messageOf(frames)
}

// TestRemembered holds that an approval is remembered for the tool it was given for, in its conversation, once a call has
// succeeded, and that what strangers wrote cannot spend it.
func TestRemembered(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprint("stored ", stored), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tools := &shop{}
				s := tooled(t, memory.Open(memory.Config{}), tools, nil)
				p, topic := s.dialStored()
				if !stored {
					topic = ""
				}
				_ = p.frames(t)
				again := func(decision string) string {
					t.Helper()
					got, id := p.asks(t, topic, `refund {"order":"A"}`, "")
					if !strings.HasSuffix(got, "[refund waiting]waiting>") {
						return got
					}
					decide(p, topic, "d", id, "call_0", decision)
					time.Sleep(time.Minute)
					return "asked " + told(p.frames(t))
				}
				for _, decision := range []string{
					`"decision":"approve"`,
					`"decision":"deny","remember":"conversation"`,
					`"decision":"approve","remember":"conversation","arguments":{"order":"B"}`,
					`"decision":"approve","remember":"conversation","arguments":{"order":"fail"}`,
					`"decision":"approve","remember":"conversation"`, // the first that counts
				} {
					if got := again(decision); !strings.HasPrefix(got, "asked ") {
						t.Errorf("before %s: %s", decision, got)
					}
				}
				if got, want := again(""), `<[refund preparing][refund running][refund done](refund done)told: refund donestop>`; got != want {
					t.Errorf("remembered: got %s, want %s", got, want)
				}
				if got, _ := p.asks(t, topic, `refund {"order":"other","amount":3}; refund {"order":"A"}`, ""); strings.Contains(got, "waiting") {
					t.Errorf("other arguments: %s", got)
				}
				got, id := p.asks(t, topic, `mail {}; refund {"order":"A"}`, "")
				if !strings.HasSuffix(got, "[refund waiting]waiting>") {
					t.Errorf("after what strangers wrote: %s", got)
				}
				decide(p, topic, "d", id, "call_0", `"decision":"deny"`)
				time.Sleep(time.Minute)
				tools.changed.Store(true)
				_ = p.frames(t)
				if got := again(`"decision":"deny"`); !strings.HasPrefix(got, "asked ") {
					t.Errorf("a tool that has changed: %s", got)
				}
				if !stored {
					return
				}
				tools.changed.Store(false)
				p.request(topic, "c", "create_conversation", "")
				time.Sleep(time.Second)
				var created struct {
					Payload struct {
						ID string `json:"conversation_id"`
					}
				}
				frames := p.frames(t)
				if err := json.Unmarshal([]byte(frames[len(frames)-1].text), &created); err != nil {
					t.Fatal(err)
				}
				topic = "conversation:" + created.Payload.ID
				p.request(topic, "s", "subscribe", `"epoch":"","after":0`)
				time.Sleep(time.Second)
				_ = p.frames(t)
				if got := again(`"decision":"deny"`); !strings.HasPrefix(got, "asked ") {
					t.Errorf("another conversation: %s", got)
				}
			})
		})
	}
}

// TestRememberFailed holds that a call that has failed leaves no approval behind.
func TestRememberFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, topic := tooled(t, memory.Open(memory.Config{}), &shop{}, nil).dialStored()
		_, id := p.asks(t, topic, `refund {"order":"fail"}; refund {"order":"A"}`, "")
		decide(p, topic, "d", id, "call_0", `"decision":"approve","remember":"conversation"`)
		time.Sleep(time.Minute)
		if got := told(p.frames(t)); !strings.HasSuffix(got, "[refund failed](refund done)[refund preparing][refund waiting]waiting>") {
			t.Errorf("got %s", got)
		}
	})
}

// clientTool is what a page sends of its tool.
const clientTool = `,"client_tools":[{"name":"cart","description":"Tells what is in the cart.","parameters":{"type":"object","properties":{"n":{"type":"integer"}}}}]`

func clientTools(c *conversation.Config) { c.ClientTools = true }

// TestClientTools holds that the model can call a tool of the page, which waits for its result, and that what comes of it is
// taken for what strangers wrote.
func TestClientTools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tools := &shop{}
		s := tooled(t, memory.Open(memory.Config{}), tools, clientTools)
		p, topic := s.dialStored()
		_ = p.frames(t)
		got, id := p.asks(t, topic, `cart {"n":1}; cart {}; look {"order":"A"}`, clientTool)
		if got != "<[cart preparing][cart waiting]waiting>" {
			t.Fatalf("got %s", got)
		}
		for payload, want := range map[string]string{
			`"call_id":"call_0","decision":"approve"`:                     "value_error",
			`"call_id":"call_0","decision":"approve","arguments":{"n":2}`: "value_error",
		} {
			p.request(topic, "d", "decide_tool_call", fmt.Sprintf(`"message_id":%q,%s`, id, payload))
			time.Sleep(time.Second)
			if frames := p.frames(t); len(frames) != 1 || !strings.Contains(frames[0].text, want) {
				t.Errorf("%s: %v", payload, frames)
			}
		}
		p.request(topic, "i", "submit_tool_input", fmt.Sprintf(`"message_id":%q,"call_id":"call_0","responses":{}`, id))
		time.Sleep(time.Second)
		if frames := p.frames(t); len(frames) != 1 || !strings.Contains(frames[0].text, "value_error") {
			t.Errorf("input for a tool of the page: %v", frames)
		}
		submit := func(ref, result string) []frame {
			p.request(topic, ref, "submit_tool_result", fmt.Sprintf(`"message_id":%q,"call_id":%s`, id, result))
			time.Sleep(time.Minute)
			return p.frames(t)
		}
		frames := submit("r", `"call_0","content":"2 items","structured":{"items":2}`+clientTool)
		if got, want := told(frames), "[cart done](2 items)<[cart preparing][cart waiting]waiting>"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if i := slices.IndexFunc(frames, func(f frame) bool { return f.Ref != "r" }); i >= 0 {
			t.Errorf("a frame without the ref: %s", frames[i].text)
		}
		if got := told(submit("late", `"call_0","content":"3 items"`)); got != "!not_waiting" {
			t.Errorf("a second result: %s", got)
		}
		var second string
		for _, f := range frames {
			var call struct {
				Payload struct {
					CallID string `json:"call_id"`
				}
			}
			if json.Unmarshal([]byte(f.text), &call) == nil && f.Action == "tool_call" {
				second = call.Payload.CallID
			}
		}
		got = told(submit("r", fmt.Sprintf(`%q,"content":"no cart","is_error":true`, second)))
		if want := "[cart failed](no cart)<[look preparing][look waiting]waiting>"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if len(tools.calls()) > 0 {
			t.Errorf("called %q", tools.calls())
		}
	})
}

// TestClientToolsRefused holds what a page cannot bring.
func TestClientToolsRefused(t *testing.T) {
	tool := func(name, rest string) string {
		return fmt.Sprintf(`,"client_tools":[{"name":%q,"description":"x","parameters":{}}%s]`, name, rest)
	}
	for name, test := range map[string]struct {
		tools, want string
		off         bool
	}{
		"off":           {clientTool, "client_tools_off", true},
		"a name":        {tool("a b", ""), "value_error", false},
		"twice":         {tool("a", `,{"name":"a","description":"x","parameters":{}}`), "value_error", false},
		"no schema":     {`,"client_tools":[{"name":"a","description":"x","parameters":1}]`, "dict_type", false},
		"too many":      {tool("a", strings.Repeat(`,{"name":"a","description":"x","parameters":{}}`, 32)), "too_long", false},
		"too much":      {tool("a", fmt.Sprintf(`,{"name":"b","description":"x","parameters":{"x":%q}}`, strings.Repeat("x", 33<<10))), "value_error", false},
		"one of theirs": {tool("look", ""), "[look done]", false}, // the server's is called
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, topic := tooled(t, memory.Open(memory.Config{}), &shop{}, func(c *conversation.Config) { c.ClientTools = !test.off }).dialStored()
				_ = p.frames(t)
				p.request(topic, "q", "send_message", `"content":"look {\"order\":\"A\"}"`+test.tools)
				time.Sleep(time.Minute)
				frames := p.frames(t)
				if got := told(frames); !strings.Contains(got, test.want) && !strings.Contains(frames[0].text, test.want) {
					t.Errorf("got %s %s, want %s", got, frames[0].text, test.want)
				}
			})
		})
	}
}

// TestInput holds that a call that asks a person waits, gets the answers and its own state back, may ask again, and is made
// with answers within the schema only.
func TestInput(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprint("stored ", stored), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tools := &shop{}
				p, topic := tooled(t, memory.Open(memory.Config{}), tools, nil).dialStored()
				if !stored {
					topic = ""
				}
				_ = p.frames(t)
				send(p, topic, "q", `ask {} & refund {"order":"A"}`)
				time.Sleep(time.Minute)
				frames := p.frames(t)
				id := messageOf(frames)
				if got, want := told(frames), "<[ask preparing][refund preparing][ask running][refund waiting][ask waiting]waiting>"; got != want {
					t.Fatalf("got %s, want %s", got, want)
				}
				if text := frames[len(frames)-2].text; !strings.Contains(text, `"waiting_for":"input"`) || !strings.Contains(text, `"message":"Which size?"`) || strings.Contains(text, "once") {
					t.Errorf("the call is shown as %s", text)
				}
				submit := func(responses string) []frame {
					p.request(topic, "i", "submit_tool_input", fmt.Sprintf(`"message_id":%q,"call_id":"call_0","responses":%s`, id, responses))
					time.Sleep(time.Minute)
					return p.frames(t)
				}
				for responses, want := range map[string]string{
					`{}`:                           `["submit_tool_input","payload","responses","size"]`,
					`{"size":{"action":"accept"}}`: `["submit_tool_input","payload","responses","size","content","size"]`,
					`{"size":{"action":"accept","content":1}}`:                                      `"responses","size","content"]`,
					`{"size":{"action":"accept","content":{"size":"L"}},"pay":{"action":"accept"}}`: `"content","size"]`,
					`{"size":{"action":"yes"}}`:                                                     `"action"]`,
					`{"size":1}`:                                                                    `["submit_tool_input","payload","responses"]`,
					`{"size":{"action":"cancel"},"pay":{"action":"cancel"},"more":{"action":"cancel"}}`: `"more"]`,
				} {
					if frames := submit(responses); len(frames) != 1 || frames[0].Action != "error" || !strings.Contains(frames[0].text, want) {
						t.Errorf("%s: %v", responses, frames)
					}
				}
				if got, want := told(submit(`{"size":{"action":"accept","content":{"size":42}},"pay":{"action":"decline"}}`)), "[ask running]"; got != want {
					t.Errorf("answered while another call waits: %s, want %s", got, want)
				}
				decide(p, topic, "d", id, "call_1", `"decision":"approve"`)
				time.Sleep(time.Minute)
				if got := told(p.frames(t)); !strings.HasPrefix(got, "[refund running]<") || !strings.HasSuffix(got, "[ask waiting]waiting>") && !strings.HasSuffix(got, "[refund done](refund done)waiting>") {
					t.Errorf("asked again: %s", got)
				}
				got := told(submit(`{"size":{"action":"accept","content":{"size":43}},"pay":{"action":"cancel"}}`))
				if !strings.HasPrefix(got, "[ask running]<[ask done](twice {") || !strings.Contains(got, `{"size":43}`) || !strings.HasSuffix(got, "stop>") {
					t.Errorf("got %s", got)
				}
				if got := strings.Join(slices.Sorted(slices.Values(tools.calls())), " "); got != `ask{} ask{} ask{} refund{"order":"A"}` {
					t.Errorf("called %q", got)
				}
			})
		})
	}
}

// TestInputOfPlainClients holds that a call that asks for input fails where the client cannot ask.
func TestInputOfPlainClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := tooled(t, memory.Open(memory.Config{}), &shop{}, nil).dial()
		p.in <- `{"action":"assistant_message","payload":"ask {}"}`
		time.Sleep(time.Minute)
		if got := told(p.frames(t)); got != "<told: The tool could not be called.>" {
			t.Errorf("got %s", got)
		}
	})
}

// TestHidden holds that the model gets back what it has hidden, at the step that it was of, also after an answer has waited, and
// that no client sees it and nothing is left of it at the end.
func TestHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		thinker := func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
			last := req.Turns[len(req.Turns)-1]
			var back []string
			for _, h := range last.Hidden {
				back = append(back, fmt.Sprintf("%d:%s:%s", h.Step, h.From.Model, h.Item))
			}
			mu.Lock()
			got = append(got, strings.Join(back, " "))
			n := len(got)
			mu.Unlock()
			if !yield(assistant.Delta{Hidden: &assistant.Hidden{Item: json.RawMessage(fmt.Sprintf(`"secret-%d"`, n))}}) {
				return nil
			}
			return caller(ctx, req, yield)
		}
		store := memory.Open(memory.Config{})
		p, topic := tooled(t, store, &shop{}, func(c *conversation.Config) { c.Provider = model(thinker) }).dialStored()
		_, id := p.asks(t, topic, `refund {"order":"A"}; look {"order":"A"}; look {"order":"B"}`, "")
		decide(p, topic, "d", id, "call_0", `"decision":"approve"`)
		time.Sleep(time.Minute)
		for _, f := range p.frames(t) {
			if strings.Contains(f.text, "secret-") {
				t.Errorf("a client saw %s", f.text)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		source := model(thinker).Source().Model
		want := []string{"", `1:S:"secret-1"`, `1:S:"secret-1" 2:S:"secret-2"`, `1:S:"secret-1" 2:S:"secret-2" 3:S:"secret-3"`}
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], ":S:", ":"+source+":")
		}
		if !slices.Equal(got, want) {
			t.Errorf("got back\n%q, want\n%q", got, want)
		}
		kept, err := store.Private(t.Context(), "ann", strings.TrimPrefix(topic, "conversation:"))
		if err != nil || len(kept.Hidden) > 0 {
			t.Errorf("kept %+v, error %v", kept, err)
		}
	})
}

// TestServiceTools holds that what a model's service does by its own tools is shown and stored, is not made by anybody here, and
// counts as written by strangers; and where its sources are in the whole text.
func TestServiceTools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		searcher := func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
			if last := req.Turns[len(req.Turns)-1]; last.Role == assistant.RoleUser {
				search := assistant.ToolCallPart{CallID: "ws 1", Name: "web_search", Arguments: json.RawMessage(`{}`), State: assistant.CallRunning}
				found := search
				found.State = assistant.CallDone
				_ = yield(assistant.Delta{Parts: &[]assistant.Part{search}}) && yield(assistant.Delta{Parts: &[]assistant.Part{found}}) && yield(assistant.Delta{Text: "Först "})
				return caller(ctx, req, yield)
			}
			_ = yield(assistant.Delta{Text: "then"}) && yield(assistant.Delta{Parts: &[]assistant.Part{assistant.SourcePart{SourceID: "1", URL: "https://example.com", End: 4}}}) && yield(finished)
			return nil
		}
		tools, store := &shop{}, memory.Open(memory.Config{})
		p, topic := tooled(t, store, tools, func(c *conversation.Config) { c.Provider = model(searcher) }).dialStored()
		_ = p.frames(t)
		got, id := p.asks(t, topic, `look {"order":"A"}`, "")
		if want := `<[web_search running][web_search done]Först [look preparing][look waiting]waiting>`; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		decide(p, topic, "d", id, "call_0", `"decision":"approve"`)
		time.Sleep(time.Minute)
		frames := p.frames(t)
		if got := told(frames); got != "[look running]<[look done](look done)thenstop>" || !slices.Equal(tools.calls(), []string{`look{"order":"A"}`}) {
			t.Errorf("got %s, called %q", got, tools.calls())
		}
		i := slices.IndexFunc(frames, func(f frame) bool { return f.Action == "part" })
		if i < 0 || !strings.Contains(frames[i].text, `"part":{"type":"source","source_id":"1","url":"https://example.com","start":6,"end":10}`) {
			t.Errorf("the source is shown as %v", frames)
		}
		messages, _, err := store.Messages(t.Context(), "ann", strings.TrimPrefix(topic, "conversation:"), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		var types []string
		for _, part := range messages[1].Parts {
			types = append(types, part.Type())
		}
		if want := []string{"tool_call", "text", "tool_call", "tool_result", "text", "source"}; !slices.Equal(types, want) {
			t.Errorf("stored %q, want %q", types, want)
		}
	})
}

// TestProgress holds that the progress of a call is shown, four times a second at most and not after its end, and that nothing
// of it is stored with the result.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open(memory.Config{})
		p, topic := tooled(t, store, &shop{}, nil).dialStored()
		_ = p.frames(t)
		send(p, topic, "q", `look {"order":"slow"}`)
		time.Sleep(time.Minute)
		var shown []string
		for _, f := range p.frames(t) {
			if _, progress, ok := strings.Cut(f.text, `"progress":`); ok {
				progress, _, _ = strings.Cut(progress, "}")
				shown = append(shown, progress+"}")
			}
		}
		if want := []string{"{\"done\":0,\"total\":10,\"text\":\"look\ufffding\"}", "{\"done\":3,\"total\":10,\"text\":\"look\ufffding\"}", "{\"done\":6,\"total\":10,\"text\":\"look\ufffding\"}", "{\"done\":9,\"total\":10,\"text\":\"look\ufffding\"}"}; !slices.Equal(shown, want) {
			t.Errorf("shown %q, want %q", shown, want)
		}
		messages, _, err := store.Messages(t.Context(), "ann", strings.TrimPrefix(topic, "conversation:"), "", 10)
		if err != nil || len(messages) != 2 || messages[1].Parts[0].(assistant.ToolCallPart).Progress != nil {
			t.Errorf("stored %+v, error %v", messages, err)
		}
	})
}

// TestDecidedEarly holds that a call that waits can be decided while others of its step are still made, that the first decision
// counts then, too, and that who decides is told where the answer was stopped in the meantime.
func TestDecidedEarly(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(p *pipe, topic string)
		want      string
	}{
		"in time":  {func(*pipe, string) {}, "!not_waiting[look done](look done)waiting>[refund running]<[refund done](refund done)told: look done, refund donestop>"},
		"too late": {func(p *pipe, topic string) { p.request(topic, "s", "stop_streaming", "") }, "!not_waiting[look unknown](It is not known whether this was done.)stopped>!not_waiting"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tools := &shop{took: 10 * time.Second}
				p, topic := tooled(t, memory.Open(memory.Config{}), tools, nil).dialStored()
				_ = p.frames(t)
				send(p, topic, "q", `look {"order":"A"} & refund {"order":"A"}`)
				time.Sleep(time.Second)
				id := messageOf(p.frames(t))
				decide(p, topic, "d", id, "call_1", `"decision":"approve"`)
				time.Sleep(time.Second)
				decide(p, topic, "late", id, "call_1", `"decision":"deny"`)
				time.Sleep(time.Second)
				test.meanwhile(p, topic)
				time.Sleep(time.Minute)
				frames := p.frames(t)
				if got := told(frames); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
				for _, f := range frames {
					if strings.Contains(f.text, `"refund"`) && f.Ref != "d" {
						t.Errorf("a frame of the decision without its ref: %s", f.text)
					}
				}
			})
		})
	}
}
