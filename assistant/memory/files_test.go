package memory_test

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

func TestFiles(t *testing.T) {
	storetest.TestFiles(t, false, func(*testing.T) storetest.Place {
		return func(*testing.T) assistant.Store { return memory.Open(memory.Config{}) }
	})
}

// TestFilesAreBounded holds that unused files take a quarter of the room at most, and that who has most of them loses
// theirs first.
func TestFilesAreBounded(t *testing.T) {
	s := memory.Open(memory.Config{MaxBytes: 400_000})
	add := func(owner string, size int) (string, error) {
		u := assistant.Upload{File: assistant.File{ID: assistant.NewID(), Size: int64(size), CreatedAt: time.Now()}, Data: make([]byte, size)}
		return u.ID, s.AddFile(t.Context(), owner, u)
	}
	if _, err := add("alice", 100_001); !errors.Is(err, assistant.ErrFull) {
		t.Errorf("a file of more than a quarter of the room: %v", err)
	}
	bobs, err := add("bob", 20_000)
	if err != nil {
		t.Fatal(err)
	}
	var alices []string
	for range 10 {
		id, err := add("alice", 20_000)
		if err != nil {
			t.Fatal(err)
		}
		alices = append(alices, id)
	}
	if _, err := s.File(t.Context(), "bob", bobs); err != nil {
		t.Errorf("bob's only file: %v", err)
	}
	left := 0
	for _, id := range alices {
		if _, err := s.File(t.Context(), "alice", id); err == nil {
			left++
		}
	}
	if left != 3 {
		t.Errorf("%d of alice's files are left, want 3", left)
	}
}
