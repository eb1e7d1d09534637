package sqlite_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
	"github.com/caddy-assistant/caddy-assistant/assistant/sqlite"
)

func open(tb testing.TB, path string) *sqlite.Store {
	tb.Helper()
	s, err := sqlite.Open(tb.Context(), sqlite.Config{Path: path})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// create stores a conversation with a question and a streaming answer, and returns its id.
func create(tb testing.TB, s *sqlite.Store) string {
	tb.Helper()
	id, now := uuid.NewString(), time.Now()
	must(tb, s.Create(tb.Context(), "alice", assistant.Conversation{ID: id, CreatedAt: now, UpdatedAt: now}))
	must(tb, s.Begin(tb.Context(), claim(id), assistant.Beginning{
		Question: &assistant.Message{ID: uuid.NewString(), Role: assistant.RoleUser, Content: strings.Repeat("Hi ", 2000), Status: assistant.StatusComplete},
		Answer:   assistant.Message{ID: uuid.NewString(), Role: assistant.RoleAssistant, Status: assistant.StatusStreaming},
	}))
	return id
}

func claim(id string) assistant.Claim {
	return assistant.Claim{Owned: assistant.Owned{Owner: "alice", ID: id}}
}

// execute runs statements on the file behind the store's back.
func execute(tb testing.TB, path string, statements ...string) {
	tb.Helper()
	db, err := sql.Open("sqlite", path)
	must(tb, err)
	defer db.Close()
	for _, s := range statements {
		_, err := db.ExecContext(tb.Context(), s)
		must(tb, err)
	}
}

func wantError(t *testing.T, path, want string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err == nil {
		s.Close()
		t.Fatalf("opened %s", path)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

func TestStore(t *testing.T) {
	storetest.TestDurableStore(t, func(t *testing.T) storetest.Place {
		t.Helper()
		path := filepath.Join(t.TempDir(), "chat.db")
		return func(t *testing.T) assistant.Store {
			t.Helper()
			return open(t, path)
		}
	})
}

func BenchmarkStore(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "chat.db"))
	defer s.Close()
	storetest.BenchmarkStore(b, s)
}

// On the disk, too, conversations are their owner's business alone.
func TestFileModes(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new", "folder")
	s := open(t, filepath.Join(folder, "chat.db"))
	defer s.Close()
	create(t, s)
	want := map[string]fs.FileMode{".": 0o700 | fs.ModeDir, "chat.db": 0o600, "chat.db-wal": 0o600, "chat.db-shm": 0o600, "chat.db.lock": 0o600}
	for name, mode := range want {
		info, err := os.Stat(filepath.Join(folder, name))
		must(t, err)
		if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
		}
	}
	entries, err := os.ReadDir(folder)
	must(t, err)
	if len(entries) != len(want)-1 {
		t.Errorf("folder holds %v", entries)
	}
}

func TestOddPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{"relative.db", "with space.db", "q?mode=memory", "h#sh", "100%41", "'quoted'; --", "ünï", filepath.Join("a", "b?c", "d&e=f")} {
		s := open(t, path)
		id := create(t, s)
		must(t, s.Close())
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s is not where it should be: %v", path, err)
		}
		s = open(t, path)
		_, err := s.Conversation(t.Context(), "alice", id)
		must(t, err)
		must(t, s.Close())
	}
	wantError(t, "", "bad path")
	wantError(t, t.TempDir(), "open store")
}

func TestOpenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	id := create(t, s)
	wantError(t, path, "in use")
	wantError(t, path, "in use") // the lock is still there
	if out := tryInChild(t, path); !strings.Contains(out, "in use") {
		t.Errorf("another process opened the file: %s", out)
	}
	_, err := s.Conversation(t.Context(), "alice", id)
	must(t, err)
	must(t, s.Close())
	if out := tryInChild(t, path); out != "opened\n" {
		t.Errorf("another process cannot open the file: %s", out)
	}
}

func TestOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	text := []byte(strings.Repeat("This is no database. ", 100))
	must(t, os.WriteFile(path, text, 0o600))
	wantError(t, path, "not a database")
	if now, err := os.ReadFile(path); err != nil || string(now) != string(text) {
		t.Errorf("the file was changed: %v", err)
	}

	path = filepath.Join(t.TempDir(), "other.db")
	execute(t, path, "CREATE TABLE conversation (id)")
	wantError(t, path, "another application")

	path = filepath.Join(t.TempDir(), "newer.db")
	must(t, open(t, path).Close())
	execute(t, path, "PRAGMA user_version = 99")
	wantError(t, path, "version 99")
}

// After an end without Close the file is checked.
func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	for range 50 {
		create(t, s)
	}
	must(t, s.Close())
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the -wal is still there: %v", err)
	}
	damage(t, path)
	must(t, os.WriteFile(path+"-wal", []byte("what kill -9 leaves"), 0o600))
	wantError(t, path, "damaged")
}

// damage overwrites pages in the middle of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	for i := len(data) / 2; i < len(data)/2+3*4096; i++ {
		data[i] = 0xA5
	}
	must(t, os.WriteFile(path, data, 0o600))
}

// Check finds damaged pages in a file that could be opened, and nothing in a sound one that is written meanwhile.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	var writing sync.WaitGroup
	writing.Go(func() {
		for range 200 {
			err := s.Create(t.Context(), "alice", assistant.Conversation{ID: uuid.NewString(), Title: strings.Repeat("t", 500), CreatedAt: time.Now(), UpdatedAt: time.Now()})
			if err != nil {
				t.Error(err)
			}
		}
	})
	must(t, s.Check(t.Context()))
	writing.Wait()
	must(t, s.Close())
	damage(t, path)
	s = open(t, path)
	defer s.Close()
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("found %v", err)
	}
}

// A shell that reads, or writes for a moment, does no harm.
func TestShell(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	defer s.Close()
	create(t, s)
	shell, err := sql.Open("sqlite", path)
	must(t, err)
	defer shell.Close()
	shell.SetMaxOpenConns(1)
	_, err = shell.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	must(t, err)
	written := make(chan error)
	go func() {
		written <- s.Create(t.Context(), "alice", assistant.Conversation{ID: uuid.NewString(), CreatedAt: time.Now(), UpdatedAt: time.Now()})
	}()
	_, err = shell.ExecContext(t.Context(), "UPDATE conversation SET title = 'Ours'; COMMIT")
	must(t, err)
	must(t, <-written)
	list, err := s.List(t.Context(), "alice", assistant.Conversation{}, 10)
	must(t, err)
	if len(list) != 2 || list[1].Title != "Ours" {
		t.Errorf("listed %+v", list)
	}
}
