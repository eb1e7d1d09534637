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

const draft = `$("#input").value`

// TestDrafts: a draft belongs to its conversation, or to the question that is being edited, through all that a
// reader does in between.
func TestDrafts(t *testing.T) {
	page := openEcho(t, "")
	ask(page, "apples")
	page.Type("#input", "of apples")
	page.Click(".edit")
	page.WaitFor(draft + ` === "apples" && $("#editing").checkVisibility()`)
	page.Press(" and nuts")
	checkAccessible(t, page, "editing")
	page.Reload()
	page.WaitFor(draft + ` === "of apples" && $(".edit")?.checkVisibility()`)
	page.Click(".edit")
	page.WaitFor(draft + ` === "apples and nuts"`)
	page.Click("#cancel")
	page.WaitFor(draft + ` === "of apples" && !$("#editing").checkVisibility()`)
	page.Click(".edit")
	page.WaitFor(draft + ` === "apples"`)
	page.Press(" and figs" + kb.Enter)
	page.WaitFor(answerDone + ` && ` + answerText + ` === "You asked apples and figs" && ` + draft + ` === "of apples"`)

	page.Click("#new")
	page.WaitFor(draft + ` === ""`)
	page.Type("#input", "new")
	follow(page, "apples", "detail")
	page.WaitFor(draft + ` === "of apples"`)
	page.Click("#new")
	page.WaitFor(draft + ` === "new"`)
	page.Press(" pears" + kb.Enter)
	page.WaitFor(answerText + ` === "You asked new pears" && ` + draft + ` === ""`)
	page.Type("#input", "of pears")
	page.Run(`history.back()`)
	page.WaitFor(draft + ` === "of apples"`)
	page.Run(`history.back()`)
	page.WaitFor(draft + ` === ""`)
	page.Run(`history.go(2)`)
	page.WaitFor(draft + ` === "of pears"`)
	page.Run(`history.back()`)
	page.WaitFor(draft + ` === "of apples"`)
	page.Reload()
	page.WaitFor(`$("#input") && ` + draft + ` === "of apples"`)
}

// TestRefused: a refused question is in the input again, and a first one leaves no conversation.
func TestRefused(t *testing.T) {
	page := openEcho(t, "user ann\nrate 1/2s\nmax_question_length 40")
	const long = "This question is longer than the forty characters that are allowed."
	const empty = `!$(".message") && !location.hash && $$("#list li").length === 0`
	page.Type("#input", long+kb.Enter)
	page.WaitFor(`$(".problem")?.textContent.includes("at most 40 characters") && ` + draft + ` === "` + long + `" && ` + empty)
	checkAccessible(t, page, "refused")
	page.Reload()
	page.WaitFor(`$("#status")?.dataset.state === "connected" && ` + draft + ` === "` + long + `" && ` + empty)
	page.Run(`$("#input").value = ""`)
	page.Type("#input", "one"+kb.Enter)
	page.WaitFor(answerDone + ` && $$("#list li").length === 1 && !$(".problem")`)

	// In one that has begun: the button sends what is in the input, once it may.
	page.Type("#input", "two"+kb.Enter)
	page.WaitFor(`$(".problem .retry")?.disabled && ` + draft + ` === "two" && $$(".message").length === 2`)
	page.Type("#input", " more")
	page.WaitFor(`!$(".retry").disabled`)
	page.Click(".retry")
	page.WaitFor(`$$("[data-role=assistant] .text").at(-1).textContent === "You asked two more" && ` + draft + ` === "" && !$(".problem")`)

	// What was typed since stays; the question has a button.
	page.Run(`Object.assign($("#input"), {value: "three"}).dispatchEvent(new Event("input")); $("#composer").requestSubmit(); Object.assign($("#input"), {value: "four"}).dispatchEvent(new Event("input"))`)
	page.WaitFor(`$(".problem .retry") && ` + draft + ` === "four"`)
	page.WaitFor(`!$(".retry").disabled`)
	page.Click(".retry")
	page.WaitFor(`$$("[data-role=assistant] .text").at(-1).textContent === "You asked three" && ` + draft + ` === "four"`)
}

// TestQueue: what is asked while there is no connection is sent when there is one, once, also by the page after
// a reload.
func TestQueue(t *testing.T) {
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("You asked ", call.Question())
		call.Finish()
	}), "")
	relay := harness.NewRelay(t, c)
	page := harness.OpenURL(t, "http://"+relay.Addr+"/assistants/")
	page.Expect("WebSocket connection to")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Expect("icon.svg") // which the browser loads when it likes
	const texts = `$$(".message .text").map(({textContent}) => textContent).join("|")`
	relay.Cut()
	page.WaitFor(`$("#banner").checkVisibility()`)
	page.Type("#input", "one"+kb.Enter)
	page.WaitFor(`$("[data-role=user]").dataset.state === "queued" && ` + draft + ` === ""`)
	checkAccessible(t, page, "queued")
	relay.Mend()
	page.Click("#reconnect")
	page.WaitFor(answerDone + ` && ` + texts + ` === "one|You asked one"`)

	relay.Cut()
	page.WaitFor(`$("#banner").checkVisibility()`)
	page.Type("#input", "two"+kb.Enter+"three"+kb.Enter+"four")
	page.WaitFor(`$$("[data-pending]").length === 2`)
	relay.Mend()
	page.Reload()
	page.WaitFor(texts + ` === "one|You asked one|two|You asked two|three|You asked three" && ` + draft + ` === "four"`)
	page.Reload()
	page.WaitFor(`$$("[data-state=ended]").length === 3 && !$("[data-pending]") && ` + draft + ` === "four"`)
}

