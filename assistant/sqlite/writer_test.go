package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

func openHere(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "chat.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func head(id, title string) assistant.Conversation {
	return assistant.Conversation{ID: id, Title: title, CreatedAt: time.UnixMilli(1), UpdatedAt: time.UnixMilli(1)}
}

// insertion is a write that stores a conversation and then does more.
func insertion(ctx context.Context, id string, more func(tx) error) *write {
	return &write{ctx: ctx, done: make(chan struct{}), do: func(tx tx) error {
		_, err := tx.exec(`INSERT INTO conversation (id, owner, title, created_at, updated_at) VALUES (?, 'alice', '', 1, 1)`, id)
		return errors.Join(err, more(tx))
	}}
}

func wantStored(t *testing.T, s *Store, id string, want bool) {
	t.Helper()
	_, err := s.Conversation(t.Context(), "alice", id)
	if (err == nil) != want || err != nil && !errors.Is(err, assistant.ErrNotFound) {
		t.Errorf("conversation %s: %v, want it stored: %v", id, err, want)
	}
}

// Changes that are committed together stand or fall alone.
func TestBatch(t *testing.T) {
	s := openHere(t)
	fine := func(tx) error { return nil }
	errOwn := errors.New("own")
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errOwn)
	batch := []*write{
		insertion(t.Context(), "1", fine),
		insertion(t.Context(), "2", func(tx) error { return errOwn }),
		insertion(t.Context(), "3", fine),
		insertion(t.Context(), "3", fine), // violates a constraint
		insertion(t.Context(), "4", func(tx tx) error {
			_, err := tx.exec("no SQL")
			return err
		}),
		insertion(cancelled, "5", fine),
		insertion(t.Context(), "6", fine),
	}
	s.writer.commit(batch)
	for i, failed := range []bool{false, true, false, true, true, true, false} {
		<-batch[i].done
		if (batch[i].err != nil) != failed {
			t.Errorf("write %d: %v", i, batch[i].err)
		}
	}
	for id, stored := range map[string]bool{"1": true, "2": false, "3": true, "4": false, "5": false, "6": true} {
		wantStored(t, s, id, stored)
	}
}

// Where the transaction itself breaks, every write in it fails, and the next transaction works.
func TestBrokenBatch(t *testing.T) {
	s := openHere(t)
	for name, breaks := range map[string]func(tx) error{
		"rolled back": func(tx tx) error {
			_, err := tx.exec("ROLLBACK")
			return errors.Join(err, errors.New("own"))
		},
		"committed": func(tx tx) error {
			_, err := tx.exec("ROLLBACK")
			return err
		},
		"panic": func(tx) error { panic("own") },
	} {
		t.Run(name, func(t *testing.T) {
			fine := func(tx) error { return nil }
			batch := []*write{insertion(t.Context(), name+"1", fine), insertion(t.Context(), name+"2", breaks), insertion(t.Context(), name+"3", fine)}
			s.writer.commit(batch)
			for i, w := range batch {
				if <-w.done; w.err == nil {
					t.Errorf("write %d succeeded", i)
				}
				wantStored(t, s, name+string(rune('1'+i)), false)
			}
			if err := s.Create(t.Context(), "alice", head(name, "")); err != nil {
				t.Fatal(err)
			}
			wantStored(t, s, name, true)
		})
	}
}

// A full disk refuses what does not fit, and harms nothing.
func TestFull(t *testing.T) {
	s := openHere(t)
	limit := func(pages int) {
		t.Helper()
		if _, err := s.writer.conn.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Create(t.Context(), "alice", head("1", "Before")); err != nil {
		t.Fatal(err)
	}
	limit(40)
	large := strings.Repeat("x", 1<<20)
	if err := s.Create(t.Context(), "alice", head("2", large)); !errors.Is(err, assistant.ErrFull) {
		t.Fatalf("got error %v, want %v", err, assistant.ErrFull)
	}
	wantStored(t, s, "2", false)
	if err := s.Create(t.Context(), "alice", head("3", "Small")); err != nil {
		t.Fatal(err)
	}
	limit(4000)
	if err := s.Create(t.Context(), "alice", head("2", large)); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2", "3"} {
		wantStored(t, s, id, true)
	}
}

// A caller that waits for its turn to write waits no longer than its context.
func TestWaitCancelled(t *testing.T) {
	s := openHere(t)
	busy, release := make(chan struct{}), make(chan struct{})
	go s.writer.write(context.Background(), func(tx) error {
		close(busy)
		<-release
		return nil
	})
	<-busy
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- s.Create(ctx, "alice", head("1", "")) }()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
}
