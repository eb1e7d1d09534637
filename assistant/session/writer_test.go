package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// counts answers with so many numbers, each a piece, with a pause after each.
func counts(n int, pause time.Duration) model {
	return func(ctx context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
		for i := range n {
			if !yield(assistant.Delta{Text: fmt.Sprintf("%d ", i)}) {
				return nil
			}
			if pause == 0 { // two goroutines of a bubble whose timers are due at once crash Go 1.26's race detector
				continue
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		yield(finished)
		return context.Cause(ctx)
	}
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d ", i)
	}
	return b.String()
}

// TestSlowSocket holds that a model never waits for a socket, and that one which lags gets the same text in
// fewer frames, each with the number of its last piece.
func TestSlowSocket(t *testing.T) {
	const n = 20_000
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(n, 0))
		p := newPipe()
		p.gate = make(chan struct{})
		s.serve(p, assistant.Peer{})
		p.in <- `{"action":"assistant_message","payload":"count","ref":"q"}`
		synctest.Wait() // the model has said all, and the socket has taken nothing
		close(p.gate)
		synctest.Wait()

		frames := p.frames(t)
		var text strings.Builder
		last := uint64(0)
		for _, f := range frames {
			if f.Seq <= last || f.Ref != "q" {
				t.Fatalf("%s after seq %d", f.text, last)
			}
			last = f.Seq
			if f.Action != "streaming" {
				continue
			}
			text.WriteString(f.Payload.Content)
			words := strings.Fields(f.Payload.Content)
			if want := fmt.Sprint(f.Seq - 2); words[len(words)-1] != want { // the start has seq 1, number 0 has 2
				t.Fatalf("seq %d ends with number %s", f.Seq, words[len(words)-1])
			}
			if len(f.Payload.Content) > 16<<10+len("20000 ") {
				t.Errorf("a frame of %d bytes", len(f.Payload.Content))
			}
		}
		if text.String() != numbers(n) {
			t.Errorf("the text is not the same: %d bytes, want %d", text.Len(), len(numbers(n)))
		}
		if last != n+2 || frames[len(frames)-1].Action != "complete_streaming" {
			t.Errorf("the last frame is %s", frames[len(frames)-1].text)
		}
		if most := n/100 + 500; len(frames) > most { // the last pieces, less than one batch, are single
			t.Errorf("%d frames for a socket that lags, want at most %d", len(frames), most)
		}
	})
}

// TestMergedPieces holds that merging has a bound, so that no frame keeps others waiting for long.
func TestMergedPieces(t *testing.T) {
	const n, long = 1000, 1000
	synctest.Test(t, func(t *testing.T) {
		letters := model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			for i := range n {
				yield(assistant.Delta{Text: strings.Repeat(string(rune('a'+i%26)), long)})
			}
			yield(finished)
			return nil
		})
		s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{Provider: letters, MaxAnswer: n * long}, nil)
		p := newPipe()
		p.gate = make(chan struct{})
		s.serve(p, assistant.Peer{})
		p.in <- `{"action":"assistant_message","payload":"x"}`
		synctest.Wait()
		close(p.gate)
		synctest.Wait()
		pieces, merged := 0, 0
		for _, f := range p.frames(t) {
			if size := len(f.Payload.Content); size > 16<<10+long {
				t.Errorf("a frame of %d bytes", size)
			} else if size > long {
				merged++
			}
			pieces += len(f.Payload.Content) / long
		}
		if pieces != n || merged < n/40 {
			t.Errorf("%d pieces, %d merged frames", pieces, merged)
		}
	})
}

// TestQuickSocket holds that a socket which keeps up gets every piece as a frame of its own, at once.
func TestQuickSocket(t *testing.T) {
	const n = 500
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(n, time.Millisecond))
		p := s.dial()
		p.in <- `{"action":"assistant_message","payload":"count"}`
		for i := range n {
			synctest.Wait()
			want := []string{fmt.Sprintf(`{"action":"streaming","payload":{"content":"%d "}}`, i)}
			got := p.frames(t)
			if i == 0 {
				got = got[1:] // the start
			}
			if len(got) != 1 || got[0].text != want[0] {
				t.Fatalf("piece %d: got %v", i, got)
			}
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if got := actions(p.frames(t)); !slices.Equal(got, []string{"complete_streaming"}) {
			t.Errorf("at the end came %v", got)
		}
	})
}

// TestSlowAmongQuick holds that a socket which takes nothing delays no other.
func TestSlowAmongQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(1000, 0))
		slow := newPipe()
		slow.gate = make(chan struct{})
		s.serve(slow, assistant.Peer{})
		slow.in <- `{"action":"assistant_message","payload":"count"}`
		for range 5 {
			quick := s.dial()
			quick.in <- `{"action":"ping"}`
			quick.in <- `{"action":"assistant_message","payload":"count"}`
			synctest.Wait()
			frames := quick.frames(t)
			if last := frames[len(frames)-1]; frames[0].Action != "pong" || last.Action != "complete_streaming" {
				t.Errorf("a quick socket got %s … %s", frames[0].text, last.text)
			}
		}
		close(slow.gate)
	})
}

