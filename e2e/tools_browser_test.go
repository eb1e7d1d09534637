package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

const (
	toolTopic  = `"version":1,"topic":"conversation:00000000-0000-4000-8000-000000000000"`
	toolPage   = "/assistants/#00000000-0000-4000-8000-000000000000"
	toolAnswer = `"message_id":"11111111-1111-4111-8111-111111111111"`
	toolWrites = `"type":"tool_call","call_id":"c1","name":"shop__refund","title":"Refund an order","where":"server"`
	toolReads  = `"type":"tool_call","call_id":"c2","name":"look","where":"server"`
	// With what must not be taken for markup, and what would turn the text around it.
	toolArguments = `"arguments":{"order":"<img src=x onerror=alert(1)>","to":"ann\u202Emoc.live@\u200B","amount":12,"note":"12"}`
	toolWaits     = `"state":"waiting","waiting_for":"approval"`
	toolQuestion  = `{"message_id":"22222222-2222-4222-8222-222222222222","role":"user","content":"Refund it.","status":"complete","created_at":"2000-01-01T00:00:00Z"}`
)

// toolScript is a server of one conversation, which any number of tabs follow. The test says what happens.
type toolScript struct {
	t     *testing.T
	heard chan toolFrame // what the tabs ask, but to follow the conversation
	joins chan struct{}  // one value for each tab that follows it

	mu       sync.Mutex
	seq      int
	messages string // of the snapshot
	tabs     []*websocket.Conn
}

// toolFrame is a request, and how to answer it.
type toolFrame struct {
	Action, Topic, Ref string
	Payload            struct {
		MessageID string `json:"message_id"`
		CallID    string `json:"call_id"`
		Decision  string
		Reason    string
		Arguments map[string]any
	}
	conn *websocket.Conn
}

