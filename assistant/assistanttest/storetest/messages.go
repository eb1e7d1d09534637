package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// messageTests are about the messages of one conversation: how they begin, grow, end and are read.
var messageTests = []storeCase{
	{"Begin", testBegin},
	{"BeginTitle", testBeginTitle},
	{"BeginDropFrom", testBeginDropFrom},
	{"BeginDuplicate", testBeginDuplicate},
	{"BeginFull", testBeginFull},
	{"BeginNotFound", testBeginNotFound},
	{"Finish", testFinish},
	{"FinishReasons", testFinishReasons},
	{"FinishQuestion", testFinishQuestion},
	{"FinishNotFound", testFinishNotFound},
	{"MessagesPages", testMessagesPages},
	{"MessageByClientID", testMessageByClientID},
	{"Usage", testUsage},
	{"Texts", testTexts},
	{"LargeText", testLargeText},
}

func testBegin(t storeTest) {
	c, other := t.create("alice", 9), t.create("alice", 9)
	q1, a1 := t.ask("alice", c.ID, "First?", "client-1", 1)
	t.holds("alice", c.ID, q1, a1)
	t.same(t.load("alice", c.ID).UpdatedAt, at(1)) // the answer's, though it was later before

	// Messages keep the order in which they were stored, no matter what their times are.
	a1 = t.finish("alice", c.ID, a1, "One.", 2)
	q2, a2 := t.ask("alice", c.ID, "Second?", "", 0)
	t.holds("alice", c.ID, q1, a1, q2, a2)
	t.same(t.load("alice", other.ID), conversation{other, []assistant.Message{}})

	// An old question may be answered without being stored again.
	a3 := answer(3)
	t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{Answer: a3}))
	t.holds("alice", c.ID, q1, a1, q2, a2, a3)
}

func testBeginTitle(t storeTest) {
	c := t.create("alice", 1)
	for _, step := range []struct{ title, want string }{{"", ""}, {"First", "First"}, {"Second", "First"}, {"", "First"}} {
		t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{Answer: answer(1), Title: step.title}))
		t.same(t.load("alice", c.ID).Title, step.want)
	}
	_, err := t.Rename(t.Context(), "alice", c.ID, "", nil)
	t.must(err)
	t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{Answer: answer(1), Title: "Third"}))
	t.same(t.load("alice", c.ID).Title, "Third")
}

func testBeginDropFrom(t storeTest) {
	c := t.create("alice", 1)
	q1, a1 := t.ask("alice", c.ID, "First?", "client-1", 1)
	a1 = t.finish("alice", c.ID, a1, "One.", 1)
	q2, a2 := t.ask("alice", c.ID, "Second?", "client-2", 2)
	t.extend("alice", c.ID, &a2, text("Tw"))

	// Ask again: a running answer goes too, and what comes for it afterwards has no place.
	a3 := answer(3)
	t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{DropFrom: a2.ID, Answer: a3}))
	t.holds("alice", c.ID, q1, a1, q2, a3)
	t.want(assistant.ErrNotFound, t.Extend(t.Context(), "alice", c.ID, a2.ID, 2, assistant.Parts{text("o")}))
	t.want(assistant.ErrNotFound, t.Finish(t.Context(), "alice", c.ID, at(9), a2))

	// Replace a question: its client id is free again.
	q4, a4 := question("Third?", "client-2", 4), answer(4)
	t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{DropFrom: q2.ID, Question: q4, Answer: a4}))
	t.holds("alice", c.ID, q1, a1, *q4, a4)

	q5, a5 := question("Fourth?", "client-1", 5), answer(5)
	t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{DropFrom: q1.ID, Question: q5, Answer: a5}))
	t.holds("alice", c.ID, *q5, a5)
}

