package feed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

func created(id string) assistant.Change {
	return assistant.Change{Kind: assistant.ChangeCreated, Conversation: assistant.Conversation{ID: id, Title: strings.Repeat("t", 200)}}
}

// read returns the ids of the next changes.
func read(t *testing.T, f *Follower) (ids []string) {
	t.Helper()
	changes, err := f.Read(100)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		ids = append(ids, c.Conversation.ID)
	}
	return ids
}

// TestFollow holds that each follower reads its own user's changes from its beginning on, in order.
func TestFollow(t *testing.T) {
	var feeds Feeds
	feeds.Publish("ann", created("before"))
	woken := 0
	first := feeds.Follow("ann", func() { woken++ })
	feeds.Publish("ann", created("1"))
	feeds.Publish("bob", created("bob's"))
	second := feeds.Follow("ann", func() {})
	feeds.Publish("ann", created("2"))
	if got := read(t, first); !slices.Equal(got, []string{"1", "2"}) || woken != 2 {
		t.Errorf("the first read %q and was woken %d times", got, woken)
	}
	if got := read(t, second); !slices.Equal(got, []string{"2"}) {
		t.Errorf("the second read %q", got)
	}
	if got := read(t, first); got != nil {
		t.Errorf("it read %q again", got)
	}
}

// TestMemory holds that a feed keeps what is still to be read, within its bound, and ends with its last follower.
func TestMemory(t *testing.T) {
	var feeds Feeds
	fast, slow := feeds.Follow("ann", func() {}), feeds.Follow("ann", func() {})
	feeds.Publish("ann", created("1"))
	read(t, fast)
	if !fast.feed.changes.Holds(0) {
		t.Error("what the slow one has not read is gone")
	}
	read(t, slow)
	if fast.feed.changes.Holds(0) {
		t.Error("what both have read is kept")
	}
	for n := range 2 * maxBytes / created("").Size() {
		feeds.Publish("ann", created(fmt.Sprint(n)))
	}
	if _, err := slow.Read(1); !errors.Is(err, ErrGone) {
		t.Errorf("one that lags behind the bound got %v", err)
	}
	feeds.Publish("ann", created("last"))
	if got := read(t, slow); !slices.Equal(got, []string{"last"}) {
		t.Errorf("after that it read %q", got)
	}
	fast.Close()
	slow.Close()
	if len(feeds.byUser) != 0 {
		t.Error("the feed outlives its followers")
	}
}
