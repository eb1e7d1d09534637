package storetest

import (
	"encoding/json"
	"errors"
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
	{"BeginLast", testBeginLast},
	{"BeginStreaming", testBeginStreaming},
	{"BeginDuplicate", testBeginDuplicate},
	{"BeginAgain", testBeginAgain},
	{"BeginOrder", testBeginOrder},
	{"BeginFull", testBeginFull},
	{"BeginNotFound", testBeginNotFound},
	{"ExtendOther", testExtendOther},
	{"Finish", testFinish},
	{"FinishReasons", testFinishReasons},
	{"FinishQuestion", testFinishQuestion},
	{"FinishNotFound", testFinishNotFound},
	{"FinishAfterFailure", testFinishAfterFailure},
	{"GoesOn", testGoesOn},
	{"Private", testPrivate},
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
	a2 = t.finish("alice", c.ID, a2, "Two.", 2)
	a3 := answer(3)
	t.must(t.begin("alice", c.ID, assistant.Beginning{Answer: a3}))
	t.holds("alice", c.ID, q1, a1, q2, a2, a3)
}

func testBeginTitle(t storeTest) {
	c := t.create("alice", 1)
	begin := func(title string) {
		t.Helper()
		a := answer(1)
		t.must(t.begin("alice", c.ID, assistant.Beginning{Answer: a, Title: title}))
		t.finish("alice", c.ID, a, "", 1)
	}
	for _, step := range []struct{ title, want string }{{"", ""}, {"First", "First"}, {"Second", "First"}, {"", "First"}} {
		begin(step.title)
		t.same(t.load("alice", c.ID).Title, step.want)
	}
	_, err := t.Rename(t.Context(), "alice", c.ID, "", nil)
	t.must(err)
	begin("Third")
	t.same(t.load("alice", c.ID).Title, "Third")
}

func testBeginDropFrom(t storeTest) {
	c := t.create("alice", 1)
	q1, a1 := t.turn("alice", c.ID, "First?", "client-1", 1)
	q2, a2 := t.ask("alice", c.ID, "Second?", "client-2", 2)
	t.extend("alice", c.ID, &a2, text("Tw"))

	// Ask again: a running answer goes too, and what comes for it afterwards has no place.
	a3 := answer(3)
	t.must(t.begin("alice", c.ID, assistant.Beginning{DropFrom: a2.ID, Answer: a3}))
	t.holds("alice", c.ID, q1, a1, q2, a3)
	t.want(assistant.ErrNotFound, t.ledger.extend(t.Context(), t.Store, "alice", c.ID, 0, stolen(target{message: a2.ID})))
	t.want(assistant.ErrNotFound, t.end("alice", c.ID, 9, a2))
	t.extend("alice", c.ID, &a3, text("Two"))

	// Replace a question: its client id is free again.
	q4, a4 := question("Third?", "client-2", 4), answer(4)
	t.must(t.begin("alice", c.ID, assistant.Beginning{DropFrom: q2.ID, Question: q4, Answer: a4}))
	t.holds("alice", c.ID, q1, a1, *q4, a4)

	q5, a5 := question("Fourth?", "client-1", 5), answer(5)
	t.must(t.begin("alice", c.ID, assistant.Beginning{DropFrom: q1.ID, Question: q5, Answer: a5}))
	t.holds("alice", c.ID, *q5, a5)
}

