package openai

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
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

// noRead says that no read is under way whose time is limited.
const noRead = -1

// watch cancels its context when the limit of a phase has passed. Its methods are for the goroutine that reads the
// answer, checkSilence for its timer.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	limits limits
	total  *time.Timer

	begin   time.Time
	reading atomic.Int64 // when the read under way began, in nanoseconds after begin, or noRead

	mu    sync.Mutex // guards the fields below; the reading goroutine, which alone writes them, reads them without it
	phase answer.Phase
	timer *time.Timer // of the phase
}

func newWatch(ctx context.Context, l limits) *watch {
	w := &watch{limits: l, begin: time.Now()}
	w.reading.Store(noRead)
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
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.phase = p
	switch p {
	case answer.Streaming:
		w.timer = time.AfterFunc(w.limits.stall, w.checkSilence)
	case answer.Finishing:
		w.timer = w.after(min(finishTime, w.limits.stall), nil) // the answer is complete, so no cause is needed
	case answer.Draining:
		w.timer = w.after(drainTime, nil)
	}
}

// checkSilence is run by the timer of [answer.Streaming]. It cancels if the read under way has lasted too long;
// otherwise it runs again as soon as that can be so. This way a read sets no timer.
func (w *watch) checkSilence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != answer.Streaming || w.ctx.Err() != nil {
		return
	}
	rest := w.limits.stall
	if began := w.reading.Load(); began != noRead {
		rest -= time.Since(w.begin) - time.Duration(began)
	}
	if rest <= 0 {
		w.cancel(late("stall_timeout: nothing received", w.limits.stall))
		return
	}
	w.timer.Reset(rest)
}

// stop cancels the request. It may be called twice.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
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

// reader returns a reader from r that limits silence while an answer streams. Time between reads does not count.
func (w *watch) reader(r io.Reader) io.Reader { return watchedReader{w, r} }

type watchedReader struct {
	*watch
	r io.Reader
}

func (r watchedReader) Read(p []byte) (int, error) {
	if r.phase != answer.Streaming {
		return r.r.Read(p)
	}
	r.reading.Store(int64(time.Since(r.begin)))
	n, err := r.r.Read(p)
	r.reading.Store(noRead)
	return n, err
}
