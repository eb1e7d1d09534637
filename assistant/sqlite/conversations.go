package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"math"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

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
func (s *Store) Rename(ctx context.Context, owner, id, title string, was *string) (assistant.Conversation, error) {
	var old any // NULL stands for any title
	if was != nil {
		old = *was
	}
	return writeFor(ctx, s.writer, func(tx tx) (c assistant.Conversation, err error) {
		renamed, err := rows(tx, scanConversation, `UPDATE conversation SET title = ?3
			WHERE id = ?1 AND owner = ?2 AND (?4 IS NULL OR title = ?4) RETURNING `+columns, id, owner, title, old)
		switch {
		case err != nil:
			return c, err
		case len(renamed) == 1:
			return renamed[0], nil
		}
		found, err := rows(tx, scanConversation, `SELECT `+columns+` FROM conversation WHERE id = ? AND owner = ?`, id, owner)
		if err == nil && len(found) == 0 {
			return c, assistant.ErrNotFound
		}
		return c, cmp.Or(err, assistant.ErrStale)
	})
}

// Delete implements assistant.Store.
func (s *Store) Delete(ctx context.Context, owner, id string) error {
	return s.writer.write(ctx, func(tx tx) error {
		return tx.change(`DELETE FROM conversation WHERE id = ? AND owner = ?`, id, owner)
	})
}

// Waiting implements assistant.Store.
func (s *Store) Waiting(ctx context.Context, t time.Time, limit int) ([]assistant.Owned, error) {
	rows, err := s.reader.QueryContext(ctx, `SELECT owner, id FROM conversation WHERE updated_at < ?
		AND id IN (SELECT conversation_id FROM message WHERE status = 'waiting') ORDER BY updated_at LIMIT ?`, t.UnixMilli(), max(limit, 0))
	if err != nil {
		return nil, translate(ctx, err)
	}
	found, err := collect(rows, scanOwned)
	return found, translate(ctx, err)
}

// DeleteBefore implements assistant.Store. Other writes wait for it: limit bounds how long.
func (s *Store) DeleteBefore(ctx context.Context, t time.Time, limit int) ([]assistant.Owned, error) {
	return writeFor(ctx, s.writer, func(tx tx) ([]assistant.Owned, error) {
		return rows(tx, scanOwned, `DELETE FROM conversation WHERE id IN (
			SELECT id FROM conversation AS old WHERE updated_at < ?
			AND NOT EXISTS (SELECT 1 FROM message WHERE conversation_id = old.id AND status = 'streaming')
			LIMIT ?) RETURNING owner, id`, t.UnixMilli(), max(limit, 0))
	})
}

func scanOwned(row scanner) (o assistant.Owned, err error) {
	err = row.Scan(&o.Owner, &o.ID)
	return o, err
}
