package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	page := openEcho(t, "user ann\nrate 1/4s")
	const empty = `!$(".message") && !location.hash && $$("#list li").length === 1`
	ask(page, "zero")
	page.Click("#new")
	page.Type("#input", "one"+kb.Enter)
	page.WaitFor(`$(".problem .retry")?.disabled && ` + draft + ` === "one" && ` + empty)
	checkAccessible(t, page, "refused")
	page.WaitFor(`!$(".retry").disabled`)
	page.Reload()
	page.WaitFor(`$("#status")?.dataset.state === "connected" && ` + draft + ` === "one" && ` + empty)
	page.Type("#input", kb.Enter)
	page.WaitFor(answerDone + ` && $$("#list li").length === 2 && !$(".problem")`)

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
	t.Parallel()
	c := startChat(t, harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("You asked ", call.Question())
		call.Finish()
	}), "")
	relay := harness.NewRelay(t, c)
	page := harness.OpenURL(t, "http://"+relay.Addr+"/assistants/")
	page.Expect("WebSocket connection to")
	page.Expect("http://" + relay.Addr + "/ws/assistants/") // it asks by HTTP, too, through what is cut
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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

// TestFilesStayOut: what is dropped or pasted never makes the browser leave the chat, and files are told to be of no
// use; text may be dropped where text is.
func TestFilesStayOut(t *testing.T) {
	t.Parallel()
	page := openEcho(t, "")
	// prevented reports whether the page kept an event from the browser.
	prevented := func(kind, target, content string) bool {
		t.Helper()
		return harness.Eval[bool](page, `(() => {
			const data = new DataTransfer();
			`+content+`;
			const init = {bubbles: true, composed: true, cancelable: true};
			const event = "`+kind+`" === "paste" ? new ClipboardEvent("paste", {...init, clipboardData: data}) : new DragEvent("`+kind+`", {...init, dataTransfer: data});
			return !$("`+target+`").dispatchEvent(event);
		})()`)
	}
	const file = `data.items.add(new File(["x"], "x.png", {type: "image/png"}))`
	const text = `data.setData("text/plain", "words")`
	for _, target := range []string{"#log", "#input", "header", "#conversations", "#search"} {
		for _, kind := range []string{"dragenter", "dragover", "drop"} {
			if !prevented(kind, target, file) {
				t.Errorf("%s of a file on %s is left to the browser", kind, target)
			}
		}
		page.WaitFor(`$("#hint").checkVisibility() && $("#hint").textContent === "Files cannot be sent here." && $("#announcer").textContent === $("#hint").textContent`)
		checkAccessible(t, page, "files")
		page.Type("#input", "a")
		page.WaitFor(`!$("#hint").textContent`)
	}
	if !prevented("drop", "#log", `data.setData("text/uri-list", "https://example.com/")`) {
		t.Error("a link on the log is left to the browser")
	}
	if prevented("drop", "#input", text) || prevented("dragover", "#search", text) || prevented("paste", "#input", text) || prevented("paste", "#input", text+";"+file) {
		t.Error("text is kept out of a field for text")
	}
	if shown := harness.Eval[string](page, `$("#hint").textContent`); shown != "" {
		t.Errorf("of text the page says %q", shown)
	}
	if !prevented("paste", "#input", file) {
		t.Error("a picture is pasted")
	}
	page.WaitFor(`$("#hint").textContent`)
}

