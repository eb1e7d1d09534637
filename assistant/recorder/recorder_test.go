package recorder_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"go.uber.org/zap"
)

// Answers are stored at the same few moments, whatever their pieces come at, but those that begin together not all at once;
// nothing waits for longer than 250 ms.
func TestFlushesComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const answers, pieces = 100, 50
		stored := make(chan time.Time, answers*pieces) // when
		var recorders []*recorder.Recorder
		start := time.Now()
		for range answers {
			log := stream.New(1<<20, func(assistant.Event) int { return 1 })
			recorders = append(recorders, recorder.Start(recorder.Config{
				Log: log, Show: func(e assistant.Event) { log.Append(e) }, Ctx: t.Context(), Logger: zap.NewNop(),
				Extend: func(events []assistant.Event) error {
					stored <- time.Now()
					for _, e := range events {
						added, err := time.ParseDuration(e.Text)
						if waited := time.Since(start) - added; err != nil || waited > 250*time.Millisecond {
							t.Errorf("piece %d was stored after %v: %v", e.Seq, waited, err)
						}
					}
					return nil
				},
			}))
		}
		for range pieces {
			time.Sleep(19 * time.Millisecond)
			for _, r := range recorders {
				r.Add(assistant.Event{Kind: assistant.KindPiece, Text: time.Since(start).String()})
			}
		}
		time.Sleep(time.Second)
		for _, r := range recorders {
			if last, _ := r.End(); last != pieces {
				t.Errorf("stored up to %d, want %d", last, pieces)
			}
		}
		close(stored)
		at := make(map[time.Duration]int)
		for when := range stored {
			at[when.Sub(start)]++
		}
		for when, n := range at {
			if when > 20*time.Millisecond && when%(50*time.Millisecond) != 0 {
				t.Errorf("%d answers were stored after %v", n, when)
			}
			if n > answers/2 {
				t.Errorf("after %v %d of %d answers were stored", when, n, answers)
			}
		}
	})
}
