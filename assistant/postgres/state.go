package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// State implements [assistant.Cluster]. All of it is read in one transaction, which takes one round trip.
func (s *Store) State(ctx context.Context, owner, id string, limit int) (assistant.State, error) {
	var state assistant.State
	b := &batch{store: s}
	b.queue(`BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY`)
	b.queue(`SELECT `+columns+`, coalesce(holder, 0), epoch, `+lastEvent+` FROM assistant.conversation c WHERE id = $1 AND owner = $2`,
		id, owner).QueryRow(func(row pgx.Row) error {
		c := &state.Conversation
		err := row.Scan(&c.ID, &c.Title, &c.CreatedAt, &c.UpdatedAt, &state.Holder, &state.Cursor.Epoch, &state.Cursor.Seq)
		c.CreatedAt, c.UpdatedAt = c.CreatedAt.UTC(), c.UpdatedAt.UTC()
		return err
	})
	limit = max(limit, 0)
	b.queue(`SELECT `+messageColumns+` FROM assistant.message m WHERE conversation_id = $1 ORDER BY seq DESC LIMIT $2`,
		id, limit+2).Query(func(rows pgx.Rows) (err error) {
		state.Messages, err = pgx.CollectRows(rows, scanMessage)
		return err
	})
	b.queue(`COMMIT`)
	if err := s.send(ctx, b); err != nil {
		return assistant.State{}, err
	}
	if len(state.Messages) > 0 && state.Messages[0].Status == assistant.StatusStreaming {
		state.Running, state.Messages = &state.Messages[0], state.Messages[1:]
	}
	if state.More = len(state.Messages) > limit; state.More {
		state.Messages = state.Messages[:limit]
	}
	slices.Reverse(state.Messages)
	return state, nil
}

// Standings implements [assistant.Cluster].
func (s *Store) Standings(ctx context.Context, ids []string) ([]assistant.Standing, error) {
	return query(ctx, s, func(row pgx.CollectableRow) (at assistant.Standing, err error) {
		err = row.Scan(&at.ID, &at.Owner, &at.Epoch, &at.Seq, &at.Holder, &at.Deleted)
		return at, err
	}, `SELECT asked.id, coalesce(owner, ''), coalesce(epoch, ''), coalesce(`+lastEvent+`, 0), coalesce(holder, 0), c.id IS NULL
		FROM unnest($1::text[]) AS asked (id) LEFT JOIN assistant.conversation c ON c.id = asked.id`, ids)
}
