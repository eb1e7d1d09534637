package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// TestTroubleOfModel: a model that asks for a tool, or says nothing, leaves a sentence and no empty bubble, live and from
// the history.
func TestTroubleOfModel(t *testing.T) {
	t.Parallel()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		if strings.Contains(call.Question(), "tool") {
			call.Event(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":"{}"}}]},"finish_reason":null}]}`)
			call.Event(`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`)
			call.Event("[DONE]")
			return
		}
		call.Finish()
	}), "")
	page := harness.Open(t, c, "/assistants/")
	japanese := words(t, "ja")
	for language, sentences := range map[string][2]string{
		"en": {"The language model asked for a tool, which is not available here.", "The language model sent an answer without text."},
		"ja": {japanese["error.tools_unsupported"], japanese["error.empty_answer"]},
	} {
		page.Speak(language)
		page.WaitFor(`$("#status")?.dataset.state === "connected"`)
		for i, question := range []string{"use a tool", "nothing"} {
			page.Click("#new")
			page.WaitFor(`!$(".turn")`)
			want := fmt.Sprintf(`$$(".problem p").map(({textContent}) => textContent).join("|") === %q && $(".retry").hidden === %t`, sentences[i], i == 0)
			page.Type("#input", question+kb.Enter)
			page.WaitFor(want)
			checkNoAnswer(t, page, fmt.Sprintf("%s %d live", language, i))
			page.Reload()
			page.WaitFor(want)
			checkNoAnswer(t, page, fmt.Sprintf("%s %d from the history", language, i))
		}
	}
}

func checkNoAnswer(t *testing.T, page *harness.Page, where string) {
	t.Helper()
	if n := harness.Eval[int](page, `$$(".message[data-role=assistant]").length`); n != 0 {
		t.Errorf("%s: %d answers are shown", where, n)
	}
}

// TestTroubleRegenerate: also what is asked again says when it may be.
func TestTroubleRegenerate(t *testing.T) {
	t.Parallel()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("Fine.")
		call.Finish()
	}), "rate 1/4s")
	page := harness.Open(t, c, "/assistants/")
	ask(page, "hello")
	page.Click(".regenerate")
	page.WaitFor(`/^Too many questions.*Try again in [1-4] seconds?$/.test($(".notice")?.textContent) && $(".notice .retry").disabled`)
	if opacity := harness.Eval[string](page, `getComputedStyle($(".notice .retry")).opacity`); opacity != "1" {
		t.Errorf("the time is hard to read: opacity %s", opacity)
	}
	page.Run(`window.old = $(".message[data-role=assistant]")`)
	page.WaitFor(`!$(".notice .retry").disabled`)
	page.Click(".notice .retry")
	page.WaitFor(answerDone + ` && !window.old.isConnected && !$(".notice")`)
}

// TestTroubleNotices: a notice is shown once, in the reader's language; that of a restart goes with it.
func TestTroubleNotices(t *testing.T) {
	t.Parallel()
	const id = "00000000-0000-4000-8000-000000000000"
	var joined atomic.Int32 // sockets
	cut := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // the page's question why there was no connection
		}
		defer conn.CloseNow()
		say := func(text string) { _ = conn.Write(r.Context(), websocket.MessageText, []byte(text)) } // a page that is gone fails the test
		for {
			var frame struct{ Action, Topic, Ref string }
			if wsjson.Read(r.Context(), conn, &frame) != nil {
				return
			}
			if frame.Action != "subscribe" || frame.Topic != "conversation:"+id {
				continue
			}
			isFirst := joined.Add(1) == 1
			topic := `"version":1,"topic":"conversation:` + id + `"`
			say(fmt.Sprintf(`{"action":"subscribed","payload":{"epoch":"e","seq":1,"recovered":%t,"streaming":null},%s,"ref":%q}`, !isFirst, topic, frame.Ref))
			if !isFirst {
				continue
			}
			say(`{"action":"snapshot","payload":{"conversation":{"conversation_id":"` + id + `","title":"T","created_at":"2000-01-01T00:00:00Z","updated_at":"2000-01-01T00:00:00Z"},"messages":[],"has_more":false,"streaming":null},` + topic + `,"seq":1}`)
			for i := range 3 {
				for j, notice := range []string{`"context_trimmed"`, `"provider_fallback","model":"small"`, `"superseded"`} {
					say(fmt.Sprintf(`{"action":"notice","payload":{"reason":%s,"detail":"Words of the server's."},%s,"seq":%d}`, notice, topic, 2+3*i+j))
				}
				say(`{"action":"notice","payload":{"reason":"draining","detail":"Words of the server's."},"version":1}`)
			}
			<-cut
			_ = conn.Close(websocket.StatusServiceRestart, "server is stopping")
			return
		}
	}))
	t.Cleanup(server.Close)
	c := harness.Start(t, harness.Site("reverse_proxy /ws/* {$UPSTREAM}\n"+chatPage), "UPSTREAM="+server.URL)
	page := harness.Open(t, c, "/assistants/")
	page.Speak("de")
	page.Run(`location.hash = "` + id + `"`)
	german := words(t, "de")
	kept := []string{german["notice.context_trimmed"], strings.Replace(german["notice.provider_fallback"], "{model}", "small", 1), german["notice.superseded"]}
	said := func(sentences []string) string {
		return fmt.Sprintf(`$$(".notice").map(({textContent}) => textContent).join("|") === %q`, strings.Join(sentences, "|"))
	}
	page.WaitFor(said(append(kept[:3:3], german["notice.draining"])))
	close(cut)
	page.WaitFor(`$("#status").dataset.state === "reconnecting" && ` + bannerText + `.startsWith("Die Verbindung ist unterbrochen")`)
	page.WaitFor(`$("#status").dataset.state === "connected" && !` + bannerText + ` && ` + said(kept))
}
