package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// embedded is what the README tells to write into the Caddyfile for pages of other origins, and a second assistant.
const embedded = `
	assistant /ws/support/* {
		name support
		origins {$HOST}
		provider openai {
			base_url {$UPSTREAM}
		}
	}
	assistant /ws/assistants/* {
		origins {$HOST}
		provider openai {
			base_url {$UPSTREAM}
		}
	}
	assistant_chat /assistants/* {
		socket /ws/assistants/
	}
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

// refusedQuestion is one that the model does not answer.
const refusedQuestion = "Refuse this."

const somebodysStyle = `
* { letter-spacing: 9px; }
body { font: 40px/3 fantasy; color: rgb(255, 0, 0); text-transform: uppercase; }
button, textarea, p, div, nav, article { display: none; background: red; }
assistant-chat { --assistant-accent: rgb(1, 2, 3); }
assistant-chat::part(question) { border-style: dotted; }
assistant-chat::part(launcher) { opacity: .5; }
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
				"connect-src ws://CHAT http://CHAT; trusted-types 'none'; require-trusted-types-for 'script'", "CHAT", chat))
			fmt.Fprint(w, strings.ReplaceAll(strings.ReplaceAll(somebodys, "LINES", lines), "CHAT", chat))
		default: // the icon
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(server.Close)
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		if call.Question() == refusedQuestion {
			call.Fail(http.StatusBadRequest, "no")
			return
		}
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
	t.Parallel()
	page, address := embed(t, strings.Replace(readmeLines(t), " floating", "", 1))
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	page.Type("#input", "hello"+kb.Enter)
	page.WaitFor(answerDone + ` && $(".hl-keyword")`)
	checkLeftAlone(t, page, address)
	if hidden := harness.Eval[bool](page, `!$("#input").checkVisibility() || Boolean($("#view-logs"))`); hidden {
		t.Error("the input is hidden, or the logs are offered")
	}
	// Its page prints, and chooses light or dark.
	page.Click("#more")
	page.WaitFor(`$("#options")`)
	if offered := harness.Eval[string](page, `$$("#options > *").map(({className, id}) => className || id).join()`); offered != "save_markdown,save_json,shortcuts" {
		t.Errorf("the menu offers %s", offered)
	}
	page.Press(kb.Escape)
	page.WaitFor(`!$("#options")`)
	page.Run(`document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "n", bubbles: true}))`) // not the chat's
	page.WaitFor(`$(".message")`)
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
	t.Parallel()
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

