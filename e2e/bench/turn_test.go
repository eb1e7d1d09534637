package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// Columns of the scenario of turns.
const (
	turnsPerSecond = "turns/s"
	perTurn        = "CPU µs/turn"
)

// turning lets conversations ask one question after the other, and measures what the engines below can do: a bare loop
// of the writes of a turn, without reads and without a server, in the tables that the server has made.
//
// A turn is two changes, each of them durable: its question and answer are inserted, and the answer gets its end.
func turning(conversations int, warm, window time.Duration) scenario {
	l := load{sockets: conversations, pieces: 5, warm: warm, window: window}
	const engine, grouped, bare = "SQLite alone, a commit for each change", "SQLite alone, a commit for 100 changes", "PostgreSQL alone"
	return scenario{
		name:    "turns",
		about:   fmt.Sprintf("%d stored conversations, one turn after the other", conversations),
		columns: []column{{turnsPerSecond, "%.0f", []string{engine, grouped, bare}}, {perTurn, "%.0f", nil}},
		rows: []row{
			{engine, func(t *testing.T) sample { return turnInSQLite(t, conversations, 1, window) }},
			{grouped, func(t *testing.T) sample { return turnInSQLite(t, conversations, 100, window) }},
			{"ours, SQLite", func(t *testing.T) sample { return turns(l, l.run(t, startKept(t))) }},
			{bare, func(t *testing.T) sample { return turnInPostgres(t, conversations, window) }},
			{"ours, PostgreSQL", func(t *testing.T) sample { return turns(l, l.run(t, startShared(t, startPostgres(t)))) }},
		},
	}
}

// turns are what pieces amount to.
func turns(l load, s sample) sample {
	return sample{turnsPerSecond: s[throughput] * 1000 / float64(l.pieces), perTurn: s[cpu] * float64(l.pieces)}
}

// startPostgres runs a server that waits for the disk, as servers do.
func startPostgres(t *testing.T) *harness.Postgres {
	t.Helper()
	return harness.StartPostgres(t, "fsync=on", "full_page_writes=on")
}
