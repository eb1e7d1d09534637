package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// words are the texts of the chat in a language, by key, as far as they have one form.
func words(t *testing.T, language string) map[string]string {
	t.Helper()
	names := []string{language}
	if language == "en" {
		names = append(names, "calls", "logs", "menu") // loaded later
	}
	texts := make(map[string]string)
	for _, name := range names {
		file, err := os.ReadFile(filepath.Join(harness.Root(t), "webchat/src/texts", name+".js"))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^  '?([\w.]+)'?: '(.*)',$`).FindAllStringSubmatch(string(file), -1) {
			texts[match[1]] = match[2]
		}
	}
	if len(texts) < 50 {
		t.Fatalf("%s has %d texts", language, len(texts))
	}
	return texts
}

// checkTranslated fails the test for each text of the chat, also those that are read out alone, which is English
// where the language has another.
func checkTranslated(t *testing.T, page *harness.Page, language string) {
	t.Helper()
	own, english := words(t, language), words(t, "en")
	shown := harness.Eval[[]string](page, `$$("#chat *").filter((element) => !element.closest(".text") || element.closest("button")).flatMap((element) => [
		...[...element.childNodes].filter(({nodeType}) => nodeType === Node.TEXT_NODE).map(({data}) => data),
		element.ariaLabel, element.title, element.placeholder]).filter(Boolean)`)
	for key, text := range english {
		if text != own[key] && slices.Contains(shown, text) {
			t.Errorf("%s is shown as %q, want %q", key, text, own[key])
		}
	}
	for _, key := range []string{"send", "message_hint", "conversations", "search", "view_logs", "copy", "you"} {
		if !slices.Contains(shown, own[key]) {
			t.Errorf("%s is not shown: %q", key, own[key])
		}
	}
}

// failing answers the first question and no other.
func failing(t *testing.T) *harness.Upstream {
	t.Helper()
	var calls int
	return harness.NewUpstream(t, func(call *harness.Call) {
		if calls++; calls > 1 {
			call.Fail(http.StatusInternalServerError, "no")
			return
		}
		call.Reasoning("Hm.")
		call.Pieces(rich)
		call.Finish()
	})
}

// TestLanguageOfReader: the page speaks its reader's language, whatever the browser's own is: words, errors,
// times, numbers and what is only loaded for some.
func TestLanguageOfReader(t *testing.T) {
	t.Parallel()
	page := harness.Open(t, startChat(t, failing(t), ""), "/assistants/")
	page.Look(1200, 800, "light")
	page.Speak("nl,de-DE,de")
	german := words(t, "de")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	if said := harness.Eval[string](page, `[document.documentElement.lang, document.title, $("#status").textContent, $("#welcome").innerText, $("#input").placeholder].join("|")`); said !=
		strings.Join([]string{"de-DE", german["assistant"], german["state.connected"], german["welcome"], german["message_hint"]}, "|") {
		t.Errorf("the page says %q", said)
	}
	ask(page, "Alles?")
	page.Click(".usage")
	page.Type("#input", "Noch etwas?"+kb.Enter)
	page.WaitFor(`$(".problem .retry")?.checkVisibility()`)
	if said := harness.Eval[string](page, `[...$(".problem").children].map(({textContent}) => textContent).join("|")`); said != german["error.provider_unavailable"]+"|"+german["retry"] {
		t.Errorf("the problem says %q", said)
	}
	if at := harness.Eval[string](page, `$("time").textContent`); !regexp.MustCompile(`^\d\d:\d\d$`).MatchString(at) {
		t.Errorf("the time is %q, want it as Germans write it", at)
	}
	checkTranslated(t, page, "de")
	checkAccessible(t, page, "German")
	page.Click("#view-logs")
	page.WaitFor(`$("#logs-list li")`)
	checkTranslated(t, page, "de")
	page.Click("#logs-close")
	page.Run(`$("#list .delete").click()`)
	page.WaitFor(`$("#confirm")?.open`)
	checkTranslated(t, page, "de")
	page.Click("#confirm .cancel")

	page.Reload() // it knows the reason alone
	page.WaitFor(`$(".problem p")?.textContent === ` + fmt.Sprintf("%q", german["error.provider_unavailable"]))
	checkTranslated(t, page, "de")
}

// TestLanguageRetry: when a question may be asked again is said in the reader's language, and then it may be.
func TestLanguageRetry(t *testing.T) {
	t.Parallel()
	page := harness.Open(t, startChat(t, failing(t), "rate 1/3s"), "/assistants/")
	page.Speak("fr")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	ask(page, "Un ?")
	page.Type("#input", "Deux ?"+kb.Enter)
	page.WaitFor(`$(".problem .retry")?.checkVisibility()`)
	french := words(t, "fr")
	said := harness.Eval[[]string](page, `[$(".problem p").textContent, $(".retry").textContent, String($(".retry").disabled)]`)
	if said[0] != french["error.rate_limited"] || !regexp.MustCompile(`^Réessayer dans [1-3] secondes?$`).MatchString(said[1]) || said[2] != "true" {
		t.Errorf("the problem says %q", said)
	}
	page.WaitFor(`!$(".retry").disabled && $(".retry").textContent === ` + fmt.Sprintf("%q", french["retry"]))
}

// TestLanguageFile: a site's file adds a language; a broken one leaves those that are built in.
func TestLanguageFile(t *testing.T) {
	t.Parallel()
	site := strings.Replace(keptChat, "SETTINGS", "", 1) + "\nrespond /words.json `{\"nl\": {\"welcome\": \"Hoe kan ik helpen?\"}}`\nrespond /broken.json `{`\n"
	page := harness.Open(t, harness.Start(t, harness.Site(site), "UPSTREAM="+failing(t).URL), "/assistants/")
	page.Expect("SyntaxError") // which tells the site's owner
	for file, want := range map[string]string{"/words.json": "Hoe kan ik helpen?", "/broken.json": words(t, "en")["welcome"]} {
		page.WaitFor(`$("#status")?.dataset.state === "connected"`)
		page.Run(`
			const chat = document.createElement("assistant-chat");
			for (const [name, value] of [["lang", "nl"], ["texts", "` + file + `"]]) chat.setAttribute(name, value);
			$("assistant-chat").replaceWith(chat)`)
		page.WaitFor(`$("#status")?.dataset.state === "connected" && $("#welcome").textContent === ` + fmt.Sprintf("%q", want))
	}
}

// TestLanguageRightToLeft: an Arabic page is mirrored, and no button covers what is typed, in either direction.
func TestLanguageRightToLeft(t *testing.T) {
	t.Parallel()
	for _, width := range []int64{1200, 390} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			t.Parallel()
			half := make(chan struct{})
			release := sync.OnceFunc(func() { close(half) })
			upstream := harness.NewUpstream(t, func(call *harness.Call) {
				call.Pieces("مرحبا. ")
				<-half
				call.Pieces(rich)
				call.Finish()
			})
			t.Cleanup(release)
			page := harness.Open(t, startChat(t, upstream, ""), "/assistants/")
			page.Look(width, 800, "light")
			page.Speak("ar-EG,ar")
			page.WaitFor(`$("#status")?.dataset.state === "connected"`)
			page.Type("#input", "سؤال"+kb.Enter)
			page.WaitFor(answerText + `?.includes("مرحبا")`)
			for _, draft := range []string{"نص طويل ", "English text "} { // while Send and Stop are there
				page.Run(`$("#input").value = ""`)
				page.Type("#input", strings.Repeat(draft, 30))
				page.WaitFor(`$("#send").checkVisibility() && $("#stop").checkVisibility()`)
				checkUncovered(t, page)
			}
			page.Run(`$("#input").value = ""`)
			release()
			page.WaitFor(answerDone + ` && $(".hl-keyword")`)
			checkUncovered(t, page)
			checkTranslated(t, page, "ar")
			checkAccessible(t, page, "Arabic")
			for what, expression := range map[string]string{
				"the chat's direction":                      `getComputedStyle($("#chat")).direction === "rtl" && $("#chat").lang === "ar-EG"`,
				"Send is left of what is typed":             `$("#send").getBoundingClientRect().x < innerWidth / 2`,
				"the reader's bubble is on the left":        `middle($("[data-role=user] .text")) < middle($("#messages"))`,
				"the conversations are right of it":         `!$("#conversations").checkVisibility() || middle($("#conversations")) > middle($("#panel"))`,
				"an English sentence goes left to right":    `getComputedStyle($$(".text p").find(({textContent}) => textContent.startsWith("Some"))).direction === "ltr"`,
				"an Arabic sentence goes right to left":     `getComputedStyle($(".text p")).direction === "rtl"`,
				"the menu's icon is mirrored":               `!$("#menu").checkVisibility() || getComputedStyle($("#menu svg")).transform.startsWith("matrix(-1,")`,
				"code goes left to right":                   `getComputedStyle($(".code")).direction === "ltr"`,
				"the first of the buttons is the rightmost": `$(".meta time").getBoundingClientRect().x > $(".meta .copy").getBoundingClientRect().x`,
			} {
				if !harness.Eval[bool](page, `(() => { const middle = (element) => { const {x, width} = element.getBoundingClientRect(); return x + width / 2 }; return `+expression+` })()`) {
					t.Errorf("it is not so that: %s", what)
				}
			}
			if wide := harness.Eval[bool](page, `document.documentElement.scrollWidth > innerWidth || $("#log").scrollWidth > $("#log").clientWidth`); wide {
				t.Error("the page is wider than its window")
			}
		})
	}
}

