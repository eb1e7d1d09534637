package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// protected is a page whose socket alone is protected, so that the page is there to say so.
const protected = `
	@ws path /ws/*
	PROTECTION
	assistant /ws/assistants/* {
		provider demo
	}
` + chatPage

const (
	bannerText = `$("#banner span")?.textContent`
	isClosed   = `$("#status")?.dataset.state === "closed"`
	comeBack   = `document.dispatchEvent(new Event("visibilitychange"))` // what a browser does when its reader returns to the tab
)

// expectRefusals lets the browser complain of a refused handshake, and of the request that asks why.
func expectRefusals(page *harness.Page) {
	page.Expect("WebSocket connection to")
	page.Expect("Failed to load resource")
}

// openRefused shows the page of a site whose socket is refused.
func openRefused(t *testing.T, c *harness.Caddy, path string) *harness.Page {
	t.Helper()
	page := harness.Open(t, c, "/style.css") // nothing is there
	expectRefusals(page)
	page.Do(chromedp.Navigate(c.URL(path)))
	return page
}

// TestRefusedPassword: a socket that wants a password is not a lost connection. Nobody is asked for it unasked, and when
// the reader has signed in elsewhere the chat connects.
func TestRefusedPassword(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site(strings.Replace(protected, "PROTECTION", `basic_auth @ws {
		ann $2a$04$Jifdl7mQos.10UBpkVh5Bu1JqZirjbB.5OjGKvlCcxqRLF28CX.Hy
	}`, 1)))
	page := openRefused(t, c, "/assistants/")
	page.WaitFor(isClosed + ` && ` + bannerText + ` === "Sign in to use the assistant." && $("#sign-in").checkVisibility() && $("#reconnect").checkVisibility()`)
	if link := harness.Eval[string](page, `$("#sign-in").href + " " + $("#sign-in").target`); link != c.URL(harness.AssistantPath)+" _blank" {
		t.Errorf("the link is %s", link)
	}
	checkAccessible(t, page, "sign in")
	page.Run(`window.told = []; document.querySelector("assistant-chat").addEventListener("statechange", ({detail}) => told.push([detail.state, detail.refusal].join(" ")))`)
	page.Run(comeBack)
	page.WaitFor(`told.join() === "connecting ,reconnecting ,closed sign_in" && ` + isClosed + ` && $("#sign-in").checkVisibility()`)

	login := page.Tab(c.URL("/style.css"))
	login.Expect("Failed to load resource") // a 426, with a sentence
	login.Do(chromedp.Navigate(strings.Replace(c.URL(harness.AssistantPath), "http://", "http://ann:hiccup@", 1)))
	login.WaitFor(`document.body.textContent.includes("WebSocket address")`)
	page.Run(comeBack)
	page.WaitFor(`$("#status").dataset.state === "connected" && !$("#banner").checkVisibility()`)
	ask(page, "hello")
}

// TestRefusedLogin: neither is one that a login service redirects, also in the reader's language.
func TestRefusedLogin(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site(strings.Replace(protected, "PROTECTION", `@stranger {
		path /ws/*
		not header Cookie *sid=1*
	}
	redir @stranger /login`, 1)))
	page := openRefused(t, c, "/assistants/")
	page.Speak("de")
	page.WaitFor(isClosed + ` && ` + bannerText + fmt.Sprintf(` === %q`, words(t, "de")["refusal.sign_in"]))
	page.Run(`document.cookie = "sid=1; path=/"`)
	page.Click("#reconnect")
	page.WaitFor(`$("#status").dataset.state === "connected" && !$("#banner").checkVisibility()`)
}

// TestRefusedPage: a page that may not connect is told so, and what is not there is not there.
func TestRefusedPage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ site, want string }{
		"origin":     {"assistant /ws/assistants/* {\n origins https://friend.example\n provider demo\n}\n" + chatPage, "The assistant may not be used on this page."},
		"forbidden":  {"respond /ws/* 403\n" + chatPage, "The assistant may not be used on this page."},
		"not there":  {"respond /ws/* 404\n" + chatPage, "There is no assistant at this address."},
		"no route":   {chatPage, "There is no assistant at this address."},
		"other file": {"respond /ws/* \"<p>Hello\"\n" + chatPage, "There is no assistant at this address."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := openRefused(t, harness.Start(t, harness.Site(test.site)), "/assistants/")
			page.WaitFor(isClosed + fmt.Sprintf(` && %s === %q && !$("#sign-in").checkVisibility()`, bannerText, test.want))
		})
	}
}

