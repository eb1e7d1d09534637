package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// rich has everything that an answer may consist of.
const rich = "# Title\n\nSome **bold**, *slanted*, ~~struck~~ and `code`, a [link](https://example.com/).\n\n" +
	"```go\nfunc main() {\n\tfmt.Println(\"a very long line that does not fit into the width of a phone, whatever its size may be\")\n}\n```\n\n" +
	"| a | b |\n|---|---|\n| 1 | 2 |\n\n1. one\n2. two\n   - deeper\n\n> quoted\n\n- [x] done\n\n---\n\nThe end.\n\n" +
	"A formula, $x^2$, and a note[^1].\n\n$$\n\\sum_{i=1}^n i\n$$\n\n[^1]: The note.\n"

// answerWith runs the chat page in front of a model that always says the same.
func answerWith(t *testing.T, pieces ...string) *harness.Caddy {
	t.Helper()
	return startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces(pieces...)
		call.Finish()
	}), "")
}

// ask asks and waits for the end of the answer.
func ask(page *harness.Page, question string) {
	before := harness.Eval[int](page, `$$(".message[data-role=assistant][data-state=ended]").length`)
	page.Type("#input", question+kb.Enter)
	page.WaitFor(fmt.Sprintf(`$$(".message[data-role=assistant][data-state=ended]").length > %d`, before))
}

// TestPageCode: a block of code has its language, a button that copies it, and colours, which are loaded
// when the first block closes.
func TestPageCode(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	closing := sync.OnceFunc(func() { close(open) })
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("```go\nfunc main() {}\n")
		<-open
		call.Pieces("```\n\nDone.")
		call.Finish()
	})
	t.Cleanup(closing)
	page := harness.Open(t, startChat(t, upstream, ""), "/assistants/")
	const loaded = `performance.getEntriesByType("resource").some(({name}) => name.endsWith("highlight.js"))`
	page.Type("#input", "code"+kb.Enter)
	page.WaitFor(`$(".code[data-language=go]")?.textContent.includes("main")`)
	if harness.Eval[bool](page, loaded) {
		t.Error("colours are loaded before the block is whole")
	}
	closing()
	page.WaitFor(`$(".code .hl-keyword")?.textContent === "func" && ` + loaded)
	if text := harness.Eval[string](page, `$(".code code").textContent`); text != "func main() {}" {
		t.Errorf("the coloured code is %q", text)
	}
	page.Run(`navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve() }`)
	page.Click(".code .copy")
	page.WaitFor(`window.copied === "func main() {}" && $("#announcer").textContent === "Copied"`)
	page.WaitFor(answerDone)
	page.Run(`$("[data-role=assistant] .meta .copy").click()`)
	page.WaitFor("window.copied === \"```go\\nfunc main() {}\\n```\\n\\nDone.\"")
}

// TestPageHostileSize: text of any shape and size is shown, and the page stays usable.
func TestPageHostileSize(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("> - ", 400) + "deep\n\n" + strings.Repeat("**a *b ~~c `", 200)
	for name, text := range map[string]string{
		"a megabyte in one piece": strings.Repeat("word ", 200_000),
		"one long word":           strings.Repeat("x", 300_000),
		"right to left":           "שלום **עולם**\n\n- مرحبا\n\n```\ncode\n```\n",
		"emoji":                   strings.Repeat("👩‍👩‍👧‍👦🇩🇪 ", 2000),
		"broken Markdown":         "```\n**[a](b\n| x |\n|--\n\n![](<>)\n<div\n$$x\n[ok](https://example.com/\n`",
		"nested too deep":         deep,
		"a block of 100 kB":       "```js\n" + strings.Repeat("let a = `${b}`; // c\n", 5000) + "```\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := harness.Open(t, answerWith(t, text), "/assistants/")
			page.Type("#input", "go"+kb.Enter)
			page.WaitFor(answerDone)
			shown := harness.Eval[int](page, `$(".message[data-role=assistant] .text").textContent.length`)
			if len([]rune(text)) > 100_000 && shown < 90_000 || shown == 0 {
				t.Errorf("%d characters are shown", shown)
			}
			if name == "emoji" {
				if broken := harness.Eval[bool](page, `!$(".message[data-role=assistant] .text").textContent.isWellFormed()`); broken {
					t.Error("a character was cut in two")
				}
			}
			if name == "right to left" {
				if direction := harness.Eval[string](page, `getComputedStyle($(".text p")).direction`); direction != "rtl" {
					t.Errorf("the direction is %s", direction)
				}
			}
			if wide := harness.Eval[bool](page, `document.documentElement.scrollWidth > innerWidth || $("#log").scrollWidth > $("#log").clientWidth`); wide {
				t.Error("the page is wider than its window")
			}
			page.Type("#input", "still there")
			page.WaitFor(`$("#input").value === "still there"`)
		})
	}
}

