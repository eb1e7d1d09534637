package session_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestLive lists what is alive, page by page and by user, and ends some of it and nothing else.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(1000, time.Second))
		ann, topic := s.dialStored()
		bob := s.serve(newPipe(), assistant.Peer{User: "bob", RemoteAddr: "192.0.2.1:99"})
		ann.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"a secret","topic":%q}`, topic)
		ann.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"and more","topic":%q}`, topic)
		bob.in <- `{"action":"assistant_message","payload":"a secret"}`
		time.Sleep(2500 * time.Millisecond)

		if got := s.hub.Activity(); got != (conversation.Activity{State: conversation.StateServing, Sockets: 2, Answers: 2}) {
			t.Errorf("activity %+v", got)
		}
		first := session.Sockets(s.hub, 0, 1, nil)
		second := session.Sockets(s.hub, first[0].ID, 10, nil)
		if len(first) != 1 || len(second) != 1 || first[0].User != "ann" || second[0].User != "bob" || second[0].RemoteAddr != "192.0.2.1:99" {
			t.Fatalf("sockets %+v, then %+v", first, second)
		}
		if got := first[0]; !slices.Equal(got.Conversations, []string{strings.TrimPrefix(topic, "conversation:")}) || got.Received != 4 ||
			got.Sent != 3+len(ann.frames(t)) || time.Since(got.Since) != 2500*time.Millisecond {
			t.Errorf("ann's socket %+v", got)
		}
		answers := s.hub.Answers("", 10, func(user string) bool { return user == "ann" })
		if len(answers) != 1 || answers[0].Conversation != first[0].Conversations[0] || answers[0].Model != "model" || answers[0].Waiting != 1 {
			t.Fatalf("ann's answers %+v", answers)
		}
		if all := s.hub.Answers("", 10, nil); len(all) != 2 || len(s.hub.Answers(all[0].ID, 10, nil)) != 1 {
			t.Errorf("all answers %+v", all)
		}

		if !s.hub.StopAnswer(answers[0].ID) || s.hub.StopAnswer("of nobody") {
			t.Error("the wrong answer was stopped")
		}
		synctest.Wait()
		frames := ann.frames(t)
		if i := slices.IndexFunc(frames, func(f frame) bool { return f.Action == "complete_streaming" }); i < 0 || frames[i].Payload.FinishReason != "stopped" {
			t.Errorf("ann was told %v", actions(frames))
		}
		if next := s.hub.Answers("", 10, func(user string) bool { return user == "ann" }); len(next) != 1 || next[0].ID == answers[0].ID {
			t.Errorf("after the stop %+v", next)
		}

		if n := session.CloseSockets(s.hub, "bob"); n != 1 || session.CloseSocket(s.hub, 1<<63) {
			t.Errorf("closed %d sockets of bob's", n)
		}
		synctest.Wait()
		if !slices.Equal(bob.closes, []string{`[1008,"closed by the operator"]`}) || len(ann.closes) > 0 {
			t.Errorf("bob was closed with %v, ann with %v", bob.closes, ann.closes)
		}
		if !session.CloseSocket(s.hub, first[0].ID) {
			t.Error("ann's socket is not found")
		}
		synctest.Wait()
		if got := s.hub.Activity(); got.Sockets != 0 || got.Answers != 1 {
			t.Errorf("left is %+v, want the stored answer", got)
		}
	})
}

// TestDrain refuses what is new, lets an answer end, closes sockets; and serves again when it is undone.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(3, time.Second))
		ann, topic := s.dialStored()
		ask := fmt.Sprintf(`{"action":"assistant_message","payload":"count","topic":%q,"ref":"q"}`, topic)
		ann.in <- ask
		synctest.Wait()
		done := make(chan bool)
		go func() { done <- s.hub.Drain(t.Context()) }()
		synctest.Wait()
		ann.in <- ask
		synctest.Wait()
		if got := s.hub.Activity(); got != (conversation.Activity{State: conversation.StateDraining, Sockets: 1, Answers: 1}) || !s.hub.Draining() {
			t.Errorf("while it drains %+v", got)
		}
		if !<-done {
			t.Error("the drain was undone")
		}
		synctest.Wait()
		frames := ann.frames(t)
		if last := frames[len(frames)-1]; last.Payload.FinishReason != "stop" {
			t.Errorf("the last frame is %s", last.text)
		}
		if !slices.ContainsFunc(frames, func(f frame) bool { return f.Action == "error" && f.Payload.Reason == "draining" }) {
			t.Errorf("the second question is answered %v", actions(frames))
		}
		if len(ann.closes) != 1 || !strings.Contains(ann.closes[0], "1012") {
			t.Errorf("closed with %v", ann.closes)
		}
		late := s.serve(newPipe(), assistant.Peer{})
		synctest.Wait()
		if len(late.closes) != 1 || s.hub.Activity().State != conversation.StateDrained {
			t.Errorf("a late socket is closed with %v", late.closes)
		}
		if !s.hub.Resume() || s.hub.Draining() {
			t.Error("not resumed")
		}
		ann, topic = s.dialStored()
		ann.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"count","topic":%q}`, topic)
		time.Sleep(time.Minute)
		if frames := ann.frames(t); frames[len(frames)-1].Action != "complete_streaming" {
			t.Errorf("after resuming %v", actions(frames))
		}
	})
}

// TestDrainUndone resumes in the middle of a drain, which harms no answer; and does not once the hub closes.
func TestDrainUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(3, time.Second))
		p := s.dial()
		p.in <- `{"action":"assistant_message","payload":"count","ref":"q"}`
		synctest.Wait()
		done := make(chan bool, 1)
		go func() { done <- s.hub.Drain(t.Context()) }()
		synctest.Wait()
		if !s.hub.Resume() || <-done {
			t.Error("not undone")
		}
		time.Sleep(time.Minute)
		if frames := p.frames(t); frames[len(frames)-1].Payload.FinishReason != "stop" || len(p.closes) > 0 {
			t.Errorf("the answer is %v, closed with %v", actions(frames), p.closes)
		}
		s.close()
		if s.hub.Resume() {
			t.Error("a closed hub was resumed")
		}
	})
}
