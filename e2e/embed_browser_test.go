package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// embedded is what the README tells to write into the Caddyfile for pages of other origins.
const embedded = `
	assistant /ws/assistants/* {
		origins {$HOST}
		provider openai {
			base_url {$UPSTREAM}
		}
	}
	assistant_chat /assistants/*
`

// somebodys is a page with the two lines of the README, and styles that mean no good.
const somebodys = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Somebody's page</title>
<link rel="stylesheet" href="/style.css">
<h1>Somebody's page</h1>
LINES
`

const somebodysStyle = `
* { letter-spacing: 9px; }
body { font: 40px/3 fantasy; color: rgb(255, 0, 0); text-transform: uppercase; }
button, textarea, p, div, nav, article { display: none; background: red; }
`

// readmeLines are the two lines that the README tells to write.
func readmeLines(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(harness.Root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`<script type="module" src="https://chat.example.com/.*\n<assistant-chat floating></assistant-chat>`).FindString(string(readme))
	if lines == "" {
		t.Fatal("the README does not tell how to embed the chat")
	}
	return strings.Replace(lines, "https://chat.example.com", "http://CHAT", 1)
}

// embed serves somebody's page from another origin than the chat's, under the strictest policy that allows it.
func embed(t *testing.T, lines string) (page *harness.Page, address string) {
	t.Helper()
	var chat string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/style.css":
			w.Header().Set("Content-Type", "text/css")
			fmt.Fprint(w, somebodysStyle)
		case "/page":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", strings.ReplaceAll("default-src 'none'; img-src 'self'; style-src 'self'; script-src http://CHAT; "+
				"connect-src ws://CHAT; trusted-types 'none'; require-trusted-types-for 'script'", "CHAT", chat))
			fmt.Fprint(w, strings.ReplaceAll(strings.ReplaceAll(somebodys, "LINES", lines), "CHAT", chat))
		default: // the icon
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(server.Close)
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces(rich)
		call.Finish()
	})
	c := harness.Start(t, harness.Site(embedded), "UPSTREAM="+upstream.URL, "HOST="+server.URL)
	chat = c.Addr
	address = server.URL + "/page#section"
	return harness.OpenURL(t, address, c.Addr), address
}

// checkLeftAlone fails the test if the chat has taken over the page, or the page the chat.
func checkLeftAlone(t *testing.T, page *harness.Page, address string) {
	t.Helper()
	if at := harness.Eval[string](page, `location + " " + document.title`); at != address+" Somebody's page" {
		t.Errorf("the page is now %s", at)
	}
	if style := harness.Eval[string](page, `(({color, letterSpacing, textTransform, display}) => [color, letterSpacing, textTransform, display].join(" "))(getComputedStyle($(".message .text")))`); style != "rgb(29, 27, 38) normal none block" {
		t.Errorf("the page's styles reach the chat: %s", style)
	}
	if size := harness.Eval[string](page, `getComputedStyle($("h1")).letterSpacing`); size != "9px" {
		t.Errorf("the chat's styles reach the page: %s", size)
	}
}

// TestEmbedded: two lines put the chat into a page of another origin, also under a strict policy and Trusted
// Types; it goes on after a reload and leaves URL, title and styles of the page alone.
func TestEmbedded(t *testing.T) {
	page, address := embed(t, strings.Replace(readmeLines(t), " floating", "", 1))
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Type("#input", "hello"+kb.Enter)
	page.WaitFor(answerDone + ` && $(".hl-keyword")`)
	checkLeftAlone(t, page, address)
	if hidden := harness.Eval[bool](page, `!$("#input").checkVisibility() || Boolean($("#view-logs"))`); hidden {
		t.Error("the input is hidden, or the logs are offered")
	}
	page.Reload()
	page.WaitFor(answerDone + ` && $(".message[data-role=user] .text").textContent === "hello"`)
	checkLeftAlone(t, page, address)

	// It may be moved, and be taken away.
	page.Run(`window.chat = $("assistant-chat"); document.body.prepend(window.chat)`)
	page.WaitFor(`$("#status").dataset.state === "connected"`)
	page.Run(`window.chat.remove()`)
	page.WaitFor(`window.chat.shadowRoot.querySelector("#status").dataset.state === "closed"`)
	page.Run(`document.body.append(window.chat)`)
	page.WaitFor(`$("#status").dataset.state === "connected" && ` + answerDone)
}

// TestFloating: a button in the corner opens the chat, which connects only then.
func TestFloating(t *testing.T) {
	page, address := embed(t, readmeLines(t))
	page.WaitFor(`$("#launcher")?.checkVisibility() && !$("#chat")`)
	page.Click("#launcher")
	page.WaitFor(`$("#status")?.dataset.state === "connected" && $("#launcher").ariaExpanded === "true"`)
	page.Press("hello" + kb.Enter) // it has the focus
	page.WaitFor(answerDone)
	checkLeftAlone(t, page, address)
	page.Press(kb.Escape)
	page.WaitFor(`!$("#chat").checkVisibility() && $("assistant-chat").shadowRoot.activeElement.id === "launcher"`)
	page.Press(kb.Enter)
	page.WaitFor(`$("#chat").checkVisibility()`)
	page.Reload() // it was open
	page.WaitFor(`$("#chat")?.checkVisibility() && ` + answerDone)
	page.Click("#menu")
	page.WaitFor(`$("#conversations").checkVisibility()`)
	page.Press(kb.Escape)
	page.WaitFor(`!$("#conversations").checkVisibility() && $("#chat").checkVisibility()`)
	page.Click("#close")
	page.WaitFor(`!$("#chat").checkVisibility()`)
}
