package e2e

import (
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// BenchmarkRender shows an answer of ten thousand pieces, which come as fast as the server has them, and
// reports the longest frame and the median in milliseconds, and the main thread's own time for all of it.
func BenchmarkRender(b *testing.B) {
	const pieces = 10_000
	words := strings.SplitAfter(strings.Repeat(rich, pieces), " ")[:pieces]
	upstream := harness.NewUpstream(b, func(call *harness.Call) {
		call.Pieces(words...)
		call.Finish()
	})
	c := harness.Start(b, chatFiles+harness.Site(strings.Replace(keptChat, "SETTINGS", "", 1)), "UPSTREAM="+upstream.URL)
	for b.Loop() {
		page := harness.Open(b, c, "/assistants/")
		page.WaitFor(`$("#status")?.dataset.state === "connected"`)
		page.Run(`window.drawn = []; (function frame(last) { requestAnimationFrame((now) => { if (last) window.drawn.push(now - last); frame(now) }) })()`)
		before := page.Metrics()["TaskDuration"]
		page.Type("#input", "go"+kb.Enter)
		page.WaitFor(answerDone)
		b.ReportMetric(1000*(page.Metrics()["TaskDuration"]-before), "main-thread-ms")
		b.ReportMetric(harness.Eval[float64](page, `Math.max(...window.drawn)`), "longest-ms/frame")
		b.ReportMetric(harness.Eval[float64](page, `window.drawn.toSorted((a, b) => a - b)[window.drawn.length >> 1]`), "median-ms/frame")
	}
}
