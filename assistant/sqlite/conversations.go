package sqlite

import (
	"context"
	"database/sql"
	"math"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// pruneBatch is how many conversations DeleteBefore deletes at once: others may write in between.
const pruneBatch = 100

const columns = `id, title, created_at, updated_at`

// scanner is a row.
type scanner interface{ Scan(dest ...any) error }

func scanConversation(row scanner) (c assistant.Conversation, err error) {
	var created, updated int64
	err = row.Scan(&c.ID, &c.Title, &created, &updated)
	c.CreatedAt, c.UpdatedAt = fromMillis(created), fromMillis(updated)
	return c, err
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Create implements assistant.Store.
func (s *Store) Create(ctx context.Context, owner string, c assistant.Conversation) error {
	return s.writer.write(ctx, func(tx tx) error {
		_, err := tx.exec(`INSERT INTO conversation (id, owner, title, created_at, updated_at) VALUES (?, ?, ?, ?, ?)`,
			c.ID, owner, c.Title, c.CreatedAt.UnixMilli(), c.UpdatedAt.UnixMilli())
		return err
	})
}

// Conversation implements assistant.Store.
func (s *Store) Conversation(ctx context.Context, owner, id string) (assistant.Conversation, error) {
	c, err := scanConversation(s.reader.QueryRowContext(ctx, `SELECT `+columns+` FROM conversation WHERE id = ? AND owner = ?`, id, owner))
	if err != nil {
		return assistant.Conversation{}, translate(ctx, err)
	}
	return c, nil
}

// List implements assistant.Store.
func (s *Store) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	updated := after.UpdatedAt.UnixMilli()
	if (after == assistant.Conversation{}) {
		updated = math.MaxInt64
	}
	rows, err := s.reader.QueryContext(ctx, `SELECT `+columns+` FROM conversation
		WHERE owner = ? AND owner <> '' AND (updated_at, id) < (?, ?)
		ORDER BY updated_at DESC, id DESC LIMIT ?`, owner, updated, after.ID, max(limit, 0))
	if err != nil {
		return nil, translate(ctx, err)
	}
	list, err := collect(rows, scanConversation)
	return list, translate(ctx, err)
}

// collect scans all rows.
func collect[T any](rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// Rename implements assistant.Store.
func (s *Store) Rename(ctx context.Context, owner, id, title string) (c assistant.Conversation, err error) {
	err = s.writer.write(ctx, func(tx tx) error {
		row, err := tx.row(`UPDATE conversation SET title = ? WHERE id = ? AND owner = ? RETURNING `+columns, title, id, owner)
		if err != nil {
			return err
		}
		c, err = scanConversation(row)
		return err
	})
	return c, err
}

// Delete implements assistant.Store.
func (s *Store) Delete(ctx context.Context, owner, id string) error {
	return s.writer.write(ctx, func(tx tx) error {
		return tx.change(`DELETE FROM conversation WHERE id = ? AND owner = ?`, id, owner)
	})
}

// DeleteBefore implements assistant.Store. Where it fails, some may be deleted.
func (s *Store) DeleteBefore(ctx context.Context, t time.Time) (int, error) {
	for total := 0; ; {
		var n int64
		err := s.writer.write(ctx, func(tx tx) (err error) {
			n, err = tx.exec(`DELETE FROM conversation WHERE id IN (
				SELECT id FROM conversation AS old WHERE updated_at < ?
				AND NOT EXISTS (SELECT 1 FROM message WHERE conversation_id = old.id AND status = 'streaming')
				LIMIT ?)`, t.UnixMilli(), pruneBatch)
			return err
		})
		if total += int(n); err != nil || n < pruneBatch {
			return total, err
		}
	}
}
