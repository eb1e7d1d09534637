// Package recorder stores an answer while it streams.
package recorder

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"go.uber.org/zap"
)

const (
	// flushDelay and flushBytes bound what a crash may take of an answer that was shown.
	flushDelay = 250 * time.Millisecond
	flushBytes = 2 << 10
	// flushEvery is what all flushes come at multiples of, so that a store commits what is due of several answers at once.
	flushEvery = 50 * time.Millisecond
	// strictTries is how often a piece is offered to the store before its answer fails.
	strictTries = 3
)

// Config is what a [Recorder] records, and how.
type Config struct {
	// Log is where the answer is shown, and After the number of its last event that is stored.
	Log   *stream.Log[assistant.Event]
	After uint64
	// Show appends an event to the log, and Shown says so to those that follow it. A recorder that is not strict leaves
	// that to the caller of Add.
	Show  func(assistant.Event)
	Shown func()
	// Strict shows events once they are stored. Otherwise they are shown at once and stored soon: a crash may lose
	// what was shown last, 250 ms or 2 KiB of it.
	Strict bool
	// Lock keeps others from appending to the log while a strict recorder stores what comes next.
	Lock func() (unlock func())
	// Extend stores events, as in [assistant.Store].
	Extend func([]assistant.Event) error
	// Ctx ends with the answer, and Cancel ends it: an answer that the store keeps refusing.
	Ctx    context.Context
	Cancel context.CancelCauseFunc
	// Logger gets a line for a store that fails.
	Logger *zap.Logger
}

// Recorder stores an answer beside the model, which does not wait for the disk. Add and End are called by one goroutine.
type Recorder struct {
	Config

	timer   *time.Timer   // flushes
	early   time.Duration // of the first flush: answers that begin together are not stored together
	isDue   atomic.Bool   // it runs: something is to be stored
	bytes   atomic.Int64  // of text that was added since the last flush
	failing atomic.Bool   // the last call failed

	flushing chan struct{} // holds one while events are being stored
	ended    bool          // under flushing

	mu      sync.Mutex
	pending []assistant.Event // of a strict recorder: not stored yet, in order
}

// Start begins to record. [Recorder.End] must be called.
func Start(c Config) *Recorder {
	r := &Recorder{Config: c, flushing: make(chan struct{}, 1), early: rand.N(flushDelay)} //nolint:gosec // no secret
	r.timer = time.AfterFunc(math.MaxInt64, r.run)
	return r
}

// Add takes the next event of the answer.
func (r *Recorder) Add(e assistant.Event) {
	if r.Strict {
		r.mu.Lock()
		r.pending = append(r.pending, e)
		r.mu.Unlock()
	} else {
		r.Show(e)
	}
	added := int64(len(e.Text))
	bytes := r.bytes.Add(added)
	isFull := bytes >= flushBytes && !r.failing.Load() // a store that fails gets its time
	switch wasDue := r.isDue.Swap(true); {
	case !wasDue && r.Strict, isFull && bytes-added < flushBytes:
		r.timer.Stop()
		go r.run() // a timer of a synctest bubble that is due at once crashes the race detector of Go 1.26
	case !wasDue:
		r.timer.Reset(untilFlush(flushDelay - r.early))
	}
	r.early = 0
}

// Sync stores what was added so far, and returns when that is durable.
func (r *Recorder) Sync() error {
	r.flushing <- struct{}{}
	defer func() { <-r.flushing }()
	r.isDue.Store(false)
	r.bytes.Store(0)
	if r.Strict {
		return r.flushStrict()
	}
	if !r.Log.Holds(r.After) {
		return errors.New("the answer is too long to be stored before its end")
	}
	return r.flushLog()
}

// End ends the recording and returns the number of the last event that is stored. It stores and shows what a strict
// answer still owes; otherwise nothing is stored, since the whole answer will be. shown is false where not all was
// shown: then the answer is not complete, although the model may have said all.
func (r *Recorder) End() (stored uint64, shown bool) {
	r.timer.Stop()
	r.flushing <- struct{}{}
	r.ended = true
	<-r.flushing
	if r.Strict && r.Ctx.Err() == nil {
		r.flush()
	}
	return r.After, !r.Strict || len(r.pending) == 0
}

