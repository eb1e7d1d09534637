package openai

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
)

const (
	// finishTime is the longest wait for the usage, which comes after the finish reason.
	finishTime = 5 * time.Second
	// drainTime is the longest wait for the end of a response after its end marker. A connection can be
	// reused only when the end has been read; most servers send it at once.
	drainTime = 100 * time.Millisecond
)

// limits are the longest wait for the first piece, the longest silence, and the longest duration of an answer.
type limits struct {
	first, stall, total time.Duration
}

// watch cancels its context when the limit of a phase has passed.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	limits limits
	phase  answer.Phase
	total  *time.Timer
	timer  *time.Timer // of the phase; while streaming, it runs only during reads
}

func newWatch(ctx context.Context, l limits) *watch {
	w := &watch{limits: l}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.total = w.after(l.total, late("max_duration: no complete answer", l.total))
	w.timer = w.after(l.first, late("timeout: no piece of the answer", l.first))
	return w
}

func late(what string, limit time.Duration) error {
	return &assistant.ProviderError{Reason: assistant.ReasonProviderTimeout, Err: fmt.Errorf("%s within %s", what, limit)}
}

func (w *watch) after(limit time.Duration, cause error) *time.Timer {
	return time.AfterFunc(limit, func() { w.cancel(cause) })
}

// enter is called after every event. Each phase has its own timer, because the causes differ.
func (w *watch) enter(p answer.Phase) {
	if p == w.phase {
		return
	}
	w.timer.Stop()
	w.phase = p
	switch p {
	case answer.Streaming:
		w.timer = w.after(w.limits.stall, late("stall_timeout: nothing received", w.limits.stall))
		w.timer.Stop()
	case answer.Finishing:
		w.timer = w.after(min(finishTime, w.limits.stall), nil) // the answer is complete, so no cause is needed
	case answer.Draining:
		w.timer = w.after(drainTime, nil)
	}
}

// stop cancels the request. It may be called twice.
func (w *watch) stop() {
	w.timer.Stop()
	w.total.Stop()
	w.cancel(nil)
}

// explain returns the cause if the context has ended, otherwise err.
func (w *watch) explain(err error) error {
	if cause := context.Cause(w.ctx); cause != nil {
		return cause
	}
	return err
}

// reader returns a reader from r that limits silence. Time between reads does not count.
func (w *watch) reader(r io.Reader) io.Reader { return watchedReader{w, r} }

type watchedReader struct {
	*watch
	r io.Reader
}

func (r watchedReader) Read(p []byte) (int, error) {
	if r.phase == answer.Streaming {
		r.timer.Reset(r.limits.stall)
		defer r.timer.Stop()
	}
	return r.r.Read(p)
}
