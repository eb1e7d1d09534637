package sqlite

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits/limitstest"
)

// emptyPlace returns how a new place is opened.
func emptyPlace(tb testing.TB) func(tb testing.TB) assistant.Store {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "chat.db")
	return func(tb testing.TB) assistant.Store {
		tb.Helper()
		s, err := Open(tb.Context(), Config{Path: path})
		if err != nil {
			tb.Fatal(err)
		}
		return s
	}
}

func TestLedger(t *testing.T) {
	storetest.TestLedger(t, 1, func(t *testing.T) storetest.Place {
		t.Helper()
		place := emptyPlace(t)
		return func(t *testing.T) assistant.Store {
			t.Helper()
			return place(t)
		}
	})
}

func TestAccounts(t *testing.T) {
	limitstest.TestAccounts(t, 1, func(tb testing.TB) limitstest.Place { return emptyPlace(tb) })
}

func BenchmarkAccounts(b *testing.B) { limitstest.BenchmarkAccounts(b, emptyPlace(b)) }

// TestSoon holds that changes of accounts alone do not wait for the disk, and that all other changes do, also together
// with them.
func TestSoon(t *testing.T) {
	s := openHere(t)
	var seen string
	look := func(soon bool) *write {
		return &write{ctx: t.Context(), soon: soon, done: make(chan struct{}), do: func(tx tx) error {
			return tx.writer.conn.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&seen)
		}}
	}
	for _, step := range []struct {
		batch []*write
		want  string
	}{
		{[]*write{look(true), look(true)}, "1"},
		{[]*write{look(true)}, "1"},
		{[]*write{look(true), look(false), look(true)}, "2"},
		{[]*write{look(false)}, "2"},
		{[]*write{look(true)}, "1"},
	} {
		s.writer.commit(step.batch)
		if err := step.batch[0].err; err != nil || seen != step.want {
			t.Errorf("synchronous is %s for %d changes, want %s: %v", seen, len(step.batch), step.want, err)
		}
	}
	if err := s.Account(t.Context(), "ann", func([]byte, time.Time) ([]byte, error) { return []byte("x"), nil }); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s.writer.conn, "PRAGMA synchronous", "1")
	if err := s.Create(t.Context(), "ann", head("c", "")); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s.writer.conn, "PRAGMA synchronous", "2")
}

// TestPanicOfChange holds that a change which panics fails alone.
func TestPanicOfChange(t *testing.T) {
	s := openHere(t)
	err := s.Account(t.Context(), "ann", func([]byte, time.Time) ([]byte, error) { panic("out of order") })
	if crash, ok := errors.AsType[*assistant.PanicError](err); !ok || crash.Value != "out of order" {
		t.Errorf("got error %v", err)
	}
	if err := s.Create(t.Context(), "ann", head("c", "")); err != nil {
		t.Error(err)
	}
}