// testBeginLast begins behind messages that are not the last: what has come since is neither dropped nor passed over.
func testBeginLast(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	_, foreign := t.turn("alice", other.ID, "Hi", "", 1)
	stale := func(lasts ...string) {
		t.Helper()
		before := t.load("alice", c.ID)
		drops := []string{""}
		for _, m := range before.Messages {
			drops = append(drops, m.ID)
		}
		for _, last := range lasts {
			for _, drop := range drops {
				for _, q := range []*assistant.Message{nil, question("New?", "client-9", 9)} {
					t.want(assistant.ErrStale, t.beginAfter("alice", c.ID, assistant.Beginning{
						Last: last, DropFrom: drop, Question: q, Answer: answer(9), Title: "Stale", MaxMessages: 1,
					}))
				}
			}
		}
		t.same(t.load("alice", c.ID), before)
	}
	stale(uuid.NewString(), foreign.ID, c.ID)
	q1, a1 := question("First?", "client-1", 1), answer(1)
	t.must(t.beginAfter("alice", c.ID, assistant.Beginning{Question: q1, Answer: a1}))
	stale("", q1.ID, uuid.NewString(), foreign.ID, c.ID) // while it streams, and afterwards
	a1 = t.finish("alice", c.ID, a1, "One.", 1)
	stale("", q1.ID, uuid.NewString(), foreign.ID, c.ID)
	q2, a2 := question("Second?", "client-2", 2), answer(2)
	t.must(t.beginAfter("alice", c.ID, assistant.Beginning{Last: a1.ID, Question: q2, Answer: a2}))
	stale("", q1.ID, a1.ID, q2.ID, strings.ToUpper(a2.ID))

	// The last one may be dropped itself.
	a3 := answer(3)
	t.must(t.beginAfter("alice", c.ID, assistant.Beginning{Last: a2.ID, DropFrom: a2.ID, Answer: a3}))
	t.holds("alice", c.ID, *q1, a1, *q2, a3)
	stale(a2.ID, q2.ID)
	q4, a4 := question("Fourth?", "client-1", 4), answer(4)
	t.must(t.beginAfter("alice", c.ID, assistant.Beginning{Last: a3.ID, DropFrom: q1.ID, Question: q4, Answer: a4}))
	t.holds("alice", c.ID, *q4, a4)
}

// testBeginStreaming begins a turn while an answer streams: only one that drops the answer is stored.
func testBeginStreaming(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	q1, a1 := t.turn("alice", c.ID, "First?", "client-1", 1)
	q2, a2 := t.ask("alice", c.ID, "Second?", "client-2", 2)
	before := t.load("alice", c.ID)
	for _, q := range []*assistant.Message{nil, question("Third?", "client-3", 3)} {
		t.want(assistant.ErrStale, t.begin("alice", c.ID, assistant.Beginning{Question: q, Answer: answer(3), Title: "Third"}))
		t.same(t.load("alice", c.ID), before)
	}
	t.ask("alice", other.ID, "Second?", "client-2", 2) // another conversation has its own
	for _, drop := range []string{a2.ID, q2.ID, a1.ID} {
		b := assistant.Beginning{DropFrom: drop, Answer: answer(3)}
		t.must(t.begin("alice", c.ID, b))
		kept := []assistant.Message{q1, a1, q2}
		t.holds("alice", c.ID, append(kept[:slices.IndexFunc(append(kept, a2), func(m assistant.Message) bool { return m.ID == drop })], b.Answer)...)
	}
	last := t.load("alice", c.ID).Messages[1]
	t.finish("alice", c.ID, last, "Done.", 4)
	t.ask("alice", c.ID, "Fourth?", "client-4", 4)
}

func testBeginDuplicate(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	q1, a1 := t.turn("alice", c.ID, "First?", "client-1", 1)
	_, a2 := t.ask("alice", c.ID, "Second?", "client-2", 2)
	before := t.load("alice", c.ID)
	for _, dropFrom := range []string{"", a1.ID, before.Messages[2].ID} {
		t.want(assistant.ErrDuplicate, t.begin("alice", c.ID, assistant.Beginning{
			DropFrom: dropFrom, Question: question("Again?", "client-1", 3), Answer: answer(3), Title: "Again",
		}))
		t.same(t.load("alice", c.ID), before)
	}
	// The id belongs to the conversation, and "" is none.
	t.ask("alice", other.ID, "First?", "client-1", 1)
	t.finish("alice", c.ID, a2, "Two.", 3)
	t.turn("alice", c.ID, "Third?", "", 4)
	t.turn("alice", c.ID, "Fourth?", "", 5)
	t.turn("alice", c.ID, "Fifth?", "Client-1", 6)
	t.same(t.load("alice", c.ID).Messages[0], q1)
}

