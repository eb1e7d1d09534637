package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// schedule lets nodes claim the same few conversations and write to them while they are stopped for longer than their lease,
// die, come back and bury each other. It keeps what was accepted, and compares in the end what is stored.
type schedule struct {
	*testing.T

	dsn           string
	ttl           time.Duration
	conversations []string
	pauseIn       int            // one call in so many comes after a pause beyond the lease
	mutate        func(s *Store) // nil = the store as it is

	mu       sync.Mutex
	answers  map[string]*accepted
	logs     map[string][]stretch // epoch → what was accepted of it
	counts   map[string]int
	failures []string
}

// accepted is what the writers of an answer were told is stored.
type accepted struct {
	conversation, text string
	ends               []string // texts of accepted calls of Finish
}

// stretch is the numbers of events that were accepted.
type stretch struct{ first, last uint64 }

func (s *schedule) open() *Store {
	node, err := open(context.Background(), Config{DSN: s.dsn}, nil, s.ttl)
	if err != nil {
		s.fail("open: %v", err)
		return nil
	}
	if s.mutate != nil {
		s.mutate(node)
	}
	return node
}

// crash ends a node without a word to the others.
func crash(node *Store) {
	node.lease.stop()
	node.sweeper.stop()
	node.pool.Close()
	node.lease.disconnect()
	node.close = func() {}
}

func (s *schedule) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// count counts a call. One that is refused for another reason than that the claim is lost is a failure: who holds a
// conversation knows all of it.
func (s *schedule) count(call string, err error) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, assistant.ErrLost):
		call += " refused"
	case err != nil:
		s.failures = append(s.failures, call+": "+err.Error())
	}
	s.counts[call]++
	return err == nil
}

// writer is one node's work on one conversation.
type writer struct {
	*schedule
	*rand.Rand

	node   *Store
	claim  assistant.Claim
	cursor assistant.Cursor
	last   string // ID of the conversation's last message
	answer string // ID of the answer that streams; "" = none
}

// run works until the time is over.
func (w *writer) run(until time.Time) {
	for time.Now().Before(until) && w.node != nil {
		w.work(pickOne(w.Rand, w.conversations))
		if w.IntN(25) == 0 {
			crash(w.node)
			w.node = w.open()
		}
	}
	if w.node != nil {
		crash(w.node)
	}
}

