package postgres

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
)

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
	config, err := parse(dsn)
	must(t, err)
	execute(t, dsn, strings.ReplaceAll(string(dump), "chat_v1", config.ConnConfig.RuntimeParams["search_path"]))
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

func testVersion1(t *testing.T, dsn string) {
	t.Helper()
	storetest.TestVersion1(t, func(t *testing.T) assistant.Store {
		t.Helper()
		return openAt(t, dsn, still)
	})
	s := openAt(t, dsn, still)
	for _, table := range []string{"conversation", "message", "chunk"} {
		wantRows(t, s, table, 0)
	}
	must(t, s.Close())
}

func TestVersion1(t *testing.T) { testVersion1(t, version1(t)) }

// A schema that has seen more migrations than this program knows is refused, and stays as it is.
func TestNewerVersion(t *testing.T) {
	dsn := version1(t)
	execute(t, dsn, `INSERT INTO schema_version VALUES (3)`)
	if _, err := Open(t.Context(), Config{DSN: dsn}, nil); err == nil || !strings.Contains(err.Error(), "version 3, this program knows up to 2") {
		t.Errorf("got error %v", err)
	}
	execute(t, dsn, `DELETE FROM schema_version WHERE version = 3`)
	testVersion1(t, dsn)
}

// A node of version 1 goes on while the others are replaced: these are its statements.
func TestVersion1Beside(t *testing.T) {
	dsn := emptySchema()
	s := openAt(t, dsn, still)
	c := head()
	must(t, s.Create(t.Context(), "alice", c))
	const oldNode = 4711
	_, err := s.node.conn.Exec(t.Context(), `SELECT pg_advisory_lock($1)`, oldNode) // it lives
	must(t, err)
	_, err = s.exec(t.Context(), `INSERT INTO message
		(conversation_id, id, role, content, status, finish_reason, usage, client_id, created_at, node)
		VALUES ($1, 'a', 'assistant', '', 'streaming', '', NULL, '', now(), $2)`, c.ID, oldNode)
	must(t, err)
	old := streaming{Store: s, conversation: c.ID, answer: "a"}
	for i, text := range []string{"Hel", "", "lo", "lo"} {
		n, err := s.exec(t.Context(), `INSERT INTO chunk (message_seq, text) SELECT seq, $4 FROM message
			WHERE conversation_id = (SELECT id FROM conversation WHERE id = $1 AND owner = $2) AND id = $3 AND status = 'streaming'
			FOR SHARE`, c.ID, "alice", "a", text)
		must(t, err)
		if n != 1 {
			t.Fatalf("chunk %d was not stored", i)
		}
	}
	old.want(t, assistant.StatusStreaming, "Hellolo")
	must(t, s.node.sweep(t.Context()))
	old.want(t, assistant.StatusStreaming, "Hellolo")
	_, err = s.node.conn.Exec(t.Context(), `SELECT pg_advisory_unlock($1)`, oldNode)
	must(t, err)
	must(t, s.node.sweep(t.Context()))
	old.want(t, assistant.StatusInterrupted, "Hellolo")
	wantRows(t, s, "chunk", 0)
	must(t, s.Close())
}
