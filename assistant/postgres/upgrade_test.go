package postgres

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
)

// Schemas that were released hold what these have made: they stay as they are, to the byte.
func TestReleasedMigrations(t *testing.T) {
	for name, want := range map[string]string{
		"0001.sql": "31faf342745629b5a20ccef318b956804fe62550990496903702b687a9073552",
		"0002.sql": "1f6d1b5204616982427f6842a805bbc49c884a10172faa752e1e1b526a3e087a",
	} {
		text, err := migrations.ReadFile("migrations/" + name)
		must(t, err)
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s has changed: %x", name, sum)
		}
	}
}

// version1 returns the DSN of a schema that has version 1. The dump was made by pg_dump 15 --rows-per-insert,
// without the lines for psql.
func version1(t *testing.T) (dsn string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "v1.sql.gz"))
	must(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	must(t, err)
	dump, err := io.ReadAll(r)
	must(t, err)
	dsn = emptySchema()
	where, err := parse(dsn)
	must(t, err)
	execute(t, dsn, strings.ReplaceAll(string(dump), "chat_v1", where.searchPath))
	return dsn
}

// version2 returns the DSN of a schema that has version 2, and these rows.
func version2(t *testing.T, rows string) (dsn string) {
	t.Helper()
	dsn = emptySchema()
	where, err := parse(dsn)
	must(t, err)
	statements := "CREATE SCHEMA " + where.searchPath + "; CREATE TABLE schema_version (version integer NOT NULL); INSERT INTO schema_version VALUES (2);"
	for _, name := range []string{"0001.sql", "0002.sql"} {
		text, err := migrations.ReadFile("migrations/" + name)
		must(t, err)
		statements += string(text)
	}
	execute(t, dsn, statements+rows)
	return dsn
}

// execute runs statements behind the store's back.
func execute(t *testing.T, dsn, statements string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	must(t, err)
	defer conn.Close(t.Context())
	_, err = conn.PgConn().Exec(t.Context(), statements).ReadAll()
	must(t, err)
}

func TestVersion1(t *testing.T) {
	dsn := version1(t)
	storetest.TestVersion1(t, func(t *testing.T) assistant.Store {
		t.Helper()
		return openAt(t, dsn, still)
	})
	s := openAt(t, dsn, still)
	for _, table := range []string{"conversation", "message", "event"} {
		wantRows(t, s, table, 0)
	}
	must(t, s.Close())
}

// A schema that has seen more migrations than this program knows is refused, and stays as it is.
func TestNewerVersion(t *testing.T) {
	dsn := version2(t, "")
	files, err := migrations.ReadDir("migrations")
	must(t, err)
	newest := len(files)
	execute(t, dsn, fmt.Sprintf(`INSERT INTO schema_version VALUES (%d)`, newest+1))
	if _, err := Open(t.Context(), Config{DSN: dsn}, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("version %d, this program knows up to %d", newest+1, newest)) {
		t.Errorf("got error %v", err)
	}
	execute(t, dsn, fmt.Sprintf(`SELECT node FROM message; DELETE FROM schema_version WHERE version = %d`, newest+1))
	must(t, openAt(t, dsn, still).Close())
}

