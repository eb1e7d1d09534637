package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// querier is a connection or a pool of them.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func wantValue(t *testing.T, q querier, query, want string) {
	t.Helper()
	var got string
	must(t, q.QueryRowContext(t.Context(), query).Scan(&got))
	if got != want {
		t.Errorf("%s: %s, want %s", query, got, want)
	}
}

// What the promise of durability, the bounds of the files and the patience with other programs rest on.
func TestPragmas(t *testing.T) {
	s := openHere(t)
	for pragma, want := range map[string]string{
		"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "journal_size_limit": "67108864", "busy_timeout": "5000",
		"temp_store": "2", "query_only": "0", "locking_mode": "normal", "wal_autocheckpoint": "1000", "application_id": "1128362868",
	} {
		wantValue(t, s.writer.conn, "PRAGMA "+pragma, want)
	}
	for pragma, want := range map[string]string{"query_only": "1", "busy_timeout": "5000", "journal_mode": "wal"} {
		wantValue(t, s.reader, "PRAGMA "+pragma, want)
	}
	if n := s.reader.Stats().MaxOpenConnections; n != 4 {
		t.Errorf("%d connections for reading", n)
	}
	wantValue(t, s.lock, "PRAGMA busy_timeout", "1000")
	wantValue(t, s.lock, "PRAGMA journal_mode", "off")
}

// Files that were released hold what these have made: they stay as they are, to the byte.
func TestReleasedMigrations(t *testing.T) {
	for name, want := range map[string]string{
		"0001.sql": "a0909b4b5e659fcd90461d464ddb6ef651393998eb662bf2c22f348547416eb9",
		"0002.sql": "19149d75a3e3ac8f9cce9bf38cb2fa0d8f50c7d44dcdeae7f4d2137f6b5194db",
	} {
		text, err := migrations.ReadFile("migrations/" + name)
		must(t, err)
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s has changed: %x", name, sum)
		}
	}
}

// claim is that of a conversation of alice's.
func claim(id string) assistant.Claim {
	return assistant.Claim{Owned: assistant.Owned{Owner: "alice", ID: id}}
}

// streaming stores a conversation with an answer that has two chunks.
func streaming(t *testing.T, s *Store, id string) assistant.Beginning {
	t.Helper()
	must(t, s.Create(t.Context(), "alice", head(id, "")))
	b := assistant.Beginning{
		Question: &assistant.Message{ID: id + "-q", Role: assistant.RoleUser, Status: assistant.StatusComplete, ClientID: "client-1"},
		Answer:   assistant.Message{ID: id + "-a", Role: assistant.RoleAssistant, Status: assistant.StatusStreaming},
	}
	must(t, s.Begin(t.Context(), claim(id), b))
	extend(t, s, id, 1)
	extend(t, s, id, 2)
	return b
}

// extend stores the event of that number.
func extend(t *testing.T, s *Store, id string, number uint64) {
	t.Helper()
	must(t, s.Extend(t.Context(), claim(id), assistant.Extension{
		MessageID: id + "-a", Events: []assistant.Event{{Seq: number, Kind: assistant.KindPiece, Text: "So"}},
	}))
}

func finish(ctx context.Context, s *Store, id string, at time.Time, messages ...assistant.Message) error {
	return s.Finish(ctx, claim(id), assistant.Ending{At: at, Messages: messages})
}

func wantRows(t *testing.T, s *Store, table string, want int) {
	t.Helper()
	wantValue(t, s.reader, "SELECT count(*) FROM "+table, fmt.Sprint(want))
}

