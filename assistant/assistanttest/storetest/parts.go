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

// partTests are about what messages consist of, and how an answer grows.
var partTests = []storeCase{
	{"Parts", testParts},
	{"PartsAreKept", testPartsAreKept},
	{"Origins", testOrigins},
	{"Extend", testExtend},
	{"ExtendKinds", testExtendKinds},
	{"ExtendOtherEvents", testExtendOtherEvents},
	{"ExtendReasoningLive", testExtendReasoningLive},
	{"ExtendAgain", testExtendAgain},
	{"ExtendGap", testExtendGap},
	{"ExtendOverlap", testExtendOverlap},
	{"ExtendRefuses", testExtendRefuses},
	{"ExtendAfterFailure", testExtendAfterFailure},
}

const odd = "'\"\\ ünd\n\U0001F469\u200D\U0001F680 <b>&amp; \u2028 %s $1 \uFFFD"

// allParts are parts of every type, with all fields and with as few as may be, and with JSON that a store
// is tempted to tidy up.
var allParts = assistant.Parts{
	assistant.TextPart{Text: odd},
	assistant.ReasoningPart{Text: odd},
	assistant.TextPart{},
	assistant.TextPart{Text: "neighbours "},
	assistant.TextPart{Text: "stay"},
	assistant.ReasoningPart{},
	assistant.ImagePart{FileID: "8b0e7c5e-0000-4000-8000-000000000001", MediaType: "image/png", Name: odd, Size: 1 << 40, Width: 800, Height: 600},
	assistant.ImagePart{},
	assistant.FilePart{FileID: "8b0e7c5e-0000-4000-8000-000000000002", MediaType: "application/pdf", Name: odd, Size: 1 << 40},
	assistant.FilePart{},
	assistant.SourcePart{SourceID: "1", URL: "https://example.org/?a=1&b=<2>", FileID: "f", Title: odd, Start: 3, End: 42},
	assistant.SourcePart{},
	assistant.ToolCallPart{
		CallID: "call-1", Name: "search", Title: odd, Where: "server", State: "waiting", WaitingFor: "approval",
		Arguments: json.RawMessage(`{"z":1,"a":{"b":[1.0,1e400,-0,123456789012345678901234567890]},"a":"twice","n":"\u0000\ud83d\ude00\ud800","":null}`),
	},
	assistant.ToolCallPart{Arguments: json.RawMessage(`{}`)},
	assistant.ToolResultPart{
		CallID: "call-1", Content: odd, Structured: json.RawMessage(`[{"b":1,"a":2}," ünd "]`), IsError: true, Truncated: true,
		Files: assistant.FileParts{assistant.ImagePart{FileID: "i", Size: 7}, assistant.FilePart{FileID: "f", Name: odd}},
	},
	assistant.ToolResultPart{},
	assistant.ToolResultPart{Structured: json.RawMessage(strings.Repeat("[", 5000) + strings.Repeat("]", 5000))},
}

// testParts stores each part alone and all together, in a question and in an answer.
func testParts(t storeTest) {
	lists := []assistant.Parts{allParts, allParts[:1], {text("a"), text("b")}, slices.Concat(allParts, allParts), nil}
	for _, p := range allParts {
		lists = append(lists, assistant.Parts{p}, assistant.Parts{p, text("and text")})
	}
	for n, parts := range lists {
		c := t.create("alice", 1)
		b := assistant.Beginning{Question: question("", fmt.Sprint(n), 1), Answer: answer(1)}
		b.Question.SetParts(parts)
		t.must(t.begin("alice", c.ID, b))
		t.holds("alice", c.ID, *b.Question, b.Answer)
		b.Answer.Status = assistant.StatusComplete
		for _, parts := range []assistant.Parts{parts, {reasoning("Hm"), text("So")}, nil, parts} {
			b.Answer.SetParts(parts)
			t.must(t.end("alice", c.ID, 1, b.Answer))
			t.holds("alice", c.ID, *b.Question, b.Answer)
		}
		b.Question.Status = assistant.StatusFailed // the question's parts are what Finish says, too
		t.must(t.end("alice", c.ID, 1, *b.Question))
		turn, err := t.MessageByClientID(t.Context(), "alice", c.ID, fmt.Sprint(n))
		t.must(err)
		t.same(turn, []assistant.Message{*b.Question, b.Answer})
	}
}