// TestPageCut: a connection that breaks in the middle of an answer is told, comes back by a button, and loses
// neither a word nor what was typed.
func TestPageCut(t *testing.T) {
	t.Parallel()
	half := make(chan struct{})
	release := sync.OnceFunc(func() { close(half) })
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("one ", "two ")
		<-half
		call.Pieces("three ", "four")
		call.Finish()
	})
	t.Cleanup(release)
	c := startChat(t, upstream, "")
	relay := harness.NewRelay(t, c)
	page := harness.OpenURL(t, "http://"+relay.Addr+"/assistants/")
	page.Expect("WebSocket connection to")
	page.Expect("Failed to load resource: net::ERR") // it asks by HTTP, too
	page.Type("#input", "count"+kb.Enter)
	page.WaitFor(answerText + `?.startsWith("one two")`)
	page.Type("#input", "my draft")
	relay.Cut()
	page.WaitFor(`$("#banner").checkVisibility() && $("#banner").textContent.includes("lost") && $("#status").dataset.state === "reconnecting"`)
	page.SetOnline(false)
	page.WaitFor(`$("#status").dataset.state === "offline" && $("#banner").textContent.includes("offline")`)
	release()
	relay.Mend()
	page.SetOnline(true) // tries at once
	page.WaitFor(`$("#status").dataset.state === "connected" && !$("#banner").checkVisibility()`)
	page.WaitFor(answerDone + ` && ` + answerText + ` === "one two three four"`)

	relay.Cut()
	page.WaitFor(`$("#reconnect").checkVisibility()`)
	relay.Mend()
	page.Click("#reconnect")
	page.WaitFor(`$("#status").dataset.state === "connected"`)
	page.Reload()
	page.WaitFor(`$("#input")?.value === "my draft" && ` + answerText + ` === "one two three four"`)
	if n := len(upstream.Calls); n != 1 {
		t.Errorf("the model was asked %d times, want once", n)
	}
}

// TestPageErrors: what went wrong says what to do, and trying again works.
func TestPageErrors(t *testing.T) {
	t.Parallel()
	var calls int
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		if calls++; calls == 1 {
			call.Fail(http.StatusInternalServerError, "secret")
			return
		}
		call.Pieces("Better now.")
		call.Finish()
	}), "")
	page := harness.Open(t, c, "/assistants/")
	page.Type("#input", "hello"+kb.Enter)
	page.WaitFor(`$(".problem .retry")?.checkVisibility()`)
	if text := harness.Eval[string](page, `$(".problem").textContent`); strings.Contains(text, "secret") || !strings.Contains(text, "model") {
		t.Errorf("the problem says %q", text)
	}
	page.Click(".retry")
	page.WaitFor(answerDone + ` && ` + answerText + ` === "Better now." && !$(".problem")`)
	if n := harness.Eval[int](page, `$$(".message[data-role=user]").length`); n != 1 {
		t.Errorf("the question is shown %d times, want once", n)
	}
}