// TestOutboxFull holds that a client which asks faster than it reads is not read from: its answers are
// bounded, none is lost, and they come in order.
func TestOutboxFull(t *testing.T) {
	const most = 1 + 16 + 1 // being written, waiting, and in the reader's hand
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, echoes)
		p := newPipe()
		p.gate = make(chan struct{})
		s.serve(p, assistant.Peer{})
		sent := 0
		for ; sent < 1000; sent++ {
			synctest.Wait()
			select {
			case p.in <- fmt.Sprintf(`{"action":"ping","ref":"%d"}`, sent):
				continue
			default:
			}
			break
		}
		if sent != most {
			t.Errorf("%d requests were read while no answer was, want %d", sent, most)
		}
		close(p.gate)
		synctest.Wait()
		p.in <- fmt.Sprintf(`{"action":"ping","ref":"%d"}`, sent)
		synctest.Wait()
		frames := p.frames(t)
		for i, f := range frames {
			if f.Action != "pong" || f.Ref != fmt.Sprint(i) {
				t.Fatalf("answer %d is %s", i, f.text)
			}
		}
		if len(frames) != sent+1 {
			t.Errorf("%d answers to %d requests", len(frames), sent+1)
		}
	})
}

// TestOutboxFullEnds holds that a session whose reader waits for a full outbox ends all the same.
func TestOutboxFullEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, echoes)
		p := newPipe()
		p.gate = make(chan struct{})
		s.serve(p, assistant.Peer{})
		for range 18 {
			p.in <- `{"action":"ping"}`
		}
		synctest.Wait()
		go s.close()
		synctest.Wait()
		close(p.gate) // what bounds a Send in a real Conn
		if err := <-p.ended; err == nil || p.closes[0] != `[1012,"server is stopping"]` {
			t.Errorf("ended with %v, closed with %v", err, p.closes)
		}
	})
}

// TestResendStorm holds that a client which has an answer repeated (by its client_id) again and again, and takes
// none, is dropped before the repetitions fill the memory.
func TestResendStorm(t *testing.T) {
	const long, resend = 100_000, `{"action":"send_message","payload":{"content":"x","client_id":"c"},"ref":"q"}`
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			_ = yield(assistant.Delta{Text: strings.Repeat("x", long)}) && yield(finished)
			return nil
		}))
		p := newPipe()
		s.serve(p, assistant.Peer{})
		p.in <- resend
		synctest.Wait()
		p.in <- resend
		synctest.Wait()
		if got := actions(p.frames(t)); len(got) != 6 {
			t.Fatalf("a question and its repetition got %v", got)
		}
		p.gate = make(chan struct{})
		for sent, open := 0, true; open; sent++ {
			synctest.Wait()
			select {
			case p.in <- resend:
			default: // not read any more
				open = false
			}
			if sent > 1000 {
				t.Fatal("the client is still read from")
			}
		}
		close(p.gate)
		if err := <-p.ended; err == nil || !slices.Equal(p.closes, []string{`[1008,"client is too slow for its conversation"]`}) {
			t.Errorf("ended with %v, closed with %v", err, p.closes)
		}
		if got := len(p.frames(t)); got > 300 {
			t.Errorf("%d frames were kept", got)
		}
	})
}

