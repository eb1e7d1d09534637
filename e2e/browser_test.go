package e2e

import (
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// TestChatPage: what a newcomer does first, on the example as it is.
func TestChatPage(t *testing.T) {
	c := harness.Start(t, example(t))
	page := harness.Open(t, c, "/")
	if path := harness.Eval[string](page, "location.pathname"); path != "/assistants/" {
		t.Errorf("/ leads to %s, want /assistants/", path)
	}
	page.WaitFor(`$("#status").dataset.state === "connected"`)

	// Notes each text that the answer has on its way.
	harness.Eval[bool](page, `(() => {
		window.texts = new Set();
		new MutationObserver(() => {
			const answer = $(".message[data-role=assistant] .text");
			if (answer) window.texts.add(answer.textContent);
		}).observe($("#messages"), {subtree: true, childList: true, characterData: true});
		return true;
	})()`)
	page.Type("#input", "What is Python?"+kb.Enter)
	page.WaitFor(`$(".message[data-role=assistant]")?.dataset.state === "ended"`)

	if n := harness.Eval[int](page, `$$(".message[data-role=assistant]").length`); n != 1 {
		t.Errorf("the answer is in %d bubbles, want one", n)
	}
	if n := harness.Eval[int](page, `window.texts.size`); n < 10 {
		t.Errorf("the answer came in %d steps, want it to stream", n)
	}
	if text := harness.Eval[string](page, `$(".message[data-role=user] .text").textContent`); text != "What is Python?" {
		t.Errorf("the question's bubble says %q", text)
	}
	if text := harness.Eval[string](page, `$(".message[data-role=assistant] .text").textContent`); !strings.Contains(text, "What is Python?") {
		t.Errorf("the answer does not repeat the question:\n%s", text)
	}
	page.Click("#view-logs")
	page.WaitFor(`$("#logs").open`)
	if text := harness.Eval[string](page, `$("#logs-list").textContent`); !strings.Contains(text, "complete_streaming") {
		t.Errorf("the log does not show the last frame:\n%.2000s", text)
	}
}
