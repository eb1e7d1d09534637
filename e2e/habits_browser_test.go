package e2e

import (
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// openEcho shows the chat page of a model that repeats the question, and waits until it is connected.
func openEcho(t *testing.T, settings string) *harness.Page {
	t.Helper()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("You asked ", call.Question())
		call.Finish()
	}), settings)
	page := harness.Open(t, c, "/assistants/")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	return page
}

// follow clicks on a conversation of the list, with keys such as ctrlKey held, and reports whether the page left
// that to the browser.
func follow(page *harness.Page, title, key string) bool {
	return harness.Eval[bool](page, `(() => {
		const link = $$("#list .title").find(({textContent}) => textContent === "`+title+`");
		const click = new MouseEvent("click", {bubbles: true, composed: true, cancelable: true, `+key+`: true});
		let left;
		window.addEventListener("click", (event) => { left = !event.defaultPrevented; event.preventDefault() }, {once: true});
		link.dispatchEvent(click);
		return left;
	})()`)
}

// TestHistoryOfBrowser: Back and Forward lead through the conversations that the reader opened, and a
// new one's id or a deleted one is no step.
func TestHistoryOfBrowser(t *testing.T) {
	page := openEcho(t, "")
	shown := func(title string) {
		t.Helper()
		page.WaitFor(`document.title === "` + title + `" && location.hash && $$(".message").length === 2 && ` + answerText + ` === "You asked ` + title + `"`)
	}
	steps := harness.Eval[int](page, `history.length`)
	ask(page, "apples")
	page.Click("#new")
	page.WaitFor(`!location.hash && !$(".message")`)
	ask(page, "pears")
	if n := harness.Eval[int](page, `history.length`); n != steps+1 {
		t.Errorf("two new conversations made %d steps, want one", n-steps)
	}
	if follow(page, "apples", "detail") {
		t.Error("a click is left to the browser")
	}
	shown("apples")
	page.Run(`history.back()`)
	shown("pears")
	page.Run(`history.back()`)
	shown("apples")
	page.Run(`history.go(2)`)
	shown("apples")

	for _, key := range []string{"ctrlKey", "metaKey", "shiftKey"} {
		if !follow(page, "pears", key) {
			t.Errorf("a click with %s is not left to the browser", key)
		}
	}
	shown("apples")

	steps = harness.Eval[int](page, `history.length`)
	page.Run(`$("[aria-current] ~ .delete").click()`)
	page.Click("#confirm .confirm")
	page.WaitFor(`!location.hash && $(".notice")`)
	if n := harness.Eval[int](page, `history.length`); n != steps {
		t.Error("a deleted conversation is a step")
	}
}

// compose presses a key that ends a composition, as Safari does: after it, and with the code of an input method.
func compose(page *harness.Page, selector, key string) {
	page.Run("$(`" + selector + "`).dispatchEvent(new KeyboardEvent('keydown', {key: '" + key + "', keyCode: 229, bubbles: true, composed: true, cancelable: true}))")
}

// TestComposition: keys that belong to an input method do nothing here.
func TestComposition(t *testing.T) {
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("on and on ")
		call.UntilGone()
	}), "")
	page := harness.Open(t, c, "/assistants/")
	page.Type("#input", "endless")
	compose(page, "#input", "Enter")
	if harness.Eval[bool](page, `Boolean($(".message"))`) {
		t.Error("Enter asked")
	}
	page.Press(kb.Enter)
	page.WaitFor(answerText + `?.startsWith("on and")`)
	compose(page, "#input", "Escape")
	page.Run(`$("[aria-current] ~ .rename").click()`)
	page.Type("input.title", "renamed")
	compose(page, "input.title", "Enter")
	compose(page, "input.title", "Escape")
	if taken := harness.Eval[bool](page, `!$("input.title")`); taken {
		t.Fatal("the name was taken or left")
	}
	page.Press(kb.Enter)
	page.WaitFor(`document.title === "renamed"`)
	if state := harness.Eval[string](page, `$("[data-role=assistant]").dataset.state`); state != "streaming" {
		t.Errorf("the answer is %s, want it to go on", state)
	}
	page.Type("#input", kb.Escape)
	page.WaitFor(answerDone)
}
