package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

// messageColumns are a message and, while it streams, its chunks.
const messageColumns = `id, role, content, parts, provider, model, status, finish_reason, reason, usage, client_id, created_at, ` + chunks

const chunks = `CASE status WHEN 'streaming' THEN (
	SELECT json_group_array(json(chunk.parts) ORDER BY first) FROM chunk WHERE message_seq = message.seq
	) END`

func scanMessage(row scanner) (m assistant.Message, err error) {
	var parts, usage, stored []byte
	var created int64
	err = row.Scan(&m.ID, &m.Role, &m.Content, &parts, &m.Provider, &m.Model, &m.Status, &m.FinishReason, &m.Reason, &usage,
		&m.ClientID, &created, &stored)
	if err != nil {
		return m, err
	}
	m.CreatedAt = fromMillis(created)
	if err := decode(parts, &m.Parts); err != nil {
		return m, fmt.Errorf("decode parts: %w", err)
	}
	if err := decode(usage, &m.Usage); err != nil {
		return m, fmt.Errorf("decode usage: %w", err)
	}
	return m, setStored(&m, stored)
}

// setStored adds what has come of a message while it streams; other messages have no chunks.
func setStored(m *assistant.Message, stored []byte) error {
	if stored == nil {
		return nil
	}
	var all []assistant.Parts
	if err := decode(stored, &all); err != nil {
		return fmt.Errorf("decode chunks: %w", err)
	}
	m.SetParts(chunk.Join(append([]assistant.Parts{m.AllParts()}, all...)...))
	return nil
}

// decode reads a column that holds JSON. NULL leaves v alone.
func decode(column []byte, v any) error {
	if column == nil {
		return nil
	}
	return json.Unmarshal(column, v)
}

// ending is what Finish replaces of a message.
const ending = `content, parts, provider, model, status, finish_reason, reason, usage`

