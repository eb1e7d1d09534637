package postgres

import (
	"testing"

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
