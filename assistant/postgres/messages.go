package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

// messageColumns are a message m and, while it streams, its events.
const messageColumns = `id, role, content, parts, provider, model, status, finish_reason, reason, usage, client_id, created_at, ` + streamed

func scanMessage(row pgx.CollectableRow) (m assistant.Message, err error) {
	var parts, stored *string
	err = row.Scan(&m.ID, &m.Role, &m.Content, &parts, &m.Provider, &m.Model, &m.Status, &m.FinishReason, &m.Reason, &m.Usage,
		&m.ClientID, &m.CreatedAt, &stored)
	m.CreatedAt = m.CreatedAt.UTC()
	if err == nil && parts != nil {
		err = json.Unmarshal([]byte(*parts), &m.Parts)
	}
	if err == nil && stored != nil {
		var added []assistant.Event
		added, err = partEvents(stored)
		m.SetParts(chunk.Join(m.AllParts(), partsOf(added)))
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

// Messages implements assistant.Store. One statement reads the page: a deletion at the same time leaves all of it or
// nothing.
func (s *Store) Messages(ctx context.Context, owner, id, before string, limit int) (page []assistant.Message, more bool, err error) {
	limit = max(limit, 0)
	page, err = query(ctx, s, scanMessage, `SELECT `+messageColumns+` FROM assistant.message m
		WHERE conversation_id = $1 AND seq < (`+position+`) ORDER BY seq DESC LIMIT $5`,
		id, owner, before, int64(math.MaxInt64), limit+1)
	if err == nil && len(page) == 0 {
		err = s.has(ctx, owner, id, before)
	}
	if err != nil {
		return nil, false, err
	}
	if more = len(page) > limit; more {
		page = page[:limit]
	}
	slices.Reverse(page)
	return page, more, nil
}

// Private implements assistant.Store.
func (s *Store) Private(ctx context.Context, owner, id string) (p assistant.Private, err error) {
	private, err := one(ctx, s, pgx.RowTo[*string], `SELECT private FROM assistant.conversation WHERE id = $1 AND owner = $2`, id, owner)
	if err != nil || private == nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(*private), &p); err != nil {
		return p, fmt.Errorf("decode private: %w", err)
	}
	return p, nil
}

// position is the seq of message $3 of the conversation $1 of owner $2, NULL where it is not there; $4 where $3 is "".
const position = `SELECT CASE $3::text WHEN '' THEN $4::bigint
		ELSE (SELECT seq FROM assistant.message WHERE conversation_id = $1 AND id = $3) END
	FROM assistant.conversation WHERE id = $1 AND owner = $2`

// has returns ErrNotFound where the conversation is not the owner's or lacks the message; "" = any.
func (s *Store) has(ctx context.Context, owner, id, messageID string) error {
	seq, err := one(ctx, s, pgx.RowTo[*int64], position, id, owner, messageID, int64(math.MaxInt64))
	if err == nil && seq == nil {
		err = assistant.ErrNotFound
	}
	return err
}

// MessageByClientID implements assistant.Store.
func (s *Store) MessageByClientID(ctx context.Context, owner, id, clientID string) ([]assistant.Message, error) {
	turn, err := query(ctx, s, scanMessage, `SELECT `+messageColumns+` FROM assistant.message m
		WHERE conversation_id = (SELECT id FROM assistant.conversation WHERE id = $1 AND owner = $2)
		AND seq >= (SELECT seq FROM assistant.message WHERE conversation_id = $1 AND client_id = $3 AND client_id <> '')
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
