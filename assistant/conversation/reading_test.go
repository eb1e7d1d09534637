package conversation_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// gated is a store whose reads of a conversation wait for the gate, or for the end of their context.
type gated struct {
	assistant.Store
	gate  chan struct{}
	under atomic.Int32 // reads under way
}

func (s *gated) wait(ctx context.Context) error {
	s.under.Add(1)
	defer s.under.Add(-1)
	select {
	case <-s.gate:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *gated) Conversation(ctx context.Context, owner, id string) (c assistant.Conversation, err error) {
	if err = s.wait(ctx); err == nil {
		c, err = s.Store.Conversation(ctx, owner, id)
	}
	return c, err
}

// storm opens so many conversations of ann's at once, as sessions do that come back.
func storm(t *testing.T, conversations int) (s *gated, wait func() []error) {
	t.Helper()
	s = &gated{Store: memory.Open(memory.Config{}), gate: make(chan struct{})}
	hub := conversation.NewHub(s, nil)
	conversation.New(hub, conversation.Config{})
	t.Cleanup(func() {
		if err := hub.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for range conversations {
		created, err := hub.Create(t.Context(), "ann", "")
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			err := hub.Allowed(context.Background(), "ann", created.ID)
			if err == nil {
				var c *conversation.Conversation
				if c, err = hub.Open("ann", created.ID); err == nil {
					defer c.Close()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	return s, func() []error {
		wg.Wait()
		return errs
	}
}

// TestReadsAreBounded checks that the store gets at most 16 reads at once when many conversations are opened.
func TestReadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, wait := storm(t, 500)
		for range 1000 {
			synctest.Wait()
			if n := s.under.Load(); n > 16 || n == 0 {
				t.Fatalf("%d reads at once, want 16", n)
			}
			s.gate <- struct{}{}
		}
		for _, err := range wait() {
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// TestReadsGiveUp checks that no one waits for ever where the store hangs: 30 seconds for other reads and 11 for its own.
func TestReadsGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, wait := storm(t, 500)
		for _, err := range wait() {
			if err == nil {
				t.Error("opened, although the store hangs")
			}
		}
		if took := time.Since(start); took > 41*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
