package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"
)

// Frames returns what the page's scripts took for each frame that was drawn while run ran: the main thread's own time,
// whatever else the machine had to do.
func (p *Page) Frames(run func()) []time.Duration {
	p.t.Helper()
	trace := &trace{done: make(chan struct{})}
	p.mu.Lock()
	p.trace = trace
	p.mu.Unlock()
	categories := []string{"devtools.timeline", "devtools.timeline.frame", "disabled-by-default-devtools.timeline.frame", "__metadata"}
	call(p, tracing.Start, tracing.StartParams{TraceConfig: &tracing.TraceConfig{IncludedCategories: categories, ExcludedCategories: []string{"*"}}})
	run()
	call(p, tracing.End, cdp.Empty{})
	select {
	case <-trace.done:
	case <-time.After(Patience):
		p.t.Fatal("the browser does not end its trace")
	}
	return trace.frames()
}

func call[In, Out any](p *Page, command cdp.Command[In, Out], params In) {
	p.t.Helper()
	p.Do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, command, params)
		return chromedp.Void{}, err
	})
}

// trace collects events; frames may be called when done is closed.
type trace struct {
	events []traceEvent
	done   chan struct{}
}

type traceEvent struct {
	Name     string
	Pid, Tid int
	Ts, Dur  int64 // microseconds
	Tdur     int64 // the same, of the thread's own time
	Args     struct{ Name string }
}

// scripts are the events in which scripts run; they may be within each other.
var scripts = []string{"EvaluateScript", "EventDispatch", "FireAnimationFrame", "FunctionCall", "RunMicrotasks", "TimerFire"}

func (t *trace) add(collected *tracing.EventDataCollected) {
	for _, value := range collected.Value {
		var event traceEvent
		if json.Unmarshal(value, &event) == nil { // args may be of other types
			t.events = append(t.events, event)
		}
	}
}

func (t *trace) frames() []time.Duration {
	type thread struct{ pid, tid int }
	main := make(map[thread]bool)
	for _, e := range t.events {
		if e.Name == "thread_name" && e.Args.Name == "CrRendererMain" {
			main[thread{e.Pid, e.Tid}] = true
		}
	}
	events := slices.DeleteFunc(slices.Clone(t.events), func(e traceEvent) bool { return !main[thread{e.Pid, e.Tid}] })
	slices.SortStableFunc(events, func(a, b traceEvent) int { return cmp.Or(cmp.Compare(a.Ts, b.Ts), cmp.Compare(b.Dur, a.Dur)) })
	frames := []time.Duration{0}
	var end int64 // of the script that contains others
	for _, e := range events {
		switch {
		case e.Name == "BeginMainThreadFrame":
			frames = append(frames, 0)
		case slices.Contains(scripts, e.Name) && e.Ts >= end:
			end = e.Ts + e.Dur
			frames[len(frames)-1] += time.Duration(e.Tdur) * time.Microsecond
		}
	}
	return frames
}
