package e2e

import (
	"fmt"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// twoPages is a site with two assistants, each with a page of its own.
const twoPages = `
	assistant /ws/support/* {
		name support
		provider openai {
			base_url {$UPSTREAM}
			model support
		}
	}
	assistant /ws/internal/* {
		name internal
		provider openai {
			base_url {$UPSTREAM}
			model internal
		}
	}
	assistant_chat /help/* {
		socket     /ws/support/
		title      "Ask <b>Acme</b>"
		heading    "Acme & Co."
		logo       /internal/icon.svg
		language   de
		greeting   "What can we do?"
		suggest    "How <i>long</i> does it take?"
		suggest    "Where is it?"
		disclaimer "Answers can be wrong."
		privacy    /privacy?a=b&c
	}
	assistant_chat /internal/* {
		socket /ws/internal/
		title  Internal
		logs   on
	}
`

// TestTwoPages: two assistants on one site have two pages, and each shows what its directive says.
func TestTwoPages(t *testing.T) {
	t.Parallel()
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces(fmt.Sprintf("%s: %s", call.Model, call.Question()))
		call.Finish()
	})
	c := harness.Start(t, harness.Site(twoPages), "UPSTREAM="+upstream.URL)

	page := harness.Open(t, c, "/help/")
	page.WaitFor(`$("#status")?.dataset.state === "connected" && $("#mark img")?.naturalWidth > 0`)
	checkAccessible(t, page, "welcome")
	for expression, want := range map[string]string{
		`document.title`:                                      "Ask <b>Acme</b>",
		`document.documentElement.lang`:                       "de",
		`$("h1").textContent`:                                 "Acme & Co.",
		`$("#welcome p").innerText`:                           "What can we do?",
		`$$(".suggestion").map((e) => e.innerText).join("|")`: "How <i>long</i> does it take?|Where is it?",
		`$("#disclaimer").innerText`:                          "Answers can be wrong. Datenschutz",
		`new URL($("#privacy").href).pathname + new URL($("#privacy").href).search`: "/privacy?a=b&c",
		`String($$("#view-logs, #logs").length)`:                                    "0",
	} {
		if got := harness.Eval[string](page, expression); got != want {
			t.Errorf("%s is %q, want %q", expression, got, want)
		}
	}
	page.Click(".suggestion")
	page.WaitFor(answerDone + ` && ` + answerText + ` === "support: How <i>long</i> does it take?"`)
	if left := harness.Eval[bool](page, `$(".suggestion").checkVisibility() || $("#input").value !== "" || !$("#input").matches(":focus")`); left {
		t.Error("the suggestions are still there, or the input has not the focus or is not empty")
	}
	page.Click("#new")
	page.WaitFor(`document.title === "Ask <b>Acme</b>" && $(".suggestion").checkVisibility()`)

	page = harness.Open(t, c, "/internal/")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Type("#input", "hello"+kb.Enter)
	page.WaitFor(answerDone + ` && ` + answerText + ` === "internal: hello"`)
	page.WaitFor(`$("#view-logs")`)
	if bare := harness.Eval[bool](page, `$("#view-logs").checkVisibility() && $("h1").textContent === "Internal" && !$("#disclaimer") && !$(".suggestion")`); !bare {
		t.Error("the second page shows what the first has, or not its own")
	}
}

// TestSuggestionOffline: a suggested question that cannot be sent waits, also through a reload.
func TestSuggestionOffline(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site("assistant_chat /assistants/* {\n socket /ws/nothing/\n suggest \"Where is it?\"\n}\nrespond 503\n"))
	page := harness.Open(t, c, "/assistants/")
	page.Expect("/ws/nothing/")
	page.WaitFor(`$("#banner")?.checkVisibility()`) // which moves what is below it
	page.Click(".suggestion")
	const waits = `$("[data-pending] [data-role=user][data-state=queued] .text")?.textContent === "Where is it?"`
	page.WaitFor(waits)
	page.Reload()
	page.WaitFor(waits)
}
