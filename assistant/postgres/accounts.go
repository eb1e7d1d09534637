package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// account is what is kept of a payer, and the database's time.
type account struct {
	state *string // nil = nothing
	now   time.Time
}

func scanAccount(row pgx.CollectableRow) (a account, err error) {
	err = row.Scan(&a.state, &a.now)
	a.now = a.now.UTC()
	return a, err
}

// Account implements [assistant.Ledger]. The time is the database's. No row is locked while change is made, for a node
// that is stopped then would stop all others: where another has changed the state meanwhile, it is read again.
func (s *Store) Account(ctx context.Context, payer string, change func(state []byte, now time.Time) ([]byte, error)) error {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for {
		err := s.account(timed, payer, change)
		if !errors.Is(err, assistant.ErrStale) {
			return err
		}
	}
}

func (s *Store) account(ctx context.Context, payer string, change func(state []byte, now time.Time) ([]byte, error)) error {
	was, err := one(ctx, s, scanAccount, `SELECT (SELECT state FROM assistant.account WHERE payer = $1), assistant.clock()`, payer)
	if err != nil {
		return err
	}
	var old []byte
	if was.state != nil {
		old = []byte(*was.state)
	}
	next, err := change(old, was.now)
	if err != nil || next == nil && old == nil {
		return err
	}
	statement, args := `UPDATE assistant.account SET state = $3, used_at = assistant.clock() WHERE payer = $1 AND state = $2`, []any{payer, was.state, string(next)}
	switch {
	case old == nil:
		statement, args = `INSERT INTO assistant.account (payer, state, used_at) VALUES ($1, $2, assistant.clock()) ON CONFLICT DO NOTHING`, []any{payer, string(next)}
	case next == nil:
		statement, args = `DELETE FROM assistant.account WHERE payer = $1 AND state = $2`, []any{payer, was.state}
	}
	b := &batch{store: s}
	b.queue(commitSoon)
	b.queue(statement, args...).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return assistant.ErrStale
		}
		return nil
	})
	return s.send(ctx, b)
}

// ForgetAccounts implements [assistant.Ledger]. What is changed meanwhile is passed over.
func (s *Store) ForgetAccounts(ctx context.Context, idle time.Duration, limit int) (int, error) {
	n, err := s.exec(ctx, `WITH doomed AS MATERIALIZED (
			SELECT payer FROM assistant.account WHERE used_at < assistant.clock() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED)
		DELETE FROM assistant.account WHERE payer IN (SELECT payer FROM doomed)`, idle, max(limit, 0))
	return int(n), err
}

var _ assistant.Ledger = (*Store)(nil)