// TestPageReasoning: it is folded, before the answer, and says that the model thinks and then for how long; token usage
// is shown on demand.
func TestPageReasoning(t *testing.T) {
	t.Parallel()
	thought := make(chan struct{})
	conclude := sync.OnceFunc(func() { close(thought) })
	t.Cleanup(conclude)
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Reasoning("The user <b>greets</b>.\n\n- **two**")
		<-thought
		call.Pieces("Hello.")
		call.Finish()
	}), "")
	page := harness.Open(t, c, "/assistants/")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Type("#input", "hi"+kb.Enter)
	page.WaitFor(`$(".reasoning summary")?.textContent === "Thinking…" && $(".reasoning li strong")?.textContent === "two"`)
	conclude()
	page.WaitFor(answerDone + ` && /^Thought for \d+ seconds?$/.test($(".reasoning summary").textContent)`)
	const inside = `$(".reasoning p")`
	if open := harness.Eval[bool](page, inside+`.checkVisibility()`); open {
		t.Error("the reasoning is not folded")
	}
	page.Click(".reasoning summary")
	page.WaitFor(inside + `.checkVisibility() && ` + inside + `.textContent === "The user <b>greets</b>."`)
	page.WaitFor(`!$(".tokens").checkVisibility()`)
	page.Click(".usage")
	page.WaitFor(`$(".tokens").checkVisibility() && /^Tokens: \d+ in, \d+ out/.test($(".tokens").textContent) && $(".usage").ariaExpanded === "true"`)
}

// TestPageReload: what was seen of an answer is there again from the history: its reasoning, its model, why it
// failed and whether to try again.
func TestPageReload(t *testing.T) {
	t.Parallel()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		switch call.Question() {
		case "whole":
			call.Reasoning("The user <b>greets</b>.")
			call.Pieces("Hello.")
			call.Finish()
		case "cut":
			call.Pieces("Hel")
			call.Cut()
		case "refused":
			call.Fail(http.StatusBadRequest, "secret")
		default:
			call.Fail(http.StatusInternalServerError, "secret")
		}
	}), "")
	// All that is shown, but the time and the usage: those of failed answers are not shown live, and how long the model
	// thought is only known live.
	const shown = `$$("#messages :is(.reasoning > div, .text, .model, .note, .problem p), .retry:not([hidden])").map((e) => (e.className || "why") + ": " + e.textContent).join("\n")`
	page := harness.Open(t, c, "/assistants/")
	for _, question := range []string{"whole", "cut", "refused", "unavailable"} {
		page.Type("#input", question+kb.Enter)
		page.WaitFor(fmt.Sprintf(`$$(".turn").length > 0 && $$(".turn").at(-1).textContent.includes(%q) && ($$(".turn").at(-1).querySelector(".problem") || $$(".turn").at(-1).querySelector("[data-state=ended]"))`, question))
	}
	page.WaitFor(`$$("[data-state=ended]").length === 2 && $$(".problem").length === 3`)
	live := harness.Eval[string](page, shown)
	for _, want := range []string{"The user <b>greets</b>.", "model: gpt-", "stopped in mid-answer", "refused the request", "Try again"} {
		if !strings.Contains(live, want) {
			t.Errorf("the page does not show %q before the reload:\n%s", want, live)
		}
	}
	page.Reload()
	page.WaitFor(fmt.Sprintf(`$$("[data-state=ended]").length === 2 && %s === %q`, shown, live))
	if open := harness.Eval[bool](page, `$(".reasoning p").checkVisibility()`); open {
		t.Error("the reasoning is not folded")
	}

	// A snapshot comes also when the last question is asked again.
	page.Run(`window.old = $(".turn"); $$(".retry:not([hidden])").at(-1).click()`)
	page.WaitFor(fmt.Sprintf(`!window.old.isConnected && %s === %q`, shown, live))
}

