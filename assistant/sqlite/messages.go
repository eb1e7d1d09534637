package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const messageColumns = `id, role, ` + content + `, status, finish_reason, usage, client_id, created_at`

func scanMessage(row scanner) (m assistant.Message, err error) {
	var usage []byte
	var created int64
	if err := row.Scan(&m.ID, &m.Role, &m.Content, &m.Status, &m.FinishReason, &usage, &m.ClientID, &created); err != nil {
		return m, err
	}
	m.CreatedAt = fromMillis(created)
	if usage == nil {
		return m, nil
	}
	if err := json.Unmarshal(usage, &m.Usage); err != nil {
		return m, fmt.Errorf("decode usage: %w", err)
	}
	return m, nil
}

// usageColumn is NULL for nil.
func usageColumn(u *assistant.Usage) (any, error) {
	if u == nil {
		return nil, nil
	}
	text, err := json.Marshal(u)
	return string(text), err
}

// Messages implements assistant.Store.
func (s *Store) Messages(ctx context.Context, owner, id, before string, limit int) (page []assistant.Message, more bool, err error) {
	limit = max(limit, 0)
	err = s.view(ctx, func(tx *sql.Tx) error {
		end, err := position(ctx, tx, owner, id, before)
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+messageColumns+` FROM message
			WHERE conversation_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?`, id, end, limit+1)
		if err != nil {
			return err
		}
		page, err = collect(rows, scanMessage)
		return err
	})
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
func position(ctx context.Context, tx *sql.Tx, owner, id, messageID string) (int64, error) {
	var seq sql.NullInt64
	err := tx.QueryRowContext(ctx, `SELECT CASE ?3 WHEN '' THEN ?4 ELSE (SELECT seq FROM message WHERE conversation_id = ?1 AND id = ?3) END
		FROM conversation WHERE id = ?1 AND owner = ?2`, id, owner, messageID, int64(math.MaxInt64)).Scan(&seq)
	if err == nil && !seq.Valid {
		err = assistant.ErrNotFound
	}
	return seq.Int64, err
}

// MessageByClientID implements assistant.Store.
func (s *Store) MessageByClientID(ctx context.Context, owner, id, clientID string) ([]assistant.Message, error) {
	rows, err := s.reader.QueryContext(ctx, `SELECT `+messageColumns+` FROM message
		WHERE conversation_id = (SELECT id FROM conversation WHERE id = ?1 AND owner = ?2)
		AND seq >= (SELECT seq FROM message WHERE conversation_id = ?1 AND client_id = ?3 AND client_id <> '')
		ORDER BY seq LIMIT 2`, id, owner, clientID)
	if err != nil {
		return nil, translate(ctx, err)
	}
	turn, err := collect(rows, scanMessage)
	switch {
	case err != nil:
		return nil, translate(ctx, err)
	case len(turn) == 0:
		return nil, assistant.ErrNotFound
	case len(turn) == 2 && turn[1].Role != assistant.RoleAssistant:
		return turn[:1], nil
	}
	return turn, nil
}

// Begin implements assistant.Store.
func (s *Store) Begin(ctx context.Context, owner, id string, b assistant.Beginning) error {
	return s.writer.write(ctx, func(tx tx) error {
		err := tx.change(`UPDATE conversation SET updated_at = ?, title = CASE title WHEN '' THEN ? ELSE title END WHERE id = ? AND owner = ?`,
			b.Answer.CreatedAt.UnixMilli(), b.Title, id, owner)
		if err == nil && b.DropFrom != "" {
			err = tx.change(`DELETE FROM message WHERE conversation_id = ?1
				AND seq >= (SELECT seq FROM message WHERE conversation_id = ?1 AND id = ?2)`, id, b.DropFrom)
		}
		if err == nil && b.Question != nil {
			err = insert(tx, id, *b.Question)
		}
		if err == nil {
			err = insert(tx, id, b.Answer)
		}
		if err == nil && b.MaxMessages > 0 {
			err = checkFull(tx, id, b.MaxMessages)
		}
		return err
	})
}

// checkFull refuses a conversation with more messages than limit.
func checkFull(tx tx, id string, limit int) error {
	row, err := tx.row(`SELECT count(*) FROM message WHERE conversation_id = ?`, id)
	if err != nil {
		return err
	}
	var n int
	if err = row.Scan(&n); err == nil && n > limit {
		err = assistant.ErrConversationFull
	}
	return err
}

func insert(tx tx, id string, m assistant.Message) error {
	usage, err := usageColumn(m.Usage)
	if err != nil {
		return err
	}
	n, err := tx.exec(`INSERT INTO message (conversation_id, id, role, content, status, finish_reason, usage, client_id, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (conversation_id, client_id) WHERE client_id <> '' DO NOTHING`,
		id, m.ID, m.Role, m.Content, m.Status, m.FinishReason, usage, m.ClientID, m.CreatedAt.UnixMilli())
	if err == nil && n == 0 {
		err = assistant.ErrDuplicate
	}
	return err
}

// Extend implements assistant.Store.
func (s *Store) Extend(ctx context.Context, owner, id, messageID, text string) error {
	return s.writer.write(ctx, func(tx tx) error {
		return tx.change(`INSERT INTO chunk (message_seq, text) SELECT seq, ?4 FROM message
			WHERE conversation_id = (SELECT id FROM conversation WHERE id = ?1 AND owner = ?2) AND id = ?3 AND status = 'streaming'`,
			id, owner, messageID, text)
	})
}

// Finish implements assistant.Store.
func (s *Store) Finish(ctx context.Context, owner, id string, at time.Time, messages ...assistant.Message) error {
	return s.writer.write(ctx, func(tx tx) error {
		if err := tx.change(`UPDATE conversation SET updated_at = ? WHERE id = ? AND owner = ?`, at.UnixMilli(), id, owner); err != nil {
			return err
		}
		for _, m := range messages {
			if err := replace(tx, id, m); err != nil {
				return err
			}
		}
		return nil
	})
}

func replace(tx tx, id string, m assistant.Message) error {
	usage, err := usageColumn(m.Usage)
	if err != nil {
		return err
	}
	err = tx.change(`UPDATE message SET content = ?, status = ?, finish_reason = ?, usage = ? WHERE conversation_id = ? AND id = ?`,
		m.Content, m.Status, m.FinishReason, usage, id, m.ID)
	if err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM chunk WHERE message_seq = (SELECT seq FROM message WHERE conversation_id = ? AND id = ?)`, id, m.ID)
	return err
}