// endingOf returns a message's values of ending.
func endingOf(m assistant.Message) ([]any, error) {
	var parts, usage any
	if m.Parts != nil {
		text, err := json.Marshal(m.Parts)
		if err != nil {
			return nil, fmt.Errorf("encode parts: %w", err)
		}
		parts = string(text)
	}
	if m.Usage != nil {
		text, err := json.Marshal(m.Usage)
		if err != nil {
			return nil, fmt.Errorf("encode usage: %w", err)
		}
		usage = string(text)
	}
	return []any{m.Content, parts, m.Provider, m.Model, m.Status, m.FinishReason, m.Reason, usage}, nil
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

// position returns the seq of a message of the owner's; one after all where messageID is "".
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

// Private implements assistant.Store.
func (s *Store) Private(ctx context.Context, owner, id string) (p assistant.Private, err error) {
	var private []byte
	if err := s.reader.QueryRowContext(ctx, `SELECT private FROM conversation WHERE id = ? AND owner = ?`, id, owner).Scan(&private); err != nil {
		return p, translate(ctx, err)
	}
	if err := decode(private, &p); err != nil {
		return p, fmt.Errorf("decode private: %w", err)
	}
	return p, nil
}

// Begin implements assistant.Store.
func (s *Store) Begin(ctx context.Context, c assistant.Claim, b assistant.Beginning) error {
	var added [][]any
	if b.Question != nil {
		question, err := rowOf(c.ID, *b.Question)
		if err != nil {
			return err
		}
		added = append(added, question)
	}
	answer, err := rowOf(c.ID, b.Answer)
	if err != nil {
		return err
	}
	added = append(added, answer)
	return s.writer.write(ctx, func(tx tx) error {
		err := tx.change(`UPDATE conversation SET updated_at = ?, title = CASE title WHEN '' THEN ? ELSE title END WHERE id = ? AND owner = ?`,
			b.Answer.CreatedAt.UnixMilli(), b.Title, c.ID, c.Owner)
		if err != nil {
			return err
		}
		stop, err := canBegin(tx, c.ID, b, len(added))
		if err == nil && b.DropFrom != "" {
			err = release(tx, c, b.Files, stop)
		}
		if err == nil && b.DropFrom != "" {
			_, err = tx.exec(`DELETE FROM message WHERE conversation_id = ? AND seq >= ?`, c.ID, stop)
		}
		for _, row := range added {
			if err == nil {
				_, err = tx.exec(`INSERT INTO message (conversation_id, id, role, client_id, created_at, `+ending+`)
					VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, row...)
			}
		}
		if err == nil && b.Question != nil {
			err = use(tx, c, b.Files, b.Question.ID)
		}
		return err
	})
}

// canBegin returns why a turn cannot begin that adds so many messages, or, where it can, the seq from which on messages are
// dropped.
func canBegin(tx tx, id string, b assistant.Beginning, added int) (stop int64, err error) {
	drop, err := rows(tx, scanSeq, `SELECT seq FROM message WHERE conversation_id = ? AND id = ?`, id, b.DropFrom)
	if err != nil {
		return 0, err
	}
	var question, clientID string
	if b.Question != nil {
		question, clientID = b.Question.ID, b.Question.ClientID
	}
	stop = append(drop, math.MaxInt64)[0]
	row, err := tx.row(`SELECT
		coalesce((SELECT id FROM message WHERE conversation_id = ?1 ORDER BY seq DESC LIMIT 1), ''),
		(SELECT count(*) FROM message WHERE conversation_id = ?1 AND seq < ?2),
		EXISTS (SELECT 1 FROM message WHERE conversation_id = ?1 AND seq < ?2 AND id = ?3)
			OR EXISTS (SELECT 1 FROM message WHERE conversation_id = ?1 AND seq < ?2 AND client_id = ?4 AND client_id <> ''),
		EXISTS (SELECT 1 FROM message WHERE conversation_id = ?1 AND seq < ?2 AND status = 'streaming')`, id, stop, question, clientID)
	if err != nil {
		return 0, err
	}
	var last string
	var kept int
	var isKnown, streams bool
	if err := row.Scan(&last, &kept, &isKnown, &streams); err != nil {
		return 0, err
	}
	switch {
	case b.Question != nil && isKnown:
		return 0, assistant.ErrDuplicate
	case b.Last != last:
		return 0, assistant.ErrStale
	case b.DropFrom != "" && len(drop) == 0:
		return 0, assistant.ErrNotFound
	case streams:
		return 0, assistant.ErrStale
	case b.MaxMessages > 0 && kept+added > b.MaxMessages:
		return 0, assistant.ErrConversationFull
	}
	return stop, nil
}

func scanSeq(row scanner) (seq int64, err error) {
	err = row.Scan(&seq)
	return seq, err
}

// rowOf returns what insert stores.
func rowOf(id string, m assistant.Message) ([]any, error) {
	end, err := endingOf(m)
	return append([]any{id, m.ID, m.Role, m.ClientID, m.CreatedAt.UnixMilli()}, end...), err
}

// Finish implements assistant.Store.
func (s *Store) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	ends := make([][]any, len(e.Messages))
	for i, m := range e.Messages {
		end, err := endingOf(m)
		if err != nil {
			return err
		}
		ends[i] = append([]any{c.ID, m.ID}, end...)
	}
	var private any
	if e.Private != nil {
		text, err := json.Marshal(e.Private)
		if err != nil {
			return fmt.Errorf("encode private: %w", err)
		}
		private = string(text)
	}
	return s.writer.write(ctx, func(tx tx) error {
		for _, end := range ends {
			delete(tx.writer.answers, answer{c.Owned, end[1].(string)})
		}
		err := tx.change(`UPDATE conversation SET updated_at = ?, private = coalesce(?, private) WHERE id = ? AND owner = ?`, e.At.UnixMilli(), private, c.ID, c.Owner)
		if err != nil {
			return err
		}
		for _, end := range ends {
			if err := replace(tx, end); err != nil {
				return err
			}
		}
		return nil
	})
}

func replace(tx tx, end []any) error {
	err := tx.change(`UPDATE message SET (`+ending+`) = (?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) WHERE conversation_id = ?1 AND id = ?2`, end...)
	if err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM chunk WHERE message_seq = (SELECT seq FROM message WHERE conversation_id = ? AND id = ?)`, end[0], end[1])
	return err
}
