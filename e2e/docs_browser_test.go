package e2e

import (
	"fmt"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp"
)

// TestDocsPage: the document can be read in a browser, on a phone too.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, example(t))
	page := harness.Open(t, c, "/asyncapi/docs/")
	for _, name := range []string{"assistants", "handle_assistant_message", "streaming_start", "max_message_size", "1012", "at most 64 characters"} {
		page.WaitFor(`document.body.innerText.includes("` + name + `")`)
	}
	harness.Eval[bool](page, `(document.getElementById("message-snapshot").scrollIntoView(), true)`)
	page.WaitFor(`document.querySelector("nav [aria-current]")?.textContent === "snapshot"`)
	for _, width := range []int64{360, 1000, 1600} {
		page.Do(chromedp.EmulateViewport(width, 800))
		if over := harness.Eval[int](page, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
			t.Errorf("at a width of %d px the page is %d px too wide", width, over)
		}
	}
}

// TestTryIt: the page sends what one writes and shows what comes, as text.
func TestTryIt(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n provider demo {\n delay 1ms\n }\n user {query.user}\n}\nasyncapi /asyncapi*"))
	page := harness.Open(t, c, "/asyncapi/docs/")
	page.Click("#operation-handle_assistant_message button")
	page.WaitFor(`document.querySelector("#frame").value.includes("What is Python?")`)
	page.WaitFor(`document.querySelector("#send").disabled`)
	page.Type(`#try input[aria-label="user"]`, "ann")
	page.Click("#connect")
	page.WaitFor(`document.querySelector("#try output").dataset.state === "open"`)

	const markup = `<img src=x onerror="document.title = 1">`
	setFrame(page, fmt.Sprintf(`{"action": "assistant_message", "payload": %q, "ref": "q1"}`, markup))
	page.Click("#send")
	page.WaitFor(`document.querySelector("#try [role=log]").textContent.includes("complete_streaming")`)
	page.WaitFor(fmt.Sprintf(`document.querySelector("#try [role=log]").textContent.includes(%q)`, "onerror"))
	if harness.Eval[bool](page, `document.querySelector("img") !== null`) {
		t.Error("a text became an element")
	}

	// The parameter of the URL has reached the server: who has a name has a list.
	harness.Eval[bool](page, `(() => {
		const select = document.querySelector("#message");
		select.value = "list_conversations";
		return select.dispatchEvent(new Event("change", {bubbles: true}));
	})()`)
	page.WaitFor(`document.querySelector("#frame").value.includes("list_conversations")`)
	page.Click("#send")
	page.WaitFor(`[...document.querySelectorAll("#try .received b")].some((action) => action.textContent === "conversations")`)

	setFrame(page, "{")
	page.WaitFor(`document.querySelector("#try .hint").textContent.includes("not valid JSON")`)
	page.Click("#send")
	page.WaitFor(`document.querySelector("#try [role=log]").textContent.includes("json_invalid")`)

	page.Click("#disconnect")
	page.WaitFor(`document.querySelector("#try output").textContent.includes("1000")`)
	page.Click("#try header button")
	page.WaitFor(`document.querySelector("#try") === null`)
}

// setFrame writes text into the editor as typing does.
func setFrame(page *harness.Page, text string) {
	harness.Eval[bool](page, fmt.Sprintf(`(() => {
		const editor = document.querySelector("#frame");
		editor.value = %q;
		return editor.dispatchEvent(new Event("input", {bubbles: true}));
	})()`, text))
	page.WaitFor(fmt.Sprintf(`document.querySelector("#frame").value === %q`, text))
}

// TestTryItOff: a site can have the page without it.
func TestTryItOff(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site(demo+"asyncapi /asyncapi* {\n try_it off\n}"))
	page := harness.Open(t, c, "/asyncapi/docs/")
	page.WaitFor(`document.querySelector("#operation-handle_ping") !== null`)
	if text := harness.Eval[string](page, `document.body.innerText`); text == "" || harness.Eval[int](page, `[...document.querySelectorAll("button")].filter((b) => b.textContent === "Try it").length`) > 0 {
		t.Errorf("the page can be tried:\n%.500s", text)
	}
}