// TestTheme: the reader chooses light or dark, in all tabs and until it is chosen anew; the system's choice is the default.
func TestTheme(t *testing.T) {
	t.Parallel()
	page := openEcho(t, "")
	page.Look(1200, 800, "light")
	const colour = `getComputedStyle($("#chat")).backgroundColor`
	const light, dark = `"rgb(255, 255, 255)"`, `"rgb(23, 21, 29)"`
	page.WaitFor(colour + " === " + light)
	tab := page.Tab(harness.Eval[string](page, "location.href"))
	tab.WaitFor(`$("#status")?.dataset.state === "connected" && ` + colour + " === " + light)
	page.Click("#more")
	page.WaitFor(`$("#options")?.matches(":popover-open") && $("#more").ariaExpanded === "true"`)
	page.Click("#more") // closes it
	page.WaitFor(`!$("#options") && $("#more").ariaExpanded === "false"`)
	page.Click("#more")
	page.WaitFor(`$("#options")?.matches(":popover-open")`)
	checkAccessible(t, page, "menu")
	page.Click("#appearance [value=dark]")
	page.WaitFor(colour + " === " + dark)
	tab.WaitFor(colour + " === " + dark)
	const bar = `document.querySelectorAll("meta[name=theme-color]").values().find(({media}) => matchMedia(media).matches).content`
	if shown := harness.Eval[string](page, bar); shown != "#17151d" {
		t.Errorf("the browser's bar is %s", shown)
	}
	checkAccessible(t, page, "dark menu")
	page.Press(kb.Escape)
	page.WaitFor(`!$("#options") && $("#more").ariaExpanded === "false"`)
	page.Reload()
	page.WaitFor(`$("#chat") && ` + colour + " === " + dark)
	page.Click("#more")
	page.WaitFor(`$("#appearance [value=dark]")?.checked`)
	page.Click("#appearance [value=system]")
	page.WaitFor(colour + " === " + light)
	if shown := harness.Eval[string](page, bar); shown != "#ffffff" {
		t.Errorf("the browser's bar is %s", shown)
	}
}

// TestShortcuts: single keys where nothing is typed, a list of them, and a switch.
func TestShortcuts(t *testing.T) {
	t.Parallel()
	page := openEcho(t, "")
	ask(page, "apples")
	page.Click("#new")
	ask(page, "pears")
	page.Type("#input", "njk?/m")
	page.WaitFor(draft + ` === "njk?/m" && !$("#shortcuts")`)
	page.Press(kb.Escape)
	page.WaitFor(`$("#log").matches(":focus")`)
	page.Press("j")
	page.WaitFor(`document.title === "apples" && $(".message")`)
	page.Press("j") // the last
	page.Press("k")
	page.WaitFor(`document.title === "pears"`)
	page.Press("m")
	page.WaitFor(`$("#input").matches(":focus") && ` + draft + ` === "njk?/m"`)
	page.Press(kb.Escape + "/")
	page.WaitFor(`$("#search").matches(":focus") && !$("#search").value`)
	page.Run(`$("#log").focus()`)
	// A Russian keyboard has another letter at that place.
	page.Run(`$("#log").dispatchEvent(new KeyboardEvent("keydown", {key: "т", code: "KeyN", bubbles: true, composed: true}))`)
	page.WaitFor(`!location.hash && $("#input").matches(":focus")`)

	page.Run(`$("#input").dispatchEvent(new KeyboardEvent("keydown", {key: "/", ctrlKey: true, bubbles: true, composed: true}))`)
	page.WaitFor(`$("#shortcuts")?.open`)
	checkAccessible(t, page, "shortcuts")
	if text := harness.Eval[string](page, `$("#shortcuts").textContent`); strings.Contains(text, "undefined") || strings.Count(text, "New chat") != 1 || !strings.Contains(text, "Next conversationj") {
		t.Errorf("the list says %q", text)
	}
	page.Click("#single-keys")
	page.Press(kb.Escape)
	page.WaitFor(`!$("#shortcuts")`)
	page.Run(`$("#log").focus()`)
	page.Press("?m")
	if acted := harness.Eval[bool](page, `Boolean($("#shortcuts")) || $("#input").matches(":focus")`); acted {
		t.Error("keys that are switched off do something")
	}
	page.Reload()
	page.WaitFor(`$("#more")`)
	page.Click("#more")
	page.Click("#options .shortcuts")
	page.WaitFor(`$("#shortcuts")?.open && !$("#single-keys").checked`)
}

