package storetest

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// version1 is a conversation as the stores have read it back which had version 1 of the schema.
type version1 struct {
	Owner        string                 `json:"owner"`
	Conversation assistant.Conversation `json:"conversation"`
	Messages     []assistant.Message    `json:"messages"`
}

// TestVersion1 checks that nothing of 10,000 messages is lost which a store had when its schema had version
// 1. What is to be there is in testdata/v1.json.gz, the same for each store; it was taken from under a
// running process, so that four answers were streaming. The place has it stored.
func TestVersion1(t *testing.T, place Place) {
	t.Helper()
	s := newTest(t, place(t))
	want := readVersion1(t)
	s.holdsAll(want)
	s = s.reopen(place)
	s.holdsAll(want)

	// An old conversation takes what is new.
	w := &want[len(want)-1]
	q, a := question("", "new", 1), answer(2)
	q.SetParts(allParts)
	a.Model = "model-1"
	s.must(s.begin(w.Owner, w.Conversation.ID, assistant.Beginning{Question: q, Answer: a}))
	s.extend(w.Owner, w.Conversation.ID, &a, reasoning("Hm"), text("A "))
	s.extend(w.Owner, w.Conversation.ID, &a, text("cat."))
	w.Conversation.UpdatedAt, w.Messages = a.CreatedAt, append(w.Messages, *q, a)
	s.holdsAll(want)
	a.SetParts(allParts)
	a.Provider, a.Reason = "main", assistant.ReasonProviderTimeout
	w.Messages[len(w.Messages)-1] = s.finish(w.Owner, w.Conversation.ID, a, a.Content, 2)
	s.holdsAll(want)
	s = s.reopen(place)
	s.holdsAll(want)

	deleted, err := s.DeleteBefore(t.Context(), time.Now().AddDate(100, 0, 0), 10_000)
	s.must(err)
	s.same(len(deleted), len(want))
	s.must(s.Close())
}

// readVersion1 returns what a store is to hold once it was opened.
func readVersion1(t *testing.T) (want []version1) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "v1.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(r).Decode(&want); err != nil {
		t.Fatal(err)
	}
	var interrupted []string
	for _, c := range want {
		for i := range c.Messages {
			if m := &c.Messages[i]; m.Status == assistant.StatusStreaming {
				m.Status, m.FinishReason = assistant.StatusInterrupted, assistant.FinishInterrupted
				interrupted = append(interrupted, m.Content)
			}
		}
	}
	slices.Sort(interrupted)
	if !slices.Equal(interrupted, []string{"", "", "Hello, wörld \U0001F600\n'\"\\", "one"}) {
		t.Fatalf("answers that were streaming: %q", interrupted)
	}
	return want
}

func (t storeTest) holdsAll(want []version1) {
	t.Helper()
	byOwner, messages := make(map[string][]assistant.Conversation), 0
	for _, w := range want {
		t.same(t.load(w.Owner, w.Conversation.ID), conversation{w.Conversation, w.Messages})
		byOwner[w.Owner] = append(byOwner[w.Owner], w.Conversation)
		messages += len(w.Messages)
	}
	if messages < 10_000 {
		t.Fatalf("only %d messages", messages)
	}
	byOwner[""] = nil // is not listed
	for owner, conversations := range byOwner {
		newestFirst(conversations)
		list, err := t.List(t.Context(), owner, assistant.Conversation{}, 1000)
		t.must(err)
		t.same(listed(list), listed(conversations))
	}
}
