// Package storetest is the contract suite of every assistant.Store.
//
//   - [TestStore] checks the whole contract, [BenchmarkStore] measures a store.
//   - [TestVersion1] checks what a store does with what version 1 has stored.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestStore checks the whole contract of [assistant.Store]. Each call of open makes an empty store, or
// fails the test; the suite closes it. Several are open at once. What is written to an [assistant.Cluster] is written with its claims, and its
// events are numbered without a gap from the cursor of the claim on.
//
// A store may hold a NUL in a text as it is or as U+FFFD: PostgreSQL has no other way. It may refuse
// owners that are not plain text, as long as it never takes one owner for another. The JSON in a part may
// come back with other spaces and escapes, but with all members, in their order.
func TestStore(t *testing.T, open func(t *testing.T) assistant.Store) { //nolint:tparallel // its caller decides
	t.Helper()
	for _, test := range slices.Concat(conversationTests, messageTests, partTests, concurrencyTests) {
		beside(t, test.name, func(t *testing.T) {
			s := newTest(t, open(t))
			test.run(s)
			s.must(s.Close())
		})
	}
	for seed := range uint64(10) {
		beside(t, fmt.Sprintf("Random/%d", seed), func(t *testing.T) {
			playRandom(newTest(t, open(t)), seed, nil)
		})
	}
}

// Place is where a store keeps what outlives it. Each call opens a store there, or fails the test; the
// suite closes one before it opens the next.
type Place func(t *testing.T) assistant.Store

// TestDurableStore is [TestStore] for stores that outlive their process. Each call of place makes an
// empty place.
func TestDurableStore(t *testing.T, place func(t *testing.T) Place) { //nolint:tparallel // its caller decides
	t.Helper()
	TestStore(t, func(t *testing.T) assistant.Store {
		t.Helper()
		return place(t)(t)
	})
	for _, test := range durableTests {
		beside(t, test.name, func(t *testing.T) {
			p := place(t)
			test.run(newTest(t, p(t)), p)
		})
	}
	for seed := range uint64(5) {
		beside(t, fmt.Sprintf("ReopenRandom/%d", seed), func(t *testing.T) {
			p := place(t)
			playRandom(newTest(t, p(t)), seed, p)
		})
	}
}

// beside runs a test beside the others.
func beside(t *testing.T, name string, run func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		run(t)
	})
}

// storeCase is a test of one sentence or two of the contract.
type storeCase struct {
	name string
	run  func(storeTest)
}

// storeTest is a store under test with what every test needs.
type storeTest struct {
	*testing.T

	assistant.Store

	ledger *ledger
}

func newTest(t *testing.T, s assistant.Store) storeTest { return storeTest{t, s, newLedger()} }

// storeEpoch is a time with a part that only milliseconds can hold.
var storeEpoch = time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC)

// at returns the time n seconds after storeEpoch.
func at(n int) time.Time { return storeEpoch.Add(time.Duration(n) * time.Second) }

func (t storeTest) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t storeTest) want(want, err error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// same compares values as JSON, where times, pointers and slices look like what they hold.
func (t storeTest) same(got, want any) {
	t.Helper()
	if g, w := asJSON(got), asJSON(want); g != w {
		t.Fatalf("\n got %.2000s\nwant %.2000s", g, w)
	}
}

// asJSON shows all fields of a message, even the one that clients are not shown.
func asJSON(v any) string {
	b, err := json.Marshal(v, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true),
		json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, m assistant.Message) error {
			type public assistant.Message
			return json.MarshalEncode(e, struct {
				public

				Who string `json:"provider"`
			}{public(m), m.Provider})
		})))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// listed returns an empty list for nil: stores may return either.
func listed[T any](list []T) []T { return append([]T{}, list...) }

// create stores an empty conversation that was updated n seconds after storeEpoch.
func (t storeTest) create(owner string, n int) assistant.Conversation {
	t.Helper()
	c := assistant.Conversation{ID: uuid.NewString(), CreatedAt: at(n), UpdatedAt: at(n)}
	t.must(t.Create(t.Context(), owner, c))
	return c
}

func question(content, clientID string, n int) *assistant.Message {
	return &assistant.Message{
		ID: uuid.NewString(), Role: assistant.RoleUser, Content: content, Status: assistant.StatusComplete, ClientID: clientID, CreatedAt: at(n),
	}
}

func answer(n int) assistant.Message {
	return assistant.Message{ID: uuid.NewString(), Role: assistant.RoleAssistant, Status: assistant.StatusStreaming, CreatedAt: at(n)}
}

// Create stores a new conversation, which nobody has claimed.
func (t storeTest) Create(ctx context.Context, owner string, c assistant.Conversation) error {
	err := t.Store.Create(ctx, owner, c)
	if err == nil {
		t.ledger.forget(owner, c.ID)
	}
	return err
}