// checkUncovered fails the test when a button lies on the text that is being typed, on another button, or
// outside of the window.
func checkUncovered(t *testing.T, page *harness.Page) {
	t.Helper()
	found := harness.Eval[[]string](page, `(() => {
		const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
		const buttons = $$("#chat button").filter((button) => button.checkVisibility({opacityProperty: true})).map((button) => [button.id || button.className, button.getBoundingClientRect()]);
		const input = $("#input").getBoundingClientRect();
		const {paddingLeft, paddingRight} = getComputedStyle($("#input"));
		const text = {top: input.top, bottom: input.bottom, left: input.left + parseFloat(paddingLeft), right: input.right - parseFloat(paddingRight)};
		return buttons.flatMap(([name, box], i) => [
			...(overlap(box, text) ? [name + " covers what is typed"] : []),
			...(box.left < 0 || box.right > innerWidth ? [name + " is outside of the window"] : []),
			...buttons.slice(i + 1).filter(([, other]) => overlap(box, other)).map(([other]) => name + " covers " + other),
		]);
	})()`)
	for _, problem := range found {
		t.Error(problem)
	}
}

// TestLanguageOfElement: an element has the language of what it stands in or its own, with a site's own words;
// it turns without its page.
func TestLanguageOfElement(t *testing.T) {
	t.Parallel()
	page, address := embed(t, strings.Replace(readmeLines(t), "<assistant-chat floating>", `<assistant-chat floating lang="ar">`, 1))
	arabic := words(t, "ar")
	page.WaitFor(`$("#launcher")?.title === ` + fmt.Sprintf("%q", arabic["chat"]))
	page.Click("#launcher")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Press("hello" + kb.Enter)
	page.WaitFor(answerDone)
	checkLeftAlone(t, page, address)
	checkUncovered(t, page)
	if where := harness.Eval[string](page, `[document.documentElement.lang, document.dir, $("#chat").lang, $("assistant-chat").dir, $("#launcher").getBoundingClientRect().x < innerWidth / 2, $("#chat").getBoundingClientRect().x < 100].join(" ")`); where != "en  ar rtl true true" {
		t.Errorf("the element is %s", where)
	}

	page.Run(`
		const chat = document.createElement("assistant-chat");
		chat.texts = {nl: {welcome: "Hallo!"}, de: {welcome: "Moin!"}};
		const around = document.createElement("section");
		[around.lang, around.dir] = ["nl-BE", "ltr"];
		around.append(chat);
		$("assistant-chat").replaceWith(around)`)
	page.WaitFor(`$("#status")?.dataset.state === "connected" && $("#welcome").textContent === "Hallo!" && $("#input").placeholder === ` + fmt.Sprintf("%q", words(t, "en")["message_hint"]))
	page.Run(`
		const chat = document.createElement("assistant-chat");
		chat.lang = "de";
		chat.texts = {de: {welcome: "Moin!"}};
		$("assistant-chat").replaceWith(chat)`)
	page.WaitFor(`$("#status")?.dataset.state === "connected" && $("#welcome").textContent === "Moin!" && $("#new").textContent === ` + fmt.Sprintf("%q", words(t, "de")["new"]))
}
