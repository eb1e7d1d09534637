package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

// messageColumns are a message and, while it streams, its chunks.
const messageColumns = `id, role, content, parts, provider, model, status, finish_reason, reason, usage, client_id, created_at, ` + chunks

const chunks = `CASE status WHEN 'streaming' THEN (
	SELECT json_agg(json_build_object('kind', kind, 'text', text) ORDER BY start, chunk.seq) FROM chunk WHERE message_seq = message.seq
	) END`

func scanMessage(row pgx.CollectableRow) (m assistant.Message, err error) {
	var parts *string
	var stored []chunk.Chunk
	err = row.Scan(&m.ID, &m.Role, &m.Content, &parts, &m.Provider, &m.Model, &m.Status, &m.FinishReason, &m.Reason, &m.Usage,
		&m.ClientID, &m.CreatedAt, &stored)
	m.CreatedAt = m.CreatedAt.UTC()
	if err == nil && parts != nil {
		err = json.Unmarshal([]byte(*parts), &m.Parts)
	}
	if stored != nil {
		m.SetParts(chunk.Join(stored))
	}
	return m, err
}

// partsColumn is NULL for nil.
func partsColumn(parts assistant.Parts) (*string, error) {
	if parts == nil {
		return nil, nil
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return nil, fmt.Errorf("encode parts: %w", err)
	}
	return new(clean(string(text))), nil
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

// position returns the seq of a message of the owner's; one after all where messageID is "".
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
		if err := s.insert(&batch, id, *b.Question); err != nil {
			return err
		}
	}
	if err := s.insert(&batch, id, b.Answer); err != nil {
		return err
	}
	if b.MaxMessages > 0 {
		change(&batch, assistant.ErrConversationFull, `SELECT FROM message WHERE conversation_id = $1 HAVING count(*) <= $2`, id, b.MaxMessages)
	}
	return s.atomically(ctx, &batch)
}

// change queues a statement that must change or find a row; where it does not, the error is missing.
func change(batch *pgx.Batch, missing error, query string, args ...any) {
	batch.Queue(query, args...).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return missing
		}
		return nil
	})
}

func (s *Store) insert(batch *pgx.Batch, id string, m assistant.Message) error {
	parts, err := partsColumn(m.Parts)
	if err != nil {
		return err
	}
	change(batch, assistant.ErrDuplicate, `INSERT INTO message
		(conversation_id, id, role, client_id, created_at, node, content, parts, provider, model, status, finish_reason, reason, usage)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (conversation_id, client_id) WHERE client_id <> '' DO NOTHING`,
		id, m.ID, m.Role, clean(m.ClientID), m.CreatedAt, s.node.id,
		clean(m.Content), parts, clean(m.Provider), clean(m.Model), m.Status, m.FinishReason, m.Reason, m.Usage)
	return nil
}

// Finish implements assistant.Store.
func (s *Store) Finish(ctx context.Context, owner, id string, at time.Time, messages ...assistant.Message) error {
	var batch pgx.Batch
	change(&batch, assistant.ErrNotFound, `UPDATE conversation SET updated_at = $3 WHERE id = $1 AND owner = $2`, id, owner, at)
	for _, m := range messages {
		parts, err := partsColumn(m.Parts)
		if err != nil {
			return err
		}
		change(&batch, assistant.ErrNotFound, `UPDATE message
			SET content = $3, parts = $4, provider = $5, model = $6, status = $7, finish_reason = $8, reason = $9, usage = $10
			WHERE conversation_id = $1 AND id = $2`, id, m.ID,
			clean(m.Content), parts, clean(m.Provider), clean(m.Model), m.Status, m.FinishReason, m.Reason, m.Usage)
		batch.Queue(`DELETE FROM chunk WHERE message_seq = (SELECT seq FROM message WHERE conversation_id = $1 AND id = $2)`, id, m.ID)
	}
	return s.atomically(ctx, &batch)
}
