package session_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// TestExport exports whole conversations of one user and of nobody else, also ones of several pages.
func TestExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, echoes)
		ann, topic := s.dialStored()
		const questions = 130 // more than a page of messages
		for i := range questions {
			ann.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"question %d","topic":%q}`, i, topic)
			synctest.Wait()
		}
		ids := []string{strings.TrimPrefix(topic, "conversation:")}
		for range 120 { // more than a page of conversations
			time.Sleep(time.Second)
			ann.in <- `{"action":"create_conversation","ref":"c"}`
			synctest.Wait()
			frames := ann.frames(t)
			ids = append(ids, frames[len(frames)-1].Payload.ConversationID)
		}
		bob := s.serve(newPipe(), assistant.Peer{User: "bob"})
		bob.in <- `{"action":"create_conversation","ref":"c"}`
		synctest.Wait()

		var got []string
		for c, err := range s.hub.Export(t.Context(), "ann") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c.ID)
			if c.ID != ids[0] {
				continue
			}
			for i := range questions {
				want := fmt.Sprintf("question %d", i)
				if len(c.Messages) != 2*questions || c.Messages[2*i].Content != want || c.Messages[2*i+1].Content != want {
					t.Fatalf("message %d of %d is %+v", 2*i, len(c.Messages), c.Messages[2*i])
				}
			}
		}
		slices.Reverse(got)
		if !slices.Equal(got, ids) {
			t.Errorf("exported %d conversations, want %d", len(got), len(ids))
		}
		for _, err := range s.hub.Export(t.Context(), "") {
			if !errors.Is(err, conversation.ErrAnonymous) {
				t.Errorf("export of nobody: %v", err)
			}
		}
	})
}

// movingStore has the last conversation of the list used while its first page is read.
type movingStore struct {
	assistant.Store
	once *sync.Once
	move func()
}

func (s movingStore) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	page, err := s.Store.List(ctx, owner, after, limit)
	s.once.Do(s.move)
	return page, err
}

// TestExportOfWhatMoves misses no conversation that is used while the list is read, and has none twice.
func TestExportOfWhatMoves(t *testing.T) {
	store := memory.Open(memory.Config{})
	id := func(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }
	at := func(i int) time.Time { return time.Unix(int64(1000+i), 0).UTC() }
	const n = 150
	for i := range n {
		if err := store.Create(t.Context(), "ann", assistant.Conversation{ID: id(i), CreatedAt: at(i), UpdatedAt: at(i)}); err != nil {
			t.Fatal(err)
		}
	}
	hub := conversation.NewHub(movingStore{store, new(sync.Once), func() {
		b := assistant.Beginning{Answer: assistant.Message{ID: id(n), Role: assistant.RoleAssistant, Status: assistant.StatusStreaming, CreatedAt: at(n)}}
		if err := store.Begin(t.Context(), assistant.Claim{Owned: assistant.Owned{Owner: "ann", ID: id(0)}}, b); err != nil {
			t.Error(err)
		}
	}}, nil)
	seen := map[string]int{}
	for c, err := range hub.Export(t.Context(), "ann") {
		if err != nil {
			t.Fatal(err)
		}
		seen[c.ID]++
	}
	if len(seen) != n || seen[id(0)] != 1 {
		t.Errorf("exported %d conversations, the one that moved %d times", len(seen), seen[id(0)])
	}
}

// hugeStore has more than fits into memory.
type hugeStore struct {
	assistant.Store
	conversations, bytes int
}

func (s hugeStore) List(_ context.Context, _ string, after assistant.Conversation, limit int) (page []assistant.Conversation, _ error) {
	next := 0
	if after.ID != "" {
		_, _ = fmt.Sscanf(after.ID, "00000000-0000-4000-8000-%d", &next)
		next++
	}
	for i := next; i < min(next+limit, s.conversations); i++ {
		page = append(page, assistant.Conversation{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i)})
	}
	return page, nil
}

func (s hugeStore) Messages(context.Context, string, string, string, int) ([]assistant.Message, bool, error) {
	return []assistant.Message{{Content: strings.Repeat("x", s.bytes)}}, false, nil
}

// inUse is how many bytes the program has on the heap, without garbage.
func inUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestExportNeedsLittleMemory holds that an export keeps nothing of the conversations that it has yielded but
// their ids.
func TestExportNeedsLittleMemory(t *testing.T) {
	const conversations, size = 10_000, 64 << 10
	hub := conversation.NewHub(hugeStore{nil, conversations, size}, nil)
	before, peak, n := inUse(), 0, 0
	for c, err := range hub.Export(t.Context(), "ann") {
		if err != nil || len(c.Messages[0].Content) != size {
			t.Fatalf("conversation %d: %v", n, err)
		}
		if n++; n%1000 == 0 {
			peak = max(peak, inUse()-before)
		}
	}
	if n != conversations || peak > 64*size {
		t.Errorf("%d conversations of %d bytes needed %d bytes", n, size, peak)
	}
	t.Logf("%d MiB were exported with at most %d MiB in use", conversations*size>>20, peak>>20)
}

// TestErase stops the running answer, tells subscribers, deletes all of one user's and nothing else, and can
// be repeated.
func TestErase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(1000, time.Second))
		ann, topic := s.dialStored()
		for range 120 {
			ann.in <- `{"action":"create_conversation","ref":"c"}`
			synctest.Wait()
		}
		ann.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"count","topic":%q}`, topic)
		bob := s.serve(newPipe(), assistant.Peer{User: "bob"})
		bob.in <- `{"action":"create_conversation","ref":"c"}`
		time.Sleep(time.Minute)
		ann.frames(t)

		n, err := s.hub.Erase(t.Context(), "ann")
		if n != 121 || err != nil {
			t.Errorf("erased %d, %v", n, err)
		}
		synctest.Wait()
		frames := ann.frames(t)
		if got := actions(frames); len(got) < 2 || !slices.Equal(got[len(got)-2:], []string{"complete_streaming", "conversation_deleted"}) || len(ann.closes) > 0 {
			t.Errorf("ann was told %v and closed with %v", got, ann.closes)
		}
		ann.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"more","topic":%q}`, topic)
		synctest.Wait()
		if frames := ann.frames(t); frames[0].Payload.Reason != "unknown_topic" {
			t.Errorf("a question afterwards is answered %s", frames[0].text)
		}
		if s.hub.Activity().Answers != 0 {
			t.Error("the answer runs on")
		}
		if n, err := s.hub.Erase(t.Context(), "ann"); n != 0 || err != nil {
			t.Errorf("again: erased %d, %v", n, err)
		}
		if page, _, err := s.hub.Conversations(t.Context(), "bob", "", 10); len(page) != 1 || err != nil {
			t.Errorf("bob has %v, %v", page, err)
		}
		if _, err := s.hub.Erase(t.Context(), ""); !errors.Is(err, conversation.ErrAnonymous) {
			t.Errorf("of nobody: %v", err)
		}
	})
}

// busyStore gives its user a new conversation at each look.
type busyStore struct{ assistant.Store }

func (s busyStore) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	now := time.Now()
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", now.UnixNano()%1e12)
	if err := s.Create(ctx, owner, assistant.Conversation{ID: id, CreatedAt: now, UpdatedAt: now}); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, owner, after, limit)
}

// TestEraseIsBounded gives up on a user who makes conversations all the time.
func TestEraseIsBounded(t *testing.T) {
	hub := conversation.NewHub(busyStore{memory.Open(memory.Config{})}, nil)
	if n, err := hub.Erase(t.Context(), "ann"); !errors.Is(err, conversation.ErrInUse) || n == 0 {
		t.Errorf("erased %d, %v", n, err)
	}
	if err := hub.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestEraseWhileAsking erases while questions, conversations and subscriptions come in: everything ends, and
// in the end nothing is left.
func TestEraseWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, counts(3, time.Millisecond))
		var asking sync.WaitGroup
		for range 4 {
			p, topic := s.dialStored()
			asking.Go(func() {
				for range 50 {
					p.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"count","topic":%q}`, topic)
					p.in <- `{"action":"create_conversation"}`
					p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic)
					time.Sleep(time.Millisecond)
				}
			})
		}
		for range 20 {
			if _, err := s.hub.Erase(t.Context(), "ann"); err != nil && !errors.Is(err, conversation.ErrInUse) {
				t.Error(err)
			}
			time.Sleep(3 * time.Millisecond)
		}
		asking.Wait()
		if _, err := s.hub.Erase(t.Context(), "ann"); err != nil {
			t.Error(err)
		}
		if page, _, err := s.hub.Conversations(t.Context(), "ann", "", 10); len(page) > 0 || err != nil || s.hub.Activity().Answers > 0 {
			t.Errorf("left are %v, %v, %d answers", page, err, s.hub.Activity().Answers)
		}
	})
}
