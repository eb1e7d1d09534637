// Package screenshot takes the pictures of the README: make screenshots.
package screenshot

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

var out = flag.String("out", "", "folder for the pictures; none: they are only taken")

const site = `
	assistant /ws/assistants/* {
		origins *
		user ann
		provider openai {
			base_url {$UPSTREAM}
			model gpt-4o
		}
	}
	assistant_chat /assistants/*
`

// answers are what the model says, by a word of the question.
var answers = map[string]string{
	"PDF":    "Yes. Open **Invoices**, choose a month and press *Export*.",
	"Berlin": "Sunny, 24 °C.",
	"return": "You can return anything within **30 days**, free of charge:\n\n1. Open [your orders](https://example.com/orders).\n2. Choose the item and print the label.\n3. Hand the parcel in at any shop.\n\nThe refund takes two working days.",
	"longest": "Go's standard library has what you need: `slices.SortFunc` sorts in place, and `cmp.Compare` decides.\n\n```go\n" +
		"// ByLength sorts words, the longest first.\nfunc ByLength(words []string) {\n\tslices.SortFunc(words, func(a, b string) int {\n\t\treturn cmp.Compare(len(b), len(a)) // descending\n\t})\n}\n```\n\n" +
		"| | time | memory |\n|---|---|---|\n| `slices.SortFunc` | O(n log n) | in place |\n| `sort.Slice` | O(n log n) | one closure, reflection |\n\n" +
		"- `len` counts **bytes**; for characters use `utf8.RuneCountInString`.\n- Words of the same length may change places. Use `slices.SortStableFunc` where that matters.\n",
}

func start(t *testing.T) *harness.Caddy {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		for word, answer := range answers {
			if strings.Contains(call.Question(), word) {
				call.Pieces(answer)
			}
		}
		call.Finish()
	})
	return harness.Start(t, harness.Site(site), "UPSTREAM="+upstream.URL, "OPENAI_API_KEY=none")
}

func ask(page *harness.Page, question string) {
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Type("#input", question+kb.Enter)
	page.WaitFor(`$$(".message[data-role=assistant]").at(-1)?.dataset.state === "ended"`)
}

func save(t *testing.T, page *harness.Page, name string) {
	t.Helper()
	picture := page.Screenshot()
	if *out == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*out, name), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPage(t *testing.T) {
	c := start(t)
	page := harness.Open(t, c, "/assistants/")
	page.Look(1200, 800, "light")
	for _, question := range []string{"How is the weather in Berlin?", "Can I export invoices as PDF?"} {
		ask(page, question)
		page.Click("#new")
	}
	page.WaitFor(`$$("#list li").length === 2`)
	ask(page, "How do I sort words in Go, the longest first?")
	page.WaitFor(`$(".hl-keyword")`)
	save(t, page, "chat.png")
	page.Look(1200, 800, "dark")
	save(t, page, "chat-dark.png")
	page.Look(390, 780, "light")
	page.WaitFor(`$("#log").scrollTop > 0`) // follows the end, until the reader goes up
	page.Run(`$("#log").scrollTop = 0`)
	page.WaitFor(`$("#latest").checkVisibility()`)
	save(t, page, "phone.png")
}

// host is somebody's page with the two lines of the README.
const host = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Acme</title>
<link rel="stylesheet" href="/style.css">
<nav><b>Acme Outdoor</b> <a href="/">Shop</a> <a href="/">Stories</a> <a href="/">Help</a></nav>
<h1>Made for the long way home</h1>
<p>Tents, packs and boots that last. Repaired for free, for life.</p>
<section><div></div><div></div><div></div></section>
<script type="module" src="http://CHAT/assistants/assistant-chat.js"></script>
<assistant-chat floating><b slot="heading">Ask Acme</b><p>How can we help?</p></assistant-chat>
`

const hostStyle = `
body { margin: 0 auto; padding: 1.5rem 3rem; max-width: 68rem; color: #14342b; background: #f4f1ea; font: 1.1rem/1.6 Georgia, serif; }
nav { display: flex; gap: 2rem; font-size: 1rem; } nav b { margin-right: auto; } a { color: inherit; text-decoration: none; }
h1 { margin: 4rem 0 .5rem; font-size: 3.2rem; line-height: 1.1; }
section { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1.5rem; margin-top: 3rem; }
section div { height: 18rem; border-radius: 1rem; background: linear-gradient(160deg, #c9d8c5, #7fa08b); }
section div:nth-child(2) { background: linear-gradient(160deg, #e8d3b0, #c08f5a); }
section div:nth-child(3) { background: linear-gradient(160deg, #c6d4e1, #6d8aa5); }
assistant-chat { --assistant-accent: #1d6b4f; color-scheme: light; }
`

func TestEmbedded(t *testing.T) {
	c := start(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte(strings.ReplaceAll(host, "CHAT", c.Addr)))
		case "/style.css":
			w.Header().Set("Content-Type", "text/css")
			_, _ = w.Write([]byte(hostStyle))
		default:
			w.WriteHeader(http.StatusNoContent) // the icon
		}
	}))
	t.Cleanup(server.Close)
	page := harness.OpenURL(t, server.URL+"/", c.Addr)
	page.Look(1200, 800, "light")
	page.Click("#launcher")
	ask(page, "How do I return a pair of boots?")
	save(t, page, "embedded.png")
}