// longConversation shows one of more messages than the page loads at first.
func longConversation(t *testing.T) *harness.Page {
	t.Helper()
	c := answerWith(t, "# An answer\n\nof *several* lines\n\n```go\nfunc main() {}\n```\n")
	page := harness.Open(t, c, "/assistants/")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	ask(page, `a/b: "question" 0?`)
	client := harness.Dial(t, c)
	topic := "conversation:" + harness.Eval[string](page, "location.hash.slice(1)")
	client.Send(fmt.Sprintf(`{"action":"subscribe","topic":%q,"ref":"s"}`, topic))
	client.Until("snapshot")
	for i := 1; i < 110; i++ { // more than two pages of an export, too
		client.Send(fmt.Sprintf(`{"action":"send_message","payload":{"content":"question %d"},"topic":%q,"ref":"%d"}`, i, topic, i))
		client.Until("complete_streaming")
	}
	page.Reload()
	page.WaitFor(`$$(".turn").length === 25 && $$("[data-state=ended]").length === 25`)
	return page
}

// TestPrint: Print loads the whole conversation before, and paper shows all of it and nothing else.
func TestPrint(t *testing.T) {
	t.Parallel()
	page := longConversation(t)
	before := page.PDF()
	page.Run(`window.print = () => { window.printed = $$(".turn").length }`)
	page.Click("#more")
	page.Click("#options .print")
	page.WaitFor(`window.printed === 110 && $$("[data-state=ended]").length === 110`)
	after := page.PDF()
	pages := func(pdf []byte) int { return len(regexp.MustCompile(`/Type\s*/Page\b`).FindAll(pdf, -1)) }
	if few, all := pages(before), pages(after); few < 3 || all < 4*few-4 {
		t.Errorf("25 questions and answers are %d pages, 110 are %d", few, all)
	}
	page.Run(`$("assistant-chat").style.colorScheme = "dark"`)
	page.OnPaper()
	if colour := harness.Eval[string](page, `getComputedStyle($("#chat")).backgroundColor`); colour != "rgb(255, 255, 255)" {
		t.Errorf("paper is %s", colour)
	}
	if shown := harness.Eval[[]string](page, `$$("#chat *").filter((e) => e.matches("button, input, textarea, nav, #status") && e.checkVisibility()).map((e) => e.id || e.className)`); len(shown) > 0 {
		t.Errorf("paper shows %v", shown)
	}
	if height := harness.Eval[[]float64](page, `[document.documentElement.scrollHeight, $("#messages").scrollHeight]`); height[0] < height[1] {
		t.Errorf("the page is %v pixels high, its messages %v", height[0], height[1])
	}
}

// TestPrintWide: what scrolls on the screen is whole on paper.
func TestPrintWide(t *testing.T) {
	t.Parallel()
	wide := "```go\n" + strings.Repeat("longName(", 60) + "\n```\n\n|" + strings.Repeat(" heading |", 24) + "\n|" + strings.Repeat("-|", 24) + "\n|" + strings.Repeat(" value |", 24) + "\n"
	page := harness.Open(t, answerWith(t, wide), "/assistants/")
	ask(page, "something wide")
	page.WaitFor(`$(".text table") && $(".code code")`)
	page.Look(760, 800, "light")
	page.OnPaper()
	if cut := harness.Eval[[]string](page, `$$(".code pre, .table").filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.localName + " " + e.scrollWidth + " in " + e.clientWidth)`); len(cut) > 0 {
		t.Errorf("paper cuts off %v", cut)
	}
}