// TestPageKeyboard: everything can be done without a mouse.
func TestPageKeyboard(t *testing.T) {
	t.Parallel()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		if strings.Contains(call.Question(), "endless") {
			call.Pieces("on and on")
			call.UntilGone()
			return
		}
		call.Pieces("Fine.")
		call.Finish()
	}), "")
	page := harness.Open(t, c, "/assistants/")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Press("typed at once") // the page has put the focus there
	page.WaitFor(`$("#input").value === "typed at once"`)
	page.Press(kb.Enter)
	page.WaitFor(answerDone)

	page.Type("#input", "endless"+kb.Enter)
	page.WaitFor(`$$("[data-role=assistant]").length === 2`)
	page.Type("#input", "waits"+kb.Enter)
	page.WaitFor(`$$(".message[data-role=user]").at(-1).dataset.state === "queued"`)
	page.Press(kb.Escape)
	page.WaitFor(`$$(".note").some(({textContent}) => textContent === "Stopped") && $$("[data-role=assistant][data-state=ended]").length === 3`)

	// Tab reaches every control that is shown, and each shows that it has the focus.
	page.Run(`$("#new").focus()`)
	reached := map[string]bool{}
	for range 60 {
		at := harness.Eval[string](page, `(({id, className, localName}) => id || className || localName)($("assistant-chat").shadowRoot.activeElement ?? document.body)`)
		if outline := harness.Eval[string](page, `(element => element ? getComputedStyle(element).outlineStyle + getComputedStyle(element).boxShadow : "body")($("assistant-chat").shadowRoot.activeElement)`); outline == "nonenone" {
			t.Errorf("%s does not show that it has the focus", at)
		}
		reached[at] = true
		page.Press(kb.Tab)
	}
	for _, want := range []string{"new", "search", "title", "rename", "delete", "view-logs", "log", "copy", "edit", "regenerate", "usage", "input"} {
		if !reached[want] {
			t.Errorf("Tab does not reach %s; it reaches %v", want, reached)
		}
	}
}

// TestPageAnnouncements: whoever hears the page hears whole answers, not pieces.
func TestPageAnnouncements(t *testing.T) {
	t.Parallel()
	page := harness.Open(t, answerWith(t, strings.SplitAfter(strings.Repeat("word ", 200), " ")...), "/assistants/")
	page.WaitFor(`$("#announcer")`)
	page.Run(`window.heard = []; new MutationObserver(() => window.heard.push($("#announcer").textContent)).observe($("#announcer"), {childList: true, characterData: true, subtree: true})`)
	ask(page, "say it")
	page.WaitFor(`window.heard.at(-1)?.startsWith("word word")`)
	if heard := harness.Eval[[]string](page, `window.heard`); len(heard) > 4 {
		t.Errorf("it is told %d times: %.300q", len(heard), heard)
	}
	if live := harness.Eval[string](page, `$("#log").role + $("#log").ariaLive + $("#announcer").role`); live != "logoffstatus" {
		t.Errorf("the roles are %s", live)
	}
}

// TestPageHistory: older messages come when the reader scrolls up, who stays where they are.
func TestPageHistory(t *testing.T) {
	t.Parallel()
	c := answerWith(t, "An answer of\n\nseveral lines\n\nto scroll over.")
	page := harness.Open(t, c, "/assistants/")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Type("#input", "question 0"+kb.Enter)
	page.WaitFor(answerDone)
	client := harness.Dial(t, c)
	topic := "conversation:" + harness.Eval[string](page, "location.hash.slice(1)")
	client.Send(fmt.Sprintf(`{"action":"subscribe","topic":%q,"ref":"s"}`, topic))
	client.Until("snapshot")
	for i := 1; i < 40; i++ {
		client.Send(fmt.Sprintf(`{"action":"send_message","payload":{"content":"question %d"},"topic":%q,"ref":"%d"}`, i, topic, i))
		client.Until("complete_streaming")
	}
	page.Reload()
	page.WaitFor(`$$(".turn").length === 25 && $("#log").scrollTop > 1000`)
	page.WaitFor(`$("#log").scrollHeight - $("#log").clientHeight - $("#log").scrollTop < 2`)
	page.Run(`$("#log").scrollTop = 150`)
	page.WaitFor(`$$(".turn").length === 40`)
	page.WaitFor(`$("#log").scrollTop > 500 && $("#latest").checkVisibility()`)

	// What comes now does not move the reader.
	page.Run(`window.seen = $$(".turn").findLast((turn) => turn.getBoundingClientRect().top < 200); window.top0 = window.seen.getBoundingClientRect().top`)
	client.Send(fmt.Sprintf(`{"action":"send_message","payload":{"content":"another"},"topic":%q,"ref":"a"}`, topic))
	client.Until("complete_streaming")
	page.WaitFor(`$$(".turn").length === 41 && $$("[data-role=assistant]").at(-1).dataset.state === "ended"`)
	if moved := harness.Eval[float64](page, `Math.abs(window.seen.getBoundingClientRect().top - window.top0)`); moved > 2 {
		t.Errorf("the reader was moved by %v pixels", moved)
	}
	page.Click("#latest")
	page.WaitFor(`$("#log").scrollHeight - $("#log").clientHeight - $("#log").scrollTop < 2 && !$("#latest").checkVisibility()`)
}