// However an answer ends, its chunks go; however a conversation goes, its messages do.
func TestNothingIsLeft(t *testing.T) {
	s := openHere(t)
	for name, ends := range map[string]func(id string, b assistant.Beginning) error{
		"finish": func(id string, b assistant.Beginning) error {
			b.Answer.Status = assistant.StatusComplete
			return finish(t.Context(), s, id, time.Now(), b.Answer, *b.Question)
		},
		"drop": func(id string, b assistant.Beginning) error {
			return s.Begin(t.Context(), claim(id), assistant.Beginning{
				Last: b.Answer.ID, DropFrom: b.Question.ID, Answer: assistant.Message{ID: "next", Status: assistant.StatusStreaming},
			})
		},
		"delete": func(id string, _ assistant.Beginning) error { return s.Delete(t.Context(), "alice", id) },
	} {
		b := streaming(t, s, name)
		wantRows(t, s, "chunk", 2)
		if err := ends(name, b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantRows(t, s, "chunk", 0)
		if err := s.Delete(t.Context(), "alice", name); err != nil && !errors.Is(err, assistant.ErrNotFound) {
			t.Fatal(err)
		}
		wantRows(t, s, "message", 0)
	}

	b := streaming(t, s, "old")
	b.Answer.Status = assistant.StatusComplete
	must(t, finish(t.Context(), s, "old", time.UnixMilli(1), b.Answer))
	deleted, err := s.DeleteBefore(t.Context(), time.Now(), 10)
	must(t, err)
	if len(deleted) != 1 {
		t.Errorf("deleted %v", deleted)
	}
	wantRows(t, s, "message", 0)
}

// The schema itself keeps a second answer from streaming in one conversation.
func TestOneStreamingInSchema(t *testing.T) {
	s := openHere(t)
	streaming(t, s, "1")
	err := s.writer.write(t.Context(), func(tx tx) error {
		return tx.change(`UPDATE message SET status = 'streaming' WHERE id = '1-q'`)
	})
	if code(err) != sqlite3.SQLITE_CONSTRAINT {
		t.Errorf("got error %v", err)
	}
}

// No call reads a whole table. To extend an answer takes one statement, also when it is done again, once the answer was
// found; when it has ended, that is forgotten.
func TestStatements(t *testing.T) {
	s := openHere(t)
	b := streaming(t, s, "1")
	before := maps.Clone(s.writer.statements)
	maps.DeleteFunc(s.writer.statements, func(query string, _ *sql.Stmt) bool { return strings.HasPrefix(query, "SELECT") })
	extend(t, s, "1", 3)
	extend(t, s, "1", 3)
	for query := range s.writer.statements {
		if before[query] == nil || strings.HasPrefix(query, "SELECT") {
			t.Errorf("one statement more: %s", query)
		}
	}
	s.writer.statements = before
	gap := assistant.Extension{MessageID: b.Answer.ID, Events: []assistant.Event{{Seq: 9}}}
	if err := s.Extend(t.Context(), claim("1"), gap); !errors.Is(err, chunk.ErrGap) {
		t.Fatal(err)
	}
	must(t, s.Begin(t.Context(), claim("1"), assistant.Beginning{Last: b.Answer.ID, DropFrom: b.Answer.ID, Answer: b.Answer, MaxMessages: 9}))
	must(t, finish(t.Context(), s, "1", time.Now(), b.Answer))
	if n := len(s.writer.answers); n > 0 {
		t.Errorf("%d answers are remembered", n)
	}
	_, err := s.Rename(t.Context(), "alice", "1", "Title", new("another"))
	if !errors.Is(err, assistant.ErrStale) {
		t.Fatal(err)
	}
	_, err = s.DeleteBefore(t.Context(), time.Now(), 1)
	must(t, err)
	must(t, s.Delete(t.Context(), "alice", "1"))
	queries := []string{
		`SELECT ` + messageColumns + ` FROM message WHERE conversation_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?`,
		`SELECT ` + columns + ` FROM conversation WHERE owner = ? AND owner <> '' AND (updated_at, id) < (?, ?) ORDER BY updated_at DESC, id DESC LIMIT ?`,
	}
	for query := range s.writer.statements {
		if verb, _, _ := strings.Cut(query, " "); verb == "SELECT" || verb == "UPDATE" || verb == "DELETE" || verb == "INSERT" {
			queries = append(queries, query)
		}
	}
	if len(queries) < 15 {
		t.Errorf("only %d statements", len(queries))
	}
	for _, query := range queries {
		for _, step := range plan(t, s, query) {
			if strings.HasPrefix(step, "SCAN") && step != "SCAN CONSTANT ROW" || strings.Contains(step, "TEMP B-TREE FOR ORDER BY") {
				t.Errorf("%s\n%s", query, step)
			}
		}
	}
}

// plan returns what SQLite does for a statement.
func plan(t *testing.T, s *Store, query string) (steps []string) {
	t.Helper()
	args := make([]any, 20)
	args = args[:max(strings.Count(query, "?"), 0)]
	for n := len(args); n > 0; n-- { // ?1 may stand there more than once
		if strings.Contains(query, fmt.Sprintf("?%d", n)) {
			args = args[:n]
			break
		}
	}
	rows, err := s.writer.conn.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		must(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	must(t, rows.Err())
	return steps
}

// What waits is committed together, up to a bound.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{queue: make(chan *write)}
		for range maxBatch + 10 {
			go func() { w.queue <- new(write) }()
		}
		synctest.Wait() // until all of them wait
		if n := len(w.gather(<-w.queue)); n != 256 {
			t.Errorf("%d writes in one commit", n)
		}
		synctest.Wait()
		if n := len(w.gather(<-w.queue)); n != 10 {
			t.Errorf("%d writes in the next commit", n)
		}
	})
}

