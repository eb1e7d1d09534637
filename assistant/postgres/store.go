// Package postgres keeps conversations in PostgreSQL, version 12 or newer, which any number of servers
// may share.
//
// Each open Store is a node: it holds an advisory lock under a random number for as long as its process
// lives, and its answers bear that number. Where another node can take the lock, the process is gone, and
// its answers are marked interrupted: every Store looks for such when it is opened, and once a minute. A
// node that has lost its connection takes its lock again within seconds. If another has declared it dead in
// that time, Extend returns ErrNotFound for the answers that were running, and Finish still puts the whole
// of them in place.
//
// Servers can be replaced one by one: the first new one migrates the tables, and the old ones go on with
// them until they are closed.
//
// The locks need sessions, so a pooler in between must not be in transaction mode. What is stored is as
// durable as the server's disk: asynchronous commit is switched off here, but a server with fsync off
// keeps no promise. A server's text cannot hold a NUL or invalid UTF-8: U+FFFD takes its place, and no
// owner's name may contain it.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	defaultConns   = 16 // enough for commits to share the server's syncs; pgxpool's own default is 4
	defaultTimeout = 10 * time.Second
)

// Config says where a [Store] is.
type Config struct {
	// DSN is a URL or a list of key=value as libpq knows them; what it leaves out comes from the PG*
	// variables of the environment. pool_max_conns bounds the connections (default: 16, and one for the
	// lock). search_path names the schema (default: assistant), which is made where it is missing.
	DSN string `json:"dsn"`
	// Timeout bounds each call that has no earlier deadline. Default: 10s.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Store is an assistant.Store in a PostgreSQL database.
type Store struct {
	pool    *pgxpool.Pool
	timeout time.Duration
	node    *node
	close   func()
}

// Open connects, makes or migrates the tables, and marks answers interrupted that dead processes have
// left streaming. The logger, which may be nil, gets a line when the connection that holds the lock is
// lost, and of answers that were interrupted. No error contains the DSN or its password. Where the server is away,
// or takes no more connections, the error is an [assistant.ErrUnavailable].
func Open(ctx context.Context, config Config, log *zap.Logger) (*Store, error) {
	s, err := open(ctx, config, log, pace)
	if err != nil && isAway(err) {
		err = fmt.Errorf("%w: %w", assistant.ErrUnavailable, err)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// isAway reports whether err may pass by itself: no server answers, or the one that does cannot serve now.
func isAway(err error) bool {
	if fault, ok := errors.AsType[*pgconn.PgError](err); ok {
		// Connection exceptions, insufficient resources, operator intervention; 25006 is a standby, 40xxx a conflict.
		return slices.Contains([]string{"08", "40", "53", "57"}, fault.Code[:min(2, len(fault.Code))]) || fault.Code == "25006"
	}
	_, connects := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	return connects || network || pgconn.Timeout(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded)
}

func open(ctx context.Context, config Config, log *zap.Logger, pace time.Duration) (*Store, error) {
	parsed, err := parse(config.DSN)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, parsed)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if log == nil {
		log = zap.NewNop()
	}
	s := &Store{pool: pool, timeout: cmp.Or(config.Timeout, defaultTimeout)}
	s.close = sync.OnceFunc(s.shut)
	if err := migrate(ctx, pool); err != nil {
		s.close()
		return nil, fmt.Errorf("migrate: %w", err)
	}
	if s.node, err = join(ctx, s, log, pace); err != nil {
		s.close()
		return nil, fmt.Errorf("join: %w", err)
	}
	return s, nil
}

// errDSN hides what is wrong on purpose: the parser's own words quote the text, password and all when the
// text is mistaken for something else.
var errDSN = errors.New("dsn is no valid PostgreSQL URL or key=value list (it is not shown, for it may hold a password; " +
	"in a URL, a password with any of :/?#[]@% must be percent-encoded)")

func parse(dsn string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil || ambiguous(dsn) {
		return nil, errDSN
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		config.MaxConns = defaultConns
	}
	config.ConnConfig.ConnectTimeout = cmp.Or(config.ConnConfig.ConnectTimeout, defaultTimeout)
	session := config.ConnConfig.RuntimeParams
	session["search_path"] = cmp.Or(session["search_path"], "assistant")
	session["application_name"] = cmp.Or(session["application_name"], "caddy-assistant")
	session["idle_in_transaction_session_timeout"] = cmp.Or(session["idle_in_transaction_session_timeout"], "60s") // ends the locks of a client that was cut off
	config.AfterConnect = commitDurably
	return config, nil
}

// ambiguous reports whether a URL has an @ that is no separator. Then part of a password that is not
// percent-encoded may be taken for a host or a database, which errors name.
func ambiguous(dsn string) bool {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return false
	}
	_, rest, _ := strings.Cut(dsn, "://")
	authority := len(rest)
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority = i
	}
	return strings.Count(rest[:authority], "@") > 1 || strings.Contains(rest[authority:], "@")
}

// commitDurably overrides a server that confirms commits before they are on its disk. Stronger settings
// stay.
func commitDurably(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`)
	return err
}

// Close waits for running calls and frees everything.
func (s *Store) Close() error {
	s.close()
	return nil
}

func (s *Store) shut() {
	if s.node != nil {
		s.node.leave()
	}
	s.pool.Close()
}

// exec runs a statement and returns how many rows it has changed.
func (s *Store) exec(ctx context.Context, query string, args ...any) (int64, error) {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	tag, err := s.pool.Exec(timed, query, args...)
	return tag.RowsAffected(), translate(ctx, err)
}

// atomically sends statements in one go, in one transaction.
func (s *Store) atomically(ctx context.Context, batch *pgx.Batch) error {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return translate(ctx, pgx.BeginFunc(timed, s.pool, func(tx pgx.Tx) error {
		return tx.SendBatch(timed, batch).Close()
	}))
}

// query collects the rows of a query.
func query[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], query string, args ...any) ([]T, error) {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rows, err := s.pool.Query(timed, query, args...)
	if err != nil {
		return nil, translate(ctx, err)
	}
	list, err := pgx.CollectRows(rows, scan)
	return list, translate(ctx, err)
}

// one is query for one row; none is ErrNotFound.
func one[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], text string, args ...any) (found T, err error) {
	list, err := query(ctx, s, scan, text, args...)
	if err == nil && len(list) == 0 {
		err = assistant.ErrNotFound
	}
	if err == nil {
		found = list[0]
	}
	return found, err
}

// translate returns err in the words of assistant.Store.
func translate(ctx context.Context, err error) error {
	const notText = "22021" // a NUL or invalid UTF-8 in an id or an owner: there cannot be such a one
	fault, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case ok && fault.Code == notText, errors.Is(err, pgx.ErrNoRows):
		return assistant.ErrNotFound
	default:
		return err
	}
}

// clean returns s as a server can store it.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}

var _ assistant.Store = (*Store)(nil)
