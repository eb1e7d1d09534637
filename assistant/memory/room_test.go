package memory_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

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

// TestHog holds that what is followed goes where its owner takes more than a fair share, for one who does not, and only
// then.
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

// TestHogs holds that several who share all of the room, each with what is followed, let another have a fair share, and keep
// theirs.
func TestHogs(t *testing.T) {
	s := memory.Open(memory.Config{MaxConversations: 12})
	s.Watch(func(string) bool { return true }, func(assistant.Owned) {})
	has := func(owner string) int {
		list, err := s.List(t.Context(), owner, assistant.Conversation{}, 100)
		must(t, err)
		return len(list)
	}
	create := func(owner string) error { return s.Create(t.Context(), owner, conversation(uuid.NewString())) }
	for range 6 {
		must(t, create("first"))
		must(t, create("second"))
	}
	for owners, newcomer := range []string{"third", "fourth"} {
		for range 12 / (owners + 3) {
			must(t, create(newcomer))
		}
		wantFull(t, create(newcomer))
	}
	for _, owner := range []string{"first", "second", "third", "fourth"} {
		if wantFull(t, create(owner)); has(owner) != 3 {
			t.Errorf("%s has %d", owner, has(owner))
		}
	}

	// Nobody has less than one: it is not taken from one for another.
	for n := range 8 {
		must(t, create(fmt.Sprint(n)))
	}
	wantFull(t, create("one more"))
}

// TestHogsOfBytes is TestHogs for long texts: the one that takes most gives.
func TestHogsOfBytes(t *testing.T) {
	s := memory.Open(memory.Config{MaxBytes: 100_000})
	s.Watch(func(string) bool { return true }, func(assistant.Owned) {})
	long := func(owner string, bytes int) error {
		return s.Create(t.Context(), owner, assistant.Conversation{ID: owner, Title: strings.Repeat("t", bytes)})
	}
	must(t, long("first", 48_000))
	must(t, long("second", 49_000))
	wantFull(t, long("third", 40_000)) // more than a fair share itself
	must(t, long("third", 20_000))
	for owner, isThere := range map[string]bool{"first": true, "second": false, "third": true} {
		if _, err := s.Conversation(t.Context(), owner, owner); (err == nil) != isThere {
			t.Errorf("%s's: %v", owner, err)
		}
	}
}

// TestHogGivesBothKinds takes what is not followed of a hog, and then, for the same room, what is.
func TestHogGivesBothKinds(t *testing.T) {
	s := memory.Open(memory.Config{MaxBytes: 100_000})
	var removed []string
	s.Watch(func(id string) bool { return id != "not followed" }, func(o assistant.Owned) { removed = append(removed, o.ID) })
	long := func(owner, id string, bytes int) error {
		return s.Create(t.Context(), owner, assistant.Conversation{ID: id, Title: strings.Repeat("t", bytes)})
	}
	for _, id := range []string{"not followed", "a", "b", "c", "d"} {
		must(t, long("alice", id, 19_000))
	}
	must(t, long("bob", "bob's", 30_000))
	if want := []string{"not followed", "a"}; !slices.Equal(removed, want) {
		t.Errorf("removed %q, want %q", removed, want)
	}
	must(t, long("bob", "another", 7_000)) // as much as is left
}

// TestWhatIsLeftCounts holds that the owner gives who takes most once those that go already are gone.
func TestWhatIsLeftCounts(t *testing.T) {
	s := memory.Open(memory.Config{MaxBytes: 120_000})
	var removed []string
	s.Watch(func(string) bool { return false }, func(o assistant.Owned) { removed = append(removed, o.ID) })
	long := func(owner, id string, bytes int) error {
		return s.Create(t.Context(), owner, assistant.Conversation{ID: id, Title: strings.Repeat("t", bytes)})
	}
	must(t, long("alice", "alice's empty one", 40_000))
	must(t, long("alice", "alice's", 30_000))
	must(t, long("bob", "bob's", 40_000))
	for owner, id := range map[string]string{"alice": "alice's", "bob": "bob's"} {
		owned := assistant.Claim{Owned: assistant.Owned{Owner: owner, ID: id}}
		must(t, s.Begin(t.Context(), owned, assistant.Beginning{Answer: assistant.Message{ID: "a", Status: assistant.StatusComplete}}))
	}
	must(t, long("carol", "carol's", 60_000))
	if want := []string{"alice's empty one", "bob's"}; !slices.Equal(removed, want) {
		t.Errorf("removed %q, want %q", removed, want)
	}
}

// TestFollowedIsUsed holds that a conversation which was found followed counts as used then.
func TestFollowedIsUsed(t *testing.T) {
	s := memory.Open(memory.Config{MaxConversations: 3})
	followed := "a"
	s.Watch(func(id string) bool { return id == followed }, func(assistant.Owned) {})
	for _, id := range []string{"a", "b", "c", "d"} { // a was updated first, and stays
		must(t, s.Create(t.Context(), "alice", conversation(id)))
	}
	wantKept(t, s, "a c d")
	followed = ""
	must(t, s.Create(t.Context(), "alice", conversation("e")))
	wantKept(t, s, "a d e")
}

// TestRoomAmongMany holds that to make room takes no time for each pair of owners, where all of them are followed.
func TestRoomAmongMany(t *testing.T) {
	took := func(owners int) time.Duration {
		s := memory.Open(memory.Config{MaxConversations: owners})
		for n := range owners {
			must(t, s.Create(t.Context(), fmt.Sprint(n), conversation(fmt.Sprint(n))))
		}
		asked := 0
		s.Watch(func(string) bool { asked++; return true }, func(assistant.Owned) {})
		least := time.Hour
		for range 15 { // the shortest is least disturbed by what else the machine does
			began := time.Now()
			wantFull(t, s.Create(t.Context(), "one more", conversation("one more")))
			least = min(least, time.Since(began))
		}
		if asked != 15*owners {
			t.Errorf("asked %d times about %d conversations", asked, owners)
		}
		return least
	}
	if few, many := took(1000), took(20_000); many > 250*few { // 20 times as many owners: 400 for pairs, some 40 as it is
		t.Errorf("%v among 1,000 owners, %v among 20,000", few, many)
	}
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

// BenchmarkFollowed looks for room in a store that is full of conversations which all are followed.
func BenchmarkFollowed(b *testing.B) {
	s := memory.Open(memory.Config{})
	for n := range 10_000 {
		if err := s.Create(b.Context(), fmt.Sprint(n), conversation(fmt.Sprint(n))); err != nil {
			b.Fatal(err)
		}
	}
	s.Watch(func(string) bool { return true }, func(assistant.Owned) {})
	for b.Loop() {
		if err := s.Create(b.Context(), "one more", conversation("one more")); err == nil {
			b.Fatal("there was room")
		}
	}
}
