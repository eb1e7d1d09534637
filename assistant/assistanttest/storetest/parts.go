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
	{"ExtendRepeated", testExtendRepeated},
	{"ExtendOverlapping", testExtendOverlapping},
	{"ExtendCuts", testExtendCuts},
	{"ExtendGap", testExtendGap},
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
		t.must(t.Begin(t.Context(), "alice", c.ID, b))
		t.holds("alice", c.ID, *b.Question, b.Answer)
		b.Answer.Status = assistant.StatusComplete
		for _, parts := range []assistant.Parts{parts, {reasoning("Hm"), text("So")}, nil, parts} {
			b.Answer.SetParts(parts)
			t.must(t.Finish(t.Context(), "alice", c.ID, at(1), b.Answer))
			t.holds("alice", c.ID, *b.Question, b.Answer)
		}
		b.Question.Status = assistant.StatusFailed // the question's parts are what Finish says, too
		t.must(t.Finish(t.Context(), "alice", c.ID, at(1), *b.Question))
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
	t.must(t.Finish(t.Context(), "alice", c.ID, at(2), a))
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
	t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{Question: q, Answer: a}))
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
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	other := answer(3) // streams at the same time
	t.must(t.Begin(t.Context(), "alice", c.ID, assistant.Beginning{Answer: other}))
	for n := range 20 {
		t.extend("alice", c.ID, &a, text(fmt.Sprintf(" %d ünd\n", n)))
		t.extend("alice", c.ID, &other, text("x"))
		t.holds("alice", c.ID, q, a, other)
	}
	t.extend("alice", c.ID, &a, text(""), reasoning(""))
	t.extend("alice", c.ID, &a)
	t.holds("alice", c.ID, q, a, other)
	turn, err := t.MessageByClientID(t.Context(), "alice", c.ID, "client-1")
	t.must(err)
	t.same(turn, []assistant.Message{q, a})
	t.same(t.load("alice", c.ID).UpdatedAt, at(3)) // is not touched

	// What does not stream cannot grow.
	end := storedBytes(a)
	a = t.finish("alice", c.ID, a, "Whole.", 4)
	for _, id := range []string{a.ID, q.ID, uuid.NewString()} {
		for _, offset := range []int{0, 6, end, 1000} {
			for _, parts := range []assistant.Parts{nil, {text("")}, {text("more")}, {reasoning("more"), text("more")}} {
				t.want(assistant.ErrNotFound, t.Extend(t.Context(), "alice", c.ID, id, offset, parts))
			}
		}
	}
	t.holds("alice", c.ID, q, a, other)
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

// replace extends the answer at an offset, and does the same to a.
func (t storeTest) replace(owner, id string, a *assistant.Message, offset int, parts ...assistant.Part) {
	t.Helper()
	t.must(t.Extend(t.Context(), owner, id, a.ID, offset, parts))
	kept, err := head(a.AllParts(), offset)
	t.must(err)
	a.SetParts(joined(append(kept, parts...)))
}

// testExtendRepeated makes calls again, as after a failure whose outcome is unknown: the same, and with more.
func testExtendRepeated(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	calls := []assistant.Parts{
		{text("Tw")},
		{text("o, ünd ")},
		{reasoning("Hm"), text("thr")},
		{text("ee"), reasoning("Hm?")},
		{reasoning("Hm!"), text("four"), reasoning("Done"), text(".")},
	}
	for _, parts := range calls {
		start := storedBytes(a)
		for range 3 {
			t.replace("alice", c.ID, &a, start, parts...)
			t.holds("alice", c.ID, q, a)
		}
		longer := append(slices.Clone(parts), text(" more"), reasoning(" of it"))
		t.replace("alice", c.ID, &a, start, longer...)
		t.holds("alice", c.ID, q, a)
		t.replace("alice", c.ID, &a, start, parts...)
		t.holds("alice", c.ID, q, a)
	}
	t.replace("alice", c.ID, &a, 0, calls[0]...)
	t.holds("alice", c.ID, q, a)
	t.replace("alice", c.ID, &a, 0)
	t.holds("alice", c.ID, q, a)
	t.extend("alice", c.ID, &a, text("Again."))
	t.holds("alice", c.ID, q, a)
}

