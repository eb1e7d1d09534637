//go:build !race

// SQLite in Go takes minutes for these under the race detector.

package sqlite_test

import (
	"compress/gzip"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
)

// version1 returns a copy of a file that version 1 of the schema has.
func version1(t *testing.T) (path string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "v1.sqlite.gz"))
	must(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	must(t, err)
	data, err := io.ReadAll(r)
	must(t, err)
	path = filepath.Join(t.TempDir(), "chat.db")
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

func testVersion1(t *testing.T, path string) {
	t.Helper()
	storetest.TestVersion1(t, func(t *testing.T) assistant.Store {
		t.Helper()
		return open(t, path)
	})
	checkFile(t, path)
}

func TestVersion1(t *testing.T) { testVersion1(t, version1(t)) }

// A file that has seen more migrations than this program knows is refused, and stays as it is.
func TestNewerFile(t *testing.T) {
	path := version1(t)
	migrations, err := os.ReadDir("migrations")
	must(t, err)
	newest := len(migrations)
	execute(t, path, fmt.Sprintf("PRAGMA user_version = %d", newest+1))
	before, err := os.ReadFile(path)
	must(t, err)
	wantError(t, path, fmt.Sprintf("version %d, this program knows up to %d", newest+1, newest))
	after, err := os.ReadFile(path)
	must(t, err)
	if !slices.Equal(before, after) {
		t.Error("the file was changed")
	}
	execute(t, path, "PRAGMA user_version = 1")
	testVersion1(t, path)
}

// A migration that breaks off leaves the file as it was.
func TestBrokenMigration(t *testing.T) {
	path := version1(t)
	execute(t, path, "ALTER TABLE chunk ADD COLUMN stop INTEGER") // in the way of the last but one statement
	wantError(t, path, "0002.sql")
	db, err := sql.Open("sqlite", path)
	must(t, err)
	var version, columns int
	must(t, db.QueryRowContext(t.Context(), "SELECT user_version, (SELECT count(*) FROM pragma_table_info('message')) FROM pragma_user_version").Scan(&version, &columns))
	must(t, db.Close())
	if version != 1 || columns != 10 {
		t.Errorf("file has version %d and %d columns of messages", version, columns)
	}
	execute(t, path, "ALTER TABLE chunk DROP COLUMN stop")
	testVersion1(t, path)
}

// TestVersion2 opens a file in which a program with version 2 of the schema has left answers streaming, two of them in one
// conversation: all are interrupted, with their text, and another turn can begin.
func TestVersion2(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	for _, name := range []string{"0001.sql", "0002.sql"} {
		migration, err := os.ReadFile(filepath.Join("migrations", name))
		must(t, err)
		execute(t, path, string(migration))
	}
	execute(t, path, `PRAGMA application_id = 0x43417374`, `PRAGMA user_version = 2`,
		`INSERT INTO conversation (id, owner, title, created_at, updated_at) SELECT value, 'alice', '', 1, 1 FROM json_each('["c", "d", "e", "f"]')`,
		`INSERT INTO message (seq, conversation_id, id, role, content, status, finish_reason, client_id, created_at) VALUES
			(1, 'c', 'q', 'user', 'Hi', 'complete', '', '', 1), (2, 'c', 'mixed', 'assistant', '', 'streaming', '', '', 1),
			(3, 'c', 'plain', 'assistant', '', 'streaming', '', '', 1), (4, 'd', 'reasoning', 'assistant', '', 'streaming', '', '', 1),
			(5, 'e', 'empty', 'assistant', '', 'streaming', '', '', 1), (6, 'f', 'old', 'assistant', '', 'streaming', '', '', 1)`,
		`INSERT INTO chunk (message_seq, kind, text, start, stop) VALUES
			(2, 'text', 'it''s "', 7, 13), (2, 'reasoning', 'ünd', 3, 7), (2, 'reasoning', 'Hm ', 0, 3), (2, 'text', 'so"', 13, 16), (2, 'reasoning', '?', 16, 17),
			(3, 'text', 'Hello, ', 0, 7), (3, 'text', char(0) || '\wörld', 7, 15), (4, 'reasoning', 'Hm', 0, 2),
			(6, 'text', 'of ', NULL, NULL), (6, 'text', 'version 1', NULL, NULL)`)
	for range 2 {
		s := open(t, path)
		for conversation, want := range map[string][]assistant.Message{
			"c": {
				{ID: "q", Role: assistant.RoleUser, Content: "Hi", Status: assistant.StatusComplete},
				{ID: "mixed", Content: "it's \"so\"", Parts: assistant.Parts{
					assistant.ReasoningPart{Text: "Hm ünd"}, assistant.TextPart{Text: "it's \"so\""}, assistant.ReasoningPart{Text: "?"},
				}},
				{ID: "plain", Content: "Hello, \x00\\wörld"},
			},
			"d": {{ID: "reasoning", Parts: assistant.Parts{assistant.ReasoningPart{Text: "Hm"}}}},
			"e": {{ID: "empty"}},
			"f": {{ID: "old", Content: "of version 1"}},
		} {
			for i := range want {
				want[i].CreatedAt = time.UnixMilli(1).UTC()
				if want[i].Role == "" {
					want[i].Role, want[i].Status, want[i].FinishReason = assistant.RoleAssistant, assistant.StatusInterrupted, assistant.FinishInterrupted
				}
			}
			got, _, err := s.Messages(t.Context(), "alice", conversation, "", 10)
			must(t, err)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("conversation %s\n got %+v\nwant %+v", conversation, got, want)
			}
		}
		must(t, s.Close())
	}
	checkFile(t, path)
	s := open(t, path)
	defer s.Close()
	must(t, s.Begin(t.Context(), claim("c"), assistant.Beginning{Last: "plain", Answer: assistant.Message{ID: "next", Status: assistant.StatusStreaming}}))
}