// TestPageSidebar: what happens in one tab is seen in the other, and titles can be searched.
func TestPageSidebar(t *testing.T) {
	t.Parallel()
	c := answerWith(t, "Hello.")
	a := harness.Open(t, c, "/assistants/")
	b := a.Tab(c.URL("/assistants/"))
	b.WaitFor(`$("#status")?.dataset.state === "connected"`)
	ask(a, "apples")
	a.Click("#new")
	ask(a, "pears")
	const titles = `$$("#list .title").map(({textContent}) => textContent).join()`
	b.WaitFor(titles + ` === "pears,apples"`)
	a.Run(`$("#list li:nth-child(2) a").click()`)
	a.WaitFor(`document.title === "apples" && $(".message")`)
	ask(a, "more apples") // makes it the newest
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(titles + ` === "apples,pears"`)
	}
	b.Type("#search", "PEA")
	b.WaitFor(titles + ` === "pears"`)
	a.Run(`$("#list li:nth-child(2) .delete").click()`)
	a.WaitFor(`$("#confirm")?.open`)
	a.Press(kb.Escape)
	a.WaitFor(`!$("#confirm") && ` + titles + ` === "apples,pears"`)
	a.Run(`$("#list li:nth-child(2) .delete").click()`)
	a.Click("#confirm .confirm")
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(`!` + titles + `.includes("pears")`)
	}
}

// checkAccessible fails the test for what axe finds in the page as it is.
func checkAccessible(t *testing.T, page *harness.Page, what string) {
	t.Helper()
	axe, err := os.ReadFile(filepath.Join(harness.Root(t), "e2e/webchat/node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	page.Run("if (!window.axe) {" + string(axe) + "}")
	found := harness.Eval[json.RawMessage](page, `axe.run().then(({violations}) => violations.map(({id, help, nodes}) => ({id, help, at: nodes.map(({target, any}) => [target, any.map(({message}) => message)])})))`)
	if string(found) != "[]" {
		t.Errorf("%s: %s", what, found)
	}
}

// TestPageAccessible: axe finds nothing, in light and dark, wide and narrow, with each dialog.
func TestPageAccessible(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1200, 390} {
			t.Run(fmt.Sprint(scheme, width), func(t *testing.T) {
				t.Parallel()
				var calls int
				c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
					if calls++; calls > 1 {
						call.Fail(http.StatusInternalServerError, "no")
						return
					}
					call.Reasoning("Hm.")
					call.Pieces(rich)
					call.Finish()
				}), "")
				page := harness.Open(t, c, "/assistants/")
				page.Look(width, 800, scheme)
				check := func(what string) { t.Helper(); checkAccessible(t, page, what) }
				page.WaitFor(`$("#status")?.dataset.state === "connected"`)
				check("empty")
				page.Type("#input", "everything"+kb.Enter)
				page.WaitFor(answerDone + ` && $(".hl-keyword")`)
				page.Click(".reasoning summary")
				page.Run(`$(".usage").click()`) // which may be below the button that leads to the end
				page.Type("#input", "fail"+kb.Enter)
				page.WaitFor(`$(".problem")`)
				check("conversation")
				if width < 500 {
					page.Click("#menu")
					page.WaitFor(`$("#conversations").checkVisibility()`)
					check("menu")
				}
				page.Run(`$("#list .delete").click()`)
				page.WaitFor(`$("#confirm")?.open`)
				check("confirmation")
				page.Click("#confirm .cancel")
				page.Run(`$("#list .rename").click()`)
				page.WaitFor(`$("input.title")`)
				check("renaming")
				page.Press(kb.Escape)
				if width < 500 {
					page.Press(kb.Escape)
					page.WaitFor(`!$("#conversations").checkVisibility()`)
				}
				page.Click("#view-logs")
				page.WaitFor(`$("#logs").open`)
				check("logs")
			})
		}
	}
}

