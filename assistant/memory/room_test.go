package memory_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// TestFlood holds that one anonymous network that creates conversations without end takes nothing from others: neither
// from a user nor from another network, and not what is followed.
func TestFlood(t *testing.T) {
	s := memory.Open(memory.Config{MaxConversations: 100})
	followed := map[string]bool{"flood 3": true}
	var removed []assistant.Owned
	s.Watch(func(id string) bool { return followed[id] }, func(o assistant.Owned) { removed = append(removed, o) })
	must(t, s.Create(t.Context(), "alice", conversation("alice's")))
	if _, err := begin(t, s, "alice's", 10); err != nil {
		t.Fatal(err)
	}
	must(t, s.Create(assistant.WithNetwork(t.Context(), "192.0.2.1"), "", conversation("other network's")))
	must(t, s.Create(t.Context(), "bob", conversation("bob's empty one")))
	flood := assistant.WithNetwork(t.Context(), "198.51.100.7")
	for n := range 10_050 {
		must(t, s.Create(flood, "", conversation(fmt.Sprint("flood ", n))))
	}
	for id, owner := range map[string]string{"alice's": "alice", "other network's": "", "bob's empty one": "bob", "flood 3": "", "flood 10049": ""} {
		if _, err := s.Conversation(t.Context(), owner, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if len(removed) != 10_050+3-100 {
		t.Errorf("%d were removed", len(removed))
	}
	if want := []assistant.Owned{{ID: "flood 0"}, {ID: "flood 1"}, {ID: "flood 2"}, {ID: "flood 4"}}; !slices.Equal(removed[:4], want) {
		t.Errorf("the first were %v", removed[:4])
	}
}

// TestHog holds that what is followed goes where its owner takes more than half of the room from others, and only then.
func TestHog(t *testing.T) {
	s := memory.Open(memory.Config{MaxConversations: 10})
	s.Watch(func(string) bool { return true }, func(assistant.Owned) {})
	hog := assistant.WithNetwork(t.Context(), "198.51.100.7")
	for n := range 10 {
		must(t, s.Create(hog, "", conversation(fmt.Sprint(n))))
	}
	wantFull(t, s.Create(hog, "", conversation("one more")))
	for n := range 5 {
		must(t, s.Create(t.Context(), "alice", conversation(fmt.Sprint("alice's ", n))))
	}
	wantFull(t, s.Create(t.Context(), "alice", conversation("half is another's")))
}

// TestEmptyOnesGoFirst holds that a conversation with messages stays while others have none, also where its owner takes
// most of the room, and that then the owner who takes most gives.
func TestEmptyOnesGoFirst(t *testing.T) {
	s := memory.Open(memory.Config{MaxBytes: 100_000})
	for _, id := range []string{"a", "b"} {
		must(t, s.Create(t.Context(), "alice", conversation(id)))
		answer, err := begin(t, s, id, 40_000)
		must(t, err)
		must(t, finish(t, s, id, answer, ""))
	}
	must(t, s.Create(t.Context(), "bob", assistant.Conversation{ID: "bob's", Title: strings.Repeat("t", 10_000)}))
	must(t, s.Create(t.Context(), "carol", assistant.Conversation{ID: "carol's", Title: strings.Repeat("t", 10_000)}))
	wantKept(t, s, "a b")
	if _, err := s.Conversation(t.Context(), "bob", "bob's"); err == nil {
		t.Error("an empty one stays at the cost of messages")
	}
	if _, err := begin(t, s, "a", 20_000); err != nil {
		t.Fatal(err)
	}
	wantKept(t, s, "a")
}

// BenchmarkFlood creates conversations in a store that is full of those of many owners.
func BenchmarkFlood(b *testing.B) {
	s := memory.Open(memory.Config{})
	create := func(n int) {
		network := fmt.Sprint(n % 5000)
		if err := s.Create(assistant.WithNetwork(context.Background(), network), "", conversation(fmt.Sprint(n))); err != nil {
			b.Fatal(err)
		}
	}
	for n := range 10_000 {
		create(n)
	}
	for n := 10_000; b.Loop(); n++ {
		create(n)
	}
}
