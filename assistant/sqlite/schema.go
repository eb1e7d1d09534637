package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
)

// migrations are what made the tables what they are, in order. A file's user_version is how many of them
// it has seen. One that was released is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the file as ours: "CAst".
const applicationID = 0x43417374

// check looks for damaged pages.
func check(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("file is damaged: %s", verdict)
	}
	return nil
}

// prepare makes the file ready for use. Unclean says that a process has ended without closing it: then it is checked
// first.
func prepare(ctx context.Context, conn *sql.Conn, unclean bool) error {
	if unclean {
		if err := check(ctx, conn); err != nil {
			return err
		}
	}
	// The mode stays with the file. It cannot change inside a transaction.
	if _, err := conn.ExecContext(ctx, "PRAGMA journal_mode = wal"); err != nil {
		return fmt.Errorf("enable wal: %w", err)
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing to do after Commit
	if err := migrate(ctx, tx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := interrupt(ctx, tx); err != nil {
		return fmt.Errorf("interrupt answers: %w", err)
	}
	return tx.Commit()
}

func migrate(ctx context.Context, tx *sql.Tx) error {
	var application, version, objects int
	err := tx.QueryRowContext(ctx, `SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id, pragma_user_version`).Scan(&application, &version, &objects)
	if err != nil {
		return err
	}
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	switch {
	case application != applicationID && objects > 0:
		return errors.New("file belongs to another application")
	case version > len(files):
		return fmt.Errorf("file has version %d, this program knows up to %d", version, len(files))
	}
	for _, file := range files[version:] {
		statements, err := migrations.ReadFile("migrations/" + file.Name())
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(statements)); err != nil {
			return fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(files)))
	return err
}
