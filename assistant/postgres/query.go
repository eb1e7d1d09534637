package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// in returns a statement for the store's own schema. All name tables by the default one, assistant.
func (s *Store) in(statement string) string { return s.names.Replace(statement) }

// exec runs a statement and returns how many rows it has changed.
func (s *Store) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	tag, err := s.pool.Exec(timed, s.in(statement), args...)
	return tag.RowsAffected(), translate(ctx, err)
}

// query collects the rows of a query.
func query[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], statement string, args ...any) ([]T, error) {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rows, err := s.pool.Query(timed, s.in(statement), args...)
	if err != nil {
		return nil, translate(ctx, err)
	}
	list, err := pgx.CollectRows(rows, scan)
	return list, translate(ctx, err)
}

// one is query for one row; none is ErrNotFound.
func one[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], statement string, args ...any) (found T, err error) {
	list, err := query(ctx, s, scan, statement, args...)
	if err == nil && len(list) == 0 {
		err = assistant.ErrNotFound
	}
	if err == nil {
		found = list[0]
	}
	return found, err
}

// batch is statements that are sent in one go.
type batch struct {
	pgx.Batch

	store *Store
}

// transaction returns a batch for atomically.
func (s *Store) transaction() *batch {
	b := &batch{store: s}
	b.BeginTx(pgx.TxOptions{})
	return b
}

func (b *batch) queue(statement string, args ...any) *pgx.QueuedQuery {
	return b.Queue(b.store.in(statement), args...)
}

// must queues a statement that must change or find a row; where it does not, the error is missing.
func (b *batch) must(missing error, statement string, args ...any) {
	b.queue(statement, args...).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return missing
		}
		return nil
	})
}

// atomically runs a batch and commits it, unless one of its statements fails.
func (s *Store) atomically(ctx context.Context, b *batch) error {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	results := s.pool.SendBatch(timed, &b.Batch)
	tx := results.Tx()
	err := results.Close()
	if err == nil {
		err = tx.Commit(timed)
	} else {
		_ = tx.Rollback(timed)
	}
	return translate(ctx, err)
}

// send runs a batch whose statements need not be undone by us. They are one transaction; its commit is part of the batch.
func (s *Store) send(ctx context.Context, b *batch) error {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return translate(ctx, s.pool.SendBatch(timed, &b.Batch).Close())
}

// commitSoon lets the transaction return before it is on the server's disk.
const commitSoon = `SELECT set_config('synchronous_commit', 'off', true)`

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

// clean returns s as a server can store it.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}
