package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// BenchmarkRender shows answers of 50 kB that come in pieces of four characters, one each millisecond. It reports
// what scripts took for a frame, in milliseconds: at the 99th percentile, which is to stay below 16, and at most.
// The main thread's own time counts, so a busy machine changes little.
func BenchmarkRender(b *testing.B) {
	const size = 50_000
	for name, part := range map[string]string{
		"everything": rich + "A [link][later], a note[^1], $x^2$ and\n\n$$\n\\sum_{i=1}^n i\n$$\n\n",
		"code":       "```js\n" + strings.Repeat("let a = `${b}`; // c\n\n", size/21) + "```\n",
		"list":       "- an **item** with `code` and a [link](https://example.com/)\n",
		"loose list": "1. an **item**\n\n   ```go\n   x := 1\n   ```\n\n",
		"table":      "| a | b |\n|---|---|\n" + strings.Repeat("| a cell | and *another* |\n", size/26),
		"quotation":  "> quoted **text** of some length\n>\n> - with a list\n",
		"paragraph":  "words **and** `code` and more words without an end, ",
		"no blank":   "# Heading\nText\n- item\n- item\n1. one\n",
	} {
		b.Run(name, func(b *testing.B) {
			text := strings.Repeat(part, size/len(part)+1)[:size] + "\n\n[later]: /page\n\n[^1]: Note.\n"
			upstream := harness.NewUpstream(b, func(call *harness.Call) {
				next := time.NewTicker(time.Millisecond)
				defer next.Stop()
				for piece := range slices.Chunk([]byte(text), 4) {
					<-next.C
					call.Pieces(string(piece))
				}
				call.Finish()
			})
			c := harness.Start(b, harness.Site(strings.Replace(keptChat, "SETTINGS", "", 1)), "UPSTREAM="+upstream.URL)
			for b.Loop() {
				page := harness.Open(b, c, "/assistants/")
				page.WaitFor(`$("#status")?.dataset.state === "connected"`)
				frames := page.Frames(func() {
					page.Type("#input", "go"+kb.Enter)
					page.WaitFor(answerDone)
				})
				slices.Sort(frames)
				milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
				b.ReportMetric(float64(len(frames)), "frames")
				b.ReportMetric(milliseconds(frames[len(frames)*99/100]), "p99-ms")
				b.ReportMetric(milliseconds(frames[len(frames)-1]), "max-ms")
			}
		})
	}
}
