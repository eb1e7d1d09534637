package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// keptChat is the chat page with conversations that outlive their sockets.
const keptChat = `
	assistant /ws/assistants/* {
		store memory
		SETTINGS
		provider openai {
			base_url {$UPSTREAM}
			max_retries 0
		}
	}
` + chatPage

const chatPage = `
	assistant_chat /assistants/* {
		socket /ws/assistants/
		logs on
	}
`

// startChat runs the chat page in front of upstream. Its readers are anonymous, unless settings say who they are.
func startChat(t *testing.T, upstream *harness.Upstream, settings string) *harness.Caddy {
	t.Helper()
	return harness.Start(t, harness.Site(strings.Replace(keptChat, "SETTINGS", settings, 1)), "UPSTREAM="+upstream.URL)
}

const (
	answerText = `$(".message[data-role=assistant] .text")?.textContent`
	answerDone = `$(".message[data-role=assistant]")?.dataset.state === "ended"`
)

// TestConversationInTwoBrowsers: two browsers on one conversation see the same stream, and the one that
// reloads its page in the middle of an answer ends with exactly the same text.
func TestConversationInTwoBrowsers(t *testing.T) {
	t.Parallel()
	const pieces = 300
	var whole strings.Builder
	for i := range pieces {
		fmt.Fprintf(&whole, "word%d ", i)
	}
	half := make(chan struct{})
	release := sync.OnceFunc(func() { close(half) })
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		for i := range pieces {
			if i == pieces/2 {
				<-half
			}
			call.Pieces(fmt.Sprintf("word%d ", i))
		}
		call.Finish()
	})
	t.Cleanup(release) // or a failure would leave the model waiting
	c := startChat(t, upstream, "")
	a := harness.Open(t, c, "/assistants/")
	a.Type("#input", "Count, please."+kb.Enter)
	a.WaitFor(`location.hash.length > 30 && ` + answerText + `?.includes("word149")`)

	b := harness.Open(t, c, "/assistants/"+harness.Eval[string](a, "location.hash"))
	b.WaitFor(answerText + `?.includes("word149")`)
	if title := harness.Eval[string](b, "document.title"); title != "Count, please." {
		t.Errorf("the second browser's title is %q", title)
	}
	a.Reload()
	a.WaitFor(answerText + `?.includes("word149")`)
	release()

	want := strings.TrimSpace(whole.String())
	for name, page := range map[string]*harness.Page{"that reloaded": a, "beside it": b} {
		page.WaitFor(answerDone)
		if text := strings.TrimSpace(harness.Eval[string](page, answerText)); text != want {
			t.Errorf("the browser %s shows %d characters, want the model's %d:\n%s", name, len(text), len(want), text)
		}
		if n := harness.Eval[int](page, `$$(".message").length`); n != 2 {
			t.Errorf("the browser %s shows %d messages, want 2", name, n)
		}
	}

	// What one browser asks the other sees, too.
	b.Type("#input", "Again."+kb.Enter)
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(`$$(".message[data-role=assistant][data-state=ended]").length === 2`)
	}
	if n := len(upstream.Calls); n != 2 {
		t.Errorf("the model was asked %d times, want 2", n)
	}
}

// TestConversationGone: a URL that names no conversation leads to a new chat, which works.
func TestConversationGone(t *testing.T) {
	t.Parallel()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("Hello.")
		call.Finish()
	}), "")
	page := harness.Open(t, c, "/assistants/#00000000-0000-4000-8000-000000000000")
	page.WaitFor(`$(".notice")?.textContent.includes("no such conversation") && !location.hash`)
	page.Type("#input", "Hello"+kb.Enter)
	page.WaitFor(answerDone + ` && location.hash`)
}

