package sqlite_test

import (
	"compress/gzip"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

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
	execute(t, path, "PRAGMA user_version = 3")
	before, err := os.ReadFile(path)
	must(t, err)
	wantError(t, path, "version 3, this program knows up to 2")
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
