package assistant_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// TestLateEnd holds that an answer whose end the store did not take is stored as it was shown once the store
// is back: after its next try, or at the latest when the server stops.
func TestLateEnd(t *testing.T) {
	for _, back := range []string{"later", "when the server stops"} {
		t.Run(back, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &oddStore{Store: memory.Open(memory.Config{})}
				s := newServerOn(t, store, assistant.Config{Provider: echoes}, nil)
				p, topic := s.dialStored()
				store.panics.Store("Finish")
				p.in <- fmt.Sprintf(`{"action":"send_message","topic":%q,"payload":{"content":"x"}}`, topic)
				time.Sleep(10 * time.Minute)
				frames := p.frames(t)
				if last := frames[len(frames)-1]; last.Payload.FinishReason != "error" {
					t.Errorf("the answer ended with %s", last.text)
				}
				answer := func() assistant.Message {
					messages, _, err := store.Messages(t.Context(), "ann", strings.TrimPrefix(topic, "conversation:"), "", 2)
					if err != nil || len(messages) != 2 {
						t.Fatalf("%d messages, %v", len(messages), err)
					}
					return messages[1]
				}
				if m := answer(); m.Status != assistant.StatusStreaming {
					t.Fatalf("the store has %+v", m)
				}
				store.panics.Store("")
				if back == "later" {
					time.Sleep(time.Minute)
				} else {
					s.close()
				}
				if m := answer(); m.Status != assistant.StatusFailed || m.Content != "x" || m.FinishReason != assistant.FinishError {
					t.Errorf("the store has %+v", m)
				}
			})
		})
	}
}
