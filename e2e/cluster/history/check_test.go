package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// buried is a history in which the holder dies in the middle of an answer. shown is what a tab elsewhere gets of the
// new epoch.
func buried(stored string, shown func(b *page)) History {
	return play(func(s *script, a, b *page) {
		ref := a.ask("one")
		a.question(1, "one").start(2, "A", ref)
		s.call("one", "xyz")
		b.question(1, "one").start(2, "A", "").piece(4, "xy")
		a.piece(3, "x").piece(4, "y").piece(5, "z").close()
		s.Calls[0].Finished = false
		shown(b)
		s.store(user("one"), answer("A", stored, "interrupted"))
	})
}

// funeral is what is right then.
func funeral(b *page) {
	b.get(Frame{Action: "subscribed", Epoch: "e2"})
	b.get(Frame{Action: "snapshot", Messages: []Message{user("one")}, Running: &Message{ID: "A", Content: "xy"}})
	b.end(1, "A", "interrupted")
}

// lawful are histories in which no promise is broken.
var lawful = map[string]func() History{
	"one question, merged pieces": func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.store(user("one"), answer("A", "xyz", "stop"))
		})
	},
	"a tab that goes to another node and is recovered, in the middle of pieces": func() History {
		return play(func(s *script, a, b *page) {
			ref := a.ask("one")
			a.question(1, "one").start(2, "A", ref).piece(3, "x").close()
			s.call("one", "xyz")
			s.open("a", "node3").resume("e", 3).piece(5, "yz").end(6, "A", "stop")
			b.question(1, "one").start(2, "A", "").piece(4, "xy").piece(5, "z").end(6, "A", "stop")
			s.store(user("one"), answer("A", "xyz", "stop"))
		})
	},
	"a tab that comes in the middle of an answer": func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.open("late", "node3").anew("e", 4, &Message{ID: "A", Content: "xy"}, user("one")).piece(5, "z").end(6, "A", "stop")
			s.store(user("one"), answer("A", "xyz", "stop"))
		})
	},
	"a tab that comes before the first piece": func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.open("late", "node3").anew("e", 2, &Message{ID: "A"}, user("one")).piece(5, "xyz").end(6, "A", "stop")
			s.store(user("one"), answer("A", "xyz", "stop"))
		})
	},
	"a burial": func() History { return buried("xy", funeral) },
	"a burial after which more is stored than was shown": func() History {
		return buried("xyz", func(b *page) {
			b.get(Frame{Action: "subscribed", Epoch: "e2"})
			b.get(Frame{Action: "snapshot", Messages: []Message{user("one")}, Running: &Message{ID: "A", Content: "xyz"}})
			b.end(1, "A", "interrupted")
		})
	},
	"a tab that comes at the last moment before a burial": func() History {
		return buried("xy", func(b *page) {
			b.open("late", "node2").anew("e", 5, &Message{ID: "A", Content: "xyz"}, user("one")).close()
			funeral(b)
		})
	},
	"an end that could not be stored": func() History {
		return play(func(s *script, a, b *page) {
			ref := a.ask("one")
			a.question(1, "one").start(2, "A", ref).piece(3, "xyz").get(Frame{Action: "error", Seq: 4, Reason: "storage_unavailable"}).end(5, "A", "error").close()
			s.call("one", "xyz")
			b.close()
			s.store(user("one"), answer("A", "xy", "interrupted"))
		})
	},
	"an end that could not be stored, another question, and the end of the node": func() History {
		return play(func(s *script, a, b *page) {
			ref := a.ask("one")
			a.question(1, "one").start(2, "A", ref).piece(3, "xyz").end(4, "A", "error")
			s.call("one", "xyz")
			ref = a.ask("two")
			a.question(5, "two").start(6, "B", ref).piece(7, "u").end(8, "B", "stop").close()
			s.call("two", "u", user("one"), answer("A", "xyz", "error"))
			b.close()
			s.store(user("one"), answer("A", "xy", "interrupted"), user("two"), answer("B", "u", "stop"))
		})
	},
	"a second question, which the model is told the first with, and a regenerate": func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			first := []Message{user("one"), answer("A", "xyz", "stop")}
			b.ask("two")
			s.call("two", "u", first...)
			ref := a.send(Frame{Action: "regenerate"})
			s.call("two", "v", first...)
			for _, p := range []*page{a, b} {
				p.question(7, "two").start(8, "B", "").piece(9, "u").end(10, "B", "stop")
				p.get(Frame{Action: "snapshot", Seq: 11, Messages: append(first, user("two"))})
				p.start(12, "C", ref).piece(13, "v").end(14, "C", "stop")
			}
			s.store(append(first, user("two"), answer("C", "v", "stop"))...)
		})
	},
	"a long conversation, of which a node has one message less in memory": func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			all := append(many(30), user("one"), answer("A", "xyz", "stop"))
			a.get(Frame{Action: "snapshot", Seq: 7, Messages: all})
			b.get(Frame{Action: "snapshot", Seq: 7, Messages: all[1:]})
			b.close()
			s.store(all...)
		})
	},
	"a stop": func() History {
		return play(func(s *script, a, b *page) {
			ref := a.ask("one")
			s.call("one", "x")
			a.question(1, "one").start(2, "A", ref).piece(3, "x").end(4, "A", "stopped")
			b.question(1, "one").start(2, "A", "").piece(3, "x").end(4, "A", "stopped")
			s.Calls[0].Finished, s.Calls[0].Ended = false, s.now+900*time.Millisecond
			s.store(user("one"), answer("A", "x", "stopped"))
		})
	},
	"a deletion": func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			a.send(Frame{Action: "delete_conversation"})
			a.get(Frame{Action: "conversation_updated", Seq: 7, Title: "late"}).get(Frame{Action: "conversation_deleted", Seq: 8})
			s.wait(900 * time.Millisecond)
			b.get(Frame{Action: "conversation_updated", Seq: 7, Title: "late"}).get(Frame{Action: "conversation_deleted", Seq: 8})
			s.wait(time.Second)
			b.get(Frame{Action: "error", Reason: "unknown_topic"})
		})
	},
	"a deletion that finds one tab behind the other": func() History {
		return play(func(s *script, a, b *page) {
			ref := a.ask("one")
			a.question(1, "one").start(2, "A", ref).piece(3, "x")
			s.call("one", "x")
			s.Calls[0].Finished = false
			b.send(Frame{Action: "delete_conversation"})
			b.question(1, "one").get(Frame{Action: "conversation_deleted", Seq: 2})
			a.get(Frame{Action: "conversation_deleted", Seq: 4})
		})
	},
	"a deletion of which nobody was told": func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			a.send(Frame{Action: "delete_conversation"})
			a.close()
			b.close()
			s.open("b", "node3").get(Frame{Action: "error", Reason: "unknown_topic"})
		})
	},
	"a question that is sent again and told again": func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			ref := a.ask("one")
			a.get(Frame{Action: "streaming_start", ID: "A", Ref: ref}).get(Frame{Action: "streaming", Content: "xyz", Ref: ref})
			a.get(Frame{Action: "complete_streaming", ID: "A", Finish: "stop", Ref: ref})
			s.store(user("one"), answer("A", "xyz", "stop"))
		})
	},
	"accounts": func() History {
		h := play(func(s *script, a, b *page) {
			one(s, a, b)
			s.store(user("one"), answer("A", "xyz", "stop"))
		})
		h.Accounts = []Account{{Payer: "ann", Used: 10}}
		return h
	},
}