// Writes that have waited together are in one transaction: while the second is made, the first is not there
// for readers.
func TestCommitTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "chat.db")})
		must(t, err)
		release := make(chan struct{})
		var wg sync.WaitGroup
		write := func(do func(tx) error) {
			wg.Go(func() {
				if err := s.writer.write(t.Context(), do); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // until it waits
		}
		write(func(tx) error {
			<-release
			return nil
		})
		for n := range 3 { // whichever comes first
			write(func(tx tx) error {
				_, err := tx.exec(`INSERT INTO conversation (id, owner, title, created_at, updated_at) VALUES (?, 'alice', '', 1, 1)`, n)
				wantRows(t, s, "conversation", 0)
				return err
			})
		}
		close(release)
		wg.Wait()
		wantRows(t, s, "conversation", 3)
		must(t, s.Close())
	})
}

// Behind another program's transaction a write waits no longer than its context, and the store goes on.
func TestBusyCancelled(t *testing.T) {
	s := openHere(t)
	must(t, s.Create(t.Context(), "alice", head("1", "Before")))
	var path string
	must(t, s.reader.QueryRowContext(t.Context(), "SELECT file FROM pragma_database_list").Scan(&path))
	shell, err := sql.Open("sqlite", path)
	must(t, err)
	defer shell.Close()
	shell.SetMaxOpenConns(1)
	_, err = shell.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	must(t, err)

	errGone := errors.New("caller has gone")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errGone)
	defer cancel()
	start := time.Now()
	for name, call := range map[string]func() error{
		"Create": func() error { return s.Create(ctx, "alice", head("2", "")) },
		"Rename": func() error {
			_, err := s.Rename(ctx, "alice", "1", "After", nil)
			return err
		},
		"DeleteBefore": func() error {
			_, err := s.DeleteBefore(ctx, time.Now(), 0)
			return err
		},
	} {
		if err := call(); !errors.Is(err, errGone) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	wantStored(t, s, "1", true) // to read is possible all the time
	_, err = shell.ExecContext(t.Context(), "COMMIT")
	must(t, err)
	must(t, s.Create(t.Context(), "alice", head("3", "")))
	wantStored(t, s, "3", true)
}

// A caller that has gone before the commit does not share memory with the writer.
func TestResultOfNoOne(t *testing.T) {
	s := openHere(t)
	ctx, cancel := context.WithCancel(t.Context())
	entered, release, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		got, err := writeFor(ctx, s.writer, func(tx) (int, error) {
			close(entered)
			<-release
			return 1, nil
		})
		if got != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("got %d, %v", got, err)
		}
	}()
	<-entered
	cancel()
	<-left
	close(release)
	must(t, s.Create(t.Context(), "alice", head("1", "")))
}
