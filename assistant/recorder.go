package assistant

import (
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// flushDelay and flushBytes bound what a crash may take of an answer that was shown.
	flushDelay = 250 * time.Millisecond
	flushBytes = 2 << 10
	// strictTries is how often a piece is offered to the store before its answer fails.
	strictTries = 3
)

// recorder stores an answer's text while it streams, on a goroutine of its own, so that the model does
// not wait for the disk. By default events are shown at once and stored soon; in strict mode they are
// shown once stored.
type recorder struct {
	turn   *turn
	append func(text string) error // to the store
	length func() (int, error)     // of the answer in the store, in bytes
	show   func(event)

	// of whoever flushes: the loop, then end
	stored int  // bytes that the store has
	unsure bool // the last append failed, and may have been done

	mu      sync.Mutex
	pending []event // not stored yet, in order
	bytes   int     // of their text

	dirty chan struct{} // holds one: something is pending
	full  chan struct{} // holds one: flushBytes are
	stop  chan struct{}
	done  chan struct{}
}

func newRecorder(t *turn, appendText func(string) error, length func() (int, error), show func(event)) *recorder {
	r := &recorder{turn: t, append: appendText, length: length, show: show, dirty: make(chan struct{}, 1), full: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{})}
	go r.loop()
	return r
}

// add takes the next event of the answer.
func (r *recorder) add(e event) {
	if !r.turn.assistant.Strict {
		r.show(e)
	}
	r.mu.Lock()
	r.pending = append(r.pending, e)
	r.bytes += len(e.text)
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
		if v := recover(); v != nil { // the store's fault; the answer goes on from memory
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
			if r.unsure {
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

// flush stores what is pending. What the store does not take stays pending; in strict mode the answer
// ends when it keeps refusing.
func (r *recorder) flush() {
	r.mu.Lock()
	events := r.pending
	r.pending, r.bytes = nil, 0
	r.mu.Unlock()
	text := textOf(events)
	failing := r.unsure
	err := r.storeText(text)
	switch {
	case err == nil && r.turn.assistant.Strict:
		for _, e := range events {
			r.show(e)
		}
	case err == nil:
	case r.turn.assistant.Strict:
		r.again(events, len(text))
		r.turn.cancel(&storageError{err})
	default:
		if !failing { // once, not for each try
			r.turn.assistant.Logger.Warn("store part of an answer", zap.String("message_id", r.turn.id), zap.Error(err))
		}
		r.again(events, len(text))
		raise(r.dirty)
	}
}

// storeText appends text, several times in strict mode. After a failure nobody knows whether the store
// has the text all the same: it is asked first, so that nothing is stored twice.
func (r *recorder) storeText(text string) (err error) {
	tries := 1
	if r.turn.assistant.Strict {
		tries = strictTries
	}
	for try := range tries {
		if try > 0 {
			time.Sleep(time.Duration(try) * 100 * time.Millisecond)
		}
		if r.unsure {
			var n int
			if n, err = r.length(); err != nil {
				continue
			}
			text = text[min(max(n-r.stored, 0), len(text)):]
			r.stored, r.unsure = n, false
		}
		if text == "" {
			return nil
		}
		if err = r.append(text); err == nil {
			r.stored += len(text)
			return nil
		}
		r.unsure = true
	}
	return err
}

// again makes events pending that could not be stored.
func (r *recorder) again(events []event, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(events, r.pending...)
	r.bytes += bytes
}

func textOf(events []event) string {
	var b strings.Builder
	for _, e := range events {
		if e.kind == eventPiece {
			b.WriteString(e.text)
		}
	}
	return b.String()
}