// TestBatchesAreBounded holds that a client which asks for large answers and takes none has them encoded one by
// one, not all at once.
func TestBatchesAreBounded(t *testing.T) {
	const long, messages = 30_000, 5
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, echoes)
		p, topic := s.dialStored()
		for i := range messages {
			p.in <- fmt.Sprintf(`{"action":"assistant_message","topic":%q,"payload":"%d%s"}`, topic, i, strings.Repeat("x", long))
			synctest.Wait()
		}
		p.frames(t)
		p.gate = make(chan struct{})
		for range 8 { // each is answered by a snapshot of everything
			p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q,"ref":"s"}`, topic)
		}
		synctest.Wait()
		close(p.gate)
		synctest.Wait()
		for _, send := range p.sends {
			if size := len(strings.Join(send, "")); size > 2*messages*(long+1000)+(64<<10) {
				t.Errorf("a batch of %d bytes", size)
			}
		}
		if got := actions(p.frames(t)); len(got) != 16 || slices.Contains(got, "error") {
			t.Errorf("got %v", got)
		}
	})
}

// TestNoLostWakeup holds that an answer which comes in the moment when the writer finds nothing more to do is
// written: in the bubble, one that is not is a deadlock.
func TestNoLostWakeup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, echoes)
		c := &hasty{pinging{40_000, make(chan struct{}, 1)}}
		c.answered <- struct{}{}
		if err := session.Serve(s.Assistant, c, assistant.Peer{}); err != io.EOF || c.pings != -1 {
			t.Errorf("ended with %v, %d pings left", err, c.pings)
		}
	})
}

// hasty lets the next ping come while Send is still busy for a while, up to the time that the reader needs.
type hasty struct{ pinging }

func (c *hasty) Send(messages ...[]byte) error {
	err := c.pinging.Send(messages...)
	for range rand.IntN(5000) {
		runtime.KeepAlive(c)
	}
	return err
}

// bubbled counts the goroutines of the synctest bubble: others may still end.
func bubbled() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), ", synctest bubble ")
}

// TestIdleSession holds that a session which waits for its client costs one goroutine, also after it has
// answered. While it answers it has a writer only where that must wait for the connection.
func TestIdleSession(t *testing.T) {
	t.Run("tries", func(t *testing.T) { testIdleSession(t, true) })
	t.Run("waits", func(t *testing.T) { testIdleSession(t, false) })
}

func testIdleSession(t *testing.T, tries bool) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(3, time.Second))
		synctest.Wait()
		before := bubbled()
		pipes := make([]*pipe, 10)
		for i := range pipes {
			pipes[i] = newPipe()
			pipes[i].tries = tries
			s.serve(pipes[i], assistant.Peer{})
		}
		want := func(each int, when string) {
			t.Helper()
			synctest.Wait()
			if got := bubbled() - before; got != each*len(pipes) {
				t.Errorf("%s: %d goroutines for %d sessions, want %d each", when, got, len(pipes), each)
			}
		}
		want(1, "at first")
		for _, p := range pipes {
			p.in <- `{"action":"ping"}`
		}
		want(1, "after a ping")
		for _, p := range pipes {
			p.in <- `{"action":"assistant_message","payload":"count"}`
		}
		time.Sleep(1500 * time.Millisecond)
		if tries {
			want(2, "during an answer") // reader, conversation
		} else {
			want(3, "during an answer") // and writer
		}
		time.Sleep(time.Minute)
		want(1, "after the answer")
		for _, p := range pipes {
			p.left <- io.EOF
		}
		want(0, "at the end")
	})
}

// TestSlowSocketOfMany holds what is promised to the sockets of one stored conversation: one of them takes
// nothing for a minute while 100,000 pieces stream. The other gets each piece as it comes; the slow one gets
// the whole text once it reads again, from the log or, where that had to let go of it, in a snapshot.
func TestSlowSocketOfMany(t *testing.T) {
	for name, piece := range map[string]string{"within the log's bound": "x", "beyond it": strings.Repeat("x", 250)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testSlowSocketOfMany(t, piece) })
		})
	}
}

func testSlowSocketOfMany(t *testing.T, piece string) {
	const n = 100_000
	slowly := model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
		for i := range n {
			if i%1000 == 0 {
				time.Sleep(600 * time.Millisecond)
			}
			yield(assistant.Delta{Text: piece})
		}
		yield(finished)
		return nil
	})
	s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{Provider: slowly, MaxAnswer: n * len(piece)}, nil)
	fast, slow := newPipe(), newPipe()
	slow.gate = make(chan struct{})
	for _, p := range []*pipe{fast, slow} {
		s.serve(p, assistant.Peer{User: "ann"})
	}
	fast.in <- `{"action":"create_conversation"}`
	synctest.Wait()
	topic := "conversation:" + fast.frames(t)[0].Payload.ConversationID
	for _, p := range []*pipe{slow, fast} {
		p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic)
	}
	start := time.Now()
	fast.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"go","topic":%q}`, topic)
	time.Sleep(61 * time.Second) // the bubble's: the model has said all, and slow has taken nothing
	ended := fast.frames(t)
	if last := ended[len(ended)-1]; last.Action != "complete_streaming" || time.Since(start) > 62*time.Second {
		t.Errorf("the fast socket's last frame is %.100s", last.text)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("heap with one socket %d pieces behind: %d MiB", n, memory.HeapAlloc>>20)
	close(slow.gate)
	synctest.Wait()
	want := strings.Repeat(piece, n)
	for name, frames := range map[string][]frame{"fast": ended, "slow": slow.frames(t)} {
		if got := textOf(t, frames); got != want {
			t.Errorf("the %s socket ended with %d bytes, want %d", name, len(got), len(want))
		}
	}
}

// textOf is the one answer that a client knows after these frames: a snapshot replaces what was before.
func textOf(t *testing.T, frames []frame) string {
	var text strings.Builder
	for _, f := range frames {
		switch f.Action {
		case "streaming":
			text.WriteString(f.Payload.Content)
		case "snapshot":
			var s struct{ Payload session.SnapshotPayload }
			if err := json.Unmarshal([]byte(f.text), &s); err != nil {
				t.Fatal(err)
			}
			text.Reset()
			for _, m := range s.Payload.Messages {
				if m.Role == assistant.RoleAssistant {
					text.WriteString(m.Content)
				}
			}
			if s.Payload.Streaming != nil {
				text.WriteString(s.Payload.Streaming.Content)
			}
		}
	}
	return text.String()
}