func testBeginDuplicate(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	q1, a1 := t.ask("alice", c.ID, "First?", "client-1", 1)
	t.ask("alice", c.ID, "Second?", "client-2", 2)
	before := t.load("alice", c.ID)
	for _, dropFrom := range []string{"", a1.ID, before.Messages[2].ID} {
		t.want(assistant.ErrDuplicate, t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{
			DropFrom: dropFrom, Question: question("Again?", "client-1", 3), Answer: answer(3), Title: "Again",
		}))
		t.same(t.load("alice", c.ID), before)
	}
	// The id belongs to the conversation, and "" is none.
	t.ask("alice", other.ID, "First?", "client-1", 1)
	t.ask("alice", c.ID, "Third?", "", 4)
	t.ask("alice", c.ID, "Fourth?", "", 5)
	t.ask("alice", c.ID, "Fifth?", "Client-1", 6)
	t.same(t.load("alice", c.ID).Messages[0], q1)
}

func testBeginFull(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	q1, a1 := t.ask("alice", c.ID, "First?", "client-1", 1)
	t.ask("alice", other.ID, "First?", "client-1", 1)
	q2, a2 := t.ask("alice", c.ID, "Second?", "client-2", 2)
	before := t.load("alice", c.ID)
	begin := func(limit int, dropFrom string, q *assistant.Message) error {
		return t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{
			DropFrom: dropFrom, Question: q, Answer: answer(3), Title: "Full", MaxMessages: limit,
		})
	}
	for _, limit := range []int{1, 4, 5} {
		t.want(assistant.ErrConversationFull, begin(limit, "", question("Third?", "client-3", 3)))
	}
	t.want(assistant.ErrConversationFull, begin(4, "", nil))
	t.want(assistant.ErrConversationFull, begin(3, q2.ID, question("Third?", "client-3", 3)))
	t.want(assistant.ErrDuplicate, begin(4, "", question("Second?", "client-2", 3)))
	t.same(t.load("alice", c.ID), before)

	// Exactly as many as may be.
	t.must(begin(4, a2.ID, nil))
	t.must(begin(4, q2.ID, question("Third?", "client-3", 3)))
	t.must(begin(6, "", question("Fourth?", "client-4", 3)))
	t.same(len(t.load("alice", c.ID).Messages), 6)
	t.same(t.load("alice", c.ID).Messages[:2], []assistant.Message{q1, a1})
}

func testBeginNotFound(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	t.ask("alice", c.ID, "First?", "client-1", 1)
	_, foreign := t.ask("alice", other.ID, "First?", "client-1", 1)
	before := []conversation{t.load("alice", c.ID), t.load("alice", other.ID)}
	for _, dropFrom := range []string{uuid.NewString(), foreign.ID, c.ID} {
		t.want(assistant.ErrNotFound, t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{
			DropFrom: dropFrom, Question: question("Again?", "client-2", 3), Answer: answer(3), Title: "Again",
		}))
	}
	t.same([]conversation{t.load("alice", c.ID), t.load("alice", other.ID)}, before)
}

func testFinish(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	t.extend("alice", c.ID, &a, text("Hel"))
	t.extend("alice", c.ID, &a, text("lo"))
	usage := assistant.Usage{InputTokens: 3, OutputTokens: 4, TotalTokens: 7}

	// Role, ClientID and CreatedAt stay, no matter what is given here.
	t.must(t.Finish(t.Context(), "alice", c.ID, at(5), assistant.Message{
		ID: a.ID, Content: "Hello!", Status: assistant.StatusStopped, FinishReason: assistant.FinishStopped, Usage: &usage,
		Role: assistant.RoleUser, ClientID: "client-9", CreatedAt: at(9),
	}))
	want := a
	want.Content, want.Status, want.FinishReason, want.Usage = "Hello!", assistant.StatusStopped, assistant.FinishStopped, &usage
	t.holds("alice", c.ID, q, want)
	t.same(t.load("alice", c.ID).UpdatedAt, at(5))

	// The last word counts; a shorter text replaces a longer one.
	usage.InputTokens = 1000 // the caller's, not the store's
	t.holds("alice", c.ID, q, func() assistant.Message {
		m := want
		m.Usage = &assistant.Usage{InputTokens: 3, OutputTokens: 4, TotalTokens: 7}
		return m
	}())
	a = t.finish("alice", c.ID, a, "", 4)
	t.holds("alice", c.ID, q, a)
	t.same(t.load("alice", c.ID).UpdatedAt, at(4))
}