// DeleteBefore deletes what is old, after a Cluster's claims were given back: what is claimed is not old.
func (t storeTest) DeleteBefore(ctx context.Context, before time.Time, limit int) ([]assistant.Owned, error) {
	if err := t.ledger.release(ctx, t.Store); err != nil {
		return nil, err
	}
	return t.Store.DeleteBefore(ctx, before, limit)
}

// claim returns the claim to write to a conversation with.
func (t storeTest) claim(owner, id string) assistant.Claim {
	t.Helper()
	claim, _, err := t.ledger.claim(t.Context(), t.Store, owner, id)
	t.must(err)
	return claim
}

// last returns the ID of the conversation's last message.
func (t storeTest) last(owner, id string) string {
	t.Helper()
	page, _, err := t.Messages(t.Context(), owner, id, "", 1)
	t.must(err)
	if len(page) == 0 {
		return ""
	}
	return page[0].ID
}

// begin begins a turn behind the conversation's last message.
func (t storeTest) begin(owner, id string, b assistant.Beginning) error {
	t.Helper()
	b.Last = t.last(owner, id)
	return t.beginAfter(owner, id, b)
}

// beginAfter begins a turn behind the message that the beginning names.
func (t storeTest) beginAfter(owner, id string, b assistant.Beginning) error {
	return t.ledger.begin(t.Context(), t.Store, owner, id, b)
}

// ask begins a turn n seconds after storeEpoch and returns its messages.
func (t storeTest) ask(owner, id, content, clientID string, n int) (q, a assistant.Message) {
	t.Helper()
	b := assistant.Beginning{Question: question(content, clientID, n), Answer: answer(n)}
	t.must(t.begin(owner, id, b))
	return *b.Question, b.Answer
}

// end calls Finish, with an UpdatedAt n seconds after storeEpoch.
func (t storeTest) end(owner, id string, n int, messages ...assistant.Message) error {
	return t.ledger.finish(t.Context(), t.Store, owner, id, assistant.Ending{At: at(n), Messages: messages})
}

// finish gives the answer its text, with an UpdatedAt n seconds after storeEpoch, and returns it.
func (t storeTest) finish(owner, id string, a assistant.Message, content string, n int) assistant.Message {
	t.Helper()
	a.Content, a.Status, a.FinishReason = content, assistant.StatusComplete, assistant.FinishStop
	t.must(t.end(owner, id, n, a))
	return a
}

// turn asks a question and has it answered, n seconds after storeEpoch, and returns both messages.
func (t storeTest) turn(owner, id, content, clientID string, n int) (q, a assistant.Message) {
	t.Helper()
	q, a = t.ask(owner, id, content, clientID, n)
	return q, t.finish(owner, id, a, "Answer to "+content, n)
}

// extend adds parts to the end of the answer, and to a.
func (t storeTest) extend(owner, id string, a *assistant.Message, parts ...assistant.Part) {
	t.Helper()
	t.must(t.ledger.extend(t.Context(), t.Store, owner, id, 0, assistant.Extension{MessageID: a.ID, Events: eventsOf(a.ID, parts)}))
	a.SetParts(joined(slices.Concat(a.AllParts(), parts)))
}

// eventsOf returns the pieces of an answer that show parts, one for each.
func eventsOf(answer string, parts assistant.Parts) (events []assistant.Event) {
	for _, p := range parts {
		e := assistant.Event{Kind: assistant.KindPiece, Run: answer, Text: assistant.Parts{p}.Text()}
		if p.Type() == "reasoning" {
			e.Kind, e.Text = assistant.KindReasoning, assistant.Parts{p}.Reasoning()
		}
		switch p := p.(type) {
		case assistant.ToolCallPart:
			e = assistant.Event{Kind: assistant.KindToolCall, Run: answer, Body: assistant.ToolCall{Call: p}}
		case assistant.ToolResultPart:
			e = assistant.Event{Kind: assistant.KindToolResult, Run: answer, Body: assistant.ToolResult{Result: p}}
		case assistant.SourcePart:
			e = assistant.Event{Kind: assistant.KindPart, Run: answer, Body: assistant.Added{Part: p}}
		}
		events = append(events, e)
	}
	return events
}

// again calls Extend as after a call whose outcome is unknown: parts take the place of the last n events of the log, before
// which the answer was as given. It makes a what it is to be.
func (t storeTest) again(owner, id string, a *assistant.Message, n int, before assistant.Message, parts ...assistant.Part) {
	t.Helper()
	t.must(t.ledger.extend(t.Context(), t.Store, owner, id, -n, assistant.Extension{MessageID: a.ID, Events: eventsOf(a.ID, parts)}))
	*a = before
	a.SetParts(joined(slices.Concat(a.AllParts(), parts)))
}

func text(s string) assistant.Part      { return assistant.TextPart{Text: s} }
func reasoning(s string) assistant.Part { return assistant.ReasoningPart{Text: s} }

