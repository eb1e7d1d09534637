package storetest

import (
	"encoding/json"

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
	return newTest(t.T, place(t.T))
}

func testReopenKeeps(t storeTest, place Place) {
	owners := []string{"alice", "bob", ""}
	want := make(map[string]conversation) // owner → its only one
	for n, owner := range owners {
		c := t.create(owner, n)
		_, a := t.ask(owner, c.ID, "Hi", "client-1", n)
		a.Usage = &assistant.Usage{InputTokens: 1, OutputTokens: 2, TotalTokens: 3}
		a.Provider, a.Model, a.Reason = "main", "model-1", assistant.ReasonProviderTimeout
		t.finish(owner, c.ID, a, "Hello, "+owner, n)
		q2, a2 := question("", "client-2", n), answer(n)
		q2.SetParts(allParts)
		t.must(t.begin(owner, c.ID, assistant.Beginning{Question: q2, Answer: a2}))
		a2.Status = assistant.StatusStopped
		a2.SetParts(allParts[1:])
		t.must(t.end(owner, c.ID, n, a2))
		_, err := t.Rename(t.Context(), owner, c.ID, "Title of "+owner, nil)
		t.must(err)
		want[owner] = t.load(owner, c.ID)
	}
	for range 3 {
		t = t.reopen(place)
		for _, owner := range owners {
			t.same(t.load(owner, want[owner].ID), want[owner])
			t.want(assistant.ErrDuplicate, t.begin(owner, want[owner].ID, assistant.Beginning{
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
	c, other, third, fourth := t.create("alice", 1), t.create("", 1), t.create("alice", 1), t.create("bob", 1)
	q1, a1 := t.turn("alice", c.ID, "First?", "client-1", 1)
	q2, a2 := t.ask("alice", c.ID, "Second?", "client-2", 2)
	for _, piece := range []string{"Tw", "", "o, ", "ünd"} {
		t.extend("alice", c.ID, &a2, text(piece))
	}
	q3, a3 := t.ask("", other.ID, "Third?", "", 3) // had no text yet
	a4, a5 := answer(3), answer(3)
	a4.Provider, a4.Model = "main", "model-1"
	t.must(t.begin("alice", third.ID, assistant.Beginning{Answer: a4}))
	t.extend("alice", third.ID, &a4, reasoning("Hm, "), reasoning("ünd"), text("So"))
	t.extend("alice", third.ID, &a4, text(" it is."), reasoning("Done?"))
	t.must(t.begin("bob", fourth.ID, assistant.Beginning{Answer: a5}))
	t.extend("bob", fourth.ID, &a5, reasoning("Hm"))
	call := assistant.ToolCallPart{CallID: "call_1", Name: "refund", Arguments: json.RawMessage(`{}`), Where: "server", State: assistant.CallRunning}
	t.extend("bob", fourth.ID, &a5, call) // it may have been made

	for range 2 { // the second time nothing is to be done
		t = t.reopen(place)
		for _, a := range []*assistant.Message{&a2, &a3, &a4, &a5} {
			a.Status, a.FinishReason = assistant.StatusInterrupted, assistant.FinishInterrupted
			a.SetParts(a.AllParts().Cut())
		}
		t.holds("alice", c.ID, q1, a1, q2, a2)
		t.holds("", other.ID, q3, a3)
		t.holds("alice", third.ID, a4)
		t.holds("bob", fourth.ID, a5)
	}
	turn, err := t.MessageByClientID(t.Context(), "alice", c.ID, "client-2")
	t.must(err)
	t.same(turn, []assistant.Message{q2, a2})
	t.same(t.load("alice", c.ID).UpdatedAt, at(2))
	t.want(assistant.ErrNotFound, t.ledger.extend(t.Context(), t.Store, "alice", c.ID, 0, stolen(target{message: a2.ID})))
	t.ask("alice", c.ID, "Fourth?", "client-4", 4) // nothing is in the way of another
	t.deleteBefore(4, 10, 3)                       // nothing else streams any longer
	t.must(t.Close())
}