func testFinishReasons(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	for _, reason := range []assistant.FinishReason{
		"", assistant.FinishStop, assistant.FinishLength, assistant.FinishContentFilter, assistant.FinishStopped,
		assistant.FinishBudget, assistant.FinishError, assistant.FinishInterrupted,
	} {
		for _, status := range []assistant.Status{
			assistant.StatusComplete, assistant.StatusStopped, assistant.StatusFailed, assistant.StatusInterrupted,
		} {
			a.FinishReason, a.Status = reason, status
			t.must(t.Finish(t.Context(), "alice", c.ID, at(3), a))
			t.holds("alice", c.ID, q, a)
		}
	}
}

func testFinishQuestion(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	q.Status = assistant.StatusFailed
	a.Status, a.FinishReason = assistant.StatusFailed, assistant.FinishError
	t.must(t.Finish(t.Context(), "alice", c.ID, at(3), a, q))
	t.holds("alice", c.ID, q, a)
}

func testFinishNotFound(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	t.extend("alice", c.ID, &a, text("Hel"))
	_, foreign := t.ask("alice", other.ID, "Hi", "client-1", 2)
	before := []conversation{t.load("alice", c.ID), t.load("alice", other.ID)}
	a.Content, a.Status, q.Content = "Hello", assistant.StatusComplete, "Hello?"
	for _, id := range []string{uuid.NewString(), foreign.ID, c.ID} {
		stray := a
		stray.ID = id
		for _, messages := range [][]assistant.Message{{stray}, {a, q, stray}, {stray, a, q}} {
			t.want(assistant.ErrNotFound, t.Finish(t.Context(), "alice", c.ID, at(9), messages...))
		}
	}
	t.same([]conversation{t.load("alice", c.ID), t.load("alice", other.ID)}, before)
	t.must(t.Extend(t.Context(), "alice", c.ID, a.ID, 3, assistant.Parts{text("lo")})) // still streams
}

func testMessagesPages(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	page, more, err := t.Messages(t.Context(), "alice", c.ID, "", 5)
	t.must(err)
	t.same(listed(page), []assistant.Message{})
	t.same(more, false)

	var want []assistant.Message
	for n := range 6 { // interleaved, so that neither conversation's messages lie together
		q, a := t.ask("alice", c.ID, fmt.Sprintf("Question %d", n), "", n)
		want = append(want, q, t.finish("alice", c.ID, a, fmt.Sprintf("Answer %d", n), n))
		t.ask("alice", other.ID, "Other", "", n)
	}
	for _, limit := range []int{1, 2, 5, 11, 12, 13, 1000} {
		var got []assistant.Message
		before := ""
		for more := true; more; before = got[0].ID {
			page, more, err = t.Messages(t.Context(), "alice", c.ID, before, limit)
			t.must(err)
			if len(page) == 0 || len(page) > limit {
				t.Fatalf("limit %d: got %d", limit, len(page))
			}
			got = slices.Concat(page, got)
			if older := len(got) < len(want); more != older {
				t.Fatalf("limit %d: more is %v with %d of %d", limit, more, len(got), len(want))
			}
			if !more {
				break
			}
		}
		t.same(got, want)
	}
	page, more, err = t.Messages(t.Context(), "alice", c.ID, want[0].ID, 5) // before the first
	t.must(err)
	t.same(listed(page), []assistant.Message{})
	t.same(more, false)

	stranger := t.load("alice", other.ID).Messages[0].ID
	for _, before := range []string{uuid.NewString(), stranger, c.ID} {
		_, _, err := t.Messages(t.Context(), "alice", c.ID, before, 5)
		t.want(assistant.ErrNotFound, err)
	}
}

