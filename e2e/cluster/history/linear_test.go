package history

import (
	"strings"
	"testing"
	"time"
)

// turns lists messages over a socket.
func (p *page) turns(messages ...Message) {
	ref := p.send(Frame{Action: "list_messages"})
	p.get(Frame{Action: "messages", Ref: ref, Messages: messages})
}

func (p *page) titles(title string) {
	ref := p.send(Frame{Action: "list_conversations"})
	p.get(Frame{Action: "conversations", Ref: ref, Titles: []Titled{{theOne, title}}})
}

func (p *page) rename(title string) {
	ref := p.send(Frame{Action: "rename_conversation", Title: title})
	p.get(Frame{Action: "conversation_updated", Ref: ref, Title: title})
}

var first, second = []Message{user("one"), answer("A", "", "stop")}, []Message{user("two"), answer("B", "", "stop")}

// twice asks a second question after the first.
func twice(s *script, a, b *page) {
	one(s, a, b)
	ref := b.ask("two")
	for _, p := range []*page{a, b} {
		p.question(7, "two").start(8, "B", ref).piece(9, "u").end(10, "B", "stop")
	}
}

var linear = []struct {
	name    string
	broken  bool
	history func(s *script, a, b *page)
}{
	{"a list after each turn", false, func(s *script, a, b *page) {
		a.turns()
		one(s, a, b)
		b.turns(first...)
		twice := append(first[:2:2], second...)
		ref := b.ask("two")
		b.question(7, "two").start(8, "B", ref)
		a.turns(twice...)
	}},
	{"a list while a question is on its way has it", false, func(s *script, a, b *page) {
		ref := a.ask("one")
		b.turns(first...)
		a.question(1, "one").start(2, "A", ref)
	}},
	{"a list while a question is on its way does not have it", false, func(s *script, a, b *page) {
		ref := a.ask("one")
		b.turns()
		a.question(1, "one").start(2, "A", ref)
	}},
	{"a list lacks a turn that was shown", true, func(s *script, a, b *page) {
		one(s, a, b)
		b.turns()
	}},
	{"turns in another order than they were shown", true, func(s *script, a, b *page) {
		twice(s, a, b)
		b.turns(append(second[:2:2], first...)...)
	}},
	{"two nodes begin with the same number of turns", true, func(s *script, a, b *page) {
		refA, refB := a.ask("one"), b.ask("two")
		a.question(1, "one").start(2, "A", refA)
		b.question(1, "two").start(2, "B", refB)
	}},
	{"a turn is lost by a regenerate elsewhere", true, func(s *script, a, b *page) {
		twice(s, a, b)
		ref := a.send(Frame{Action: "regenerate"})
		a.get(Frame{Action: "snapshot", Seq: 11, Messages: []Message{user("one")}}).start(12, "C", ref)
		b.turns(user("one"), answer("C", "", "stop"))
	}},
	{"a regenerate", false, func(s *script, a, b *page) {
		twice(s, a, b)
		ref := a.send(Frame{Action: "regenerate"})
		a.get(Frame{Action: "snapshot", Seq: 11, Messages: append(first[:2:2], user("two"))}).start(12, "C", ref)
		b.turns(append(first[:2:2], user("two"), answer("C", "", "stop"))...)
	}},
	{"the old answer after a regenerate", true, func(s *script, a, b *page) {
		twice(s, a, b)
		ref := a.send(Frame{Action: "regenerate"})
		a.get(Frame{Action: "snapshot", Seq: 11, Messages: append(first[:2:2], user("two"))}).start(12, "C", ref)
		b.turns(append(first[:2:2], second...)...)
	}},
	{"a question that was cut off and came through", false, func(s *script, a, b *page) {
		a.ask("one")
		a.close()
		b.turns()
		b.turns(first...)
	}},
	{"a question that was cut off and did not come through", false, func(s *script, a, b *page) {
		a.ask("one")
		a.close()
		b.turns()
	}},
	{"a question that came through and is gone", true, func(s *script, a, b *page) {
		a.ask("one")
		a.close()
		b.turns(first...)
		b.turns()
	}},
	{"a regenerate that was cut off and came through", false, func(s *script, a, b *page) {
		one(s, a, b)
		a.send(Frame{Action: "regenerate"})
		a.close()
		b.turns(first...)
		b.turns(user("one"), answer("C", "", "stop"))
	}},
	{"names", false, func(s *script, a, b *page) {
		b.titles("by the question")
		a.rename("MINE")
		b.titles("MINE")
	}},
	{"a name is overwritten", true, func(s *script, a, b *page) {
		a.rename("MINE")
		b.titles("by the model")
	}},
	{"a deletion", false, func(s *script, a, b *page) {
		one(s, a, b)
		ref := a.send(Frame{Action: "delete_conversation"})
		b.turns(first...)
		a.get(Frame{Action: "conversation_deleted", Seq: 7, Ref: ref})
		ref = b.send(Frame{Action: "list_messages"})
		b.get(Frame{Action: "error", Reason: "not_found", Ref: ref})
	}},
	{"a list after a deletion", true, func(s *script, a, b *page) {
		one(s, a, b)
		ref := a.send(Frame{Action: "delete_conversation"})
		a.get(Frame{Action: "conversation_deleted", Seq: 7, Ref: ref})
		b.turns(first...)
	}},
}