// TestDriven: the page of another origin drives the element by its methods, attributes and properties, and hears
// of all that happens, under the same policy.
func TestDriven(t *testing.T) {
	t.Parallel()
	page, address := embed(t, readmeLines(t))
	page.WaitFor(`$("#launcher")`)
	page.Run(`
		window.chat = $("assistant-chat");
		window.told = [];
		window.heard = (type) => told.filter((event) => event.type === type).map(({detail}) => detail);
		for (const type of ["question", "answer", "open", "close", "statechange", "conversationchange"]) document.addEventListener(type, (event) => told.push(event));
		chat.addEventListener("error", (event) => told.push(event));
		document.addEventListener("error", () => document.title = "The page's own handler heard of it")`)

	// Opened and prefilled, it waits for its reader, whose question stays in the chat.
	page.Run(`chat.open(); chat.prefill("hello")`)
	page.WaitFor(`chat.isOpen && chat.state === "connected" && $("#input").value === "hello" && heard("open").length === 1`)
	if states := harness.Eval[string](page, `heard("statechange").map(({state}) => state).join()`); states != "connecting,connected" {
		t.Errorf("the page heard of the states %s", states)
	}
	page.Press(kb.Enter)
	page.WaitFor(answerDone + ` && heard("answer").length === 1`)
	checkLeftAlone(t, page, address)
	if got := harness.Eval[string](page, `(() => {
		const [question, answer] = [heard("question")[0], heard("answer")[0]];
		return [answer.question === question.id, answer.finish_reason, answer.usage.output_tokens > 0, answer.message_id.length, "text" in question, "text" in answer].join();
	})()`); got != "true,stop,true,36,false,false" {
		t.Errorf("the page heard %s", got)
	}

	// What the page asks it is answered.
	page.Run(`chat.ask("From the page?").then((answer) => window.answer = answer); window.wasBusy = chat.busy`)
	page.WaitFor(`window.answer && wasBusy && !chat.busy && $$(".message[data-role=assistant]").length === 2`)
	if got := harness.Eval[[]string](page, `[answer.text, answer.finish_reason, heard("question")[1].text]`); !slices.Equal(got, []string{rich, "stop", "From the page?"}) {
		t.Errorf("the page was answered %q", got)
	}
	page.Expect("400")
	if got := harness.Eval[string](page, `chat.ask("`+refusedQuestion+`").catch(({name, reason, retryable}) => [name, reason, retryable].join())`); got != "AssistantError,provider_rejected,false" {
		t.Errorf("the refused question ends with %s", got)
	}
	if got := harness.Eval[string](page, `heard("error").map(({question, reason}) => question === heard("question")[2].id && reason).join()`); got != "provider_rejected" {
		t.Errorf("the page heard of the errors %s", got)
	}

	// From one conversation to another and back.
	page.Run(`window.id = chat.conversationId; chat.newConversation()`)
	page.WaitFor(`$$(".turn").length === 0 && chat.conversationId === undefined && heard("conversationchange").at(-1).id === undefined`)
	page.Run(`chat.openConversation(id)`)
	page.WaitFor(`$$(".turn").length === 3 && chat.conversationId === id && heard("conversationchange").at(-1).id === id`)

	// Attributes and properties, in place.
	page.Run(`
		chat.newConversation();
		window.panel = $("#panel");
		chat.setAttribute("heading", "Ask us");
		chat.greeting = "What now?";
		chat.suggest = "This?\nThat?";
		chat.disclaimer = "Check it.";
		chat.privacy = "/privacy";
		chat.logs = true;
		chat.logo = "/logo.png"`)
	page.WaitFor(`$("#view-logs")`) // which is loaded
	if got := harness.Eval[string](page, `[$("header h2").textContent, $("#welcome p").textContent, $$(".suggestion").length, $("#disclaimer").textContent, $("#privacy").pathname, $("#mark img").src,
		$("#view-logs").checkVisibility(), $("#panel") === panel, chat.heading].join("|")`); got != "Ask us|What now?|2|Check it. Privacy|/privacy|"+strings.Replace(address, "/page#section", "/logo.png", 1)+"|true|true|Ask us" {
		t.Errorf("the attributes give %s", got)
	}
	page.Run(`chat.logs = false; chat.greeting = null; chat.removeAttribute("logo")`)
	page.WaitFor(`!$("#view-logs") && $("#mark svg") && $("#welcome p").textContent === "How can I help?"`)

	// Other words and another language lay it out anew, also the right-to-left ones.
	page.Run(`chat.openConversation(id)`)
	page.WaitFor(`$$(".turn").length === 3`)
	page.Run(`chat.lang = "ar"`)
	page.WaitFor(`$("#chat")?.lang === "ar" && chat.dir === "rtl" && $$(".turn").length === 3 && $("header h2").textContent === "Ask us"`)
	page.Run(`chat.removeAttribute("lang"); chat.texts = {en: {new: "Begin anew"}}`)
	page.WaitFor(`$("#chat")?.lang === "en" && chat.dir === "ltr" && $("#new").textContent === "Begin anew" && $$(".turn").length === 3`)

	// Another socket is another assistant, with conversations of its own; the first one's wait.
	page.Run(`chat.url = $("script").src.replace("assistants/assistant-chat.js", "ws/support/")`)
	page.WaitFor(`chat.state === "connected" && $$(".turn").length === 0 && chat.conversationId === undefined && chat.isOpen`)
	page.Run(`chat.ask("Support?")`)
	page.WaitFor(answerDone + ` && $$(".turn").length === 1`)
	page.Run(`chat.url = null`)
	page.WaitFor(`$$(".turn").length === 3 && chat.conversationId === id`)

	// Closed, it gives the focus back, and stays closed.
	page.Run(`chat.focus(); chat.close()`)
	page.WaitFor(`!chat.isOpen && !$("#chat").checkVisibility() && chat.shadowRoot.activeElement.id === "launcher" && heard("close").length === 1`)
	page.Run(`chat.toggleAttribute("open")`)
	page.WaitFor(`$("#chat").checkVisibility() && $("#launcher").ariaExpanded === "true" && heard("open").length === 2`)

	// What changes while it is in no page counts when it is in one again, and its methods still do what they did.
	page.Run(`chat.remove()`)
	page.WaitFor(`chat.state === "closed"`)
	page.Run(`chat.lang = "de"; document.body.append(chat)`)
	page.WaitFor(`$("#chat")?.lang === "de" && chat.state === "connected" && $$(".turn").length === 3`)
	page.Run(`chat.focus()`)
	page.Press(kb.Escape)
	page.WaitFor(`!chat.isOpen && heard("close").length === 2`)
	if title := harness.Eval[string](page, `document.title`); title != "Somebody's page" {
		t.Error(title)
	}
}