// TestRefusedForNow: too many visitors, and a server behind that does not work, are worth another try, which comes by
// itself.
func TestRefusedForNow(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n max_connections 1\n provider demo\n}\n"+chatPage))
	first := harness.Dial(t, c)
	page := openRefused(t, c, "/assistants/")
	page.WaitFor(`$("#status")?.dataset.state === "reconnecting" && /^Too many people are using the assistant\. Trying again in \d+ seconds?\.$/.test(` + bannerText + `)`)
	first.Vanish()
	page.WaitFor(`$("#status").dataset.state === "connected" && !$("#banner").checkVisibility()`)

	page = openRefused(t, harness.Start(t, harness.Site("handle /ws/* {\n header Retry-After 600\n respond 503\n}\n"+chatPage)), "/assistants/")
	page.WaitFor(`$("#status")?.dataset.state === "reconnecting" && ` + bannerText + ` === "The assistant is not available right now. Trying again in 10 minutes."`)
}

// TestRefusedElsewhere: a page of another origin cannot read why, but knows a server that answers from one that does not.
func TestRefusedElsewhere(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n max_connections 1\n origins {$FRIEND}\n provider demo\n}\nassistant_chat /assistants/*"), "FRIEND=http://friend.localhost:1")
	page := embedElsewhere(t, c, "ws://"+c.Addr+harness.AssistantPath)
	page.WaitFor(isClosed + fmt.Sprintf(` && %s === "The assistant may not be used on this page, or you have to sign in at %s first." && $("#sign-in").checkVisibility()`, bannerText, c.Addr))

	gone := httptest.NewServer(nil)
	gone.Close()
	page = embedElsewhere(t, c, strings.Replace(gone.URL, "http", "ws", 1))
	page.WaitFor(`$("#status")?.dataset.state === "reconnecting" && /^The assistant cannot be reached\. Trying again in \d+ seconds?\.$/.test(` + bannerText + `)`)
}

// TestRefusedAllowed: a page of another origin that may connect can read why it cannot now.
func TestRefusedAllowed(t *testing.T) {
	t.Parallel()
	var page *harness.Page
	c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n max_connections 1\n origins *\n provider demo\n}\nassistant_chat /assistants/*"))
	first := harness.Dial(t, c)
	page = embedElsewhere(t, c, "ws://"+c.Addr+harness.AssistantPath)
	page.WaitFor(`$("#status")?.dataset.state === "reconnecting" && ` + bannerText + `?.startsWith("Too many people")`)
	first.Vanish()
	page.WaitFor(`$("#status").dataset.state === "connected"`)
}

// embedElsewhere serves a page of another origin with the chat of c's site in it.
func embedElsewhere(t *testing.T, c *harness.Caddy, socket string) *harness.Page {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path == "/page" {
			fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Elsewhere</title><script type="module" src="%s"></script><assistant-chat url="%s"></assistant-chat>`,
				c.URL("/assistants/assistant-chat.js"), socket)
		}
	}))
	t.Cleanup(server.Close)
	page := harness.OpenURL(t, server.URL+"/blank", c.Addr, strings.TrimPrefix(socket, "ws://"))
	expectRefusals(page)
	page.Expect("has been blocked by CORS policy")
	page.Do(chromedp.Navigate(server.URL + "/page"))
	return page
}

// TestLimitShown: a question that is longer than the server allows is told before it is sent, counted as the server counts.
func TestLimitShown(t *testing.T) {
	t.Parallel()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("Fine.")
		call.Finish()
	}), "max_question_length 10")
	page := harness.Open(t, c, "/assistants/")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Type("#input", "seven7!")
	page.WaitFor(`!$("#counter").checkVisibility() && !$("#send").disabled`)
	page.Press("😀😀😀")
	page.WaitFor(`$("#counter").checkVisibility() && $("#counter").innerText.trim() === "10 / 10" && !$("#send").disabled`)
	page.Press("!")
	page.WaitFor(`$("#send").disabled && $("#counter.over").innerText === "This is too long: at most 10 characters are allowed. 11 / 10" && $("#send").title.includes("at most 10")`)
	page.WaitFor(`$("#announcer").textContent.includes("at most 10")`)
	checkAccessible(t, page, "too long")
	page.Press(kb.Enter)
	page.Press(kb.Backspace)
	page.WaitFor(`$("#counter").innerText.trim() === "10 / 10" && $("#input").value === "seven7!😀😀😀"`)
	page.Press(kb.Enter)
	page.WaitFor(answerDone + ` && !$("#counter").checkVisibility() && !$(".problem")`)
}
