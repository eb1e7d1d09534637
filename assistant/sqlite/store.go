// Package sqlite keeps conversations in one SQLite file, without cgo. Several processes cannot share it;
// that is what the package postgres is for.
//
// What was stored survives kill -9 and a loss of power: the file is in WAL mode with synchronous FULL,
// so that each commit is synced to the disk. What limits count is too cheap for that: it survives kill -9. All writes go through one goroutine that commits together
// what has come together, so that a hundred answers at once cost little more syncs than one; reads have
// connections of their own and never wait for a write. A caller whose context ends while it waits for a
// commit does not learn whether its change was made.
//
// The file must be on a local disk: neither WAL mode nor SQLite's locks work over a network. Beside it are
// its -wal and -shm, which belong to it, and an empty .lock, which may be deleted while no process has the
// file open. The sqlite3 shell may read the file at any time; a backup is VACUUM INTO, never a copy of a
// file in use. Space of what was deleted is used again but not given back.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	readers     = 4               // connections for reading
	busyTimeout = 5 * time.Second // for a lock of a shell or a backup
	lockTimeout = time.Second     // for a process that is about to end
	maxWAL      = 64 << 20        // bytes that the -wal may keep after a burst
)

// Config says where a [Store] is.
type Config struct {
	// Path is the file, which is made where it is missing, readable by its owner only; so are missing
	// folders above it. There is no default.
	Path string `json:"path"`
}

// Store is an assistant.Store in an SQLite file.
type Store struct {
	path   string
	lock   *sql.DB // holds the lock file
	writer *writer
	reader *sql.DB
	close  func() error
}

// Open opens the file, makes or migrates what is in it, and marks answers interrupted that a process
// before has left streaming. After an end without Close it also checks the file, which takes a second
// for some hundred MiB.
//
// It fails where the file is open already, in this process or in another, is no SQLite file or one of
// another application, is damaged, or was written by a newer version. Where the disk is full or fails, the error is
// an [assistant.ErrUnavailable].
func Open(ctx context.Context, config Config) (*Store, error) {
	path, err := filepath.Abs(config.Path)
	if err != nil || config.Path == "" {
		return nil, fmt.Errorf("open store: bad path %q", config.Path)
	}
	s := &Store{path: path}
	s.close = sync.OnceValue(s.shut)
	if err := s.open(ctx, path); err != nil {
		_ = s.close() // err says more
		if ofDisk(err) {
			err = fmt.Errorf("%w: %w", assistant.ErrUnavailable, err)
		}
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return s, nil
}

// ofDisk reports whether err is a fault of the disk that may pass.
func ofDisk(err error) bool {
	return code(err) == sqlite3.SQLITE_FULL || code(err) == sqlite3.SQLITE_IOERR || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO)
}

// Check looks for damaged pages, which takes a second for some hundred MiB, and returns what it has found. It has a
// connection of its own, so that other calls go on meanwhile.
func (s *Store) Check(ctx context.Context) error {
	db, err := sql.Open("sqlite", source(s.path, busyTimeout, "query_only(on)"))
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	defer db.Close()
	return check(ctx, db)
}

func (s *Store) open(ctx context.Context, path string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if s.lock, err = lock(ctx, path+".lock"); err != nil {
		return err
	}
	if err := create(path); err != nil { // SQLite gives the -wal and the -shm the same mode
		return err
	}
	wal, err := os.Stat(path + "-wal")
	unclean := err == nil && wal.Size() > 0
	// What a statement would take back if it failed is in memory: in a file, it costs as many system calls as the change.
	pragmas := []string{"foreign_keys(on)", "synchronous(full)", "temp_store(memory)", fmt.Sprintf("journal_size_limit(%d)", maxWAL)}
	if s.writer, err = newWriter(ctx, source(path, busyTimeout, pragmas...)); err != nil {
		return err
	}
	if err := prepare(ctx, s.writer.conn, unclean); err != nil {
		return err
	}
	s.writer.start()
	s.reader, err = sql.Open("sqlite", source(path, busyTimeout, "query_only(on)"))
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	return err
}

// source returns the data source name for a file.
func source(path string, timeout time.Duration, pragmas ...string) string {
	query := url.Values{"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", timeout.Milliseconds())}, pragmas...)}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: query.Encode()}).String()
}

// create makes an empty file that is its owner's only. It never opens a file that exists: to close that
// would drop the locks which this process has on it (fcntl(2)).
func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// lock keeps other processes away until it is closed. The lock is one of SQLite's own, on an empty
// database: it works wherever SQLite does, and the system frees it however the process ends.
func lock(ctx context.Context, path string) (*sql.DB, error) {
	if err := create(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", source(path, lockTimeout, "journal_mode(off)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
		_ = db.Close()
		if code(err) == sqlite3.SQLITE_BUSY {
			return nil, errors.New("file is in use: another process, or another store of this one, has it open")
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return db, nil
}

// Close waits for what is being written and closes the file.
func (s *Store) Close() error { return s.close() }

// shut closes what was opened. The writer closes after the readers, for the last to close merges the -wal
// into the file.
func (s *Store) shut() error {
	var errs []error
	if s.writer != nil {
		s.writer.finish()
	}
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// view runs f on one state of the file.
func (s *Store) view(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.reader.BeginTx(ctx, nil)
	if err == nil {
		err = f(tx)
		_ = tx.Rollback() // nothing was written
	}
	return translate(ctx, err)
}

// translate returns err in the words of assistant.Store.
func translate(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, sql.ErrNoRows):
		return assistant.ErrNotFound
	case code(err) == sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", assistant.ErrFull, err)
	default:
		return err
	}
}

// code returns SQLite's primary result code for err; 0 where it has none.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

var _ assistant.Store = (*Store)(nil)
