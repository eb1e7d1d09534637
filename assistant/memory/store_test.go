package memory_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

func BenchmarkStore(b *testing.B) {
	storetest.BenchmarkStore(b, memory.Open(memory.Config{MaxBytes: 1 << 30}))
}

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func conversation(id string) assistant.Conversation {
	return assistant.Conversation{ID: id, CreatedAt: now, UpdatedAt: now}
}

// begin asks a question of size bytes, and returns the answer.
func begin(t *testing.T, s *memory.Store, id string, size int) (assistant.Message, error) {
	t.Helper()
	b := assistant.Beginning{
		Question: &assistant.Message{ID: uuid.NewString(), Role: assistant.RoleUser, Content: strings.Repeat("q", size), Status: assistant.StatusComplete},
		Answer:   assistant.Message{ID: uuid.NewString(), Role: assistant.RoleAssistant, Status: assistant.StatusStreaming},
	}
	page, _, err := s.Messages(t.Context(), "alice", id, "", 1)
	must(t, err)
	for _, m := range page {
		b.Last = m.ID
	}
	return b.Answer, s.Begin(t.Context(), claim(id), b)
}

func claim(id string) assistant.Claim {
	return assistant.Claim{Owned: assistant.Owned{Owner: "alice", ID: id}}
}

// extend adds size bytes to the answer, half of them reasoning: two events, of which the first has this number.
func extend(t *testing.T, s *memory.Store, id string, a assistant.Message, first uint64, size int) error {
	t.Helper()
	return s.Extend(t.Context(), claim(id), assistant.Extension{MessageID: a.ID, Events: []assistant.Event{
		{Seq: first, Kind: assistant.KindReasoning, Text: strings.Repeat("r", size/2)},
		{Seq: first + 1, Kind: assistant.KindPiece, Text: strings.Repeat("t", size-size/2)},
	}})
}

func finish(t *testing.T, s *memory.Store, id string, a assistant.Message, content string) error {
	t.Helper()
	a.Content, a.Status = content, assistant.StatusComplete
	return s.Finish(t.Context(), claim(id), assistant.Ending{At: now, Messages: []assistant.Message{a}})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantFull(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, assistant.ErrFull) {
		t.Fatalf("got error %v, want %v", err, assistant.ErrFull)
	}
}

// kept returns the ids of those conversations that are there, in the order given.
func kept(t *testing.T, s *memory.Store, ids ...string) string {
	t.Helper()
	var found []string
	for _, id := range ids {
		switch _, err := s.Conversation(t.Context(), "alice", id); {
		case err == nil:
			found = append(found, id)
		case !errors.Is(err, assistant.ErrNotFound):
			t.Fatal(err)
		}
	}
	return strings.Join(found, " ")
}

func wantKept(t *testing.T, s *memory.Store, want string) {
	t.Helper()
	if got := kept(t, s, "a", "b", "c", "d", "e"); got != want {
		t.Fatalf("kept %q, want %q", got, want)
	}
}

func TestMaxConversations(t *testing.T) {
	s := memory.Open(memory.Config{MaxConversations: 3})
	for _, id := range []string{"a", "b", "c"} {
		must(t, s.Create(t.Context(), "alice", conversation(id)))
	}
	answer, err := begin(t, s, "a", 1) // streams, and was updated last
	must(t, err)
	must(t, s.Create(t.Context(), "alice", conversation("d")))
	wantKept(t, s, "a c d")
	must(t, finish(t, s, "a", answer, ""))
	must(t, s.Create(t.Context(), "alice", conversation("e")))
	wantKept(t, s, "a d e")
	must(t, s.Create(t.Context(), "alice", conversation("b")))
	wantKept(t, s, "a b e")

	// Where all stream, there is no room for one more, until an answer ends.
	for _, id := range []string{"a", "b", "e"} {
		answer, err = begin(t, s, id, 1)
		must(t, err)
	}
	wantFull(t, s.Create(t.Context(), "alice", conversation("c")))
	wantKept(t, s, "a b e")
	must(t, finish(t, s, "e", answer, ""))
	must(t, s.Create(t.Context(), "alice", conversation("c")))
	wantKept(t, s, "a b c")
}

