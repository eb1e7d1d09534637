package harness

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"
)

// Tasks returns what each task of the page's main thread took while run ran: the thread's own time, whatever
// else the machine had to do.
func (p *Page) Tasks(run func()) []time.Duration {
	p.t.Helper()
	trace := &trace{done: make(chan struct{})}
	p.mu.Lock()
	p.trace = trace
	p.mu.Unlock()
	call(p, tracing.Start, tracing.StartParams{TraceConfig: &tracing.TraceConfig{IncludedCategories: []string{"toplevel", "__metadata"}, ExcludedCategories: []string{"*"}}})
	run()
	call(p, tracing.End, cdp.Empty{})
	select {
	case <-trace.done:
	case <-time.After(Patience):
		p.t.Fatal("the browser does not end its trace")
	}
	return trace.mainThread()
}

func call[In, Out any](p *Page, command cdp.Command[In, Out], params In) {
	p.t.Helper()
	p.Do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, command, params)
		return chromedp.Void{}, err
	})
}

// trace collects events; mainThread may be called when done is closed.
type trace struct {
	events []traceEvent
	done   chan struct{}
}

type traceEvent struct {
	Name     string
	Pid, Tid int
	Tdur     int64 // microseconds of the thread
	Args     struct{ Name string }
}

func (t *trace) add(collected *tracing.EventDataCollected) {
	for _, value := range collected.Value {
		var event traceEvent
		if json.Unmarshal(value, &event) == nil { // args may be of other types
			t.events = append(t.events, event)
		}
	}
}

func (t *trace) mainThread() []time.Duration {
	type thread struct{ pid, tid int }
	main := make(map[thread]bool)
	for _, e := range t.events {
		if e.Name == "thread_name" && e.Args.Name == "CrRendererMain" {
			main[thread{e.Pid, e.Tid}] = true
		}
	}
	var tasks []time.Duration
	for _, e := range t.events {
		if main[thread{e.Pid, e.Tid}] && e.Tdur > 0 {
			tasks = append(tasks, time.Duration(e.Tdur)*time.Microsecond)
		}
	}
	return tasks
}
