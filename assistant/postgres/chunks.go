package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

// Extend implements assistant.Store. One chunk that goes on where the last call has ended, which is usual,
// takes one statement. It locks the message's row, so that no node that believes this process dead ends the
// answer without it.
//
// A call that was given up may still be under way in the server when it is repeated. Then the chunk index
// lets only one of them in, and the other, which sees the same end, finds that it has inserted nothing.
func (s *Store) Extend(ctx context.Context, owner, id, messageID string, offset int, parts assistant.Parts) error {
	next, err := chunk.Split(offset, parts)
	if err != nil {
		return err
	}
	if len(next) == 1 {
		n, err := s.exec(ctx, `INSERT INTO chunk (message_seq, kind, text, start, stop) SELECT seq, $5, $6, $4, $7 FROM message
			WHERE conversation_id = (SELECT id FROM conversation WHERE id = $1 AND owner = $2) AND id = $3 AND status = 'streaming'
			AND $4 = coalesce((SELECT stop FROM chunk WHERE message_seq = message.seq ORDER BY start DESC LIMIT 1), 0)
			FOR SHARE OF message
			ON CONFLICT (message_seq, start) DO NOTHING`, id, owner, messageID, offset, next[0].Kind, clean(next[0].Text), next[0].Stop)
		if err != nil || n == 1 {
			return err
		}
	}
	return s.rewrite(ctx, owner, id, messageID, offset, next)
}

// arrays returns the columns of chunks.
func arrays(chunks []chunk.Chunk) (kinds, texts []string, starts, stops []int) {
	for _, c := range chunks {
		kinds, texts = append(kinds, c.Kind), append(texts, clean(c.Text))
		starts, stops = append(starts, c.Start), append(stops, c.Stop)
	}
	return kinds, texts, starts, stops
}

// rewrite puts chunks in the place of everything from offset on. The lock comes first, in a statement of
// its own: what comes after sees all that is stored.
func (s *Store) rewrite(ctx context.Context, owner, id, messageID string, offset int, next []chunk.Chunk) error {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return translate(ctx, pgx.BeginFunc(timed, s.pool, func(tx pgx.Tx) error {
		var message int64
		err := tx.QueryRow(timed, `SELECT seq FROM message
			WHERE conversation_id = (SELECT id FROM conversation WHERE id = $1 AND owner = $2) AND id = $3 AND status = 'streaming'
			FOR UPDATE`, id, owner, messageID).Scan(&message)
		if err != nil {
			return err
		}
		found, err := tx.Query(timed, `WITH cut AS (DELETE FROM chunk WHERE message_seq = $1 AND stop > $2 RETURNING kind, text, start, stop)
			SELECT * FROM cut ORDER BY start`, message, offset)
		if err != nil {
			return err
		}
		cut, err := pgx.CollectRows(found, pgx.RowToStructByPos[chunk.Chunk])
		if err != nil {
			return err
		}
		var before int
		if err := tx.QueryRow(timed, `SELECT coalesce(max(stop), 0) FROM chunk WHERE message_seq = $1`, message).Scan(&before); err != nil {
			return err
		}
		if next, err = chunk.Replace(before, cut, offset, next); err != nil {
			return err
		}
		kinds, texts, starts, stops := arrays(next)
		_, err = tx.Exec(timed, `INSERT INTO chunk (message_seq, kind, text, start, stop)
			SELECT $1, next.* FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS next`, message, kinds, texts, starts, stops)
		return err
	}))
}
