package session_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// tale is the answer to a question of the random test: pieces that follow from the question alone.
func tale(question string) (pieces []string) {
	random := rand.New(rand.NewPCG(uint64(len(question)), uint64(question[len(question)-1])))
	for i := range random.IntN(100) {
		pieces = append(pieces, fmt.Sprintf("%s.%d ", question, i))
	}
	return pieces
}

// teller tells the tale of every question, and sometimes fails after it.
func teller(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
	fails := rand.IntN(10) == 0
	err := tells(ctx, req, func(d assistant.Delta) bool {
		return (fails && d == finished) || yield(d)
	})
	if err == nil && fails {
		return errors.New("failed")
	}
	return err
}

// tells tells the tale of every question, with pauses at random places.
func tells(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
	for _, piece := range tale(question(req)) {
		if rand.IntN(20) == 0 {
			select {
			case <-time.After(time.Duration(rand.IntN(30)) * time.Millisecond):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if !yield(assistant.Delta{Text: piece}) {
			return nil
		}
	}
	yield(finished)
	return nil
}

// witness follows one conversation on one socket, and holds what the protocol promises of it.
type witness struct {
	t         *testing.T
	p         *pipe
	topic     string
	questions []string          // in order; of a stored conversation, as they are shown
	refs      map[string]string // ref of a question that this socket asked → question

	seq     uint64
	running bool
	text    string
	failed  bool
	ends    map[string]int // by finish reason
	said    []string       // texts of the answers that have ended
}

func (w *witness) look() {
	for _, f := range w.p.frames(w.t) {
		nonsense := f.Action == "error" && f.Payload == payload{} // the answer to it
		if f.Topic == w.topic && f.Action != "pong" && (f.Action != "notice" || f.Seq > 0) && !nonsense {
			w.take(f)
		}
	}
}

func (w *witness) take(f frame) {
	if f.Seq > 0 && f.Action != "snapshot" {
		if f.Seq <= w.seq || w.topic != "" && f.Action != "streaming" && f.Seq != w.seq+1 {
			w.t.Fatalf("after seq %d: %s", w.seq, f.text)
		}
		w.seq = f.Seq
	}
	if f.Ref != "" && w.refs[f.Ref] == "" && f.Ref != "stop" {
		w.t.Fatalf("the ref is another socket's: %s", f.text)
	}
	switch f.Action {
	case "user_message":
		w.questions = append(w.questions, f.Payload.Content)
	case "streaming_start":
		if w.running {
			w.t.Fatalf("a start within an answer: %s", f.text)
		}
		w.running, w.text, w.failed = true, "", false
	case "streaming":
		w.must(w.running, f)
		w.text += f.Payload.Content
	case "error":
		w.must(w.running, f)
		w.failed = true
	case "complete_streaming":
		w.must(w.running, f)
		w.running = false
		w.end(f)
	}
}

func (w *witness) must(ok bool, f frame) {
	w.t.Helper()
	if !ok {
		w.t.Fatalf("out of place: %s", f.text)
	}
}

func (w *witness) end(f frame) {
	question := w.questions[len(w.said)] // answers come in the order of their questions
	whole := strings.Join(tale(question), "")
	reason := f.Payload.FinishReason
	w.ends[reason]++
	switch {
	case f.Ref != "" && f.Ref != "stop" && w.refs[f.Ref] != question:
		w.t.Fatalf("the answer to %s has the ref of %s", question, w.refs[f.Ref])
	case w.failed != (reason == "error") && reason != "":
		w.t.Fatalf("an error is shown: %v; %s", w.failed, f.text)
	case !strings.HasPrefix(whole, w.text), (reason == "stop" || reason == "error") && w.text != whole:
		w.t.Fatalf("the answer to %s ended with %q, it is %q", question, w.text, whole)
	}
	w.said = append(w.said, w.text)
}

func (w *witness) ask(question string, extended bool) {
	e := fmt.Sprintf(`{"action":"assistant_message","payload":%q`, question)
	if w.topic != "" {
		e += fmt.Sprintf(`,"topic":%q`, w.topic)
	} else {
		w.questions = append(w.questions, question)
	}
	if extended {
		ref := fmt.Sprint("r", len(w.refs))
		w.refs[ref] = question
		e += fmt.Sprintf(`,"ref":%q`, ref)
	}
	w.p.in <- e + "}"
}

// TestRandom lets several sockets do anything at any time: ask in their own conversation and in a shared one,
// stop, ping, send nonsense. Every start has one end, every answer is the one of its question, in order; all
// sockets of the shared conversation see the same, and the store has it in the end.
func TestRandom(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRandom(t, rand.New(rand.NewPCG(seed, 42))) })
		})
	}
}

func testRandom(t *testing.T, random *rand.Rand) {
	store := memory.Open(memory.Config{})
	s := newServerOn(t, store, conversation.Config{
		Provider: newChain(t, flaky(teller), flaky(teller), model(tells)), MaxPending: 1000, Context: 1 << 30, Strict: random.IntN(3) == 0,
	}, nil)
	var own, shared []*witness
	newWitness := func(p *pipe, topic string) *witness {
		return &witness{t: t, p: p, topic: topic, refs: map[string]string{}, ends: map[string]int{}}
	}
	for range 3 {
		own = append(own, newWitness(s.dial(), ""))
	}
	first, topic := s.dialStored()
	shared = append(shared, newWitness(first, topic))
	for range 2 {
		p := s.serve(newPipe(), assistant.Peer{User: "ann"})
		p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic)
		synctest.Wait()
		shared = append(shared, newWitness(p, topic))
	}
	all := slices.Concat(own, shared)
	const steps = 150
	for i := range steps {
		w := all[random.IntN(len(all))]
		switch random.IntN(8) {
		case 0, 1, 2:
			w.ask(fmt.Sprintf("%s%c", strings.Repeat("q", 1+i%7), 'a'+rune(i%26)), random.IntN(2) == 0)
		case 3:
			w.p.in <- fmt.Sprintf(`{"action":"stop_streaming","topic":%s,"ref":"stop"}`, strings.ReplaceAll(fmt.Sprintf("%q", w.topic), `""`, "null"))
		case 4:
			w.p.in <- `{"action":"ping"}`
		case 5:
			w.p.in <- `{"action":"stop_streaming","payload":{"message_id":[]}}`
		case 6:
			synctest.Wait()
			w.look()
		default:
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		}
	}
	time.Sleep(time.Hour) // the bubble's: everything has ended
	for i, w := range all {
		w.look()
		if w.running || len(w.said) != len(w.questions) || w.p.closes != nil {
			t.Errorf("socket %d: %d questions, %d answers, running: %v, closed with %v", i, len(w.questions), len(w.said), w.running, w.p.closes)
		}
	}
	for _, w := range shared[1:] {
		if !slices.Equal(w.said, shared[0].said) || !slices.Equal(w.questions, shared[0].questions) {
			t.Error("two sockets of one conversation saw something else")
		}
	}
	var stored []string
	messages, _, err := store.Messages(t.Context(), "ann", strings.TrimPrefix(topic, "conversation:"), "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Role == assistant.RoleAssistant {
			stored = append(stored, m.Content)
		}
	}
	if !slices.Equal(stored, shared[0].said) {
		t.Error("the store has not what was shown")
	}
}