// testBeginAgain makes calls again, as after a failure whose outcome is unknown: where the first was stored, its question is
// known by its id.
func testBeginAgain(t storeTest) {
	c := t.create("alice", 1)
	_, a := t.turn("alice", c.ID, "First?", "", 1)
	for _, clientID := range []string{"", "client-2"} {
		b := assistant.Beginning{Last: a.ID, Question: question("Second?", clientID, 2), Answer: answer(2)}
		t.must(t.beginAfter("alice", c.ID, b))
		before := t.load("alice", c.ID)
		t.want(assistant.ErrDuplicate, t.beginAfter("alice", c.ID, b))
		t.same(t.load("alice", c.ID), before)
		a = t.finish("alice", c.ID, b.Answer, "Two.", 2)
		t.want(assistant.ErrDuplicate, t.beginAfter("alice", c.ID, b))
	}

	// The question that replaces one: what it drops is gone already.
	page := t.load("alice", c.ID).Messages
	b := assistant.Beginning{Last: a.ID, DropFrom: page[2].ID, Question: question("Third?", "", 3), Answer: answer(3)}
	t.must(t.beginAfter("alice", c.ID, b))
	t.want(assistant.ErrDuplicate, t.beginAfter("alice", c.ID, b))
	t.holds("alice", c.ID, page[0], page[1], *b.Question, b.Answer)

	for n := range 30 {
		b = assistant.Beginning{Last: b.Answer.ID, DropFrom: b.Answer.ID, Question: question("And?", "", n), Answer: answer(n)}
		ctx, cancel := t.doomed(n)
		first := t.ledger.begin(ctx, t.Store, "alice", c.ID, b)
		cancel()
		second := t.beginAfter("alice", c.ID, b)
		switch {
		case errors.Is(second, assistant.ErrDuplicate) && first == nil:
		case errors.Is(second, assistant.ErrDuplicate) && errors.Is(first, errDoomed):
			t.ledger.count(t.claim("alice", c.ID), len(eventsOfBeginning(b))) // it was stored
		case second != nil || !errors.Is(first, errDoomed):
			t.Fatalf("got errors %v and %v", first, second)
		}
		t.same(t.last("alice", c.ID), b.Answer.ID)
	}
}

// testBeginOrder has a call fail for several reasons.
func testBeginOrder(t storeTest) {
	c := t.create("alice", 1)
	_, a1 := t.turn("alice", c.ID, "First?", "client-1", 1)
	t.ask("alice", c.ID, "Second?", "client-2", 2)
	last := t.last("alice", c.ID)
	known, fresh := question("Again?", "client-1", 3), question("Third?", "client-3", 3)
	for _, test := range []struct {
		last, dropFrom string
		question       *assistant.Message
		want           error
	}{
		{a1.ID, uuid.NewString(), known, assistant.ErrDuplicate},
		{a1.ID, uuid.NewString(), fresh, assistant.ErrStale},
		{last, uuid.NewString(), fresh, assistant.ErrNotFound},
		{last, "", fresh, assistant.ErrStale},
		{last, last, fresh, assistant.ErrConversationFull},
	} {
		t.want(test.want, t.beginAfter("alice", c.ID, assistant.Beginning{
			Last: test.last, DropFrom: test.dropFrom, Question: test.question, Answer: answer(3), MaxMessages: 1,
		}))
	}
}