// testPartsAreKept has callers append to lists of parts that a store has taken or given: none sees what
// another does.
func testPartsAreKept(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	own := append(make(assistant.Parts, 0, 10), reasoning("Hm"), text("So"))
	a.SetParts(own)
	a.Status = assistant.StatusComplete
	t.must(t.end("alice", c.ID, 2, a))
	lists := []assistant.Parts{append(own, text("0"))}
	for n := range 3 {
		page, _, err := t.Messages(t.Context(), "alice", c.ID, "", 1)
		t.must(err)
		lists = append(lists, append(page[0].Parts, text(fmt.Sprint(n+1))))
	}
	for n, list := range lists {
		t.same(list, assistant.Parts{reasoning("Hm"), text("So"), text(fmt.Sprint(n))})
	}
	t.holds("alice", c.ID, q, a)
}

// testOrigins stores which provider and model have answered, and what went wrong.
func testOrigins(t storeTest) {
	c := t.create("alice", 1)
	q, a := question("Hi", "client-1", 1), answer(1)
	a.Provider, a.Model = "main", "model-1"
	q.Reason = assistant.ReasonBusy
	t.must(t.begin("alice", c.ID, assistant.Beginning{Question: q, Answer: a}))
	t.extend("alice", c.ID, &a, text("Hel"))
	t.holds("alice", c.ID, *q, a)
	for _, origin := range []assistant.Message{
		{Provider: "spare", Model: "model-2", Reason: assistant.ReasonProviderTimeout},
		{Provider: odd, Model: odd, Reason: assistant.ReasonInternal},
		{Reason: assistant.ReasonContentFiltered},
		{Model: "model-3"},
		{Provider: "last"},
		{},
	} {
		a.Provider, a.Model, a.Reason = origin.Provider, origin.Model, origin.Reason
		a = t.finish("alice", c.ID, a, "Hello", 2)
		t.holds("alice", c.ID, *q, a)
	}
}

func testExtend(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	q2, a2 := t.ask("alice", other.ID, "Hi", "client-1", 3) // streams at the same time
	for n := range 20 {
		t.extend("alice", c.ID, &a, text(fmt.Sprintf(" %d ünd\n", n)))
		t.extend("alice", other.ID, &a2, text("x"))
		t.holds("alice", c.ID, q, a)
		t.holds("alice", other.ID, q2, a2)
	}
	t.extend("alice", c.ID, &a, text(""), reasoning(""))
	t.holds("alice", c.ID, q, a)
	turn, err := t.MessageByClientID(t.Context(), "alice", c.ID, "client-1")
	t.must(err)
	t.same(turn, []assistant.Message{q, a})
	t.same(t.load("alice", c.ID).UpdatedAt, at(2)) // is not touched

	// What does not stream cannot grow.
	a = t.finish("alice", c.ID, a, "Whole.", 4)
	for _, id := range []string{a.ID, q.ID, a2.ID, uuid.NewString()} {
		for _, skip := range []int{0, -1, 1, 1000} {
			e := assistant.Extension{MessageID: id, Events: eventsOf(id, assistant.Parts{reasoning("more"), text("more")})}
			t.want(assistant.ErrNotFound, t.ledger.extend(t.Context(), t.Store, "alice", c.ID, skip, e))
		}
	}
	t.holds("alice", c.ID, q, a)
	t.holds("alice", other.ID, q2, a2)
}