// TestPageFormula: a formula is MathML, which the strict policy allows, and what is copied of it is its source.
func TestPageFormula(t *testing.T) {
	t.Parallel()
	page := harness.Open(t, answerWith(t, "So $x^2 \\ne \\mathbf{y}$, at $5 a piece.\n\n$$\n\\sum_{i=1}^n {}_a i\n$$\n\n$\\nosuch$ stays.\n"), "/assistants/")
	ask(page, "a formula")
	page.WaitFor(`$$(".math math").length === 2 && $$(".math").length === 3`)
	if text := harness.Eval[string](page, `$$(".math").at(-1).textContent`); text != `$\nosuch$` {
		t.Errorf("what is no TeX is shown as %q", text)
	}
	if high := harness.Eval[bool](page, `$(".math.display math").getBoundingClientRect().height > 30`); !high {
		t.Error("the formula is not laid out as mathematics")
	}
	page.Run(`getSelection().selectAllChildren($(".text p"))`)
	copied := harness.Eval[string](page, `(() => {
		const event = new ClipboardEvent("copy", {clipboardData: new DataTransfer(), bubbles: true, composed: true, cancelable: true})
		$(".text p").dispatchEvent(event)
		return event.clipboardData.getData("text/plain")
	})()`)
	if want := `So $x^2 \ne \mathbf{y}$, at $5 a piece.`; copied != want {
		t.Errorf("what is copied is %q, want %q", copied, want)
	}
}

// TestPageFormulaNames: a formula cannot take the names of the chat's own elements, nor lead to one.
func TestPageFormulaNames(t *testing.T) {
	t.Parallel()
	page := harness.Open(t, answerWith(t, "$$\n\\begin{equation} a=1 \\label{input} \\end{equation}\n$$\n\n$$\n\\begin{equation} b=\\ref{send} \\label{send} \\end{equation}\n$$\n"), "/assistants/")
	ask(page, "a formula")
	page.WaitFor(`$$(".math math").length === 2`)
	if named := harness.Eval[int](page, `$$(".math [id], .math [href]").length`); named != 0 {
		t.Errorf("%d elements of formulas have a name or lead to one", named)
	}
	page.Type("#input", "still here")
	page.WaitFor(`!$("#send").disabled`)
}

// TestPageFootnote: a note is one click away, and the way back another; the URL stays, for its hash names the
// conversation. So it is with a heading that the answer links to.
func TestPageFootnote(t *testing.T) {
	t.Parallel()
	text := "# The End: part 1\n\nText[^1], see [the end](#the-end-part-1), [nowhere](#nowhere) or the [top](#).\n\n" + strings.Repeat("More.\n\n", 60) + "[^1]: The note.\n"
	page := harness.Open(t, answerWith(t, text), "/assistants/")
	ask(page, "a note")
	page.Run(`window.address = location.href`)
	const focused = `$("assistant-chat").shadowRoot.activeElement`
	page.Click("sup a")
	page.WaitFor(focused + `?.textContent.startsWith("The note.") && ` + focused + `.checkVisibility()`)
	page.Click(".footnotes a")
	page.WaitFor(focused + `?.matches("sup a")`)
	page.Run(`$$(".text a").find((a) => a.textContent === "the end").click()`)
	page.WaitFor(focused + `?.localName === "h3"`)
	page.Run(`for (const text of ["nowhere", "top"]) $$(".text a").find((a) => a.textContent === text).click()`)
	if stays := harness.Eval[bool](page, `location.href === window.address`); !stays {
		t.Error("the links changed the URL")
	}
}