// TestExport: a conversation is saved whole, as Markdown and as JSON, under its title.
func TestExport(t *testing.T) {
	t.Parallel()
	page := longConversation(t)
	page.Run(`
		window.files = [];
		const {createObjectURL} = URL;
		const blobs = new Map();
		URL.createObjectURL = (blob) => { const url = createObjectURL(blob); blobs.set(url, blob); return url };
		HTMLAnchorElement.prototype.click = async function () { window.files.push([this.download, blobs.get(this.href).type, await blobs.get(this.href).text()]) }`)
	save := func(kind string) []string {
		t.Helper()
		before := harness.Eval[int](page, `window.files.length`)
		page.Click("#more")
		page.Click("#options ." + kind)
		page.WaitFor(fmt.Sprintf(`window.files.length > %d`, before))
		return harness.Eval[[]string](page, `window.files.at(-1)`)
	}
	markdown := save("save_markdown")
	if markdown[0] != `a b question 0.md` || markdown[1] != "text/markdown" {
		t.Errorf("the file is %q of type %q", markdown[0], markdown[1])
	}
	for i := 1; i < 110; i++ {
		if !strings.Contains(markdown[2], fmt.Sprintf("\n\nquestion %d\n\n## Assistant · gpt-4o · ", i)) {
			t.Fatalf("question %d is missing:\n%.3000s", i, markdown[2])
		}
	}
	if !strings.HasPrefix(markdown[2], "# a/b: \"question\" 0?\n\n## You · ") || strings.Count(markdown[2], "\nfunc main() {}\n```\n") != 110 {
		t.Errorf("the Markdown is\n%.3000s", markdown[2])
	}
	file := save("save_json")
	var all struct {
		Conversation struct{ Title string }
		Messages     []struct{ Role, Content, Model string }
	}
	if err := json.Unmarshal([]byte(file[2]), &all); err != nil || file[0] != "a b question 0.json" {
		t.Fatalf("%s: %v", file[0], err)
	}
	if m := all.Messages; all.Conversation.Title != `a/b: "question" 0?` || len(m) != 220 || m[218].Content != "question 109" || m[219].Role != "assistant" || m[219].Model == "" {
		t.Errorf("the JSON has %d messages of %q", len(m), all.Conversation.Title)
	}
}

// TestInstall: a browser has nothing to say against installing the page, whose name is its own.
func TestInstall(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n provider demo\n}\nassistant_chat /assistants/* {\n title \"Ask Acme\"\n}\n"))
	page := harness.Open(t, c, "/assistants/")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	if manifest, problems := page.Manifest(); !strings.Contains(manifest, `"Ask Acme"`) || len(problems) > 0 {
		t.Errorf("the browser says %v of %s", problems, manifest)
	}
}

// TestListAgain: a server that says subscribed again, unasked, has lost changes of the list: the page asks for it anew,
// and what is told while the answer is on its way is not lost.
func TestListAgain(t *testing.T) {
	t.Parallel()
	about := func(id int, title string) string {
		return fmt.Sprintf(`{"conversation_id":"00000000-0000-4000-8000-%012d","title":%q,"created_at":"2000-01-01T00:00:0%dZ","updated_at":"2000-01-01T00:00:0%[1]dZ"}`, id, title, id)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer conn.CloseNow()
		for lists := 0; ; {
			var frame struct{ Action, Topic, Ref string }
			if wsjson.Read(r.Context(), conn, &frame) != nil {
				return
			}
			var answers []string
			subscribed := `{"action":"subscribed","payload":{"epoch":"","seq":0,"recovered":false,"streaming":null},"version":1,"topic":"conversations"}`
			list := func(items ...string) string {
				return `{"action":"conversations","payload":{"items":[` + strings.Join(items, ",") + `],"next_cursor":""},"version":1,"ref":"` + frame.Ref + `"}`
			}
			switch {
			case frame.Action == "subscribe" && frame.Topic == "conversations":
				answers = []string{subscribed}
			case frame.Action == "list_conversations" && lists == 0:
				lists++
				answers = []string{list(about(1, "apples"), about(2, "pears")), subscribed}
			case frame.Action == "list_conversations":
				answers = []string{
					`{"action":"conversation_created","payload":` + about(4, "figs") + `,"version":1,"topic":"conversations"}`,
					list(about(3, "plums"), about(1, "apples")),
				}
			}
			for _, text := range answers {
				_ = conn.Write(r.Context(), websocket.MessageText, []byte(text)) // a page that is gone fails the test
			}
		}
	}))
	t.Cleanup(server.Close)
	c := harness.Start(t, harness.Site("reverse_proxy /ws/* {$UPSTREAM}\n"+chatPage), "UPSTREAM="+server.URL)
	page := harness.Open(t, c, "/assistants/")
	page.WaitFor(`$$("#list .title").map(({textContent}) => textContent).join() === "figs,plums,apples"`)
}