func TestMaxBytes(t *testing.T) {
	s := memory.Open(memory.Config{MaxBytes: 100_000})
	for _, id := range []string{"a", "b", "c"} {
		must(t, s.Create(t.Context(), "alice", conversation(id)))
		answer, err := begin(t, s, id, 30_000)
		must(t, err)
		must(t, finish(t, s, id, answer, ""))
	}
	must(t, s.Create(t.Context(), "alice", conversation("d")))
	answer, err := begin(t, s, "d", 10_000)
	must(t, err)
	wantKept(t, s, "b c d")
	for n := range 40 { // one goes when the answer grows into its room
		must(t, extend(t, s, "d", answer, uint64(2*n), 1000))
	}
	wantKept(t, s, "c d")

	// What is too large is refused, and nothing goes or changes for it.
	_, err = begin(t, s, "c", 100_000)
	wantFull(t, err)
	wantFull(t, extend(t, s, "d", answer, 80, 60_000))
	wantFull(t, extend(t, s, "d", answer, 78, 60_000))
	wantFull(t, finish(t, s, "d", answer, strings.Repeat("x", 100_000)))
	for _, large := range []assistant.Part{
		assistant.ReasoningPart{Text: strings.Repeat("x", 100_000)},
		assistant.ToolCallPart{Arguments: []byte(`"` + strings.Repeat("x", 100_000) + `"`)},
	} {
		answer.Parts = assistant.Parts{large}
		wantFull(t, finish(t, s, "d", answer, ""))
	}
	answer.Parts = nil
	_, err = s.Rename(t.Context(), "alice", "d", strings.Repeat("x", 100_000), nil)
	wantFull(t, err)
	wantFull(t, s.Create(t.Context(), "alice", assistant.Conversation{ID: "e", Title: strings.Repeat("x", 100_000)}))
	wantKept(t, s, "c d")
	page, _, err := s.Messages(t.Context(), "alice", "d", "", 10)
	must(t, err)
	if len(page) != 2 || len(page[1].Content) != 20_000 || page[1].Status != assistant.StatusStreaming {
		t.Errorf("messages changed: %d", len(page))
	}

	// What is dropped makes room.
	must(t, finish(t, s, "d", answer, ""))
	b := assistant.Beginning{
		Last:     page[1].ID,
		DropFrom: page[0].ID,
		Question: &assistant.Message{ID: uuid.NewString(), Content: strings.Repeat("q", 60_000)},
		Answer:   assistant.Message{ID: uuid.NewString()},
	}
	must(t, s.Begin(t.Context(), claim("d"), b))
	wantKept(t, s, "c d")
}

// What goes and what is taken back is counted exactly: after a long life there is as much room as before.
func TestBytesAreGivenBack(t *testing.T) {
	s := memory.Open(memory.Config{MaxBytes: 100_000})
	for n := range 500 {
		id := fmt.Sprint(n)
		must(t, s.Create(t.Context(), "alice", conversation(id)))
		for range 3 {
			answer, err := begin(t, s, id, 5000)
			must(t, err)
			must(t, extend(t, s, id, answer, 0, 500))
			must(t, extend(t, s, id, answer, 2, 1000))
			must(t, extend(t, s, id, answer, 2, 7)) // again
			must(t, finish(t, s, id, answer, strings.Repeat("x", n)))
		}
		if n%3 == 0 {
			must(t, s.Delete(t.Context(), "alice", id))
		}
	}
	_, err := s.DeleteBefore(t.Context(), now.Add(time.Hour), 1000)
	must(t, err)
	must(t, s.Create(t.Context(), "alice", conversation("last")))
	_, err = begin(t, s, "last", 98_000)
	must(t, err)
}
