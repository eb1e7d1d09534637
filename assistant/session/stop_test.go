package session_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// TestStopRacesEnd stops an answer at the very moment at which it ends by itself, or begins, or between:
// there is always one end, and after it the next question is answered.
func TestStopRacesEnd(t *testing.T) {
	const rounds = 500
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(5, 0))
		p := s.dial()
		reasons := map[string]int{}
		for i := range rounds {
			ref := fmt.Sprint(i)
			p.in <- `{"action":"assistant_message","payload":"count","ref":"` + ref + `"}`
			for range rand.IntN(4) {
				p.in <- `{"action":"ping"}` // some turns of the scheduler
			}
			p.in <- `{"action":"stop_streaming","ref":"stop"}`
			synctest.Wait()
			frames := slices.DeleteFunc(p.frames(t), func(f frame) bool {
				return f.Action == "pong" || f.Ref == "stop" && f.Payload.Reason == "nothing_to_stop"
			})
			text := ""
			for j, f := range frames {
				want := "streaming"
				if j == 0 {
					want = "streaming_start"
				} else if j == len(frames)-1 {
					want = "complete_streaming"
				}
				if f.Action != want || f.Ref != ref {
					t.Fatalf("round %d: frame %d is %s", i, j, f.text)
				}
				text += f.Payload.Content
			}
			last := frames[len(frames)-1].Payload.FinishReason
			reasons[last]++
			if last == "stop" && text != numbers(5) || last != "stop" && last != "stopped" {
				t.Fatalf("round %d: %s after %q", i, last, text)
			}
		}
		if reasons["stop"] == 0 || reasons["stopped"] == 0 {
			t.Errorf("only one side won the race: %v", reasons)
		}
	})
}

// slowStore takes a second for each piece.
type slowStore struct{ assistant.Store }

func (s slowStore) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	time.Sleep(time.Second)
	return s.Store.Extend(ctx, c, e)
}

// TestStopWhileStoring stops a strict answer when the model has said all, but not all is stored: what was not
// shown is not said, so that the answer is stopped, not complete.
func TestStopWhileStoring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServerOn(t, slowStore{memory.Open(memory.Config{})}, conversation.Config{Provider: counts(5, 100*time.Millisecond), Strict: true}, nil)
		p, topic := s.dialStored()
		for range 20 {
			p.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"count","topic":%q}`, topic)
			time.Sleep(700 * time.Millisecond) // the model has said all, and the first piece is being stored
			p.in <- fmt.Sprintf(`{"action":"stop_streaming","topic":%q}`, topic)
			time.Sleep(time.Minute)
			var text, reason string
			for _, f := range p.frames(t) {
				switch f.Action {
				case "streaming":
					text += f.Payload.Content
				case "complete_streaming":
					reason += f.Payload.FinishReason
				}
			}
			whole := numbers(5)
			if !strings.HasPrefix(whole, text) || text == whole && reason != "stop" || text != whole && reason != "stopped" {
				t.Fatalf("%q ended with %q", text, reason)
			}
		}
	})
}

// TestStopIsAtOnce holds that the model's request is cancelled in the moment of the stop, whatever it does,
// and that a provider which does not listen to its context delays the end, but is not shown any more.
func TestStopIsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := make(chan time.Time, 1)
		s := newServer(t, model(func(ctx context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			yield(assistant.Delta{Text: "shown"})
			context.AfterFunc(ctx, func() { cancelled <- time.Now() })
			time.Sleep(time.Minute) // deaf
			yield(assistant.Delta{Text: "not shown"})
			yield(finished)
			return nil
		}))
		p := s.dial()
		p.in <- `{"action":"assistant_message","payload":"x","ref":"q"}`
		time.Sleep(time.Second)
		stopped := time.Now()
		p.in <- `{"action":"stop_streaming"}`
		if at := <-cancelled; !at.Equal(stopped) {
			t.Errorf("cancelled %v after the stop", at.Sub(stopped))
		}
		time.Sleep(time.Hour)
		frames := p.frames(t)
		if got := actions(frames); !slices.Equal(got, []string{"streaming_start", "streaming", "complete_streaming"}) || frames[2].Payload.FinishReason != "stopped" {
			t.Errorf("got %v", frames)
		}
	})
}

// TestGoneIsAtOnce holds the same for a client that is gone: whether it leaves, breaks off or is closed.
func TestGoneIsAtOnce(t *testing.T) {
	for name, end := range map[string]func(s *server, p *pipe){
		"leaves":      func(_ *server, p *pipe) { p.left <- io.EOF },
		"breaks":      func(_ *server, p *pipe) { p.left <- io.ErrUnexpectedEOF },
		"server ends": func(s *server, _ *pipe) { s.close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var gone, cancelled time.Time
				s := newServer(t, model(func(ctx context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
					yield(assistant.Delta{Text: "partial"})
					<-ctx.Done()
					cancelled = time.Now()
					return context.Cause(ctx)
				}))
				p := s.dial()
				p.in <- `{"action":"assistant_message","payload":"x"}`
				p.in <- `{"action":"assistant_message","payload":"waits"}`
				time.Sleep(time.Second)
				gone = time.Now()
				end(s, p)
				synctest.Wait()
				if !cancelled.Equal(gone) {
					t.Errorf("gone at %v, cancelled at %v", gone, cancelled)
				}
				<-p.ended
			})
		})
	}
}
