package assistanttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestStore checks the whole contract of [assistant.Store]. Each call of open makes an empty store, or
// fails the test; the suite closes it.
//
// A store may hold a NUL in a text as it is or as U+FFFD: PostgreSQL has no other way. It may refuse
// owners that are not plain text, as long as it never takes one owner for another.
func TestStore(t *testing.T, open func(t *testing.T) assistant.Store) {
	t.Helper()
	for _, test := range slices.Concat(conversationTests, messageTests, concurrencyTests) {
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

// at is n seconds after storeEpoch.
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

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// listed is an empty list for nil: stores may return either.
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
		_, err := s.Rename(ctx, owner, id, "stolen")
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
		return s.Extend(ctx, owner, id, messageID, "stolen")
	}},
	{"Finish", func(ctx context.Context, s assistant.Store, owner, id, messageID string) error {
		return s.Finish(ctx, owner, id, at(9), assistant.Message{ID: messageID, Content: "stolen", Status: assistant.StatusComplete})
	}},
}
