package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func newHub(log *zap.Logger) *conversation.Hub {
	return conversation.NewHub(memory.Open(memory.Config{}), log)
}

// TestHubCloseWaits holds that Close returns when everything has ended, and that nothing begins afterwards.
func TestHubCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(nil)
		ended := false
		h.Go(func() {
			time.Sleep(500 * time.Millisecond)
			ended = true
		})
		if h.Draining() {
			t.Error("draining before Close")
		}
		if err := h.Close(t.Context()); err != nil || !ended {
			t.Errorf("close: %v; ended: %v", err, ended)
		}
		if h.Go(func() { t.Error("ran after Close") }) || !h.Draining() {
			t.Error("a closed hub lets things begin")
		}
		if err := h.Close(t.Context()); err != nil {
			t.Errorf("close again: %v", err)
		}
	})
}

// TestHubCloseIsBounded holds that Close gives up on what does not end, and says so.
func TestHubCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(nil)
		release := make(chan struct{})
		h.Go(func() { <-release })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := h.Close(ctx); err == nil || time.Since(start) > 4*time.Second {
			t.Errorf("close: %v after %v", err, time.Since(start))
		}
		close(release)
	})
}

// TestHubRun holds that Close ends what Run has called, and waits for it.
func TestHubRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(nil)
		ended := false
		go func() {
			_ = h.Run(t.Context(), func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(100 * time.Millisecond)
				ended = true
				return nil
			})
		}()
		synctest.Wait()
		if err := h.Close(t.Context()); err != nil || !ended {
			t.Errorf("close: %v; ended: %v", err, ended)
		}
		if err := h.Run(t.Context(), func(context.Context) error { t.Error("called"); return nil }); !errors.Is(err, conversation.ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestHubGoRecovers holds that a panic goes no further than the log.
func TestHubGoRecovers(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	h := newHub(zap.New(core))
	h.Go(func() { panic("out of order") })
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if logs.Len() != 1 || logs.All()[0].ContextMap()["panic"] != "out of order" {
		t.Errorf("logged %v", logs.All())
	}
}

// TestHubGoDuringClose holds that whatever Go accepts has ended when Close returns.
func TestHubGoDuringClose(t *testing.T) {
	for range 100 {
		h := newHub(nil)
		var mu sync.Mutex
		running := 0
		add := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			running += n
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for h.Go(func() { add(-1) }) {
					add(1)
				}
			})
		}
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if running != 0 {
			t.Fatalf("%d goroutines run after Close", running)
		}
	}
}

// TestHubCloseEndsSessions holds that sessions see how their answers ended, and are closed with 1012, although
// their clients take their time to hang up: half a second, which is what a WebSocket gives them.
func TestHubCloseEndsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(1000, time.Second))
		pipes := make([]*pipe, 3)
		for i := range pipes {
			pipes[i] = newPipe()
			pipes[i].onClose = func() { time.Sleep(500 * time.Millisecond) }
			s.serve(pipes[i], assistant.Peer{})
			pipes[i].in <- `{"action":"assistant_message","payload":"count","ref":"q"}`
		}
		time.Sleep(1500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := s.hub.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		for _, p := range pipes {
			frames := p.frames(t)
			if last := frames[len(frames)-1]; last.Action != "complete_streaming" || last.Payload.FinishReason != "interrupted" {
				t.Errorf("the last frame is %s", last.text)
			}
			if !slices.Equal(p.closes, []string{`[1012,"server is stopping"]`}) {
				t.Errorf("closed with %v", p.closes)
			}
			if err := <-p.ended; err == nil || !strings.Contains(err.Error(), "stopping") {
				t.Errorf("ended with %v", err)
			}
		}
	})
}

// TestHubDrains holds that a hub which is being closed lets running answers end and no other begin.
func TestHubDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(3, time.Second))
		p, other := s.dial(), s.dial()
		p.in <- `{"action":"assistant_message","payload":"count","ref":"q1"}`
		p.in <- `{"action":"assistant_message","payload":"waits","ref":"q2"}`
		synctest.Wait()
		closed := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			closed <- s.hub.Close(ctx)
		}()
		synctest.Wait()
		other.in <- `{"action":"assistant_message","payload":"too late","ref":"q3"}`
		start := time.Now()
		if err := <-closed; err != nil || time.Since(start) > 4*time.Second {
			t.Errorf("close: %v after %v", err, time.Since(start))
		}
		byRef := map[string][]string{}
		for _, f := range append(p.frames(t), other.frames(t)...) {
			byRef[f.Ref] = append(byRef[f.Ref], strings.TrimSpace(f.Action+" "+f.Payload.Reason+f.Payload.FinishReason))
		}
		for ref, want := range map[string][]string{
			"q1": {"streaming_start", "streaming", "streaming", "streaming", "complete_streaming stop"},
			"q2": {"notice queued", "error draining"},
			"q3": {"error draining"},
		} {
			if !slices.Equal(byRef[ref], want) {
				t.Errorf("%s got %q, want %q", ref, byRef[ref], want)
			}
		}
	})
}

// TestRemoveWhatIsGone holds that a conversation which the store has forgotten in the meantime, as a sweep does,
// is out of use once somebody wants it deleted: another of its id is a new one.
func TestRemoveWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open(memory.Config{})
		s := newServerOn(t, store, conversation.Config{Provider: echoes}, nil)
		p, topic := s.dialStored()
		id := strings.TrimPrefix(topic, "conversation:")
		must(store.DeleteBefore(t.Context(), time.Now().Add(time.Hour), 10))
		p.in <- fmt.Sprintf(`{"action":"delete_conversation","payload":{"conversation_id":%q},"ref":"d"}`, id)
		synctest.Wait()
		if got := actions(p.frames(t)); !slices.Contains(got, "conversation_deleted") {
			t.Errorf("got %v", got)
		}
		must(0, store.Create(t.Context(), "ann", assistant.Conversation{ID: id}))
		for _, frame := range []string{`{"action":"subscribe","topic":%q}`, `{"action":"assistant_message","payload":"x","topic":%q}`} {
			p.in <- fmt.Sprintf(frame, topic)
		}
		synctest.Wait()
		if got := actions(p.frames(t)); slices.Contains(got, "error") || !slices.Contains(got, "complete_streaming") {
			t.Errorf("the new one got %v", got)
		}
	})
}
