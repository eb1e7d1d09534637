package postgres

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const messageColumns = `id, role, ` + content + `, status, finish_reason, usage, client_id, created_at`

func scanMessage(row pgx.CollectableRow) (m assistant.Message, err error) {
	err = row.Scan(&m.ID, &m.Role, &m.Content, &m.Status, &m.FinishReason, &m.Usage, &m.ClientID, &m.CreatedAt)
	m.CreatedAt = m.CreatedAt.UTC()
	return m, err
}

// Messages implements assistant.Store.
func (s *Store) Messages(ctx context.Context, owner, id, before string, limit int) (page []assistant.Message, more bool, err error) {
	end, err := s.position(ctx, owner, id, before)
	if err != nil {
		return nil, false, err
	}
	limit = max(limit, 0)
	page, err = query(ctx, s, scanMessage, `SELECT `+messageColumns+` FROM message
		WHERE conversation_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3`, id, end, limit+1)
	if err != nil {
		return nil, false, err
	}
	if more = len(page) > limit; more {
		page = page[:limit]
	}
	slices.Reverse(page)
	return page, more, nil
}

// position is the seq of a message of the owner's; after all where messageID is "".
func (s *Store) position(ctx context.Context, owner, id, messageID string) (int64, error) {
	seq, err := one(ctx, s, pgx.RowTo[*int64], `SELECT CASE $3::text WHEN '' THEN $4::bigint
			ELSE (SELECT seq FROM message WHERE conversation_id = $1 AND id = $3) END
		FROM conversation WHERE id = $1 AND owner = $2`, id, owner, messageID, int64(math.MaxInt64))
	switch {
	case err != nil:
		return 0, err
	case seq == nil:
		return 0, assistant.ErrNotFound
	}
	return *seq, nil
}

// MessageByClientID implements assistant.Store.
func (s *Store) MessageByClientID(ctx context.Context, owner, id, clientID string) ([]assistant.Message, error) {
	turn, err := query(ctx, s, scanMessage, `SELECT `+messageColumns+` FROM message
		WHERE conversation_id = (SELECT id FROM conversation WHERE id = $1 AND owner = $2)
		AND seq >= (SELECT seq FROM message WHERE conversation_id = $1 AND client_id = $3 AND client_id <> '')
		ORDER BY seq LIMIT 2`, id, owner, clean(clientID))
	switch {
	case err != nil:
		return nil, err
	case len(turn) == 0:
		return nil, assistant.ErrNotFound
	case len(turn) == 2 && turn[1].Role != assistant.RoleAssistant:
		return turn[:1], nil
	}
	return turn, nil
}

// Begin implements assistant.Store. The conversation's row is locked first, so that one turn after the
// other is begun.
func (s *Store) Begin(ctx context.Context, owner, id string, b assistant.Beginning) error {
	var batch pgx.Batch
	change(&batch, assistant.ErrNotFound, `UPDATE conversation SET updated_at = $3, title = CASE title WHEN '' THEN $4 ELSE title END
		WHERE id = $1 AND owner = $2`, id, owner, b.Answer.CreatedAt, clean(b.Title))
	if b.DropFrom != "" {
		change(&batch, assistant.ErrNotFound, `DELETE FROM message WHERE conversation_id = $1
			AND seq >= (SELECT seq FROM message WHERE conversation_id = $1 AND id = $2)`, id, b.DropFrom)
	}
	if b.Question != nil {
		s.insert(&batch, id, *b.Question)
	}
	s.insert(&batch, id, b.Answer)
	if b.MaxMessages > 0 {
		change(&batch, assistant.ErrConversationFull, `SELECT FROM message WHERE conversation_id = $1 HAVING count(*) <= $2`, id, b.MaxMessages)
	}
	return s.atomically(ctx, &batch)
}

// change queues a statement that is to change or find a row: none is missing.
func change(batch *pgx.Batch, missing error, query string, args ...any) {
	batch.Queue(query, args...).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return missing
		}
		return nil
	})
}

func (s *Store) insert(batch *pgx.Batch, id string, m assistant.Message) {
	change(batch, assistant.ErrDuplicate, `INSERT INTO message
		(conversation_id, id, role, content, status, finish_reason, usage, client_id, created_at, node)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (conversation_id, client_id) WHERE client_id <> '' DO NOTHING`,
		id, m.ID, m.Role, clean(m.Content), m.Status, m.FinishReason, m.Usage, clean(m.ClientID), m.CreatedAt, s.node.id)
}

// Extend implements assistant.Store. The message's row is locked, so that nobody who believes that this
// process is dead ends the answer without this text.
func (s *Store) Extend(ctx context.Context, owner, id, messageID, text string) error {
	n, err := s.exec(ctx, `INSERT INTO chunk (message_seq, text) SELECT seq, $4 FROM message
		WHERE conversation_id = (SELECT id FROM conversation WHERE id = $1 AND owner = $2) AND id = $3 AND status = 'streaming'
		FOR SHARE`, id, owner, messageID, clean(text))
	if err == nil && n == 0 {
		err = assistant.ErrNotFound
	}
	return err
}

// Finish implements assistant.Store.
func (s *Store) Finish(ctx context.Context, owner, id string, at time.Time, messages ...assistant.Message) error {
	var batch pgx.Batch
	change(&batch, assistant.ErrNotFound, `UPDATE conversation SET updated_at = $3 WHERE id = $1 AND owner = $2`, id, owner, at)
	for _, m := range messages {
		change(&batch, assistant.ErrNotFound, `UPDATE message SET content = $3, status = $4, finish_reason = $5, usage = $6
			WHERE conversation_id = $1 AND id = $2`, id, m.ID, clean(m.Content), m.Status, m.FinishReason, m.Usage)
		batch.Queue(`DELETE FROM chunk WHERE message_seq = (SELECT seq FROM message WHERE conversation_id = $1 AND id = $2)`, id, m.ID)
	}
	return s.atomically(ctx, &batch)
}
