package guard_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/guard"
)

// shelf is a store of files each call of which does what call does.
type shelf struct {
	assistant.Store

	call func(context.Context) error
}

func (s *shelf) AddFile(ctx context.Context, _ string, _ assistant.Upload) error { return s.call(ctx) }
func (s *shelf) DeleteFile(ctx context.Context, _, _ string) error               { return s.call(ctx) }
func (s *shelf) File(ctx context.Context, _, id string) (assistant.File, error) {
	return assistant.File{ID: id}, s.call(ctx)
}

func (s *shelf) FilePiece(ctx context.Context, _, id string, _ int) ([]byte, error) {
	return []byte(id), s.call(ctx)
}

func (s *shelf) DeleteUnused(ctx context.Context, _ string, _ time.Time, limit int) (int, error) {
	return limit, s.call(ctx)
}

// TestFileCalls holds that each call reaches the store, ends whatever it does, and is timed.
func TestFileCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &shelf{}
		observer := &timed{}
		s := guard.Store(b, func() assistant.Observer { return observer })
		for name, call := range map[string]func() error{
			"add_file":    func() error { return s.AddFile(t.Context(), "ann", assistant.Upload{}) },
			"delete_file": func() error { return s.DeleteFile(t.Context(), "ann", "id") },
			"file": func() error {
				f, err := s.File(t.Context(), "ann", "id")
				if err == nil && f.ID != "id" {
					t.Errorf("got file %q", f.ID)
				}
				return err
			},
			"file_piece": func() error {
				piece, err := s.FilePiece(t.Context(), "ann", "id", 0)
				if err == nil && string(piece) != "id" {
					t.Errorf("got piece %q", piece)
				}
				return err
			},
			"delete_unused": func() error {
				n, err := s.DeleteUnused(t.Context(), "", time.Now(), 7)
				if err == nil && n != 7 {
					t.Errorf("deleted %d", n)
				}
				return err
			},
		} {
			expectCall(t, &b.call, observer, name, call)
		}
	})
}

// TestNoFiles holds that a store that keeps no files says so, and has none to delete.
func TestNoFiles(t *testing.T) {
	s := guard.Store(struct{ assistant.Store }{}, unobserved)
	if err := s.AddFile(t.Context(), "ann", assistant.Upload{}); !errors.Is(err, assistant.ErrNoFiles) {
		t.Errorf("add: %v", err)
	}
	if n, err := s.DeleteUnused(t.Context(), "", time.Now(), 1); n != 0 || err != nil {
		t.Errorf("deleted %d: %v", n, err)
	}
}
