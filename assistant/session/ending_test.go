package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
)

// TestLaggingSocketEndsAtOnce holds that a session which ends has ended within a second, whatever it has still to
// write: to a client that reads slowly, and to one that reads nothing.
func TestLaggingSocketEndsAtOnce(t *testing.T) {
	for name, end := range map[string]func(s *server, p *pipe){
		"operator": func(s *server, _ *pipe) { session.CloseSockets(s.hub, "ann") },
		"drain": func(s *server, _ *pipe) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			s.hub.Drain(ctx)
		},
		"left":   func(_ *server, p *pipe) { p.left <- errors.New("broken") },
		"closed": func(s *server, _ *pipe) { s.close() },
	} {
		for _, pace := range []time.Duration{300 * time.Millisecond, time.Hour} {
			t.Run(fmt.Sprint(name, " ", pace), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newServer(t, model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
						for yield(assistant.Delta{Text: strings.Repeat("x", 20_000)}) {
							time.Sleep(time.Millisecond)
						}
						return nil
					}))
					p, topic := s.dialStored()
					p.onSend = func() {
						select {
						case <-time.After(pace):
						case <-p.closed:
						}
					}
					p.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"go on and on","topic":%q}`, topic)
					time.Sleep(time.Second) // 20 MB
					began := time.Now()
					end(s, p)
					<-p.ended
					if took := time.Since(began); took > time.Second {
						t.Errorf("ended after %v", took)
					}
				})
			})
		}
	}
}

// TestFinalEventsAreWritten holds that a client which keeps up sees how its answer ended when the server stops.
func TestFinalEventsAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(1000, time.Second))
		p, topic := s.dialStored()
		p.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"count","topic":%q}`, topic)
		time.Sleep(1500 * time.Millisecond)
		s.close()
		<-p.ended
		got := p.frames(t)
		if last := got[len(got)-1]; last.Action != "complete_streaming" || last.Payload.FinishReason != "interrupted" {
			t.Errorf("the last frame is %s", last.text)
		}
	})
}

// TestHangingStore holds that a store call which hangs costs its request an error, and nothing else: the session
// goes on, and its end is counted.
func TestHangingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		s, w := observed(t, conversation.Config{Provider: echoes}, hangingStore{memory.Open(memory.Config{}), hangs})
		p := s.serve(newPipe(), assistant.Peer{User: "ann"})
		p.in <- `{"action":"list_conversations","ref":"list"}`
		time.Sleep(time.Minute)
		p.in <- `{"action":"ping","ref":"ping"}`
		synctest.Wait()
		got := p.frames(t)
		if !slices.Equal(actions(got), []string{"error", "pong"}) || got[0].Ref != "list" || got[0].Payload.Reason != "storage_unavailable" {
			t.Errorf("got %v", got)
		}
		p.in <- `{"action":"list_conversations"}`
		session.CloseSockets(s.hub, "ann")
		<-p.ended
		w.expectGauges(t, 0)
		if len(w.closed) != 1 || w.closed[0].Cause != assistant.CloseOperator {
			t.Errorf("counted were %+v", w.closed)
		}
		close(hangs)
	})
}

// TestEndOfRequest holds that a request which waits for the store does not hold up the end of its session.
func TestEndOfRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServerOn(t, patientStore{memory.Open(memory.Config{})}, conversation.Config{Provider: echoes}, nil)
		p := newPipe()
		s.serve(p, assistant.Peer{User: "ann"})
		p.in <- `{"action":"list_conversations"}`
		synctest.Wait()
		start := time.Now()
		if n := session.CloseSockets(s.hub, "ann"); n != 1 {
			t.Fatalf("%d sockets", n)
		}
		<-p.ended
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// patientStore lists nothing before the call is given up.
type patientStore struct{ assistant.Store }

func (patientStore) List(ctx context.Context, _ string, _ assistant.Conversation, _ int) ([]assistant.Conversation, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// hangingStore hangs when it lists.
type hangingStore struct {
	assistant.Store
	until chan struct{}
}

func (s hangingStore) List(context.Context, string, assistant.Conversation, int) ([]assistant.Conversation, error) {
	<-s.until
	return nil, errors.New("too late")
}

// TestOwnLogIsTrimmed holds that what a client has read of the connection's own conversation is let go.
func TestOwnLogIsTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pieces = 100_000 // which the log would keep with some 15 MB
		hold := make(chan struct{})
		s := newServer(t, model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			for range pieces {
				yield(assistant.Delta{Text: "x"})
			}
			<-hold
			yield(finished)
			return nil
		}))
		p := s.dial()
		before := heap()
		p.in <- `{"action":"assistant_message","payload":"go on"}`
		synctest.Wait()
		if got := len(p.frames(t)); got < 100 {
			t.Fatalf("%d frames", got)
		}
		if grown := heap() - before; grown > 4<<20 {
			t.Errorf("%d bytes more", grown)
		}
		close(hold)
		synctest.Wait()
	})
}
