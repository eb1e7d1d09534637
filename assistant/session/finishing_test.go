package session_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

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
				s := newServerOn(t, store, conversation.Config{Provider: echoes}, nil)
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
				p.in <- fmt.Sprintf(`{"action":"list_messages","ref":"l","payload":{"conversation_id":%q}}`, strings.TrimPrefix(topic, "conversation:"))
				synctest.Wait()
				if list := p.frames(t); !strings.Contains(list[len(list)-1].text, `"status":"failed","finish_reason":"error"`) {
					t.Errorf("the list does not have the answer as it was shown: %s", list[len(list)-1].text)
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

// TestLateEndGone holds that a client learns of the deletion of its conversation where only the late end of an answer
// finds that out.
func TestLateEndGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &oddStore{Store: memory.Open(memory.Config{})}
		s := newServerOn(t, store, conversation.Config{Provider: echoes}, nil)
		p, topic := s.dialStored()
		store.panics.Store("Finish")
		p.in <- fmt.Sprintf(`{"action":"send_message","topic":%q,"payload":{"content":"x"}}`, topic)
		time.Sleep(time.Minute)
		if err := store.Delete(t.Context(), "ann", strings.TrimPrefix(topic, "conversation:")); err != nil {
			t.Fatal(err)
		}
		if got := actions(p.frames(t)); slices.Contains(got, "conversation_deleted") {
			t.Fatalf("it is known too early: %v", got)
		}
		store.panics.Store("")
		time.Sleep(time.Minute)
		if got := actions(p.frames(t)); !slices.Contains(got, "conversation_deleted") {
			t.Errorf("the client got %v", got)
		}
	})
}

// TestDeletionThatFails holds that a question which waits is not told that its conversation is gone before it is, and that
// the conversation goes on where the store does not delete it.
func TestDeletionThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &oddStore{Store: memory.Open(memory.Config{})}
		s := newServerOn(t, store, conversation.Config{Provider: counts(10, time.Second)}, nil)
		p, topic := s.dialStored()
		ask := func(ref string) {
			p.in <- fmt.Sprintf(`{"action":"send_message","topic":%q,"ref":%q,"payload":{"content":"x"}}`, topic, ref)
			synctest.Wait()
		}
		ask("runs")
		ask("waits")
		_ = p.frames(t)
		store.panics.Store("Delete")
		p.in <- fmt.Sprintf(`{"action":"delete_conversation","payload":{"conversation_id":%q},"ref":"deletes"}`, strings.TrimPrefix(topic, "conversation:"))
		time.Sleep(time.Second)
		store.panics.Store("")
		ask("later")
		time.Sleep(time.Minute)
		got := p.frames(t)
		reasons := make(map[string]string)
		for _, f := range got {
			if f.Action == "error" {
				reasons[f.Ref] = f.Payload.Reason
			}
		}
		if want := map[string]string{"waits": "storage_unavailable", "deletes": "storage_unavailable"}; !maps.Equal(reasons, want) {
			t.Errorf("refused: %v, want %v", reasons, want)
		}
		if last := got[len(got)-1]; last.Ref != "later" || last.Action != "complete_streaming" {
			t.Errorf("the next question ended with %s", last.text)
		}
	})
}

// TestLateEndKeepsOrder holds that the late end of an answer does not make its conversation older than the turns
// that came since.
func TestLateEndKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &oddStore{Store: memory.Open(memory.Config{})}
		s := newServerOn(t, store, conversation.Config{Provider: echoes}, nil)
		p, topic := s.dialStored()
		ask := fmt.Sprintf(`{"action":"send_message","topic":%q,"payload":{"content":"x"}}`, topic)
		store.panics.Store("Finish")
		p.in <- ask
		time.Sleep(10*time.Minute + 30*time.Second) // and a minute passes between its tries
		store.panics.Store("")
		again := time.Now().UTC()
		p.in <- ask
		time.Sleep(time.Minute)
		id := strings.TrimPrefix(topic, "conversation:")
		messages, _, err := store.Messages(t.Context(), "ann", id, "", 4)
		if err != nil || len(messages) != 4 || messages[1].Status != assistant.StatusFailed || messages[3].Status != assistant.StatusComplete {
			t.Fatalf("the store has %+v, %v", messages, err)
		}
		if c := must(store.Conversation(t.Context(), "ann", id)); !c.UpdatedAt.Equal(again) {
			t.Errorf("updated at %s, want %s", c.UpdatedAt, again)
		}
	})
}
