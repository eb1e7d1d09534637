package storetest

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// BenchmarkStore measures what answers ask of a store: Begin with a question of 200 bytes, and Extend by
// 1 KiB, each by one caller and by a hundred at once, every one in a conversation of its own.
func BenchmarkStore(b *testing.B, s assistant.Store) {
	b.Helper()
	text := strings.Repeat("x", 1<<10)
	for _, callers := range []int{1, 100} {
		b.Run(fmt.Sprintf("Begin/%d", callers), func(b *testing.B) {
			benchmark(b, s, callers, (*talker).begin)
		})
		b.Run(fmt.Sprintf("Extend/%d", callers), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			benchmark(b, s, callers, func(t *talker) error {
				if t.pieces++; t.pieces%200 == 1 { // answers end
					return t.begin()
				}
				return t.ledger.extend(b.Context(), s, t.owner, t.id, 0, assistant.Extension{
					MessageID: t.answer, Events: []assistant.Event{{Kind: assistant.KindPiece, Run: t.answer, Text: text}},
				})
			})
		})
	}
}

// talker is a caller in a benchmark.
type talker struct {
	*testing.B

	store         assistant.Store
	ledger        *ledger
	owner, id     string
	first, answer string // messages
	begun, pieces int
}

// begin begins a turn in the place of the last answer, which streams; every tenth time it begins the conversation anew.
func (t *talker) begin() error {
	next := assistant.Beginning{Last: t.answer, DropFrom: t.answer, Question: question(strings.Repeat("q", 200), "", 1), Answer: answer(1)}
	if t.begun%10 == 0 {
		next.DropFrom, t.first = t.first, next.Question.ID
	}
	t.begun++
	t.answer = next.Answer.ID
	return t.ledger.begin(t.Context(), t.store, t.owner, t.id, next)
}

// benchmark shares b.N calls of f among callers.
func benchmark(b *testing.B, s assistant.Store, callers int, f func(*talker) error) {
	b.Helper()
	talkers := make([]*talker, callers)
	for i := range talkers {
		t := &talker{B: b, store: s, ledger: newLedger(), owner: fmt.Sprintf("owner-%d", i), id: uuid.NewString()}
		if err := s.Create(b.Context(), t.owner, assistant.Conversation{ID: t.id, CreatedAt: at(0), UpdatedAt: at(0)}); err != nil {
			b.Fatal(err)
		}
		talkers[i] = t
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, t := range talkers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(t); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	for _, t := range talkers {
		if err := s.Delete(b.Context(), t.owner, t.id); err != nil {
			b.Error(err)
		}
	}
}