// startToolScript runs the chat page in front of a script.
func startToolScript(t *testing.T) (*toolScript, *harness.Caddy) {
	s := &toolScript{t: t, seq: 1, heard: make(chan toolFrame, 16), joins: make(chan struct{}, 16)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, harness.Start(t, harness.Site("reverse_proxy /ws/* {$UPSTREAM}\n"+chatPage), "UPSTREAM="+server.URL)
}

func (s *toolScript) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" { // the page asks what it may do
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"limits":{}}`)
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // the page's question why there was no connection
	}
	defer conn.CloseNow()
	for {
		frame := toolFrame{conn: conn}
		if wsjson.Read(r.Context(), conn, &frame) != nil {
			return
		}
		switch {
		case !strings.Contains(toolTopic, `"`+frame.Topic+`"`):
		case frame.Action == "subscribe":
			s.follow(frame)
		default:
			s.heard <- frame
		}
	}
}

// hears returns the next request.
func (s *toolScript) hears() toolFrame {
	s.t.Helper()
	select {
	case frame := <-s.heard:
		return frame
	case <-time.After(harness.Patience):
		s.t.Fatal("the page asks nothing")
		panic("not reached")
	}
}

func (s *toolScript) follow(frame toolFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(frame.conn, fmt.Sprintf(`{"action":"subscribed","payload":{"epoch":"e","seq":%d,"recovered":false,"streaming":null},%s,"ref":%q}`, s.seq, toolTopic, frame.Ref))
	s.write(frame.conn, fmt.Sprintf(`{"action":"snapshot","payload":{"conversation":{"conversation_id":"00000000-0000-4000-8000-000000000000","title":"T","created_at":"2000-01-01T00:00:00Z","updated_at":"2000-01-01T00:00:00Z"},"messages":[%s],"has_more":false,"streaming":null},%s,"seq":%d}`,
		s.messages, toolTopic, s.seq))
	s.tabs = append(s.tabs, frame.conn)
	s.joins <- struct{}{}
}

func (s *toolScript) write(conn *websocket.Conn, text string) {
	_ = conn.Write(s.t.Context(), websocket.MessageText, []byte(text)) // a tab that is gone fails the test
}

// happens tells all tabs of an event.
func (s *toolScript) happens(action, payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	for _, conn := range s.tabs {
		s.write(conn, fmt.Sprintf(`{"action":%q,"payload":{%s},%s,"seq":%d}`, action, payload, toolTopic, s.seq))
	}
}

// refuse answers a request with an error.
func (s *toolScript) refuse(frame toolFrame, payload string) {
	s.write(frame.conn, fmt.Sprintf(`{"action":"error","payload":%s,%s,"ref":%q}`, payload, toolTopic, frame.Ref))
}

// stored makes the answer a part of what tabs get that come later.
func (s *toolScript) stored(status, finish, parts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = fmt.Sprintf(`%s,{%s,"role":"assistant","content":"Let me see.","parts":[{"type":"text","text":"Let me see."},%s],"status":%q,"finish_reason":%q,"model":"m","created_at":"2000-01-01T00:00:00Z"}`,
		toolQuestion, toolAnswer, parts, status, finish)
}

// waits plays an answer that waits for two decisions.
func (s *toolScript) waits() {
	s.happens("user_message", strings.Trim(toolQuestion, "{}"))
	s.happens("streaming_start", toolAnswer+`,"content":"","model":"m"`)
	s.happens("streaming", `"content":"Let me see."`)
	s.happens("tool_call", toolAnswer+`,`+toolWrites+`,"state":"preparing"`)
	s.happens("tool_call_args", toolAnswer+`,"call_id":"c1","content":"{\"order\":"`)
	s.happens("tool_call", toolAnswer+`,`+toolWrites+`,`+toolWaits+`,`+toolArguments+`,"approval":{"editable":true,"may_remember":true,"expires_at":"2100-01-01T00:00:00Z"}`)
	s.happens("tool_call", toolAnswer+`,`+toolReads+`,`+toolWaits+`,"arguments":{},"approval":{"editable":true,"may_remember":true,"expires_at":"2100-01-01T00:00:00Z"}`)
	s.happens("complete_streaming", toolAnswer+`,"content":"","finish_reason":"waiting"`)
	s.stored("waiting", "waiting", `{`+toolWrites+`,`+toolWaits+`,`+toolArguments+`},{`+toolReads+`,`+toolWaits+`,"arguments":{}}`)
}

// toolStates are the states of the calls that a page shows.
const toolStates = `$$(".call").map(({dataset}) => dataset.call).join()`

// TestToolDecisions: calls are cards at their place in the answer, with all of their arguments; each tab can decide, and all
// see what was decided; then the answer goes on.
func TestToolDecisions(t *testing.T) {
	t.Parallel()
	s, c := startToolScript(t)
	a := harness.Open(t, c, toolPage)
	<-s.joins
	s.waits()
	a.WaitFor(toolStates + ` === "waiting,waiting" && $("[data-role=assistant] .note").textContent === "Waiting for a decision"`)
	b := a.Tab(c.URL(toolPage))
	b.WaitFor(toolStates + ` === "waiting,waiting"`)
	for name, page := range map[string]*harness.Page{"live": a, "from the history": b} {
		if got := harness.Eval[string](page, `[...$(".message[data-role=assistant]").children].map(({className}) => className.split(" ")[0]).join()`); got != "unseen,text,call,call,text,meta" {
			t.Errorf("%s: the answer consists of %s", name, got)
		}
		got := harness.Eval[string](page, `[...$(".call").querySelectorAll("tr")].map((row) => [...row.children].map(({textContent}) => textContent).join("=")).join("|")`)
		if want := `order=<img src=x onerror=alert(1)>|to=annU+202Emoc.live@U+200B|amount=12|note="12"`; got != want {
			t.Errorf("%s: the arguments are shown as %s, want %s", name, got, want)
		}
		if n := harness.Eval[int](page, `$$("#messages img").length`); n != 0 {
			t.Errorf("%s: arguments became markup", name)
		}
		if got, want := harness.Eval[string](page, `$$("[role=group]").map(({ariaLabel}) => ariaLabel).join("|")`), "Refund an order: Waiting for approval|look: Waiting for approval"; got != want {
			t.Errorf("%s: the cards are named %q, want %q", name, got, want)
		}
		page.WaitFor(`$("#announcer").textContent.endsWith("waits for your approval.")`)
	}
	if got := harness.Eval[string](a, `$(".expiry").textContent`); !strings.Contains(got, "2100") && !strings.Contains(got, "2099") {
		t.Errorf("the expiry is %q", got)
	}

	checkAccessible(t, a, "calls that wait")

	// Changed by the keyboard, not valid at first, nor within the schema.
	a.Run(`$(".change").focus()`)
	a.Press(kb.Enter)
	a.WaitFor(`$("textarea:not(#input)")?.matches(":focus") && $("textarea:not(#input)").value.includes("ann\\u202emoc.live@\\u200b")`)
	a.Run(`$("textarea:not(#input)").value = "[1]"`)
	a.Click(".call form .approve")
	a.WaitFor(`$(".fault").textContent === "This is not a JSON object." && $("textarea:not(#input)").ariaInvalid === "true" && $("textarea:not(#input)").matches(":focus")`)
	a.Run(`$("textarea:not(#input)").value = '{"amount": "all"}'`)
	a.Click(".call form .approve")
	first := s.hears()
	if p := first.Payload; first.Action != "decide_tool_call" || p.CallID != "c1" || !strings.Contains(toolAnswer, p.MessageID) || p.Decision != "approve" || p.Arguments["amount"] != "all" {
		t.Errorf("heard %+v", first)
	}
	s.refuse(first, `[{"type":"json_schema","loc":["decide_tool_call","payload","arguments","amount"],"msg":"got string, want number"}]`)
	a.WaitFor(`$(".fault").textContent === "Not accepted: amount: got string, want number" && !$(".notice")`)
	checkAccessible(t, a, "a call that is changed")
	a.Press(kb.Escape)
	a.WaitFor(`!$(".call form") && $(".change").matches(":focus")`)

	// The other tab decides while this one is at it.
	a.Click(".change")
	b.Click(".approve")
	if got := s.hears(); got.Payload.Decision != "approve" || got.Payload.Arguments != nil {
		t.Errorf("heard %+v", got)
	}
	s.happens("tool_call", toolAnswer+`,`+toolWrites+`,"state":"running",`+toolArguments)
	a.WaitFor(toolStates + ` === "running,waiting" && !$(".call form") && $(".call").matches(":focus") && $("#announcer").textContent === "Refund an order: Running…"`)
	b.WaitFor(`$$(".decision").length === 1`)

	// Denied, with a reason.
	b.Click(".deny")
	b.WaitFor(`$(".call form input")?.matches(":focus")`)
	b.Press("Not now." + kb.Enter)
	if got := s.hears(); got.Payload.CallID != "c2" || got.Payload.Decision != "deny" || got.Payload.Reason != "Not now." {
		t.Errorf("heard %+v", got)
	}
	s.happens("tool_call", toolAnswer+`,`+toolReads+`,"state":"denied","arguments":{}`)
	s.happens("tool_result", toolAnswer+`,"call_id":"c2","content":"The user has denied this. Reason: Not now.","is_error":true`)
	s.happens("streaming_start", toolAnswer+`,"content":"","model":"m","resumed":true`)
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(`$(".message[data-role=assistant]").dataset.state === "streaming" && $("[data-role=assistant] .note").textContent === ""`)
	}
	s.happens("tool_call", toolAnswer+`,`+toolWrites+`,"state":"done",`+toolArguments)
	s.happens("tool_result", toolAnswer+`,"call_id":"c1","content":"<b>refunded</b>","is_error":false,"duration_ms":300`)
	s.happens("streaming", `"content":"It is **refunded**."`)
	s.happens("complete_streaming", toolAnswer+`,"content":"","finish_reason":"stop"`)
	for name, page := range map[string]*harness.Page{"live": a, "from the history": b} {
		page.WaitFor(toolStates + ` === "done,denied" && $$(".text").at(-1).textContent === "It is refunded." && ` + answerDone)
		if got := harness.Eval[string](page, `$$(".call details").map(({open, textContent}) => open + textContent).join("|")`); got != "falseResult · 0.3 sec<b>refunded</b>|falseResultThe user has denied this. Reason: Not now." {
			t.Errorf("%s: the results are %q", name, got)
		}
		if n := harness.Eval[int](page, `$$(".decision, .continue").length`); n != 0 {
			t.Errorf("%s: %d are left to decide", name, n)
		}
	}
	for _, scheme := range []string{"light", "dark"} {
		a.Look(320, 640, scheme)
		a.WaitFor(`innerWidth === 320`)
		if wide := harness.Eval[int](a, `$("#log").scrollWidth - $("#log").clientWidth`); wide > 0 {
			t.Errorf("%s: the cards are %d px too wide for a phone", scheme, wide)
		}
		checkAccessible(t, a, "calls that have ended, "+scheme)
	}
	const results = `$$(".call details pre").filter((result) => result.checkVisibility()).length`
	if n := harness.Eval[int](a, results); n != 0 {
		t.Errorf("%d results are not folded", n)
	}
	a.OnPaper()
	a.WaitFor(results + ` === 2`)
}

// TestToolContinue: an answer that was cut among its calls goes on when the reader says so; one that waits ends when another
// question takes its place.
func TestToolContinue(t *testing.T) {
	t.Parallel()
	s, c := startToolScript(t)
	s.stored("interrupted", "interrupted", `{`+toolWrites+`,"state":"unknown",`+toolArguments+`},{"type":"tool_result","call_id":"c1","content":"It is not known whether this was done.","is_error":true}`)
	page := harness.Open(t, c, toolPage)
	page.WaitFor(toolStates + ` === "unknown" && $("[data-role=assistant] .note").textContent === "Interrupted"`)
	page.Click(".continue")
	request := s.hears()
	if request.Action != "continue_answer" || !strings.Contains(toolAnswer, request.Payload.MessageID) {
		t.Errorf("heard %+v", request)
	}
	s.refuse(request, `{"detail":"Busy.","reason":"busy","retryable":true}`)
	page.WaitFor(`$(".fault").textContent === "Busy."`)
	page.Click(".continue")
	s.hears()
	s.happens("streaming_start", toolAnswer+`,"content":"","model":"m","resumed":true`)
	page.WaitFor(`!$(".continue") && $(".call").matches(":focus")`)
	s.happens("tool_call", toolAnswer+`,`+toolReads+`,`+toolWaits+`,"arguments":{},"approval":{"editable":false,"may_remember":false,"expires_at":"2100-01-01T00:00:00Z"}`)
	s.happens("complete_streaming", toolAnswer+`,"content":"","finish_reason":"waiting","usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3,"estimated":false}`)
	page.WaitFor(toolStates + ` === "unknown,waiting" && $(".approve") && !$(".change") && $$(".usage").length === 1`)
	s.happens("tool_call", toolAnswer+`,`+toolReads+`,"state":"denied","arguments":{}`)
	s.happens("tool_result", toolAnswer+`,"call_id":"c2","content":"superseded","is_error":true`)
	s.happens("complete_streaming", toolAnswer+`,"content":"","finish_reason":"stopped","usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3,"estimated":false}`)
	page.WaitFor(toolStates + ` === "unknown,denied" && $("[data-role=assistant] .note").textContent === "Stopped" && !$(".decision") && $(".continue")?.checkVisibility() && $$(".usage").length === 1`)
	s.happens("user_message", `"message_id":"33333333-3333-4333-8333-333333333333","content":"Next.","created_at":"2000-01-01T00:00:00Z"`)
	page.WaitFor(`$$(".turn").length === 2 && !$(".continue").checkVisibility()`)
}

