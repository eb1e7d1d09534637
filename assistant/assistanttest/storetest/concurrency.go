package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// concurrencyTests are about many callers at once.
var concurrencyTests = []storeCase{
	{"ConcurrentDuplicates", testConcurrentDuplicates},
	{"ConcurrentBeginnings", testConcurrentBeginnings},
	{"ConcurrentConversations", testConcurrentConversations},
	{"ConcurrentTurns", testConcurrentTurns},
	{"ConcurrentDelete", testConcurrentDelete},
	{"ConcurrentReadAndDelete", testConcurrentReadAndDelete},
	{"ConcurrentRename", testConcurrentRename},
	{"ConcurrentDeleteBefore", testConcurrentDeleteBefore},
}

// concurrently runs f(0) to f(n-1) at once, each as a subtest, and waits for them.
func (t storeTest) concurrently(n int, f func(t storeTest, i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			t.Run(strconv.Itoa(i), func(tt *testing.T) { f(storeTest{tt, t.Store, t.ledger}, i) })
		})
	}
	close(start)
	wg.Wait()
}

// testConcurrentDuplicates resends one message a hundred times at once.
func testConcurrentDuplicates(t storeTest) {
	c := t.create("alice", 1)
	var stored, duplicates atomic.Int32
	t.concurrently(100, func(t storeTest, _ int) {
		err := t.beginAfter("alice", c.ID, assistant.Beginning{Question: question("Hi", "client-1", 1), Answer: answer(1)})
		switch {
		case err == nil:
			stored.Add(1)
		case errors.Is(err, assistant.ErrDuplicate):
			duplicates.Add(1)
		default:
			t.Errorf("begin: %v", err)
		}
	})
	if stored.Load() != 1 || duplicates.Load() != 99 {
		t.Errorf("%d stored and %d duplicates", stored.Load(), duplicates.Load())
	}
	if n := len(t.load("alice", c.ID).Messages); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// testConcurrentBeginnings begins a hundred turns behind one message at once, and answers one question a hundred times: one
// of them is stored, and no message that it has stored is dropped.
func testConcurrentBeginnings(t storeTest) {
	for _, drops := range []bool{false, true} {
		c := t.create("alice", 1)
		q, a := t.turn("alice", c.ID, "Hi", "", 1)
		want, from := []assistant.Message{q, a}, ""
		if drops {
			want, from = want[:1], a.ID
		}
		var mu sync.Mutex
		t.concurrently(100, func(t storeTest, i int) {
			b := assistant.Beginning{Last: a.ID, DropFrom: from, Answer: answer(1)}
			added := []assistant.Message{b.Answer}
			if i%2 == 0 {
				b.Question = question("And?", "", 1)
				added = []assistant.Message{*b.Question, b.Answer}
			}
			err := t.beginAfter("alice", c.ID, b)
			if err != nil && !errors.Is(err, assistant.ErrStale) {
				t.Errorf("begin: %v", err)
			}
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				want = append(want, added...)
			}
		})
		t.holds("alice", c.ID, want...)
		streaming := 0
		for _, m := range want {
			if isStreaming(m) {
				streaming++
			}
		}
		t.same(streaming, 1)
	}
}

// testConcurrentConversations lets every goroutine talk in a conversation of its own, while another
// reads along: what it sees only grows.
func testConcurrentConversations(t storeTest) {
	t.concurrently(12, func(t storeTest, i int) {
		owner := fmt.Sprintf("owner-%d", i%5)
		c := t.create(owner, i)
		var want []assistant.Message
		for n := range 3 {
			q, a := t.ask(owner, c.ID, fmt.Sprintf("Question %d", n), fmt.Sprintf("client-%d", n), n)
			done := make(chan struct{})
			var reader sync.WaitGroup
			reader.Go(func() { t.readAlong(owner, c.ID, done) })
			for piece := range 10 {
				t.extend(owner, c.ID, &a, text(fmt.Sprintf("%d,%d,%d;", i, n, piece)))
			}
			close(done)
			reader.Wait()
			want = append(want, q, t.finish(owner, c.ID, a, a.Content, n))
		}
		t.holds(owner, c.ID, want...)
	})
}

func (t storeTest) readAlong(owner, id string, done <-chan struct{}) {
	last := ""
	for {
		page, _, err := t.Messages(t.Context(), owner, id, "", 1)
		if err != nil || len(page) != 1 || !strings.HasPrefix(page[0].Content, last) {
			t.Errorf("read %+v after %q: %v", page, last, err)
			return
		}
		last = page[0].Content
		select {
		case <-done:
			return
		default:
		}
	}
}

