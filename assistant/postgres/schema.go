package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// migrations are what made the tables what they are, in order. schema_version holds how many of them the
// schema has seen. One that was released is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the key of the advisory lock under which one node at a time migrates: "CAst".
const migrationLock = 0x43417374

// migrate makes or migrates the tables, and returns the name of their schema, quoted.
func migrate(ctx context.Context, pool *pgxpool.Pool, searchPath string) (schema string, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, migrationLock); err != nil {
			return err
		}
		if schema, err = ensureSchema(ctx, tx, searchPath); err != nil {
			return fmt.Errorf("schema: %w", err)
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)`); err != nil {
			return err
		}
		var version int
		if err := tx.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&version); err != nil {
			return err
		}
		return migrateFrom(ctx, tx, version)
	})
	return schema, err
}

// ensureSchema makes the first schema of the search path where none of it exists, and lets the transaction work in the
// first that does. A role that may not do so needs one that was made for it.
func ensureSchema(ctx context.Context, tx pgx.Tx, searchPath string) (string, error) {
	if _, err := tx.Exec(ctx, `SELECT set_config('search_path', $1, true)`, searchPath); err != nil {
		return "", err
	}
	var schema *string
	var create string
	const ask = `SELECT current_schema(), format('CREATE SCHEMA %I', (parse_ident(current_setting('search_path'), false))[1])`
	err := tx.QueryRow(ctx, ask).Scan(&schema, &create)
	if err == nil && schema == nil {
		if _, err = tx.Exec(ctx, create); err == nil {
			err = tx.QueryRow(ctx, ask).Scan(&schema, &create)
		}
	}
	if err != nil {
		return "", err
	}
	return pgx.Identifier{*schema}.Sanitize(), nil
}

func migrateFrom(ctx context.Context, tx pgx.Tx, version int) error {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	if version == len(files) {
		return nil
	}
	if version > len(files) {
		return fmt.Errorf("schema has version %d, this program knows up to %d", version, len(files))
	}
	for i, file := range files[version:] {
		statements, err := migrations.ReadFile("migrations/" + file.Name())
		if err != nil {
			return err
		}
		if version > 0 && version+i == unclaimed {
			err = succeed(ctx, tx)
		}
		if err == nil {
			_, err = tx.Exec(ctx, string(statements))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO schema_version VALUES ($1)`, len(files))
	return err
}

// unclaimed is the last version whose programs know no claims. Each of them that runs holds an advisory lock.
const unclaimed = 2

var errOlder = errors.New("a server of an older version uses this database: stop the servers of the older version first")

// succeed makes sure that no program of an older version runs, and marks the answers interrupted that one has left. What
// locks others may hold in this database is not ours to judge: those of another role under another name are passed over.
func succeed(ctx context.Context, tx pgx.Tx) error {
	var older bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND objsubid = 1 AND NOT (classid = 0 AND objid = $1) AND pid <> pg_backend_pid()
		AND (usename = current_user OR application_name = 'caddy-assistant'))`, migrationLock).Scan(&older)
	if err == nil && older {
		err = errOlder
	}
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `SELECT m.seq, coalesce(kind = 'reasoning', false), coalesce(text, '') FROM message AS m LEFT JOIN chunk ON message_seq = m.seq
		WHERE status = 'streaming' ORDER BY m.seq, start, chunk.seq`)
	if err != nil {
		return err
	}
	texts := make(map[int64][]assistant.Event)
	var answer int64
	var reasoning bool
	var text string
	_, err = pgx.ForEachRow(rows, []any{&answer, &reasoning, &text}, func() error {
		e := assistant.Event{Kind: assistant.KindPiece, Text: text}
		if reasoning {
			e.Kind = assistant.KindReasoning
		}
		texts[answer] = append(texts[answer], e)
		return nil
	})
	if err != nil {
		return err
	}
	answers := make(map[int64]assistant.Parts)
	for answer, events := range texts {
		answers[answer] = partsOf(events)
	}
	return interrupt(ctx, tx, `message`, answers)
}
