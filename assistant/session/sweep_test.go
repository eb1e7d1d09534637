package session_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// TestSweep holds that conversations go when their last message is older than the retention, and that the
// sweeper ends with its context and with the hub.
func TestSweep(t *testing.T) {
	for _, end := range []string{"context", "hub"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.Open(memory.Config{})
				hub := conversation.NewHub(store, nil)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				create := func(id string) {
					now := time.Now().UTC()
					if err := store.Create(t.Context(), "ann", assistant.Conversation{ID: id, CreatedAt: now, UpdatedAt: now}); err != nil {
						t.Fatal(err)
					}
				}
				const old, young = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
				create(old)
				hub.Sweep(ctx, 90*time.Minute)
				time.Sleep(61 * time.Minute) // the bubble's
				create(young)
				if _, err := store.Conversation(t.Context(), "ann", old); err != nil {
					t.Errorf("deleted too early: %v", err)
				}
				time.Sleep(time.Hour)
				if _, err := store.Conversation(t.Context(), "ann", old); !errors.Is(err, assistant.ErrNotFound) {
					t.Errorf("still there after two hours: %v", err)
				}
				if _, err := store.Conversation(t.Context(), "ann", young); err != nil {
					t.Errorf("the young one: %v", err)
				}
				if end == "context" {
					cancel()
				}
				if err := hub.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