// testConcurrentTurns lets goroutines talk in one conversation, each again after ErrStale: no turn is torn apart or lost.
func testConcurrentTurns(t storeTest) {
	const turns = 20
	c := t.create("alice", 1)
	var ends sync.RWMutex // who begins knows the number of the last end
	begin := func(t storeTest, b assistant.Beginning) error {
		ends.RLock()
		defer ends.RUnlock()
		return t.begin("alice", c.ID, b)
	}
	t.concurrently(turns, func(t storeTest, i int) {
		b := assistant.Beginning{Question: question(fmt.Sprintf("Question %d", i), "", 1), Answer: answer(1)}
		err := begin(t, b)
		for errors.Is(err, assistant.ErrStale) {
			err = begin(t, b)
		}
		t.must(err)
		ends.Lock()
		defer ends.Unlock()
		t.finish("alice", c.ID, b.Answer, fmt.Sprintf("Answer %d", i), 1)
	})
	messages := t.load("alice", c.ID).Messages
	if len(messages) != 2*turns {
		t.Fatalf("%d messages", len(messages))
	}
	seen := make(map[string]bool)
	for i := 0; i < len(messages); i += 2 {
		number, ok := strings.CutPrefix(messages[i].Content, "Question ")
		if !ok || seen[number] || messages[i+1].Content != "Answer "+number {
			t.Errorf("%q is followed by %q", messages[i].Content, messages[i+1].Content)
		}
		seen[number] = true
	}
}

// testConcurrentDelete deletes conversations while others write to them. The answer ends while a call of Extend is still
// under way, as after one that was given up.
func testConcurrentDelete(t storeTest) {
	for n := range 20 {
		c := t.create("alice", n)
		_, a := t.ask("alice", c.ID, "Hi", "client-1", n)
		ended := a
		ended.Status = assistant.StatusComplete
		var deleted atomic.Int32
		t.concurrently(4, func(t storeTest, i int) {
			var err error
			switch i {
			case 0, 1:
				if err = t.Delete(t.Context(), "alice", c.ID); err == nil {
					deleted.Add(1)
				}
			case 2:
				err = t.ledger.extend(t.Context(), t.Store, "alice", c.ID, 0, assistant.Extension{MessageID: a.ID, Events: eventsOf(a.ID, assistant.Parts{text("x")})})
			default:
				if err = t.end("alice", c.ID, 1, ended); err == nil {
					err = t.beginAfter("alice", c.ID, assistant.Beginning{Last: a.ID, Question: question("Hi", "", 1), Answer: answer(1)})
				}
			}
			isOther := i == 3 && errors.Is(err, assistant.ErrLost) // the end has the number of another event
			if err != nil && !errors.Is(err, assistant.ErrNotFound) && !isOther {
				t.Errorf("caller %d: %v", i, err)
			}
		})
		if deleted.Load() != 1 {
			t.Errorf("deleted %d times", deleted.Load())
		}
		_, err := t.Conversation(t.Context(), "alice", c.ID)
		t.want(assistant.ErrNotFound, err)
	}
}

// testConcurrentReadAndDelete reads conversations while they are deleted: what is read is whole, or gone.
func testConcurrentReadAndDelete(t storeTest) {
	for n := range 50 {
		c := t.create("alice", n)
		_, a := t.ask("alice", c.ID, "Hi", "", n)
		t.finish("alice", c.ID, a, "Hello", 1)
		reading := make(chan struct{})
		t.concurrently(2, func(t storeTest, i int) {
			if i == 0 {
				<-reading
				t.must(t.Delete(t.Context(), "alice", c.ID))
				return
			}
			for first := true; ; first = false {
				page, _, err := t.Messages(t.Context(), "alice", c.ID, "", 10)
				if first {
					close(reading)
				}
				if errors.Is(err, assistant.ErrNotFound) {
					return
				}
				if err != nil || len(page) != 2 {
					t.Errorf("read %d messages: %v", len(page), err)
					return
				}
			}
		})
	}
}

// testConcurrentRename gives a conversation many titles at once, each of them only in the place of the one
// that all have read.
func testConcurrentRename(t storeTest) {
	c := t.create("alice", 1)
	for range 5 {
		was := t.load("alice", c.ID).Title
		var won atomic.Pointer[string]
		t.concurrently(20, func(t storeTest, i int) {
			title := fmt.Sprintf("%d after %s", i, was)
			switch got, err := t.Rename(t.Context(), "alice", c.ID, title, &was); {
			case err == nil && got.Title != title:
				t.Errorf("renamed to %q, got %q", title, got.Title)
			case err == nil && won.Swap(&title) != nil:
				t.Errorf("two have won")
			case err != nil && !errors.Is(err, assistant.ErrStale):
				t.Errorf("rename: %v", err)
			}
		})
		if title := won.Load(); title == nil || t.load("alice", c.ID).Title != *title {
			t.Fatalf("title is %q", t.load("alice", c.ID).Title)
		}
	}
}

// testConcurrentDeleteBefore lets several callers delete: each conversation is returned once, by the one
// that has deleted it.
func testConcurrentDeleteBefore(t storeTest) {
	old := make(map[string]bool)
	for range 60 {
		old[t.create("alice", 1).ID] = true
	}
	kept := t.create("alice", 3)
	var mu sync.Mutex
	t.concurrently(6, func(t storeTest, _ int) {
		for {
			deleted, err := t.DeleteBefore(t.Context(), at(2), 7)
			t.must(err)
			mu.Lock()
			for _, c := range deleted {
				if !old[c.ID] {
					t.Errorf("conversation %s was deleted twice, or is young", c.ID)
				}
				delete(old, c.ID)
			}
			mu.Unlock()
			if len(deleted) < 7 {
				return
			}
		}
	})
	if len(old) > 0 {
		t.Errorf("%d of 60 were not returned", len(old))
	}
	t.load("alice", kept.ID)
}