func pickOne[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// work claims a conversation and writes to it for a while.
func (w *writer) work(id string) {
	ctx := context.Background()
	var err error
	w.claim, w.cursor, err = w.node.Claim(ctx, "alice", id)
	if _, held := errors.AsType[*assistant.HeldError](err); held || errors.Is(err, errBuried) {
		time.Sleep(time.Duration(w.IntN(10)) * time.Millisecond)
		return
	}
	if !w.count("claim", err) {
		return
	}
	state, err := w.node.State(ctx, "alice", id, 1)
	if err != nil {
		w.fail("state: %v", err)
		return
	}
	w.last, w.answer = "", ""
	for _, m := range state.Messages {
		w.last = m.ID
	}
	if state.Running != nil {
		if state.Holder == w.claim.Node {
			w.fail("a new claim finds an answer that streams")
		}
		return // it is lost already
	}
	for range 1 + w.IntN(12) {
		w.pause()
		if !w.write(ctx) {
			return
		}
	}
	if w.IntN(4) > 0 {
		for w.answer != "" {
			if !w.write(ctx) {
				return
			}
		}
		w.pause()
		w.count("release", w.node.Release(ctx, w.claim, w.cursor.Seq, nil))
	}
}

// pause stops the node, now and then for longer than its lease.
func (w *writer) pause() {
	switch w.IntN(w.pauseIn) {
	case 0:
		w.node.lease.stop()
		w.node.sweeper.stop()
		time.Sleep(w.ttl + time.Duration(w.Int64N(int64(w.ttl))))
		w.node.lease.start()
		w.node.sweeper.start()
	case 1, 2, 3, 4:
		time.Sleep(time.Duration(w.IntN(20)) * time.Millisecond)
	}
}

// write makes the next call; it returns false where that was refused.
func (w *writer) write(ctx context.Context) bool {
	switch {
	case w.answer == "":
		return w.beginAnswer(ctx)
	case w.IntN(3) > 0:
		return w.extendAnswer(ctx)
	}
	return w.finishAnswer(ctx)
}

// events returns n pieces with the next numbers.
func (w *writer) events(n int) (events []assistant.Event) {
	for i := range n {
		seq := w.cursor.Seq + 1 + uint64(i)
		events = append(events, assistant.Event{Seq: seq, Kind: assistant.KindPiece, Run: w.answer, Text: fmt.Sprintf("%d %s ", seq, w.answer[:4])})
	}
	return events
}

// keep notes what was accepted.
func (w *writer) keep(events []assistant.Event, note func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(events) > 0 {
		w.logs[w.cursor.Epoch] = append(w.logs[w.cursor.Epoch], stretch{events[0].Seq, events[len(events)-1].Seq})
		w.cursor.Seq = events[len(events)-1].Seq
	}
	note()
}

func (w *writer) beginAnswer(ctx context.Context) bool {
	b := asked("")
	b.Last = w.last
	w.answer = b.Answer.ID
	if w.IntN(2) == 0 {
		b.Events = []assistant.Event{{Seq: w.cursor.Seq + 1, Kind: assistant.KindStarted, Run: w.answer, Body: assistant.Started{}}}
	}
	ok := w.count("begin", w.node.Begin(ctx, w.claim, b))
	if ok {
		w.last = w.answer
		w.keep(b.Events, func() { w.answers[w.answer] = &accepted{conversation: w.claim.ID} })
	}
	return ok
}

func (w *writer) extendAnswer(ctx context.Context) bool {
	e := assistant.Extension{MessageID: w.answer, Events: w.events(1 + w.IntN(3))}
	ok := w.count("extend", w.node.Extend(ctx, w.claim, e))
	if ok {
		w.keep(e.Events, func() { w.answers[w.answer].text += e.Parts().Text() })
	}
	return ok
}

func (w *writer) finishAnswer(ctx context.Context) bool {
	w.mu.Lock()
	text := w.answers[w.answer].text + "end"
	w.mu.Unlock()
	done := assistant.Message{ID: w.answer, Content: text, Status: assistant.StatusComplete}
	e := assistant.Ending{At: time.Now(), Messages: []assistant.Message{done}}
	if w.IntN(2) == 0 {
		e.Events = w.events(2)
	}
	ok := w.count("finish", w.node.Finish(ctx, w.claim, e))
	if ok {
		w.keep(e.Events, func() { w.answers[w.answer].ends = append(w.answers[w.answer].ends, text) })
		w.answer = ""
	}
	return ok
}

// play runs nodes at once, lets one bury them all, and returns what is wrong then.
func play(t *testing.T, seed uint64, pauseIn int, mutate func(*Store)) *schedule {
	t.Helper()
	s := &schedule{T: t, dsn: emptySchema("pool_max_conns=4"), ttl: 200 * time.Millisecond, pauseIn: pauseIn, mutate: mutate,
		answers: make(map[string]*accepted), logs: make(map[string][]stretch), counts: make(map[string]int)}
	last := s.open()
	for range 5 {
		c := head()
		must(t, last.Create(t.Context(), "alice", c))
		s.conversations = append(s.conversations, c.ID)
	}
	var wg sync.WaitGroup
	end := time.Now().Add(2500 * time.Millisecond)
	for i := range uint64(5) {
		w := &writer{schedule: s, Rand: rand.New(rand.NewPCG(seed, i)), node: s.open()}
		wg.Go(func() { w.run(end) })
	}
	wg.Wait()
	until(func() bool {
		standings, err := last.Standings(t.Context(), s.conversations)
		must(t, err)
		nodes, err := last.Nodes(t.Context())
		must(t, err)
		return len(nodes) == 1 && !slices.ContainsFunc(standings, func(at assistant.Standing) bool { return at.Holder != 0 })
	})
	s.compare(last)
	must(t, last.Close())
	return s
}

// compare checks what is stored against what was accepted.
func (s *schedule) compare(node *Store) {
	stored := make(map[string]assistant.Message)
	for _, id := range s.conversations {
		messages, _, err := node.Messages(s.Context(), "alice", id, "", 100_000)
		must(s.T, err)
		for i, m := range messages {
			if want := []assistant.Role{assistant.RoleUser, assistant.RoleAssistant}[i%2]; m.Role != want {
				s.fail("message %d is the %s's", i, m.Role)
			}
			if m.Role == assistant.RoleAssistant {
				stored[m.ID] = m
			}
		}
	}
	if len(stored) != len(s.answers) {
		s.fail("%d answers are stored, %d were begun", len(stored), len(s.answers))
	}
	for id, a := range s.answers {
		m := stored[id]
		want, status := a.text, assistant.StatusInterrupted
		if len(a.ends) > 0 {
			want, status = a.ends[0], assistant.StatusComplete
		}
		if len(a.ends) > 1 || m.Content != want || m.Status != status {
			s.fail("answer %s ended %d times, is %s with %q, want %s with %q", id, len(a.ends), m.Status, m.Content, status, want)
		}
	}
	for epoch, log := range s.logs {
		slices.SortFunc(log, func(a, b stretch) int { return int(a.first) - int(b.first) })
		next := min(log[0].first, 2) // 1 is the end of the answer that a burial has interrupted, where there was one
		for _, part := range log {
			if part.first != next {
				s.fail("in epoch %s event %d follows %d", epoch, part.first, next-1)
			}
			next = part.last + 1
		}
	}
}

// Whatever nodes do to each other, what was accepted is stored, once, in order, and by one of them at a time.
func TestSchedules(t *testing.T) {
	t.Parallel()
	counts := make(map[string]int)
	for range 3 {
		seed := rand.Uint64()
		s := play(t, seed, 30, nil)
		t.Logf("seed %d: %v", seed, s.counts)
		if len(s.failures) > 0 {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(s.failures[:min(len(s.failures), 20)], "\n"))
		}
		for call, n := range s.counts {
			counts[call] += n
		}
	}
	if counts["claim"] == 0 || counts["release"] == 0 || counts["begin refused"]+counts["extend refused"]+counts["finish refused"] == 0 {
		t.Errorf("nothing was tested: %v", counts)
	}
}

// A store that compares no claims is caught: this tests the schedules.
func TestSchedulesCatchNoFence(t *testing.T) {
	t.Parallel()
	for range 20 {
		s := play(t, rand.Uint64(), 8, func(node *Store) {
			defer nodes{}.Stop(node)()
			schema := strings.TrimSuffix(node.in("assistant."), ".")
			node.names = strings.NewReplacer("assistant.", schema+".", held, `c.id = $1 AND c.owner = $2 AND $3::bigint <> 0 AND $4::bigint <> 0`)
		})
		if harm := slices.IndexFunc(s.failures, func(f string) bool { return strings.HasPrefix(f, "answer ") }); harm >= 0 {
			t.Logf("%d failures, such as: %.200s", len(s.failures), s.failures[harm])
			return
		}
	}
	t.Error("writes of nodes that were buried changed nothing")
}
