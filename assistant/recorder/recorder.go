// Package recorder stores an answer while it streams.
package recorder

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.uber.org/zap"
)

const (
	// flushDelay and flushBytes bound what a crash may take of an answer that was shown.
	flushDelay = 250 * time.Millisecond
	flushBytes = 2 << 10
	// strictTries is how often a piece is offered to the store before its answer fails.
	strictTries = 3
)

// Config is what a [Recorder] records, and how.
type Config struct {
	// Strict shows events once they are stored. Otherwise they are shown at once and stored soon: a crash may lose
	// what was shown last, 250 ms or 2 KiB of it.
	Strict bool
	// Reasoning is stored, too.
	Reasoning bool
	// Show shows an event.
	Show func(assistant.Event)
	// Extend stores parts from an offset on, as in [assistant.Store].
	Extend func(offset int, parts assistant.Parts) error
	// Ctx ends with the answer, and Cancel ends it: a strict answer that the store keeps refusing.
	Ctx    context.Context
	Cancel context.CancelCauseFunc
	// Logger gets a line for a store that fails.
	Logger *zap.Logger
}

// Recorder stores an answer on a goroutine of its own, so that the model does not wait for the disk. Add and End are
// called by one goroutine.
type Recorder struct {
	Config

	// of the goroutine that flushes: loop, then the one that calls End
	stored  int  // bytes that the store has
	failing bool // the last call failed

	mu      sync.Mutex
	pending []assistant.Event // not stored yet, in order
	bytes   int               // of their text

	dirty chan struct{} // holds one: something is pending
	full  chan struct{} // holds one: flushBytes are
	stop  chan struct{}
	done  chan struct{}
}

// Start begins to record. [Recorder.End] must be called.
func Start(c Config) *Recorder {
	r := &Recorder{Config: c, dirty: make(chan struct{}, 1), full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go r.loop()
	return r
}

// Add takes the next event of the answer.
func (r *Recorder) Add(e assistant.Event) {
	if !r.Strict {
		r.Show(e)
	}
	r.mu.Lock()
	r.pending = append(r.pending, e)
	r.bytes += len(e.Text)
	isFull := r.bytes >= flushBytes
	r.mu.Unlock()
	raise(r.dirty)
	if isFull {
		raise(r.full)
	}
}

func raise(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// End ends the recording. It stores and shows what a strict answer still owes; otherwise nothing is
// stored, since the whole answer will be. It returns false where not all was shown: then the answer is not complete,
// although the model may have said all.
func (r *Recorder) End() (shown bool) {
	close(r.stop)
	<-r.done
	if r.Strict && r.Ctx.Err() == nil {
		r.flush()
	}
	return !r.Strict || len(r.pending) == 0
}

func (r *Recorder) loop() {
	defer close(r.done)
	defer func() {
		if v := recover(); v != nil { // the answer goes on from memory
			r.Logger.Error("recorder panicked", zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	timer := time.NewTimer(flushDelay)
	defer timer.Stop()
	for {
		select {
		case <-r.dirty:
		case <-r.stop:
			return
		}
		if !r.Strict {
			timer.Reset(flushDelay)
			full := r.full
			if r.failing {
				full = nil // a store that fails gets its time
			}
			select {
			case <-timer.C:
			case <-full:
			case <-r.stop:
				return
			}
		}
		r.flush()
	}
}

// flush stores what is pending. What the store does not take stays pending, and is offered again from the same
// offset; in strict mode the answer ends when the store keeps refusing.
func (r *Recorder) flush() {
	r.mu.Lock()
	events, bytes := r.pending, r.bytes
	r.pending, r.bytes = nil, 0
	r.mu.Unlock()
	parts, size := partsOf(events, r.Reasoning)
	err := r.store(parts)
	wasFailing := r.failing
	if r.failing = err != nil; !r.failing {
		r.stored += size
		if r.Strict {
			for _, e := range events {
				r.Show(e)
			}
		}
		return
	}
	r.mu.Lock()
	r.pending, r.bytes = append(events, r.pending...), r.bytes+bytes
	r.mu.Unlock()
	if r.Strict {
		r.Cancel(&assistant.StoreError{Err: err})
		return
	}
	if !wasFailing { // once, not for each try
		r.Logger.Warn("store part of an answer", zap.Error(err))
	}
	raise(r.dirty)
}

// store offers the parts to the store, several times in strict mode.
func (r *Recorder) store(parts assistant.Parts) (err error) {
	if parts == nil {
		return nil
	}
	tries := 1
	if r.Strict {
		tries = strictTries
	}
	for try := range tries {
		if !Pause(r.Ctx, time.Duration(try)*100*time.Millisecond) && try > 0 {
			return err // the answer has ended
		}
		if err = r.Extend(r.stored, parts); err == nil {
			return nil
		}
	}
	return err
}

// partsOf are the pieces of some events, and how many bytes of text they have.
func partsOf(events []assistant.Event, withReasoning bool) (parts assistant.Parts, size int) {
	var text Text
	for _, e := range events {
		if e.Kind == assistant.KindPiece || e.Kind == assistant.KindReasoning && withReasoning {
			text.Add(e.Kind, e.Text)
			size += len(e.Text)
		}
	}
	return text.Parts(true), size
}

// Pause waits. It returns false as soon as ctx is done.
func Pause(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
	return !errors.Is(ctx.Err(), context.Canceled)
}
