package postgres

import (
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits/limitstest"
)

// emptyPlace returns how a new place is opened.
func emptyPlace(tb testing.TB) func(tb testing.TB) assistant.Store {
	tb.Helper()
	dsn := emptySchema()
	return func(tb testing.TB) assistant.Store {
		tb.Helper()
		return openHere(tb, dsn)
	}
}

func TestLedger(t *testing.T) {
	storetest.TestLedger(t, 2, func(t *testing.T) storetest.Place {
		t.Helper()
		place := emptyPlace(t)
		return func(t *testing.T) assistant.Store {
			t.Helper()
			return place(t)
		}
	})
}

func TestAccounts(t *testing.T) {
	limitstest.TestAccounts(t, 2, func(tb testing.TB) limitstest.Place { return emptyPlace(tb) })
}

func BenchmarkAccounts(b *testing.B) { limitstest.BenchmarkAccounts(b, emptyPlace(b)) }

// TestAccountLocksNothing holds that a node which is stopped in the middle of a change stops no other.
func TestAccountLocksNothing(t *testing.T) {
	dsn := emptySchema()
	s, other := openHere(t, dsn), openHere(t, dsn)
	defer s.Close()
	defer other.Close()
	calls := 0
	must(t, s.Account(t.Context(), "ann", func(state []byte, _ time.Time) ([]byte, error) {
		if calls++; calls < 3 {
			must(t, other.Account(t.Context(), "ann", func(state []byte, _ time.Time) ([]byte, error) { return append(state, 'o'), nil }))
		}
		return append(state, 's'), nil
	}))
	must(t, s.Account(t.Context(), "ann", func(state []byte, _ time.Time) ([]byte, error) {
		if string(state) != "oos" || calls != 3 {
			t.Errorf("the state is %q after %d calls", state, calls)
		}
		return nil, nil
	}))
}

// TestAccountCommitsSoon holds that a change does not wait for the server's disk, whether it makes, changes or removes an
// account, and that this ends with it.
func TestAccountCommitsSoon(t *testing.T) {
	s := openHere(t, emptySchema())
	defer s.Close()
	for _, statement := range []string{
		`CREATE TABLE assistant.seen (setting text)`,
		`CREATE FUNCTION assistant.see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO assistant.seen VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END'`,
		`CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON assistant.account EXECUTE FUNCTION assistant.see()`,
	} {
		_, err := s.exec(t.Context(), statement)
		must(t, err)
	}
	for _, next := range [][]byte{[]byte("a"), []byte("b"), nil} {
		must(t, s.Account(t.Context(), "ann", func([]byte, time.Time) ([]byte, error) { return next, nil }))
	}
	var seen, now string
	must(t, s.pool.QueryRow(t.Context(), s.in(`SELECT string_agg(setting, ' '), current_setting('synchronous_commit') FROM assistant.seen`)).Scan(&seen, &now))
	if seen != "off off off" || now != "on" {
		t.Errorf("synchronous_commit was %q, and is %q", seen, now)
	}
}