func TestLinearizable(t *testing.T) {
	for _, test := range linear {
		h := play(test.history)
		switch found := Linearizable(h, time.Minute); {
		case !test.broken && len(found) > 0:
			t.Errorf("%s: %v", test.name, found)
		case test.broken && (len(found) != 1 || !strings.Contains(found[0].What, "is no list of turns")):
			t.Errorf("%s: found %v", test.name, found)
		}
	}
}

// TestLinearizableIsBounded: a history that is too much to be checked in time is a violation, not a success.
func TestLinearizableIsBounded(t *testing.T) {
	h := play(func(s *script, a, b *page) {
		var questions []string
		for i := range 30 {
			questions = append(questions, string(rune('a'+i)))
			a.ask(questions[i])
		}
		a.close()
		b.turns(user("nobody's"))
	})
	if found := Linearizable(h, time.Millisecond); len(found) != 1 || !strings.Contains(found[0].What, "could not be checked") {
		t.Errorf("found %v", found)
	}
}

// TestDecode: what matters of the protocol's frames is read.
func TestDecode(t *testing.T) {
	const topic = `"topic":"conversation:c","ref":"r","seq":3`
	for text, is := range map[string]func(Frame) bool{
		`{"action":"user_message",` + topic + `,"payload":{"message_id":"m","client_id":"k","content":"Hi"}}`: func(f Frame) bool {
			return f.Conversation == "c" && f.Ref == "r" && f.Seq == 3 && f.ID == "m" && f.ClientID == "k" && f.Content == "Hi"
		},
		`{"action":"subscribed",` + topic + `,"payload":{"epoch":"e","seq":9,"recovered":true,"streaming":"m"}}`: func(f Frame) bool {
			return f.Epoch == "e" && f.Recovered && f.Seq == 3
		},
		`{"action":"snapshot",` + topic + `,"payload":{"conversation":{"title":"T"},"messages":[{"message_id":"m","role":"assistant","finish_reason":"stop"}],"streaming":{"message_id":"n","content":"x"}}}`: func(f Frame) bool {
			return f.Title == "T" && f.Messages[0].ID == "m" && f.Messages[0].Finish == "stop" && f.Running.ID == "n" && f.Running.Content == "x"
		},
		`{"action":"snapshot",` + topic + `,"payload":{"conversation":{},"messages":[],"streaming":null}}`: func(f Frame) bool { return f.Running == nil },
		`{"action":"error",` + topic + `,"payload":[{"type":"missing"}]}`:                                  func(f Frame) bool { return strings.Contains(f.Reason, "missing") },
		`{"action":"messages","payload":{"items":[{"message_id":"m"}],"has_more":true}}`:                   func(f Frame) bool { return f.Messages[0].ID == "m" && f.More },
		`{"action":"conversations","payload":{"items":[{"conversation_id":"c","title":"T"}]}}`:             func(f Frame) bool { return f.Titles[0] == Titled{"c", "T"} },
		`{"action":"conversation_deleted","payload":{"conversation_id":"c"}}`:                              func(f Frame) bool { return f.Conversation == "c" },
		`{"action":"pong","payload":null}`:                                                                 func(f Frame) bool { return f.Action == "pong" },
	} {
		if f, err := Decode([]byte(text)); err != nil || !is(f) {
			t.Errorf("%s is read as %+v, %v", text, f, err)
		}
	}
	for _, text := range []string{"", "[]", `{"action":"snapshot","payload":{"streaming":"m"}}`} {
		if f, err := Decode([]byte(text)); err == nil {
			t.Errorf("%q is read as %+v", text, f)
		}
	}
}
