package session_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestUnsubscribeForgets holds that a session which leaves a conversation in the middle of an answer keeps
// nothing of its request: when it comes back the frames are those of any follower, without the ref.
func TestUnsubscribeForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := newServer(t, model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			<-gate
			_ = yield(assistant.Delta{Text: "late"}) && yield(finished)
			return nil
		}))
		p, topic := s.dialStored()
		for _, frame := range []string{
			`{"action":"send_message","topic":%q,"ref":"q","payload":{"content":"x"}}`,
			`{"action":"unsubscribe","topic":%q,"ref":"u"}`,
			`{"action":"subscribe","topic":%q,"ref":"s"}`,
		} {
			p.in <- fmt.Sprintf(frame, topic)
			synctest.Wait()
		}
		p.frames(t)
		close(gate)
		synctest.Wait()
		frames := p.frames(t)
		if !slices.Equal(actions(frames), []string{"streaming", "complete_streaming"}) {
			t.Fatalf("got %v", actions(frames))
		}
		for _, f := range frames {
			if f.Ref != "" || f.Seq == 0 {
				t.Errorf("got %s", f.text)
			}
		}
		p.left <- context.Canceled
	})
}
