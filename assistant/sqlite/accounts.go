package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Account implements [assistant.Ledger]. The time is this machine's. The change is committed together with what comes at
// the same time; where that is changes of accounts alone, the commit does not wait for the disk.
func (s *Store) Account(ctx context.Context, payer string, change func(state []byte, now time.Time) ([]byte, error)) error {
	return s.writer.submit(ctx, &write{ctx: ctx, soon: true, done: make(chan struct{}), do: func(tx tx) error {
		old, err := tx.state(payer)
		if err != nil {
			return err
		}
		now := time.Now().UTC().Truncate(time.Microsecond)
		next, err := guarded(change)(old, now)
		switch {
		case err != nil:
			return err
		case next != nil:
			_, err = tx.exec(`INSERT INTO account (payer, state, used_at) VALUES (?, ?, ?)
				ON CONFLICT (payer) DO UPDATE SET state = excluded.state, used_at = excluded.used_at`, payer, string(next), now.UnixMilli())
		case old != nil:
			_, err = tx.exec(`DELETE FROM account WHERE payer = ?`, payer)
		}
		return err
	}})
}

// guarded makes a panic of change its error: others are committed with it.
func guarded(change func([]byte, time.Time) ([]byte, error)) func([]byte, time.Time) ([]byte, error) {
	return func(state []byte, now time.Time) (next []byte, err error) {
		defer assistant.Catch(&err)
		return change(state, now)
	}
}

// state returns what is kept of a payer; nil where that is nothing.
func (tx tx) state(payer string) (state []byte, err error) {
	row, err := tx.row(`SELECT state FROM account WHERE payer = ?`, payer)
	if err != nil {
		return nil, err
	}
	if err = row.Scan(&state); errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return state, err
}

// ForgetAccounts implements [assistant.Ledger]. They are looked for without the writer, since that reads the whole table.
func (s *Store) ForgetAccounts(ctx context.Context, idle time.Duration, limit int) (int, error) {
	before := time.Now().Add(-idle).UnixMilli()
	found, err := s.reader.QueryContext(ctx, `SELECT payer FROM account WHERE used_at < ? LIMIT ?`, before, max(limit, 0))
	if err != nil {
		return 0, translate(ctx, err)
	}
	payers, err := collect(found, func(row scanner) (payer string, err error) { return payer, row.Scan(&payer) })
	if err != nil || len(payers) == 0 {
		return 0, translate(ctx, err)
	}
	return writeFor(ctx, s.writer, func(tx tx) (forgotten int, err error) {
		for _, payer := range payers {
			n, err := tx.exec(`DELETE FROM account WHERE payer = ? AND used_at < ?`, payer, before)
			if err != nil {
				return 0, err
			}
			forgotten += int(n)
		}
		return forgotten, nil
	})
}

var _ assistant.Ledger = (*Store)(nil)