func testMessageByClientID(t storeTest) {
	c := t.create("alice", 1)
	_, a0 := t.ask("alice", c.ID, "Zero", "", 0)
	t.finish("alice", c.ID, a0, "None.", 0)
	q1, a1 := t.ask("alice", c.ID, "First?", "client-1", 1)
	a1 = t.finish("alice", c.ID, a1, "One.", 1)
	q2, a2 := t.ask("alice", c.ID, "Second?", "client-2", 2)
	for clientID, want := range map[string][]assistant.Message{"client-1": {q1, a1}, "client-2": {q2, a2}} {
		got, err := t.MessageByClientID(t.Context(), "alice", c.ID, clientID)
		t.must(err)
		t.same(got, want)
	}
	for _, clientID := range append([]string{"client-3", "client", "CLIENT-1", "client-1 ", q1.ID}, oddIDs...) {
		_, err := t.MessageByClientID(t.Context(), "alice", c.ID, clientID)
		t.want(assistant.ErrNotFound, err)
	}

	// Answered again, and then followed by another question instead of an answer.
	a3 := answer(3)
	t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{DropFrom: a2.ID, Answer: a3}))
	got, err := t.MessageByClientID(t.Context(), "alice", c.ID, "client-2")
	t.must(err)
	t.same(got, []assistant.Message{q2, a3})
	t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{DropFrom: a3.ID, Question: question("Third?", "", 4), Answer: answer(4)}))
	got, err = t.MessageByClientID(t.Context(), "alice", c.ID, "client-2")
	t.must(err)
	t.same(got, []assistant.Message{q2})
}

func testUsage(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "", 2)
	for _, usage := range []*assistant.Usage{
		nil,
		{},
		{InputTokens: 1, OutputTokens: 2, TotalTokens: 3, Estimated: true},
		{InputTokens: 1 << 29, OutputTokens: 1 << 30, TotalTokens: 1<<29 + 1<<30}, // an int has 32 bits on some platforms
		nil,
	} {
		a.Status, a.Usage = assistant.StatusComplete, usage
		t.must(t.Finish(t.Context(), "alice", c.ID, at(3), a))
		t.holds("alice", c.ID, q, a)
	}
}

// testTexts stores texts that are easily broken, wherever a text can stand.
func testTexts(t storeTest) {
	for _, odd := range []string{
		"", " ", "\n", "'", `"`, `\`, "%", "''; DROP TABLE message; --", "null", "\U0001F469\u200D\U0001F680", "a\u0308\u200B\u202E", "\r\n\t", "\x7f\x01",
		"\uFFFD", "\uFEFFx", "{\"a\":1}", "\x00", "a\x00b", "\x00a\x00\x00",
	} {
		c := assistant.Conversation{ID: uuid.NewString(), Title: odd, CreatedAt: at(1), UpdatedAt: at(1)}
		t.must(t.Create(t.Context(), "alice", c))
		q, a := t.ask("alice", c.ID, odd, odd, 1)
		for _, piece := range []string{"<", odd, odd, ">"} {
			t.extend("alice", c.ID, &a, reasoning(piece), text(piece), text(piece))
		}
		plain := func(v any) string { return strings.ReplaceAll(asJSON(v), `\u0000`, "\uFFFD") }
		t.same(plain(t.load("alice", c.ID)), plain(conversation{c, []assistant.Message{q, a}}))
		a.Provider, a.Model, a.Parts = odd, odd, nil
		a = t.finish("alice", c.ID, a, odd, 1)
		t.same(plain(t.load("alice", c.ID)), plain(conversation{c, []assistant.Message{q, a}}))
		if odd != "" {
			turn, err := t.MessageByClientID(t.Context(), "alice", c.ID, odd)
			t.must(err)
			t.same(plain(turn), plain([]assistant.Message{q, a}))
		}
	}
}

func testLargeText(t storeTest) {
	c := t.create("alice", 1)
	large := strings.Repeat("0123456789abcdé", 1<<16) // 1 MiB in UTF-8
	q, a := t.ask("alice", c.ID, large, "client-1", 2)
	for n := 0; n < len(large); n += 1 << 16 {
		t.extend("alice", c.ID, &a, text(large[n:n+1<<16]))
	}
	t.holds("alice", c.ID, q, a)
	a = t.finish("alice", c.ID, a, large+"!", 2)
	t.holds("alice", c.ID, q, a)
}