// TestConversationActions: stop, edit, regenerate, and the list that the browser itself keeps.
func TestConversationActions(t *testing.T) {
	t.Parallel()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		if strings.Contains(call.Question(), "endless") {
			call.Pieces("This goes on ")
			call.UntilGone()
			return
		}
		call.Pieces("You asked ", call.Question())
		call.Finish()
	}), "")
	page := harness.Open(t, c, "/assistants/")
	page.Type("#input", "first"+kb.Enter)
	page.WaitFor(answerDone)
	page.Click("#new")
	page.WaitFor(`!location.hash && !$(".message")`)
	page.Type("#input", "endless"+kb.Enter)
	page.WaitFor(answerText + `?.startsWith("This goes")`)
	page.Click("#stop")
	page.WaitFor(answerDone + ` && $("[data-role=assistant] .note").textContent === "Stopped"`)

	page.Click(".edit")
	page.WaitFor(`$("#input").value.includes("endless")`)
	harness.Eval[bool](page, `$("#input").value = "", true`)
	page.Type("#input", "second"+kb.Enter)
	page.WaitFor(answerDone + ` && ` + answerText + `.includes("second")`)
	if n := harness.Eval[int](page, `$$(".message").length`); n != 2 {
		t.Errorf("after the edit there are %d messages, want 2", n)
	}
	harness.Eval[bool](page, `window.old = $("[data-role=assistant]"), true`)
	page.Click(".regenerate")
	page.WaitFor(answerDone + ` && !window.old.isConnected && ` + answerText + `.includes("second")`)

	page.WaitFor(`$$("#list li").length === 2`)
	harness.Eval[bool](page, `$("#list li:nth-child(2) a").click(), true`)
	page.WaitFor(`document.title === "first" && ` + answerText + `?.includes("first")`)
	page.Run(`$("[aria-current] ~ .rename").click(); $("#search").dispatchEvent(new Event("input"))`) // makes the list anew
	page.Type("input.title", "renamed"+kb.Enter)                                                      // what was there is selected
	page.WaitFor(`document.title === "renamed"`)
	page.Run(`$("[aria-current] ~ .delete").click()`)
	page.Click("#confirm .confirm")
	page.WaitFor(`$$("#list li").length === 1 && $(".notice") && !location.hash`)
}

// TestConversationList: somebody who is signed in finds the conversations of another browser.
func TestConversationList(t *testing.T) {
	t.Parallel()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("Hello.")
		call.Finish()
	}), "user ann")
	a := harness.Open(t, c, "/assistants/")
	a.Type("#input", "first"+kb.Enter)
	a.WaitFor(answerDone)

	b := harness.Open(t, c, "/assistants/")
	b.WaitFor(`$("#list a")?.textContent === "first"`)
	harness.Eval[bool](b, `$("#list a").click(), true`)
	b.WaitFor(answerDone + ` && document.title === "first"`)
}

// TestConversationWithTutorial: the page also talks to a server that has the tutorial's actions alone, also
// when the URL names a conversation.
func TestConversationWithTutorial(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer conn.CloseNow()
		for {
			var frame struct{ Action string }
			if wsjson.Read(r.Context(), conn, &frame) != nil {
				return
			}
			answers := []string{`{"action":"error","payload":[{"type":"union_tag_invalid","loc":[],"msg":"unknown"}]}`}
			if frame.Action == "assistant_message" {
				answers = []string{
					`{"action":"streaming_start","payload":{"content":""}}`,
					`{"action":"streaming","payload":{"content":"Hello."}}`,
					`{"action":"complete_streaming","payload":{"content":""}}`,
				}
			}
			for _, text := range answers {
				_ = conn.Write(r.Context(), websocket.MessageText, []byte(text)) // a page that is gone fails the test
			}
		}
	}))
	t.Cleanup(server.Close)
	c := harness.Start(t, harness.Site("reverse_proxy /ws/* {$UPSTREAM}\n"+chatPage), "UPSTREAM="+server.URL)
	page := harness.Open(t, c, "/assistants/#00000000-0000-4000-8000-000000000000")
	page.WaitFor(`$("#chat")?.dataset.kept === "false" && !location.hash`)
	page.Type("#input", "Hello"+kb.Enter)
	page.WaitFor(answerDone + ` && ` + answerText + ` === "Hello."`)
	if notices := harness.Eval[string](page, `$$(".notice").map(e => e.textContent).join()`); notices != "" {
		t.Errorf("the page complains: %s", notices)
	}
}