func testBeginFull(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	q1, a1 := t.turn("alice", c.ID, "First?", "client-1", 1)
	t.ask("alice", other.ID, "First?", "client-1", 1)
	q2, a2 := t.turn("alice", c.ID, "Second?", "client-2", 2)
	before := t.load("alice", c.ID)
	begin := func(limit int, dropFrom string, q *assistant.Message) error {
		return t.begin("alice", c.ID, assistant.Beginning{
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
	t.finish("alice", c.ID, t.load("alice", c.ID).Messages[3], "Three.", 3)
	t.must(begin(6, "", question("Fourth?", "client-4", 3)))
	t.same(len(t.load("alice", c.ID).Messages), 6)
	t.same(t.load("alice", c.ID).Messages[:2], []assistant.Message{q1, a1})
}

// testExtendOther deletes a conversation whose answer was extended, and stores another answer of the same id, in another
// conversation: what comes late is not stored there.
func testExtendOther(t storeTest) {
	c, other := t.create("alice", 1), t.create("bob", 2)
	_, a := t.ask("alice", c.ID, "Hi", "", 1)
	piece := assistant.Extension{MessageID: a.ID, Events: eventsOf(a.ID, assistant.Parts{text("x")})}
	t.must(t.ledger.extend(t.Context(), t.Store, "alice", c.ID, 0, piece))
	t.must(t.Delete(t.Context(), "alice", c.ID))
	q := question("Hello", "", 1)
	t.must(t.begin("bob", other.ID, assistant.Beginning{Question: q, Answer: a}))
	t.want(assistant.ErrNotFound, t.ledger.extend(t.Context(), t.Store, "alice", c.ID, 0, piece))
	t.holds("bob", other.ID, *q, a)
}

func testBeginNotFound(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	t.turn("alice", c.ID, "First?", "client-1", 1)
	_, foreign := t.ask("alice", other.ID, "First?", "client-1", 1)
	before := []conversation{t.load("alice", c.ID), t.load("alice", other.ID)}
	for _, dropFrom := range []string{uuid.NewString(), foreign.ID, c.ID} {
		t.want(assistant.ErrNotFound, t.begin("alice", c.ID, assistant.Beginning{
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
	t.must(t.end("alice", c.ID, 5, assistant.Message{
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
		assistant.FinishBudget, assistant.FinishError, assistant.FinishInterrupted, assistant.FinishWaiting,
	} {
		for _, status := range []assistant.Status{
			assistant.StatusComplete, assistant.StatusStopped, assistant.StatusFailed, assistant.StatusInterrupted, assistant.StatusWaiting,
		} {
			a.FinishReason, a.Status = reason, status
			t.must(t.end("alice", c.ID, 3, a))
			t.holds("alice", c.ID, q, a)
		}
	}
}

func testFinishQuestion(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	q.Status = assistant.StatusFailed
	a.Status, a.FinishReason = assistant.StatusFailed, assistant.FinishError
	t.must(t.end("alice", c.ID, 3, a, q))
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
			t.want(assistant.ErrNotFound, t.end("alice", c.ID, 9, messages...))
		}
	}
	t.same([]conversation{t.load("alice", c.ID), t.load("alice", other.ID)}, before)
	a.Content, a.Status = "Hel", assistant.StatusStreaming
	t.extend("alice", c.ID, &a, text("lo")) // still streams
}

// testGoesOn lets an answer wait for a person, and go on with what it had.
func testGoesOn(t storeTest) {
	c, other := t.create("alice", 1), t.create("bob", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	call := assistant.ToolCallPart{CallID: "call_1", Name: "refund", Arguments: json.RawMessage(`{"order":"A-7"}`), Where: "server", State: assistant.CallRunning}
	t.extend("alice", c.ID, &a, reasoning("Hm."), text("I "), text("look."), call)
	t.holds("alice", c.ID, q, a)
	call.State = assistant.CallDone
	t.extend("alice", c.ID, &a, call, assistant.ToolResultPart{CallID: "call_1", Content: "ok", Structured: json.RawMessage(`[1]`)})
	t.holds("alice", c.ID, q, a)

	second := assistant.ToolCallPart{CallID: "call_2", Name: "refund", Arguments: json.RawMessage(`{}`), Where: "server", State: assistant.CallWaiting, WaitingFor: "approval"}
	a.Parts, a.Status, a.FinishReason = append(a.Parts, second), assistant.StatusWaiting, assistant.FinishWaiting
	t.must(t.end("alice", c.ID, 3, a))
	t.holds("alice", c.ID, q, a)
	t.waits(3)
	t.waits(4, assistant.Owned{Owner: "alice", ID: c.ID})
	_, b := t.ask("bob", other.ID, "Hi", "", 2)
	t.waits(9, assistant.Owned{Owner: "alice", ID: c.ID}) // what streams does not wait
	t.finish("bob", other.ID, b, "Hello", 2)

	second.State, second.WaitingFor, second.Edited = assistant.CallRunning, "", true
	a.Parts, a.Status, a.FinishReason = a.Parts.With(second), assistant.StatusStreaming, ""
	t.must(t.end("alice", c.ID, 4, a))
	t.holds("alice", c.ID, q, a)
	t.waits(9)
	second.State = assistant.CallFailed
	t.extend("alice", c.ID, &a, second, assistant.ToolResultPart{CallID: "call_2", Content: "no", IsError: true})
	t.extend("alice", c.ID, &a, text("So "), text("be it."))
	t.holds("alice", c.ID, q, a)
	t.extend("alice", c.ID, &a, assistant.SourcePart{SourceID: "1", URL: "https://example.com", Title: odd, Start: 1, End: 3})
	t.holds("alice", c.ID, q, a)
	a = t.finish("alice", c.ID, a, "Done", 5)
	t.holds("alice", c.ID, q, a)
}

// testPrivate keeps what no client gets with the end of an answer, or of none.
func testPrivate(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	keeps := func(want assistant.Private) {
		t.Helper()
		got, err := t.Private(t.Context(), "alice", c.ID)
		t.must(err)
		t.same(got, want)
	}
	end := func(n int, private *assistant.Private, messages ...assistant.Message) {
		t.Helper()
		t.must(t.ledger.finish(t.Context(), t.Store, "alice", c.ID, assistant.Ending{At: at(n), Messages: messages, Private: private}))
	}
	keeps(assistant.Private{})
	_, a := t.ask("alice", c.ID, "Hi", "", 2)
	a.Status, a.FinishReason = assistant.StatusWaiting, assistant.FinishWaiting
	want := assistant.Private{
		Grants:    []assistant.Grant{{Tool: "shop__refund", Hash: "ab"}, {Tool: odd, Hash: "cd"}},
		MessageID: a.ID,
		Inputs:    []assistant.PendingInput{{CallID: "call_1", State: odd, Answers: json.RawMessage(`{"size":{"action":"decline"}}`)}, {CallID: "call_2"}},
		Hidden:    []assistant.Hidden{{Step: 2, From: assistant.Source{Provider: "openai", Model: odd}, Item: json.RawMessage(`{"type":"reasoning"}`)}},
	}
	end(3, &want, a)
	keeps(want)
	end(4, nil, a)
	keeps(want)
	_, err := t.Private(t.Context(), "bob", c.ID)
	t.want(assistant.ErrNotFound, err)
	got, err := t.Private(t.Context(), "alice", other.ID)
	t.must(err)
	t.same(got, assistant.Private{})

	want.MessageID, want.Inputs, want.Hidden = "", nil, nil
	missing := a
	missing.ID = assistant.NewID()
	t.want(assistant.ErrNotFound, t.ledger.finish(t.Context(), t.Store, "alice", c.ID, assistant.Ending{At: at(5), Messages: []assistant.Message{missing}, Private: &assistant.Private{}}))
	end(5, &want, a)
	keeps(want)
	end(6, &assistant.Private{}, a)
	keeps(assistant.Private{})
}

// waits makes sure that these conversations wait since before n seconds after storeEpoch.
func (t storeTest) waits(n int, want ...assistant.Owned) {
	t.Helper()
	got, err := t.Waiting(t.Context(), at(n), 10)
	t.must(err)
	t.same(got, want)
	if len(want) > 0 {
		got, err = t.Waiting(t.Context(), at(n), 0)
		t.must(err)
		t.same(len(got), 0)
	}
}

// testFinishAfterFailure ends answers after calls of Extend that have failed, no matter whether those were stored.
func testFinishAfterFailure(t storeTest) {
	c := t.create("alice", 1)
	for n := range 30 {
		q, a := t.ask("alice", c.ID, "Hi", "", n)
		t.extend("alice", c.ID, &a, text("So "))
		events := eventsOf(a.ID, assistant.Parts{text("it "), text("is.")})
		ctx, cancel := t.doomed(n)
		err := t.ledger.extend(ctx, t.Store, "alice", c.ID, 0, assistant.Extension{MessageID: a.ID, Events: events})
		cancel()
		if err == nil {
			events = nil // are stored
		} else if !errors.Is(err, errDoomed) {
			t.Fatalf("got error %v", err)
		}
		a.Content, a.Status, a.FinishReason = "So it is.", assistant.StatusComplete, assistant.FinishStop
		t.must(t.ledger.finish(t.Context(), t.Store, "alice", c.ID, assistant.Ending{At: at(n), Messages: []assistant.Message{a}, Events: events}))
		t.same(t.load("alice", c.ID).Messages[2*n:], []assistant.Message{q, a})
	}
}

func testMessagesPages(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	page, more, err := t.Messages(t.Context(), "alice", c.ID, "", 5)
	t.must(err)
	t.same(listed(page), []assistant.Message{})
	t.same(more, false)

	var want []assistant.Message
	for n := range 6 { // interleaved, so that neither conversation's messages lie together
		q, a := t.turn("alice", c.ID, fmt.Sprintf("Question %d", n), "", n)
		want = append(want, q, a)
		t.turn("alice", other.ID, "Other", "", n)
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
	t.turn("alice", c.ID, "Zero", "", 0)
	q1, a1 := t.turn("alice", c.ID, "First?", "client-1", 1)
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
	t.must(t.begin("alice", c.ID, assistant.Beginning{DropFrom: a2.ID, Answer: a3}))
	got, err := t.MessageByClientID(t.Context(), "alice", c.ID, "client-2")
	t.must(err)
	t.same(got, []assistant.Message{q2, a3})
	t.must(t.begin("alice", c.ID, assistant.Beginning{DropFrom: a3.ID, Question: question("Third?", "", 4), Answer: answer(4)}))
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
		t.must(t.end("alice", c.ID, 3, a))
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