// limits are those of the histories here.
var limits = Limits{Budget: 10, Overshoot: 10}

func TestLawful(t *testing.T) {
	for name, history := range lawful {
		for _, v := range append(Check(history(), limits), Linearizable(history(), time.Minute)...) {
			t.Errorf("%s: %v", name, v)
		}
	}
}

// crime is a history that breaks one promise at least.
type crime struct {
	invariant, what string // what is in the violation's text
	name            string
	history         func() History
}

var unlawful = []crime{
	{"I1", "number 3", "a number is a piece for one and an end for another", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.open("c", "node3").anew("e", 2, &Message{ID: "A"}, user("one")).end(3, "A", "stop")
		})
	}},
	{"I1", "number 5", "merged pieces lack a letter", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.open("c", "node3").anew("e", 2, &Message{ID: "A"}, user("one")).piece(5, "xz").end(6, "A", "stop")
		})
	}},
	{"I1", "number 4", "a snapshot has more than its number says", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.open("c", "node3").anew("e", 4, &Message{ID: "A", Content: "xyz"}, user("one"))
		})
	}},
	{"I1", "number 7", "two snapshots of one number differ", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			a.get(Frame{Action: "snapshot", Seq: 7, Messages: many(30)})
			b.get(Frame{Action: "snapshot", Seq: 7, Messages: many(31)})
		})
	}},
	{"I2", "number 5 after 3", "an end comes after a hole", func() History {
		return play(func(s *script, a, b *page) { a.question(1, "one").start(2, "A", "").piece(3, "x").end(5, "A", "stop") })
	}},
	{"I2", "number 3 after 3", "a piece comes twice", func() History {
		return play(func(s *script, a, b *page) { a.question(1, "one").start(2, "A", "").piece(3, "x").piece(3, "x") })
	}},
	{"I3", `"interrupted" "stop"`, "two ends", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.store(user("one"), answer("A", "xyz", "interrupted"))
		})
	}},
	{"I3", "waits for the end", "no end", func() History {
		return play(func(s *script, a, b *page) { a.question(1, "one").start(2, "A", "").piece(3, "x") })
	}},
	{"I3", "while", "the end comes twice", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			a.end(7, "A", "stop")
		})
	}},
	{"I3", `[""`, "a cut answer is told again as one that has ended", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			b.get(Frame{Action: "complete_streaming", ID: "A"})
		})
	}},
	{"I3", "stored as streaming", "the store has no end", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.store(user("one"), answer("A", "xyz", ""))
		})
	}},
	{"I4", "was accepted and is not stored", "a regenerate elsewhere removes a turn", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			b.send(Frame{Action: "regenerate"})
			s.store()
		})
	}},
	{"I4", "answer A", "an answer is stored nowhere", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.store(user("one"))
		})
	}},
	{"I5", "1 times more than once", "a second generation", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.call("one", "again")
		})
	}},
	{"I6", "3 bytes of A, 2 are stored", "the store has less", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.store(user("one"), answer("A", "xy", "stop"))
		})
	}},
	{"I6", "the model has not sent", "the store has what nobody said", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.store(user("one"), answer("A", "xyzu", "interrupted"))
		})
	}},
	{"I6", "before the last piece, and only 0", "a crash loses more than a moment", func() History {
		return play(func(s *script, a, b *page) {
			a.question(1, "one").start(2, "A", "").piece(3, "x")
			s.call("one", "xy")
			s.wait(3 * time.Second)
			a.piece(4, "y").close()
			s.store(user("one"), answer("A", "", "interrupted"))
		})
	}},
	{"I7", "began with 3 bytes", "the new epoch shows more than is stored", func() History {
		return buried("xy", func(b *page) {
			b.get(Frame{Action: "subscribed", Epoch: "e2"})
			b.get(Frame{Action: "snapshot", Messages: []Message{user("one")}, Running: &Message{ID: "A", Content: "xyz"}})
			b.end(1, "A", "interrupted")
		})
	}},
	{"I7", "got a piece (1)", "the new epoch goes on with the old answer", func() History {
		return buried("xy", func(b *page) {
			b.get(Frame{Action: "subscribed", Epoch: "e2"})
			b.get(Frame{Action: "snapshot", Messages: []Message{user("one")}, Running: &Message{ID: "A", Content: "xy"}})
			b.piece(1, "z").end(2, "A", "interrupted")
		})
	}},
	{"I8", "was told 0 messages", "the model is told nothing of another node's turn", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			b.ask("two")
			s.call("two", "u")
			s.store(user("one"), answer("A", "xyz", "stop"), user("two"), answer("B", "u", "stop"))
		})
	}},
	{"I8", "was told 2 messages", "the model is told more of an interrupted answer than is stored", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			b.ask("two")
			s.call("two", "u", user("one"), answer("A", "xyz", ""))
			s.store(user("one"), answer("A", "xy", "interrupted"), user("two"), answer("B", "u", "stop"))
		})
	}},
	{"I9", "was shown snapshot", "a deleted conversation is served", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			b.send(Frame{Action: "delete_conversation"})
			b.get(Frame{Action: "conversation_deleted", Seq: 7})
			s.wait(1100 * time.Millisecond)
			s.open("c", "node1").anew("e", 6, nil, user("one"), answer("A", "xyz", "stop"))
		})
	}},
	{"I10", "went on", "a stop that does not reach the model", func() History {
		return play(func(s *script, a, b *page) {
			s.call("one", "x")
			a.question(1, "one").start(2, "A", "").piece(3, "x").end(4, "A", "stopped")
			s.Calls[0].Ended = s.now + 1100*time.Millisecond
			s.store(user("one"), answer("A", "x", "stopped"))
		})
	}},
	{"I11", "recovered after 3 and got complete_streaming with number 6", "a resume leaves out pieces", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			c := s.open("c", "node3").anew("e", 2, &Message{ID: "A"}, user("one")).piece(3, "x")
			c.close()
			s.open("c", "node1").resume("e", 3).end(6, "A", "stop")
		})
	}},
	{"I11", "recovered from epoch e", "a resume in another epoch", func() History {
		return play(func(s *script, a, b *page) {
			a.close()
			again := s.open("a", "node2")
			ref := again.send(Frame{Action: "subscribe", Epoch: "e", After: 0})
			again.get(Frame{Action: "subscribed", Epoch: "e2", Recovered: true, Ref: ref})
		})
	}},
	{"I12", "has used 30 tokens of 10", "each node has a budget of its own", func() History {
		return play(func(s *script, a, b *page) {
			s.store(answer("A", "", "stop"), answer("B", "", "stop"), answer("C", "", "stop"))
		})
	}},
	{"I12", "still reserved", "a reservation stays", func() History {
		h := lawful["accounts"]()
		h.Accounts[0].Reserved = 500
		return h
	}},
	{"I12", "has paid 20 tokens and used 10", "an answer is paid twice", func() History {
		h := lawful["accounts"]()
		h.Accounts[0].Used = 20
		return h
	}},
	{"I13", "shows 2 messages, 4 are stored", "a tab is not told of another node's turn", func() History {
		return play(func(s *script, a, b *page) {
			one(s, a, b)
			s.store(user("one"), answer("A", "xyz", "stop"), user("two"), answer("B", "u", "stop"))
		})
	}},
}