// kill kills the server, and returns when it serves again and the pages are back.
func kill(t *testing.T, c *harness.Caddy, pages ...*harness.Page) {
	for _, page := range pages {
		page.Expect("WebSocket connection") // to the server that is gone
		page.Run(`$("assistant-chat").addEventListener("statechange", ({detail}) => detail.state === "reconnecting" && (window.isLost = true))`)
	}
	c.Kill(t)
	for _, page := range pages {
		page.WaitFor(`window.isLost`)
		page.Run(`window.dispatchEvent(new Event("online"))`) // or it would wait
		page.WaitFor(`$("#status").dataset.state === "connected"`)
	}
}

// TestToolApproval: with a server as it is, a call is approved with other arguments in one tab while another shows it, over a
// reload; denied after the server was killed; and made without asking where nobody has to approve it.
func TestToolApproval(t *testing.T) {
	t.Parallel()
	c, l := startTooled(t, &caller{}, chatPage)
	a := harness.Open(t, c, "/assistants/")
	a.Type("#input", "pay"+kb.Enter)
	a.WaitFor(toolStates + ` === "waiting" && $(".expiry").textContent.startsWith("Decide by ") && $("td").textContent === "1" && location.hash.length > 30`)
	a.Reload()
	a.WaitFor(toolStates + ` === "waiting"`)
	b := a.Tab(c.URL("/assistants/" + harness.Eval[string](a, "location.hash")))
	b.WaitFor(toolStates + ` === "waiting"`)
	b.Click(".change")
	b.Run(`$("textarea:not(#input)").value = '{"n": "two"}'`)
	b.Click(".call form .approve")
	b.WaitFor(`$(".fault").textContent.startsWith("Not accepted: n: ")`)
	b.Run(`$("textarea:not(#input)").value = '{"n": 2}'`)
	b.Click(".call form .approve")
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(toolStates + ` === "done" && ` + answerDone + ` && $("td").textContent === "2" && $$(".text").at(-1).textContent.startsWith("told: ") && !$(".decision")`)
	}
	if calls := l.take(); len(calls) != 1 || !strings.HasPrefix(calls[0], "/pay ") {
		t.Errorf("called %q", calls)
	}

	b.Type("#input", "pay"+kb.Enter)
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(toolStates + ` === "done,waiting"`)
	}
	kill(t, c, a, b)
	a.Click(".deny")
	a.WaitFor(`$(".call form input")?.matches(":focus")`)
	a.Press("Too much." + kb.Enter)
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(toolStates + ` === "done,denied" && $$(".text").at(-1).textContent.includes("Too much.") && $$(".message").at(-1).dataset.state === "ended"`)
	}
	b.Type("#input", "look"+kb.Enter)
	a.WaitFor(toolStates + ` === "done,denied,done" && $$(".text").at(-1).textContent.startsWith("told: ")`)
	if calls := l.take(); len(calls) != 1 || !strings.HasPrefix(calls[0], "/look/1 ") {
		t.Errorf("called %q", calls)
	}
}