// joined returns parts as a streaming message has them: neighbours of one kind are one, none is empty, and a call is there
// once.
func joined(parts assistant.Parts) assistant.Parts {
	var out assistant.Parts
	for _, p := range parts {
		last := len(out) - 1
		switch {
		case p.Type() != "text" && p.Type() != "reasoning":
			out = out.With(p)
		case assistant.Parts{p}.Text()+assistant.Parts{p}.Reasoning() == "":
		case last < 0 || out[last].Type() != p.Type():
			out = append(out, p)
		case p.Type() == "text":
			out[last] = text(assistant.Parts{out[last], p}.Text())
		default:
			out[last] = reasoning(assistant.Parts{out[last], p}.Reasoning())
		}
	}
	return out
}

// conversation is what is stored of a conversation: itself and all its messages.
type conversation struct {
	assistant.Conversation

	Messages []assistant.Message
}

func (t storeTest) load(owner, id string) conversation {
	t.Helper()
	c, err := t.Conversation(t.Context(), owner, id)
	t.must(err)
	page, more, err := t.Messages(t.Context(), owner, id, "", 1000)
	t.must(err)
	if more {
		t.Fatal("more than 1000 messages")
	}
	return conversation{c, listed(page)}
}

// holds checks that the conversation's messages are these.
func (t storeTest) holds(owner, id string, messages ...assistant.Message) {
	t.Helper()
	t.same(t.load(owner, id).Messages, listed(messages))
}

// target is a message and where it is; last is the last message there.
type target struct{ owner, id, message, last string }

// verb calls one method of a store on a target.
type verb struct {
	name string
	call func(ctx context.Context, s storeTest, t target) error
}

// verbs are all methods that take the ID of a conversation.
var verbs = []verb{
	{"Conversation", func(ctx context.Context, s storeTest, t target) error {
		_, err := s.Conversation(ctx, t.owner, t.id)
		return err
	}},
	{"Rename", func(ctx context.Context, s storeTest, t target) error {
		_, err := s.Rename(ctx, t.owner, t.id, "stolen", nil)
		return err
	}},
	{"Rename from", func(ctx context.Context, s storeTest, t target) error {
		_, err := s.Rename(ctx, t.owner, t.id, "stolen", new(""))
		return err
	}},
	{"Rename from another title", func(ctx context.Context, s storeTest, t target) error {
		_, err := s.Rename(ctx, t.owner, t.id, "stolen", new("another"))
		return err
	}},
	{"Delete", func(ctx context.Context, s storeTest, t target) error {
		return s.Delete(ctx, t.owner, t.id)
	}},
	{"Messages", func(ctx context.Context, s storeTest, t target) error {
		_, _, err := s.Messages(ctx, t.owner, t.id, "", 10)
		return err
	}},
	{"Messages before", func(ctx context.Context, s storeTest, t target) error {
		_, _, err := s.Messages(ctx, t.owner, t.id, t.message, 10)
		return err
	}},
	{"MessageByClientID", func(ctx context.Context, s storeTest, t target) error {
		_, err := s.MessageByClientID(ctx, t.owner, t.id, "client-1")
		return err
	}},
	{"Begin", func(ctx context.Context, s storeTest, t target) error {
		return s.ledger.begin(ctx, s.Store, t.owner, t.id, assistant.Beginning{
			Last: t.last, Question: question("mine", "client-2", 9), Answer: answer(9), Title: "stolen",
		})
	}},
	{"Begin after another", func(ctx context.Context, s storeTest, t target) error {
		return s.ledger.begin(ctx, s.Store, t.owner, t.id, assistant.Beginning{Last: "another", Answer: answer(9)})
	}},
	{"Begin dropping", func(ctx context.Context, s storeTest, t target) error {
		return s.ledger.begin(ctx, s.Store, t.owner, t.id, assistant.Beginning{Last: t.last, DropFrom: t.message, Answer: answer(9)})
	}},
	{"Extend", func(ctx context.Context, s storeTest, t target) error {
		return s.ledger.extend(ctx, s.Store, t.owner, t.id, 0, stolen(t))
	}},
	{"Extend behind a gap", func(ctx context.Context, s storeTest, t target) error {
		return s.ledger.extend(ctx, s.Store, t.owner, t.id, 1000, stolen(t))
	}},
	{"Finish", func(ctx context.Context, s storeTest, t target) error {
		return s.ledger.finish(ctx, s.Store, t.owner, t.id, assistant.Ending{
			At: at(9), Messages: []assistant.Message{{ID: t.message, Content: "stolen", Status: assistant.StatusComplete}},
		})
	}},
}

func stolen(t target) assistant.Extension {
	return assistant.Extension{MessageID: t.message, Events: eventsOf(t.message, assistant.Parts{text("stolen")})}
}

var errDoomed = errors.New("doomed")

// doomed returns a context that ends after n steps of 20 µs: before, in or after a call.
func (t storeTest) doomed(n int) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(t.Context(), time.Duration(n)*20*time.Microsecond, errDoomed)
}
