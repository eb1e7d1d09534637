package postgres

import (
	"context"
	"embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// migrations are what made the tables what they are, in order. schema_version holds how many of them the
// schema has seen. One that was released is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the key of the advisory lock under which one node at a time migrates: "CAst".
const migrationLock = 0x43417374

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, migrationLock); err != nil {
			return err
		}
		if err := ensureSchema(ctx, tx); err != nil {
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
}

// ensureSchema makes the first schema of the search_path where none of it exists. A role that
// may not do so needs one that was made for it.
func ensureSchema(ctx context.Context, tx pgx.Tx) error {
	var exists bool
	var create string
	err := tx.QueryRow(ctx, `SELECT current_schema() IS NOT NULL,
		format('CREATE SCHEMA %I', (parse_ident(current_setting('search_path'), false))[1])`).Scan(&exists, &create)
	if err == nil && !exists {
		_, err = tx.Exec(ctx, create)
	}
	return err
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
	for _, file := range files[version:] {
		statements, err := migrations.ReadFile("migrations/" + file.Name())
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, string(statements)); err != nil {
			return fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO schema_version VALUES ($1)`, len(files))
	return err
}
