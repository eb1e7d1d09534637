package conversation

import (
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

// recorder stores an answer while it streams, on a goroutine of its own, so that the model does
// not wait for the disk. By default events are shown at once and stored soon; in strict mode they are
// shown once stored.
type recorder struct {
	turn   *turn
	show   func(assistant.Event)
	extend func(offset int, parts assistant.Parts) error // of the store

	// of the goroutine that flushes: loop, then the one that calls end
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

func newRecorder(t *turn, show func(assistant.Event), extend func(int, assistant.Parts) error) *recorder {
	r := &recorder{turn: t, show: show, extend: extend, dirty: make(chan struct{}, 1), full: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{})}
	go r.loop()
	return r
}

// add takes the next event of the answer.
func (r *recorder) add(e assistant.Event) {
	if !r.turn.assistant.Strict {
		r.show(e)
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

// end stores and shows what a strict answer still owes, and ends the goroutine. Otherwise nothing is
// stored: the whole answer will be. An answer that was stopped before all of it was shown is not complete,
// although the model may have said all.
func (r *recorder) end() {
	close(r.stop)
	<-r.done
	if !r.turn.assistant.Strict {
		return
	}
	if r.turn.ctx.Err() == nil {
		r.flush()
	}
	if len(r.pending) > 0 {
		r.turn.finish = ""
	}
}

func (r *recorder) loop() {
	defer close(r.done)
	defer func() {
		if v := recover(); v != nil { // the answer goes on from memory
			r.turn.assistant.Logger.Error("recorder panicked", zap.Any("panic", v), zap.Stack("stack"))
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
		if !r.turn.assistant.Strict {
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
func (r *recorder) flush() {
	r.mu.Lock()
	events, bytes := r.pending, r.bytes
	r.pending, r.bytes = nil, 0
	r.mu.Unlock()
	parts, size := partsOf(events, !r.turn.assistant.ReasoningLive)
	err := r.store(parts)
	wasFailing := r.failing
	if r.failing = err != nil; !r.failing {
		r.stored += size
		if r.turn.assistant.Strict {
			for _, e := range events {
				r.show(e)
			}
		}
		return
	}
	r.mu.Lock()
	r.pending, r.bytes = append(events, r.pending...), r.bytes+bytes
	r.mu.Unlock()
	if r.turn.assistant.Strict {
		r.turn.cancel(&assistant.StoreError{Err: err})
		return
	}
	if !wasFailing { // once, not for each try
		r.turn.assistant.Logger.Warn("store part of an answer", zap.String("message_id", r.turn.id), zap.Error(err))
	}
	raise(r.dirty)
}

// store offers the parts to the store, several times in strict mode.
func (r *recorder) store(parts assistant.Parts) (err error) {
	if parts == nil {
		return nil
	}
	tries := 1
	if r.turn.assistant.Strict {
		tries = strictTries
	}
	for try := range tries {
		pause(r.turn.ctx, time.Duration(try)*100*time.Millisecond)
		if err = r.extend(r.stored, parts); err == nil {
			return nil
		}
	}
	return err
}

// partsOf are the pieces of some events, and how many bytes of text they have.
func partsOf(events []assistant.Event, withReasoning bool) (parts assistant.Parts, size int) {
	var text answerText
	for _, e := range events {
		if e.Kind == assistant.KindPiece || e.Kind == assistant.KindReasoning && withReasoning {
			text.add(e.Kind, e.Text)
			size += len(e.Text)
		}
	}
	return text.parts(true), size
}
