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
// fails the test; the suite closes it.
//
// A store may hold a NUL in a text as it is or as U+FFFD: PostgreSQL has no other way. It may refuse
// owners that are not plain text, as long as it never takes one owner for another. The JSON in a part may
// come back with other spaces and escapes, but with all members, in their order.
func TestStore(t *testing.T, open func(t *testing.T) assistant.Store) {
	t.Helper()
	for _, test := range slices.Concat(conversationTests, messageTests, partTests, concurrencyTests) {
		t.Run(test.name, func(t *testing.T) {
			s := storeTest{t, open(t)}
			test.run(s)
			s.must(s.Close())
		})
	}
	for seed := range uint64(10) {
		t.Run(fmt.Sprintf("Random/%d", seed), func(t *testing.T) {
			playRandom(storeTest{t, open(t)}, seed, nil)
		})
	}
}

// Place is where a store keeps what outlives it. Each call opens a store there, or fails the test; the
// suite closes one before it opens the next.
type Place func(t *testing.T) assistant.Store

// TestDurableStore is [TestStore] for stores that outlive their process. Each call of place makes an
// empty place.
func TestDurableStore(t *testing.T, place func(t *testing.T) Place) {
	t.Helper()
	TestStore(t, func(t *testing.T) assistant.Store {
		t.Helper()
		return place(t)(t)
	})
	for _, test := range durableTests {
		t.Run(test.name, func(t *testing.T) {
			p := place(t)
			test.run(storeTest{t, p(t)}, p)
		})
	}
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("ReopenRandom/%d", seed), func(t *testing.T) {
			p := place(t)
			playRandom(storeTest{t, p(t)}, seed, p)
		})
	}
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
}

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

// ask begins a turn n seconds after storeEpoch and returns its messages.
func (t storeTest) ask(owner, id, content, clientID string, n int) (q, a assistant.Message) {
	t.Helper()
	b := assistant.Beginning{Question: question(content, clientID, n), Answer: answer(n)}
	t.must(t.Begin(t.Context(), owner, id, b))
	return *b.Question, b.Answer
}

// finish gives the answer its text, with an UpdatedAt n seconds after storeEpoch, and returns it.
func (t storeTest) finish(owner, id string, a assistant.Message, content string, n int) assistant.Message {
	t.Helper()
	a.Content, a.Status, a.FinishReason = content, assistant.StatusComplete, assistant.FinishStop
	t.must(t.Finish(t.Context(), owner, id, at(n), a))
	return a
}

// extend adds parts to the end of the answer, and to a.
func (t storeTest) extend(owner, id string, a *assistant.Message, parts ...assistant.Part) {
	t.Helper()
	t.must(t.Extend(t.Context(), owner, id, a.ID, storedBytes(*a), parts))
	a.SetParts(joined(slices.Concat(a.AllParts(), parts)))
}

func text(s string) assistant.Part      { return assistant.TextPart{Text: s} }
func reasoning(s string) assistant.Part { return assistant.ReasoningPart{Text: s} }

// storedBytes returns where the message ends, as Extend counts.
func storedBytes(m assistant.Message) int {
	return len(m.AllParts().Text()) + len(m.AllParts().Reasoning())
}

// joined returns parts as a streaming message has them: neighbours of one kind are one, none is empty.
func joined(parts assistant.Parts) assistant.Parts {
	var out assistant.Parts
	for _, p := range parts {
		last := len(out) - 1
		switch {
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

// verb calls one method of a store on a conversation and a message in it.
type verb struct {
	name string
	call func(ctx context.Context, s assistant.Store, owner, id, messageID string) error
}

// verbs are all methods that take the ID of a conversation.
var verbs = []verb{
	{"Conversation", func(ctx context.Context, s assistant.Store, owner, id, _ string) error {
		_, err := s.Conversation(ctx, owner, id)
		return err
	}},
	{"Rename", func(ctx context.Context, s assistant.Store, owner, id, _ string) error {
		_, err := s.Rename(ctx, owner, id, "stolen", nil)
		return err
	}},
	{"Rename from", func(ctx context.Context, s assistant.Store, owner, id, _ string) error {
		_, err := s.Rename(ctx, owner, id, "stolen", new(""))
		return err
	}},
	{"Rename from another title", func(ctx context.Context, s assistant.Store, owner, id, _ string) error {
		_, err := s.Rename(ctx, owner, id, "stolen", new("another"))
		return err
	}},
	{"Delete", func(ctx context.Context, s assistant.Store, owner, id, _ string) error {
		return s.Delete(ctx, owner, id)
	}},
	{"Messages", func(ctx context.Context, s assistant.Store, owner, id, _ string) error {
		_, _, err := s.Messages(ctx, owner, id, "", 10)
		return err
	}},
	{"Messages before", func(ctx context.Context, s assistant.Store, owner, id, messageID string) error {
		_, _, err := s.Messages(ctx, owner, id, messageID, 10)
		return err
	}},
	{"MessageByClientID", func(ctx context.Context, s assistant.Store, owner, id, _ string) error {
		_, err := s.MessageByClientID(ctx, owner, id, "client-1")
		return err
	}},
	{"Begin", func(ctx context.Context, s assistant.Store, owner, id, _ string) error {
		return s.Begin(ctx, owner, id, assistant.Beginning{Question: question("mine", "client-2", 9), Answer: answer(9), Title: "stolen"})
	}},
	{"Begin dropping", func(ctx context.Context, s assistant.Store, owner, id, messageID string) error {
		return s.Begin(ctx, owner, id, assistant.Beginning{DropFrom: messageID, Answer: answer(9)})
	}},
	{"Extend", func(ctx context.Context, s assistant.Store, owner, id, messageID string) error {
		return s.Extend(ctx, owner, id, messageID, 0, assistant.Parts{text("stolen")})
	}},
	{"Extend at an offset", func(ctx context.Context, s assistant.Store, owner, id, messageID string) error {
		return s.Extend(ctx, owner, id, messageID, 1000, assistant.Parts{text("stolen")})
	}},
	{"Extend by nothing", func(ctx context.Context, s assistant.Store, owner, id, messageID string) error {
		return s.Extend(ctx, owner, id, messageID, 0, nil)
	}},
	{"Finish", func(ctx context.Context, s assistant.Store, owner, id, messageID string) error {
		return s.Finish(ctx, owner, id, at(9), assistant.Message{ID: messageID, Content: "stolen", Status: assistant.StatusComplete})
	}},
}

var errDoomed = errors.New("doomed")

// doomed returns a context that ends after n steps of 20 µs: before, in or after a call.
func (t storeTest) doomed(n int) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(t.Context(), time.Duration(n)*20*time.Microsecond, errDoomed)
}