// What servers of version 2, and of version 1 beside them, have left streaming is interrupted, with what it had.
func TestVersion2(t *testing.T) {
	dsn := version2(t, `
		INSERT INTO conversation VALUES ('c', 'alice', 'Title', now(), now()), ('d', '', '', now(), now()), ('e', '', '', now(), now());
		INSERT INTO message (conversation_id, id, role, content, status, finish_reason, client_id, created_at, node) VALUES
			('c', 'q', 'user', 'Hi', 'complete', '', '', now(), 1),
			('c', 'a', 'assistant', '', 'streaming', '', '', now(), 1),
			('d', 'b', 'assistant', '', 'streaming', '', '', now(), 2),
			('d', 'also', 'assistant', '', 'streaming', '', '', now(), 2),
			('e', 'none', 'assistant', '', 'streaming', '', '', now(), 2);
		INSERT INTO chunk (message_seq, kind, text, start, stop) VALUES
			(2, 'text', 'lo', 5, 7), (2, 'reasoning', 'Hm', 0, 2), (2, 'text', 'Hel', 2, 5), (4, 'text', 'ünd', 0, 4);
		INSERT INTO chunk (message_seq, text) VALUES (3, 'Hel'), (3, 'lo'), (3, 'lo');`)
	s := openAt(t, dsn, still)
	for id, want := range map[string][]assistant.Message{
		"c": {{ID: "q", Content: "Hi"}, {ID: "a", Content: "Hello", Parts: assistant.Parts{assistant.ReasoningPart{Text: "Hm"}, assistant.TextPart{Text: "Hello"}}}},
		"d": {{ID: "b", Content: "Hellolo"}, {ID: "also", Content: "ünd"}},
		"e": {{ID: "none"}},
	} {
		owner := map[string]string{"c": "alice"}[id]
		state, err := s.State(t.Context(), owner, id, 10)
		must(t, err)
		if len(state.Messages) != len(want) || state.Cursor.Epoch == "" || state.Cursor.Seq != 0 || state.Holder != 0 {
			t.Fatalf("state is %+v", state)
		}
		for i, m := range state.Messages {
			if m.ID != want[i].ID || m.Content != want[i].Content || len(m.Parts) != len(want[i].Parts) {
				t.Errorf("message is %+v, want %+v", m, want[i])
			}
			if status := map[bool]assistant.Status{true: assistant.StatusComplete, false: assistant.StatusInterrupted}[m.ID == "q"]; m.Status != status {
				t.Errorf("%s is %s", m.ID, m.Status)
			}
		}
	}
	wantRows(t, s, "event", 0)
	epochs, err := query(t.Context(), s, pgx.RowTo[string], `SELECT DISTINCT epoch FROM assistant.conversation`)
	must(t, err)
	if len(epochs) != 3 || !assistant.IsID(epochs[0]) {
		t.Errorf("epochs are %v", epochs)
	}
	must(t, s.Close())
}

// A server of an older version that runs would write without a claim: the tables stay as they are until it is stopped.
func TestOlderServerRuns(t *testing.T) {
	dsn := version2(t, "")
	old, err := pgx.Connect(t.Context(), dsn+"&application_name=caddy-assistant")
	must(t, err)
	defer old.Close(t.Context())
	_, err = old.Exec(t.Context(), `SELECT pg_advisory_lock(-4711)`) // as each does for as long as it runs
	must(t, err)
	for range 2 {
		if _, err = Open(t.Context(), Config{DSN: dsn}, nil); !errors.Is(err, errOlder) || !strings.Contains(err.Error(), "stop the servers of the older version first") {
			t.Fatalf("got error %v", err)
		}
	}
	execute(t, dsn, `SELECT node FROM message`) // it is as it was

	// Other locks do not matter: another program's, and that of two numbers.
	_, err = old.Exec(t.Context(), `SELECT pg_advisory_unlock_all(), pg_advisory_lock(1, 2)`)
	must(t, err)
	other, err := pgx.Connect(t.Context(), dsn)
	must(t, err)
	defer other.Close(t.Context())
	_, err = other.Exec(t.Context(), `DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'stranger') THEN CREATE ROLE stranger LOGIN PASSWORD 'x'; END IF; END $$`)
	must(t, err)
	config := other.Config().Copy()
	config.User, config.Password = "stranger", "x"
	stranger, err := pgx.ConnectConfig(t.Context(), config)
	must(t, err)
	defer stranger.Close(t.Context())
	_, err = stranger.Exec(t.Context(), `SELECT pg_advisory_lock(815)`)
	must(t, err)
	must(t, openAt(t, dsn, still).Close())

	// Once it is migrated, locks say nothing any more.
	_, err = old.Exec(t.Context(), `SELECT pg_advisory_lock(-4711)`)
	must(t, err)
	must(t, openAt(t, dsn, still).Close())
	must(t, openAt(t, emptySchema(), still).Close()) // nor do they of a new schema
}
