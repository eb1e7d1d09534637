package harness

import (
	"context"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
)

// Metrics are what the page has cost so far: counters, and seconds of its main thread's own time.
func (p *Page) Metrics() map[string]float64 {
	p.t.Helper()
	metrics := make(map[string]float64)
	p.Do(func(ctx context.Context, target *chromedp.Target) (none chromedp.Void, err error) {
		if _, err := cdp.Call(ctx, target, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}); err != nil {
			return none, err
		}
		result, err := cdp.Call(ctx, target, performance.GetMetrics, cdp.Empty{})
		if err != nil {
			return none, err
		}
		for _, m := range result.Metrics {
			metrics[m.Name] = m.Value
		}
		return none, nil
	})
	return metrics
}
