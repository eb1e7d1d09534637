package assistanttest

import (
	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// durableTests are about what a store finds when it is opened again.
var durableTests = []struct {
	name string
	run  func(t storeTest, place Place)
}{
	{"ReopenKeeps", testReopenKeeps},
	{"ReopenInterrupts", testReopenInterrupts},
}

func (t storeTest) reopen(place Place) storeTest {
	t.Helper()
	t.must(t.Close())
	return storeTest{t.T, place(t.T)}
}

func testReopenKeeps(t storeTest, place Place) {
	owners := []string{"alice", "bob", ""}
	want := make(map[string]conversation) // owner → its only one
	for n, owner := range owners {
		c := t.create(owner, n)
		_, a := t.ask(owner, c.ID, "Hi", "client-1", n)
		a.Usage = &assistant.Usage{InputTokens: 1, OutputTokens: 2, TotalTokens: 3}
		t.finish(owner, c.ID, a, "Hello, "+owner, n)
		_, err := t.Rename(t.Context(), owner, c.ID, "Title of "+owner)
		t.must(err)
		want[owner] = t.load(owner, c.ID)
	}
	for range 3 {
		t = t.reopen(place)
		for _, owner := range owners {
			t.same(t.load(owner, want[owner].ID), want[owner])
			t.want(assistant.ErrDuplicate, t.Begin(t.Context(), owner, want[owner].ID, assistant.Beginning{
				Question: question("Hi", "client-1", 9), Answer: answer(9),
			}))
		}
	}
	t.must(t.Delete(t.Context(), "alice", want["alice"].ID))
	t = t.reopen(place)
	_, err := t.Conversation(t.Context(), "alice", want["alice"].ID)
	t.want(assistant.ErrNotFound, err)
	t.must(t.Close())
}

func testReopenInterrupts(t storeTest, place Place) {
	c, other := t.create("alice", 1), t.create("", 1)
	q1, a1 := t.ask("alice", c.ID, "First?", "client-1", 1)
	a1 = t.finish("alice", c.ID, a1, "One.", 1)
	q2, a2 := t.ask("alice", c.ID, "Second?", "client-2", 2)
	for _, piece := range []string{"Tw", "", "o, ", "ünd"} {
		t.must(t.Extend(t.Context(), "alice", c.ID, a2.ID, piece))
		a2.Content += piece
	}
	q3, a3 := t.ask("", other.ID, "Third?", "", 3) // had no text yet

	t = t.reopen(place)
	for _, a := range []*assistant.Message{&a2, &a3} {
		a.Status, a.FinishReason = assistant.StatusInterrupted, assistant.FinishInterrupted
	}
	t.holds("alice", c.ID, q1, a1, q2, a2)
	t.holds("", other.ID, q3, a3)
	t.same(t.load("alice", c.ID).UpdatedAt, at(2))
	t.want(assistant.ErrNotFound, t.Extend(t.Context(), "alice", c.ID, a2.ID, "!"))
	if n, err := t.DeleteBefore(t.Context(), at(100)); n != 2 || err != nil { // nothing streams any more
		t.Errorf("deleted %d: %v", n, err)
	}
	t.must(t.Close())
}
