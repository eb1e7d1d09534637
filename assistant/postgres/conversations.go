package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const columns = `id, title, created_at, updated_at`

func scanConversation(row pgx.CollectableRow) (c assistant.Conversation, err error) {
	err = row.Scan(&c.ID, &c.Title, &c.CreatedAt, &c.UpdatedAt)
	c.CreatedAt, c.UpdatedAt = c.CreatedAt.UTC(), c.UpdatedAt.UTC()
	return c, err
}

// Create implements assistant.Store.
func (s *Store) Create(ctx context.Context, owner string, c assistant.Conversation) error {
	_, err := s.exec(ctx, `INSERT INTO assistant.conversation (id, owner, title, created_at, updated_at, epoch) VALUES ($1, $2, $3, $4, $5, $6)`,
		c.ID, owner, clean(c.Title), c.CreatedAt, c.UpdatedAt, assistant.NewID())
	return err
}

// Conversation implements assistant.Store.
func (s *Store) Conversation(ctx context.Context, owner, id string) (assistant.Conversation, error) {
	return one(ctx, s, scanConversation, `SELECT `+columns+` FROM assistant.conversation WHERE id = $1 AND owner = $2`, id, owner)
}

// List implements assistant.Store.
func (s *Store) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	updated := pgtype.Timestamptz{Time: after.UpdatedAt, Valid: true}
	if (after == assistant.Conversation{}) {
		updated = pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return query(ctx, s, scanConversation, `SELECT `+columns+` FROM assistant.conversation
		WHERE owner = $1 AND owner <> '' AND (updated_at, id) < ($2, $3)
		ORDER BY updated_at DESC, id DESC LIMIT $4`, owner, updated, after.ID, max(limit, 0))
}

// Rename implements assistant.Store.
func (s *Store) Rename(ctx context.Context, owner, id, title string, was *string) (assistant.Conversation, error) {
	var old *string // NULL stands for any title
	if was != nil {
		old = new(clean(*was))
	}
	c, err := one(ctx, s, scanConversation, `UPDATE assistant.conversation SET title = $3
		WHERE id = $1 AND owner = $2 AND ($4::text IS NULL OR title = $4) RETURNING `+columns, id, owner, clean(title), old)
	if was == nil || !errors.Is(err, assistant.ErrNotFound) {
		return c, err
	}
	if _, err := s.Conversation(ctx, owner, id); err != nil {
		return assistant.Conversation{}, err
	}
	return assistant.Conversation{}, assistant.ErrStale
}

// Delete implements assistant.Store.
func (s *Store) Delete(ctx context.Context, owner, id string) error {
	n, err := s.exec(ctx, `DELETE FROM assistant.conversation WHERE id = $1 AND owner = $2`, id, owner)
	if err == nil && n == 0 {
		err = assistant.ErrNotFound
	}
	return err
}

// Waiting implements assistant.Store.
func (s *Store) Waiting(ctx context.Context, t time.Time, limit int) ([]assistant.Owned, error) {
	return query(ctx, s, pgx.RowToStructByPos[assistant.Owned], `SELECT owner, id FROM assistant.conversation WHERE updated_at < $1
		AND id IN (SELECT conversation_id FROM assistant.message WHERE status = 'waiting') ORDER BY updated_at LIMIT $2`, t, max(limit, 0))
}

// DeleteBefore implements assistant.Store. A conversation that is claimed, as each is in which an answer streams, or that a
// transaction of another call holds just then, is passed over.
func (s *Store) DeleteBefore(ctx context.Context, t time.Time, limit int) ([]assistant.Owned, error) {
	// The CTE is evaluated once; a subquery of IN may be more often, and then delete more than limit.
	return query(ctx, s, pgx.RowToStructByPos[assistant.Owned], `WITH doomed AS MATERIALIZED (
			SELECT id FROM assistant.conversation AS old WHERE updated_at < $1
			AND holder IS NULL
			LIMIT $2 FOR UPDATE SKIP LOCKED)
		DELETE FROM assistant.conversation WHERE id IN (SELECT id FROM doomed) RETURNING owner, id`, t, max(limit, 0))
}