// TestSources: where passages come from is a list below the answer, live and from the history, with links to the web alone.
func TestSources(t *testing.T) {
	t.Parallel()
	s, c := startToolScript(t)
	a := harness.Open(t, c, toolPage)
	<-s.joins
	const web = `{"type":"source","source_id":"1","url":"https://www.python.org/","title":"Python","start":0,"end":6}`
	const odd = `{"type":"source","source_id":"2","url":"javascript:alert(1)","title":"<img src=x>\u202E"}`
	s.happens("user_message", strings.Trim(toolQuestion, "{}"))
	s.happens("streaming_start", toolAnswer+`,"content":"","model":"m"`)
	s.happens("streaming", `"content":"Let me see."`)
	for _, part := range []string{web, odd, web} {
		s.happens("part", toolAnswer+`,"part":`+part)
	}
	s.happens("complete_streaming", toolAnswer+`,"content":"","finish_reason":"stop"`)
	s.stored("complete", "stop", web+","+odd)
	b := a.Tab(c.URL(toolPage))
	for name, page := range map[string]*harness.Page{"live": a, "from the history": b} {
		page.WaitFor(`$$(".sources li").length === 2`)
		got := harness.Eval[string](page, `$$(".sources li").map((li) => li.textContent + "|" + [...li.querySelectorAll("a")].map(({href, rel}) => href + " " + rel)).join(", ")`)
		if want := "Python www.python.org|https://www.python.org/ noopener noreferrer nofollow, <img src=x>U+202E|"; got != want {
			t.Errorf("%s: the sources are %s, want %s", name, got, want)
		}
	}
	checkAccessible(t, a, "sources")
}