// TestConversationUnknownPart: what this page does not know is not passed over in silence.
func TestConversationUnknownPart(t *testing.T) {
	t.Parallel()
	const (
		question = `{"message_id":"11111111-1111-4111-8111-111111111111","role":"user","content":"Where?","status":"complete","created_at":"2000-01-01T00:00:00Z"}`
		answer   = `{"message_id":"22222222-2222-4222-8222-222222222222","role":"assistant","content":"There.","parts":[{"type":"text","text":"There."},` +
			`{"type":"hologram","id":"1"},{"type":"hologram","id":"2"}],"status":"complete","created_at":"2000-01-01T00:00:00Z"}`
		id = "00000000-0000-4000-8000-000000000000"
	)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer conn.CloseNow()
		for {
			var frame struct{ Action, Ref string }
			if wsjson.Read(r.Context(), conn, &frame) != nil {
				return
			}
			if frame.Action != "subscribe" {
				continue
			}
			for _, text := range []string{
				`{"action":"subscribed","payload":{"epoch":"e","seq":1,"recovered":false,"streaming":null},"version":1,"topic":"conversation:` + id + `","ref":"` + frame.Ref + `"}`,
				`{"action":"snapshot","payload":{"conversation":{"conversation_id":"` + id + `","title":"Where?","created_at":"2000-01-01T00:00:00Z","updated_at":"2000-01-01T00:00:00Z"},` +
					`"messages":[` + question + `,` + answer + `],"has_more":false,"streaming":null},"version":1,"topic":"conversation:` + id + `","seq":1}`,
			} {
				_ = conn.Write(r.Context(), websocket.MessageText, []byte(text)) // a page that is gone fails the test
			}
		}
	}))
	t.Cleanup(server.Close)
	c := harness.Start(t, harness.Site("reverse_proxy /ws/* {$UPSTREAM}\n"+chatPage), "UPSTREAM="+server.URL)
	page := harness.Open(t, c, "/assistants/#"+id)
	page.Undocumented()
	page.WaitFor(answerText + ` === "There." && $("[data-role=assistant] .notice")?.textContent === "There is something this page cannot show."`)
	if n := harness.Eval[int](page, `$$(".notice").length`); n != 1 {
		t.Errorf("the page says so %d times, want once", n)
	}
}

// TestConversationHostileText: what a model says stays text.
func TestConversationHostileText(t *testing.T) {
	t.Parallel()
	const hostile = `<script>window.harmed = 1</script><img src=x onerror="window.harmed = 2"> <a href="javascript:harmed=3">x</a> [go](javascript:harmed=4) ![i](https://example.com/leak.png) [ok](https://example.com/)`
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		for _, r := range hostile {
			call.Pieces(string(r))
		}
		call.Finish()
	}), "")
	page := harness.Open(t, c, "/assistants/")
	page.Type("#input", `<b onclick="harmed = 5">bold</b>`+kb.Enter)
	page.WaitFor(answerDone)
	if text := harness.Eval[string](page, answerText); !strings.Contains(text, "<script>window.harmed = 1</script><img src=x onerror=") {
		t.Errorf("the answer's markup is not shown as text: %s", text)
	}
	if found := harness.Eval[string](page, `$$("#messages :is(script, img, b, [onclick], [onerror], a[href]:not([href^='https:']))").map(e => e.outerHTML).join()`); found != "" {
		t.Errorf("the messages contain %s", found)
	}
	if links := harness.Eval[string](page, `$$("#messages a[href]").map(a => a.href + " " + a.rel).join()`); links != "https://example.com/leak.png noopener,https://example.com/ noopener" {
		t.Errorf("the answer's links are %s", links)
	}
	if harness.Eval[bool](page, `"harmed" in window`) {
		t.Error("the answer ran code")
	}
}