// testExtendKinds mixes reasoning and text: both count, only text is content.
func testExtendKinds(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	for _, parts := range []assistant.Parts{
		{reasoning("Hm ")},
		{reasoning("ünd")},
		{text("So"), reasoning("or"), reasoning(" not"), text(" it "), text("is")},
		{text(".")},
		{reasoning("Done."), text("")},
		{text(""), reasoning(" Really.")},
	} {
		t.extend("alice", c.ID, &a, parts...)
		t.holds("alice", c.ID, q, a)
	}
	t.same(a.Content, "So it is.")
	t.same(a.Parts, assistant.Parts{reasoning("Hm ünd"), text("So"), reasoning("or not"), text(" it is."), reasoning("Done. Really.")})
	turn, err := t.MessageByClientID(t.Context(), "alice", c.ID, "client-1")
	t.must(err)
	t.same(turn, []assistant.Message{q, a})

	a.SetParts(assistant.Parts{text("So it is.")})
	a = t.finish("alice", c.ID, a, a.Content, 3)
	t.holds("alice", c.ID, q, a)
}

// testExtendOtherEvents has events among the pieces that are none: they count, and the text is not torn apart by them.
func testExtendOtherEvents(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	renamed := assistant.Event{Kind: assistant.KindRenamed, Body: assistant.Renamed{Conversation: c}}
	fellBack := assistant.Event{Kind: assistant.KindFellBack, Run: a.ID, Body: assistant.Source{Provider: "spare", Model: "model-2"}}
	piece := func(p assistant.Part) assistant.Event { return eventsOf(a.ID, assistant.Parts{p})[0] }
	for _, call := range []struct {
		events []assistant.Event
		parts  assistant.Parts
	}{
		{[]assistant.Event{renamed}, nil},
		{[]assistant.Event{renamed, piece(text("So ")), fellBack, piece(text("it ")), renamed, renamed}, assistant.Parts{text("So it ")}},
		{[]assistant.Event{piece(text("is")), piece(reasoning("Hm ")), fellBack, piece(reasoning("ünd"))}, assistant.Parts{text("is"), reasoning("Hm ünd")}},
		{[]assistant.Event{renamed, fellBack}, nil},
		{[]assistant.Event{piece(reasoning(".")), piece(text("."))}, assistant.Parts{reasoning("."), text(".")}},
	} {
		e := assistant.Extension{MessageID: a.ID, Events: call.events}
		t.must(t.ledger.extend(t.Context(), t.Store, "alice", c.ID, 0, e))
		a.SetParts(joined(slices.Concat(a.AllParts(), call.parts)))
		t.holds("alice", c.ID, q, a)
		t.must(t.ledger.extend(t.Context(), t.Store, "alice", c.ID, -len(e.Events), e)) // again
		t.holds("alice", c.ID, q, a)
	}
	t.same(a.Content, "So it is.")
}

// testExtendReasoningLive leaves reasoning out of the message.
func testExtendReasoningLive(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	for _, parts := range []assistant.Parts{
		{reasoning("Hm")}, {text("So "), reasoning("or"), text("it ")}, {reasoning("not")}, {text("is"), reasoning("Done"), text(".")},
	} {
		e := assistant.Extension{MessageID: a.ID, Events: eventsOf(a.ID, parts), ReasoningLive: true}
		for _, skip := range []int{0, -len(parts)} {
			t.must(t.ledger.extend(t.Context(), t.Store, "alice", c.ID, skip, e))
		}
		a.Content += parts.Text()
		t.holds("alice", c.ID, q, a)
	}
	t.same(a.Content, "So it is.")
}

// testExtendAgain makes calls again, as after a failure whose outcome is unknown: the same, and with more.
func testExtendAgain(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	for _, parts := range []assistant.Parts{
		{text("Tw")},
		{text("o, ünd ")},
		{reasoning("Hm"), text("thr")},
		{text("ee"), reasoning("Hm?")},
		{text(""), reasoning("")},
		{reasoning("Hm!"), text("four"), reasoning("Done"), text(".")},
	} {
		before := a
		t.extend("alice", c.ID, &a, parts...)
		for range 2 {
			t.again("alice", c.ID, &a, len(parts), before, parts...)
			t.holds("alice", c.ID, q, a)
		}
		longer := slices.Concat(parts, assistant.Parts{text(" more"), reasoning(" of it")})
		t.again("alice", c.ID, &a, len(parts), before, longer...)
		t.holds("alice", c.ID, q, a)
		t.again("alice", c.ID, &a, len(longer), before, longer...)
		t.holds("alice", c.ID, q, a)
	}
	t.extend("alice", c.ID, &a, text(" And on."))
	t.holds("alice", c.ID, q, a)
}