// testExtendOverlapping goes back over one call, over several, and into the middle of one.
func testExtendOverlapping(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "", 2)
	whole := assistant.Parts{reasoning("Hm ünd"), text("So it is"), reasoning("Done"), text("\U0001F600!")}
	for _, calls := range [][]assistant.Parts{
		{whole},
		{whole[:2], whole[2:]},
		{whole[:1], whole[1:2], whole[2:3], whole[3:]},
	} {
		for n, offset := range boundaries(whole) {
			t.replace("alice", c.ID, &a, 0)
			for _, call := range calls {
				t.extend("alice", c.ID, &a, call...)
			}
			parts := []assistant.Parts{
				nil, {text("new")}, {reasoning("new")}, {reasoning("a"), text("longer than everything that there was before"), reasoning("b")},
			}[n%4]
			t.replace("alice", c.ID, &a, offset, parts...)
			t.holds("alice", c.ID, q, a)
			t.extend("alice", c.ID, &a, text(" And on."))
			t.holds("alice", c.ID, q, a)
		}
	}
}

// testExtendCuts cuts texts of characters of one to four bytes, between any two of them.
func testExtendCuts(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "", 2)
	const chars = "aé漢\U0001F600"
	for _, offset := range []int{0, 1, 3, 6, 10} {
		t.replace("alice", c.ID, &a, 0, text(chars))
		t.replace("alice", c.ID, &a, offset, text("z"))
		t.holds("alice", c.ID, q, a)
	}
}

// testExtendGap leaves something out: that is an error, and no lack of the message.
func testExtendGap(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	gap := func(offset int) {
		t.Helper()
		for _, parts := range []assistant.Parts{nil, {text("x")}, {reasoning("Hm"), text("x")}} {
			if err := t.Extend(t.Context(), "alice", c.ID, a.ID, offset, parts); err == nil || errors.Is(err, assistant.ErrNotFound) {
				t.Fatalf("extended at %d: got error %v", offset, err)
			}
			t.holds("alice", c.ID, q, a)
		}
	}
	gap(1)
	t.extend("alice", c.ID, &a, text("é"))
	gap(3)
	gap(1 << 30)
	t.extend("alice", c.ID, &a, reasoning("漢"))
	gap(6)
	t.replace("alice", c.ID, &a, 2)
	gap(3)
	gap(5)
	t.extend("alice", c.ID, &a, text("."))
	t.holds("alice", c.ID, q, a)
}

// testExtendRefuses gives what no answer can be extended by; what is stored stays.
func testExtendRefuses(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	t.extend("alice", c.ID, &a, text("é"))
	for _, p := range allParts {
		if p.Type() == "text" || p.Type() == "reasoning" {
			continue
		}
		if err := t.Extend(t.Context(), "alice", c.ID, a.ID, 0, assistant.Parts{text("x"), p}); err == nil {
			t.Errorf("extended by a part of type %s", p.Type())
		}
	}
	for _, offset := range []int{-1, 1} { // before the beginning, and inside a character
		if err := t.Extend(t.Context(), "alice", c.ID, a.ID, offset, assistant.Parts{text("x")}); err == nil || errors.Is(err, assistant.ErrNotFound) {
			t.Errorf("extended at %d: got error %v", offset, err)
		}
	}
	t.holds("alice", c.ID, q, a)
}

// testExtendAfterFailure goes on where calls have failed, no matter how much of them was stored.
func testExtendAfterFailure(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	for n := range 30 {
		start := storedBytes(a)
		parts := assistant.Parts{reasoning(fmt.Sprint("Hm ", n)), text(fmt.Sprint("So ", n))}
		ctx, cancel := t.doomed(n)
		err := t.Extend(ctx, "alice", c.ID, a.ID, start, parts)
		cancel()
		if err != nil && !errors.Is(err, errDoomed) {
			t.Fatalf("got error %v", err)
		}
		t.replace("alice", c.ID, &a, start, append(parts, text("more"))...)
		t.holds("alice", c.ID, q, a)
	}
}
