package session_test

import (
	"context"
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

// endings are the frames of a ref.
func endings(frames []frame, ref string) (got []string) {
	for _, f := range frames {
		if f.Ref == ref {
			got = append(got, f.Action+" "+f.Payload.Reason)
		}
	}
	return got
}

// TestReplayAcrossSubscribe holds that what answers a request outside the log is not lost when its session subscribes
// anew before it has written it.
func TestReplayAcrossSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, echoes)
		p, topic := s.dialStored()
		ask := func(ref string) {
			p.in <- fmt.Sprintf(`{"action":"send_message","topic":%q,"ref":%q,"payload":{"content":"x","client_id":"k"}}`, topic, ref)
			synctest.Wait()
		}
		ask("q")
		p.frames(t)
		p.gate = make(chan struct{})
		p.in <- `{"action":"ping","ref":"p"}` // the writer is busy with it
		synctest.Wait()
		ask("again")
		p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q,"ref":"s"}`, topic)
		synctest.Wait()
		close(p.gate)
		synctest.Wait()
		if got := endings(p.frames(t), "again"); len(got) != 4 || got[3] != "complete_streaming " {
			t.Errorf("the repetition got %q", got)
		}
		if n := session.Expected(s.hub); n != 0 {
			t.Errorf("%d requests are still expected", n)
		}
	})
}

// TestPlainClientOfReasoningModel holds that the writer goes on after more events than it reads at once of which none is
// for its client.
func TestPlainClientOfReasoningModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			time.Sleep(time.Millisecond)
			for range 1000 {
				yield(assistant.Delta{Reasoning: "hm"})
			}
			_ = yield(assistant.Delta{Text: "late"}) && yield(finished)
			return nil
		}))
		p := newPipe()
		p.gate = make(chan struct{})
		s.serve(p, assistant.Peer{})
		p.in <- `{"action":"assistant_message","payload":"x"}`
		time.Sleep(time.Second)
		close(p.gate)
		synctest.Wait()
		if got := actions(p.frames(t)); !slices.Equal(got, []string{"streaming_start", "streaming", "complete_streaming"}) {
			t.Errorf("got %v", got)
		}
	})
}

// TestReplayOfManyParts holds that an answer of many parts can be replayed to a client that reads.
func TestReplayOfManyParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			for range 300 {
				yield(assistant.Delta{Reasoning: "hm", Text: "x"})
			}
			yield(finished)
			return nil
		}))
		p, topic := s.dialStored()
		for _, ref := range []string{"q", "again"} {
			p.in <- fmt.Sprintf(`{"action":"send_message","topic":%q,"ref":%q,"payload":{"content":"x","client_id":"k"}}`, topic, ref)
			synctest.Wait()
			text := ""
			for _, f := range p.frames(t) {
				if f.Action == "streaming" && f.Ref == ref {
					text += f.Payload.Content
				}
			}
			if text != strings.Repeat("x", 300) {
				t.Errorf("%s got %d characters", ref, len(text))
			}
		}
		if len(p.closes) > 0 {
			t.Errorf("closed with %v", p.closes)
		}
	})
}

// slowBegin begins when it may, and then as begin says.
type slowBegin struct {
	assistant.Store
	gate chan struct{}
	full bool
}

func (s slowBegin) Begin(ctx context.Context, c assistant.Claim, b assistant.Beginning) error {
	<-s.gate
	if s.full {
		return assistant.ErrConversationFull
	}
	return s.Store.Begin(ctx, c, b)
}

// TestStopWhileBeginning holds that a request to stop a question which is then refused learns of that: of its own
// socket, and of another.
func TestStopWhileBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := newServerOn(t, slowBegin{memory.Open(memory.Config{}), gate, true}, conversation.Config{Provider: echoes}, nil)
		other, topic := s.dialStored()
		p := s.serve(newPipe(), assistant.Peer{User: "ann", Conversation: strings.TrimPrefix(topic, "conversation:")})
		synctest.Wait()
		p.frames(t)
		p.in <- `{"action":"assistant_message","payload":"x"}`
		synctest.Wait()
		p.in <- `{"action":"stop_streaming","ref":"stop"}`
		other.in <- fmt.Sprintf(`{"action":"stop_streaming","topic":%q,"ref":"stop"}`, topic)
		synctest.Wait()
		close(gate)
		synctest.Wait()
		for _, pipe := range []*pipe{p, other} {
			if got := endings(pipe.frames(t), "stop"); !slices.Equal(got, []string{"error conversation_full"}) {
				t.Errorf("got %q", got)
			}
		}
		if n := session.Expected(s.hub); n != 0 {
			t.Errorf("%d requests are still expected", n)
		}
	})
}

// TestDeletedWhileBeginning holds that a question whose conversation the retention deletes while it begins is refused.
func TestDeletedWhileBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := newServerOn(t, slowBegin{memory.Open(memory.Config{}), gate, false}, conversation.Config{Provider: echoes}, nil)
		p, topic := s.dialStored()
		time.Sleep(2 * time.Hour)
		p.in <- fmt.Sprintf(`{"action":"send_message","topic":%q,"ref":"q","payload":{"content":"x"}}`, topic)
		synctest.Wait()
		s.hub.Sweep(t.Context(), time.Hour)
		synctest.Wait()
		close(gate)
		synctest.Wait()
		got := p.frames(t)
		if !slices.Equal(endings(got, "q"), []string{"error unknown_topic"}) || !slices.Contains(actions(got), "conversation_deleted") {
			t.Errorf("got %v", got)
		}
		if n := session.Expected(s.hub); n != 0 {
			t.Errorf("%d requests are still expected", n)
		}
	})
}

// TestLaggingSocketSeesDeletion holds that a session which lags so far that it starts over learns that the conversation
// was deleted, once.
func TestLaggingSocketSeesDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			for range 40 {
				yield(assistant.Delta{Text: strings.Repeat("x", 1<<20)})
			}
			yield(finished)
			return nil
		}))
		p, topic := s.dialStored()
		p.gate = make(chan struct{})
		p.in <- `{"action":"ping"}`
		synctest.Wait()
		p.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"long","topic":%q}`, topic)
		synctest.Wait()
		if n, err := s.hub.Erase(t.Context(), "ann"); n != 1 || err != nil {
			t.Fatalf("erased %d, %v", n, err)
		}
		close(p.gate)
		synctest.Wait()
		deletions := 0
		for _, f := range p.frames(t) {
			if f.Action == "conversation_deleted" {
				deletions++
			}
		}
		if deletions != 1 {
			t.Errorf("%d deletions were shown", deletions)
		}
		p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q,"ref":"s"}`, topic)
		synctest.Wait()
		if got := endings(p.frames(t), "s"); !slices.Equal(got, []string{"error unknown_topic"}) {
			t.Errorf("subscribing again got %q", got)
		}
	})
}