// run stores what is due: by the timer, or at once.
func (r *Recorder) run() {
	r.flushing <- struct{}{}
	defer func() { <-r.flushing }()
	defer func() {
		if v := recover(); v != nil { // the answer goes on from memory
			r.ended = true
			r.Logger.Error("recorder panicked", zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	if r.ended {
		return
	}
	r.isDue.Store(false) // before the events are read: what is added meanwhile is due again
	r.bytes.Store(0)
	if r.flush() && !r.isDue.Swap(true) {
		r.timer.Reset(untilFlush(flushDelay))
	}
}

// untilFlush is how long what was just added waits: to the last multiple of flushEvery within most, or to the next one.
func untilFlush(most time.Duration) time.Duration {
	now := time.Now()
	if wait := now.Add(most).Truncate(flushEvery).Sub(now); wait > 0 {
		return wait
	}
	return now.Add(flushEvery).Truncate(flushEvery).Sub(now)
}

// flush stores what is not stored yet, and reports whether it is to be offered again: what the store does not take is. In
// strict mode the answer ends when the store keeps refusing.
func (r *Recorder) flush() (again bool) {
	var err error
	if r.Strict {
		err = r.flushStrict()
	} else {
		err = r.flushLog()
	}
	wasFailing := r.failing.Swap(err != nil)
	switch {
	case err == nil:
	case errors.Is(err, assistant.ErrLost), errors.Is(err, assistant.ErrNotFound): // it will never take it
		r.Cancel(err)
	case r.Strict:
		r.Cancel(&assistant.StoreError{Err: err})
	default:
		if !wasFailing { // once, not for each try
			r.Logger.Warn("store part of an answer", zap.Error(err))
		}
		return true
	}
	return false
}

// flushLog stores what was shown.
func (r *Recorder) flushLog() error {
	if !r.Log.Holds(r.After) {
		return nil // the whole answer will be stored at its end
	}
	events, err := Tail(r.Log, r.After)
	if err != nil || len(events) == 0 {
		return err
	}
	if err := r.Extend(events); err != nil {
		return err
	}
	r.After = events[len(events)-1].Seq
	return nil
}

// Tail returns the events of a log after a number, with theirs.
func Tail(log *stream.Log[assistant.Event], after uint64) (events []assistant.Event, err error) {
	if last := log.Last(); last > after && log.Holds(after) {
		events = make([]assistant.Event, 0, last-after)
	}
	err = log.Each(after, func(seq uint64, e assistant.Event) bool {
		e.Seq = seq
		events = append(events, e)
		return true
	})
	return events, err
}

// flushStrict stores what is pending, and shows it.
func (r *Recorder) flushStrict() error {
	defer r.Lock()()
	r.mu.Lock()
	pending := r.pending
	r.mu.Unlock()
	if len(pending) == 0 {
		return nil
	}
	events, err := Tail(r.Log, r.After)
	if err != nil {
		return err
	}
	next := r.Log.Last() + 1
	for i, e := range pending {
		e.Seq = next + uint64(i)
		events = append(events, e)
	}
	if err := r.offer(events); err != nil {
		return err
	}
	for _, e := range pending {
		r.Show(e)
	}
	r.Shown()
	r.After = events[len(events)-1].Seq
	r.mu.Lock()
	r.pending = r.pending[len(pending):]
	r.mu.Unlock()
	return nil
}

// offer offers events to the store several times.
func (r *Recorder) offer(events []assistant.Event) (err error) {
	for try := range strictTries {
		if !Pause(r.Ctx, time.Duration(try)*100*time.Millisecond) && try > 0 {
			return err // the answer has ended
		}
		if err = r.Extend(events); err == nil || errors.Is(err, assistant.ErrLost) || errors.Is(err, assistant.ErrNotFound) {
			return err
		}
	}
	return err
}

// Pause waits, not at all where d is 0. It returns false as soon as ctx is done.
func Pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