// refuses checks that a call of Extend is an error, and stores nothing.
func (t storeTest) refuses(owner, id string, skip int, e assistant.Extension) {
	t.Helper()
	before := t.load(owner, id)
	if err := t.ledger.extend(t.Context(), t.Store, owner, id, skip, e); err == nil || errors.Is(err, assistant.ErrNotFound) {
		t.Fatalf("extended by %d events, skipping %d: got error %v", len(e.Events), skip, err)
	}
	t.same(t.load(owner, id), before)
}

// testExtendGap leaves events out: that is an error, and no lack of the message.
func testExtendGap(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	t.extend("alice", c.ID, &a, text("é"), text("é"))
	for range 3 {
		for _, skip := range []int{1, 2, 1 << 30} {
			for _, parts := range []assistant.Parts{{text("x")}, {reasoning("Hm"), text("x")}} {
				t.refuses("alice", c.ID, skip, assistant.Extension{MessageID: a.ID, Events: eventsOf(a.ID, parts)})
			}
		}
		t.extend("alice", c.ID, &a, reasoning("漢"))
	}
	t.holds("alice", c.ID, q, a)
}

// testExtendOverlap begins with an event that is stored, but neither with the next one nor with that of the last call; and it
// makes the last call again with fewer events, as one that comes late would be.
func testExtendOverlap(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	t.extend("alice", c.ID, &a, text("1"), text("2"))
	t.extend("alice", c.ID, &a, text("3"), text("4"), text("5"))
	for skip := -5; skip < 0; skip++ {
		for n := 1; n < 8; n++ {
			if skip == -3 && n >= 3 {
				continue
			}
			e := assistant.Extension{MessageID: a.ID, Events: eventsOf(a.ID, slices.Repeat(assistant.Parts{text("x")}, n))}
			t.refuses("alice", c.ID, skip, e)
		}
	}
	t.extend("alice", c.ID, &a, text("6"))
	t.holds("alice", c.ID, q, a)
}

// testExtendRefuses gives events that are no stretch of a log; what is stored stays.
func testExtendRefuses(t storeTest) {
	c := t.create("alice", 1)
	_, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	for range 2 {
		before := t.load("alice", c.ID)
		claim, last, err := t.ledger.claim(t.Context(), t.Store, "alice", c.ID)
		t.must(err)
		for _, numbers := range [][]uint64{{}, {last + 1, last + 1}, {last + 1, last + 3}, {last + 2, last + 1}, {last + 1, last}} {
			events := eventsOf(a.ID, slices.Repeat(assistant.Parts{text("x")}, len(numbers)))
			for i, n := range numbers {
				events[i].Seq = n
			}
			if err := t.Extend(t.Context(), claim, assistant.Extension{MessageID: a.ID, Events: events}); err == nil || errors.Is(err, assistant.ErrNotFound) {
				t.Errorf("extended by events numbered %d: got error %v", numbers, err)
			}
			t.same(t.load("alice", c.ID), before)
		}
		t.extend("alice", c.ID, &a, text("é"))
	}
}

// testExtendAfterFailure goes on where calls have failed, no matter whether those were stored.
func testExtendAfterFailure(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	for n := range 30 {
		before := a
		parts := assistant.Parts{reasoning(fmt.Sprint("Hm ", n)), text(fmt.Sprint("So ", n))}
		ctx, cancel := t.doomed(n)
		err := t.ledger.extend(ctx, t.Store, "alice", c.ID, 0, assistant.Extension{MessageID: a.ID, Events: eventsOf(a.ID, parts)})
		cancel()
		known := len(parts)
		if err != nil {
			t.want(errDoomed, err)
			known = 0
		}
		t.again("alice", c.ID, &a, known, before, append(parts, text("more"))...)
		t.holds("alice", c.ID, q, a)
	}
}
