package openai

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
)

// slowReader takes its time for each read, unless its context ends before.
type slowReader struct {
	ctx   context.Context
	delay time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	select {
	case <-time.After(r.delay):
		return copy(p, "x"), nil
	case <-r.ctx.Done():
		return 0, context.Cause(r.ctx)
	}
}

const testStall = 30 * time.Second

// watched runs test with a watch of a streaming answer, in a bubble of fake time. The time of one second has passed.
func watched(t *testing.T, test func(t *testing.T, w *watch, source *slowReader, r io.Reader)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t.Context(), limits{first: time.Minute, stall: testStall, total: 24 * time.Hour})
		defer w.stop()
		time.Sleep(time.Second)
		w.enter(answer.Streaming)
		source := &slowReader{ctx: w.ctx}
		test(t, w, source, w.reader(source))
	})
}

// TestSilence checks that a read ends exactly when the limit has passed since it began, wherever it began between two
// looks of the timer.
func TestSilence(t *testing.T) {
	for _, pause := range []time.Duration{0, 1, testStall - 1, testStall, testStall + 1, 10*testStall + 7} {
		for _, quick := range []time.Duration{0, time.Millisecond, testStall - 1} {
			watched(t, func(t *testing.T, w *watch, source *slowReader, r io.Reader) {
				source.delay = quick
				if _, err := r.Read(make([]byte, 1)); err != nil {
					t.Fatalf("a read of %s: %v", quick, err)
				}
				time.Sleep(pause)
				begin := time.Now()
				source.delay = time.Hour
				_, err := r.Read(make([]byte, 1))
				if took := time.Since(begin); err == nil || took != testStall {
					t.Errorf("after %s and %s: silence ended with %v after %s, want an error after %s", quick, pause, err, took, testStall)
				}
				if err := w.explain(err); err == nil || !strings.Contains(err.Error(), "stall_timeout: nothing received within 30s") {
					t.Errorf("the cause is %v", err)
				}
			})
		}
	}
}

// TestSilenceBetweenReads checks that neither many reads that are almost too long nor the time between them end an
// answer.
func TestSilenceBetweenReads(t *testing.T) {
	watched(t, func(t *testing.T, w *watch, source *slowReader, r io.Reader) {
		source.delay = testStall - 1
		for i := range 100 {
			if _, err := r.Read(make([]byte, 1)); err != nil {
				t.Fatalf("read %d: %v", i, err)
			}
			time.Sleep(time.Duration(i) * time.Second)
		}
	})
}

// TestSilenceElsewhere checks that only streaming has a limit of silence, and that it has one again when text comes
// after the finish.
func TestSilenceElsewhere(t *testing.T) {
	watched(t, func(t *testing.T, w *watch, source *slowReader, r io.Reader) {
		w.enter(answer.Finishing)
		w.enter(answer.Streaming)
		source.delay = time.Hour
		begin := time.Now()
		if _, err := r.Read(make([]byte, 1)); err == nil || time.Since(begin) != testStall {
			t.Errorf("silence after the finish ended with %v after %s", err, time.Since(begin))
		}
	})
	watched(t, func(t *testing.T, w *watch, source *slowReader, r io.Reader) {
		w.enter(answer.Finishing)
		w.checkSilence() // by the timer that enter has stopped too late
		source.delay = time.Hour
		begin := time.Now()
		if _, err := r.Read(make([]byte, 1)); err == nil || time.Since(begin) != finishTime {
			t.Errorf("the wait for the usage ended with %v after %s", err, time.Since(begin))
		}
	})
}

// TestStopTimers checks that nothing runs after stop, not even a timer that was just at work.
func TestStopTimers(t *testing.T) {
	watched(t, func(t *testing.T, w *watch, _ *slowReader, _ io.Reader) {
		w.stop()
		w.checkSilence()
		if w.timer.Stop() || w.total.Stop() {
			t.Error("a timer runs after stop")
		}
		w.stop()
	})
}