// TestDrivenEarly: what a page sets before the browser knows the element counts, and it may ask before the element
// is in the page.
func TestDrivenEarly(t *testing.T) {
	t.Parallel()
	page, _ := embed(t, `<link rel="help" href="http://CHAT/assistants/assistant-chat.js">`)
	page.Run(`
		window.chat = document.createElement("assistant-chat");
		[chat.heading, chat.texts] = ["Early", {en: {new: "Begin anew"}}];
		import($("[rel=help]").href)`)
	page.WaitFor(`customElements.get("assistant-chat")`)
	page.Run(`
		customElements.upgrade(chat);
		chat.ask("Now?").then((answer) => window.answer = answer);
		document.body.append(chat)`)
	page.WaitFor(`window.answer && $("header h2").textContent === "Early" && $("#new").textContent === "Begin anew" && $$(".turn").length === 1`)
	if text := harness.Eval[string](page, `answer.text`); text != rich {
		t.Errorf("the answer is %q", text)
	}
}

// TestStyled: the page's style sheet reaches parts and colours, and its content takes the place of what is inside.
func TestStyled(t *testing.T) {
	t.Parallel()
	page, _ := embed(t, strings.Replace(readmeLines(t), "></assistant-chat>", `>
		<b slot="heading">Ask Acme</b>
		<i>What now?</i>
		<small slot="footer">Check it.</small>
		<u slot="launcher">?</u>
	</assistant-chat>`, 1))
	page.WaitFor(`$("assistant-chat > u")?.checkVisibility() && getComputedStyle($("#launcher")).opacity === "0.5"`)
	page.Click("assistant-chat > u")
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
	if got := harness.Eval[string](page, `$$("assistant-chat > *").map((element) => element.assignedSlot?.name + element.checkVisibility()).join()`); got != "headingtrue,true,footertrue,launchertrue" {
		t.Errorf("the page's content is in the slots %s", got)
	}
	if shown := harness.Eval[bool](page, `$("header h2").checkVisibility() || $("#welcome p").checkVisibility() || $("#launcher svg").checkVisibility()`); shown {
		t.Error("what the page's content replaces is shown, too")
	}
	page.Press("hello" + kb.Enter)
	page.WaitFor(answerDone)
	if got := harness.Eval[string](page, `[getComputedStyle($(".message[data-role=user]")).borderTopStyle, getComputedStyle($(".message[data-role=assistant]")).borderTopStyle, getComputedStyle($("#launcher")).backgroundColor].join()`); got != "dotted,none,rgb(1, 2, 3)" {
		t.Errorf("the page's styles give %s", got)
	}
}