// TestLiveList: what one socket of a user creates, renames, answers or deletes, the list of another browser shows
// at once; and a search says when it finds nothing.
func TestLiveList(t *testing.T) {
	page := openEcho(t, "user ann")
	const titles = `$$("#list .title").map(({textContent}) => textContent).join()`
	other := harness.OpenURL(t, harness.Eval[string](page, "location.href"))
	ask(other, "apples")
	page.WaitFor(titles + ` === "apples"`)
	other.Click("#new")
	ask(other, "pears")
	page.WaitFor(titles + ` === "pears,apples"`)
	other.Run(`$("[aria-current] ~ .rename").click()`)
	other.Type("input.title", "plums"+kb.Enter)
	page.WaitFor(titles + ` === "plums,apples"`)
	follow(other, "apples", "detail")
	other.WaitFor(`document.title === "apples" && $(".message")`)
	ask(other, "more apples")
	page.WaitFor(titles + ` === "apples,plums"`)

	page.Type("#search", "nuts")
	page.WaitFor(titles + ` === "" && $("#none").checkVisibility() && $("#none").textContent === "No conversations found."`)
	checkAccessible(t, page, "nothing found")
	page.Run(`Object.assign($("#search"), {value: "LUM"}).dispatchEvent(new Event("input"))`)
	page.WaitFor(titles + ` === "plums" && !$("#none").textContent`)
	page.Run(`Object.assign($("#search"), {value: ""}).dispatchEvent(new Event("input"))`)

	other.Run(`$("[aria-current] ~ .delete").click()`)
	other.Click("#confirm .confirm")
	page.WaitFor(titles + ` === "plums"`)
}

// middle is JavaScript for the middle of an element, or of a part of it from its start.
func middle(page *harness.Page, element string) (x, y float64) {
	at := harness.Eval[[]float64](page, `(({x, y, width, height}) => [x + width / 2, y + height / 2])(`+element+`.getBoundingClientRect())`)
	return at[0], at[1]
}

// TestTouch: on a phone nothing waits for a mouse that hovers, what is to be hit is large, and Enter is a new line.
func TestTouch(t *testing.T) {
	page := openEcho(t, "")
	page.Touch(390, 800, "light")
	page.Reload()
	page.WaitFor(`$("#status")?.dataset.state === "connected" && matchMedia("(pointer: coarse) and (hover: none)").matches`)
	page.Type("#input", "one"+kb.Enter+"two")
	page.WaitFor(draft + ` === "one\ntwo" && !$(".message") && $("#input").enterKeyHint === "enter"`)
	page.Tap(middle(page, `$("#send")`))
	page.WaitFor(answerDone)
	page.Tap(middle(page, `$("#menu")`))
	page.WaitFor(`$("#conversations").checkVisibility()`)
	page.Tap(middle(page, `$("#new")`))
	page.WaitFor(`!location.hash && !$("#conversations").checkVisibility()`)
	page.Type("#input", "three")
	page.Tap(middle(page, `$("#send")`))
	page.WaitFor(answerDone)
	small := func(where string) {
		t.Helper()
		if small := harness.Eval[[]string](page, `$$("button, a.title, input").filter((e) => e.checkVisibility({visibilityProperty: true, opacityProperty: true}))
			.map((e) => [e.id || e.className, e.getBoundingClientRect()]).filter(([, {width, height}]) => width < 44 || height < 44)
			.map(([name, {width, height}]) => name + " " + width + "x" + height)`); len(small) > 0 {
			t.Errorf("%s: too small for a finger: %v", where, small)
		}
	}
	small("conversation")
	page.Tap(middle(page, `$("#menu")`))
	page.WaitFor(`$("#conversations").checkVisibility()`)
	small("list")
	if hidden := harness.Eval[[]string](page, `$$("#list button").filter((e) => getComputedStyle(e).opacity !== "1").map((e) => e.className)`); len(hidden) > 0 {
		t.Errorf("hidden until a mouse hovers: %v", hidden)
	}
	checkAccessible(t, page, "list")
	right := harness.Eval[[]float64](page, `(({right, y, height}) => [right - 4, y + height / 2])($("#list li:nth-child(2) .title").getBoundingClientRect())`)
	page.Tap(right[0], right[1])
	page.WaitFor(`document.title.startsWith("one") && location.hash && !$("#conversations").checkVisibility() && !$("#confirm")`)
}

// TestSmall: at 320 pixels, also where they are those of a window at 400 %, the head is whole and the log has room.
func TestSmall(t *testing.T) {
	page := openEcho(t, "")
	for _, height := range []int64{640, 256} {
		page.Look(320, height, "light")
		page.Reload()
		page.WaitFor(`$("#status")?.dataset.state === "connected"`)
		if height == 640 {
			ask(page, "Where is it?")
		} else {
			page.WaitFor(answerDone)
		}
		if wide := harness.Eval[[]string](page, `$$("#panel, header, header > :not(#status), #composer > *").filter((e) => e.checkVisibility() && (e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > 320)).map((e) => e.id || e.localName)`); len(wide) > 0 {
			t.Errorf("at %d: too wide: %v", height, wide)
		}
		if lines := harness.Eval[float64](page, `$("header").offsetHeight`); lines > 64 {
			t.Errorf("at %d: the head is %v pixels high", height, lines)
		}
		if room := harness.Eval[float64](page, `$("#log").clientHeight`); room < float64(height)*.45 {
			t.Errorf("at %d: the log is %v pixels high", height, room)
		}
		checkAccessible(t, page, "small")
	}
}