// TestUnlawful: each broken promise is found, as what it is.
func TestUnlawful(t *testing.T) {
	for _, test := range unlawful {
		found := Check(test.history(), limits)
		if !slices.ContainsFunc(found, func(v Violation) bool { return v.Invariant == test.invariant && strings.Contains(v.What, test.what) }) {
			t.Errorf("%s: found %v, want %s with %q", test.name, found, test.invariant, test.what)
		}
	}
}

// TestEveryInvariantIsTested: each of the table has a history that breaks it.
func TestEveryInvariantIsTested(t *testing.T) {
	for _, invariant := range Invariants {
		if !slices.ContainsFunc(unlawful, func(test crime) bool { return test.invariant == invariant.Name }) {
			t.Errorf("no history breaks %s: %s", invariant.Name, invariant.Promise)
		}
	}
}

// TestViolationsAreFew: many violations of one promise are cut short.
func TestViolationsAreFew(t *testing.T) {
	h := play(func(s *script, a, b *page) {
		for i := range 30 {
			s.call(fmt.Sprint("nobody's ", i), "")
		}
	})
	if found := Check(h, limits); len(found) != maxFound+1 || found[maxFound].What != "and 20 more" {
		t.Errorf("found %v", found)
	}
}

// many are so many messages.
func many(n int) (messages []Message) {
	for i := range n {
		messages = append(messages, user(fmt.Sprint("question ", i)))
	}
	return messages
}
