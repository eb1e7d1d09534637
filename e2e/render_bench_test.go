package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// BenchmarkRender shows an answer of ten thousand pieces, which come as fast as the server has them. It
// reports, as the main thread's own time, the longest task and all together: what a frame takes is at most
// that of its tasks, unless the machine is busy with other things.
func BenchmarkRender(b *testing.B) {
	const pieces = 10_000
	words := strings.SplitAfter(strings.Repeat(rich, pieces), " ")[:pieces]
	upstream := harness.NewUpstream(b, func(call *harness.Call) {
		call.Pieces(words...)
		call.Finish()
	})
	c := harness.Start(b, harness.Site(strings.Replace(keptChat, "SETTINGS", "", 1)), "UPSTREAM="+upstream.URL)
	for b.Loop() {
		page := harness.Open(b, c, "/assistants/")
		page.WaitFor(`$("#status")?.dataset.state === "connected"`)
		tasks := page.Tasks(func() {
			page.Type("#input", "go"+kb.Enter)
			page.WaitFor(answerDone)
		})
		var all time.Duration
		for _, task := range tasks {
			all += task
		}
		b.ReportMetric(float64(slices.Max(tasks))/1e6, "longest-task-ms")
		b.ReportMetric(float64(all)/1e6, "all-tasks-ms")
	}
}
