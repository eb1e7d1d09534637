package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

// Extend implements assistant.Store.
func (s *Store) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	next, refused := chunk.Of(e)
	parts, err := json.Marshal(next.Parts)
	if err != nil {
		return fmt.Errorf("encode parts: %w", err)
	}
	return s.writer.submit(ctx, &write{ctx: ctx, once: true, done: make(chan struct{}), do: func(tx tx) error {
		if refused == nil {
			n, err := tx.exec(`INSERT INTO chunk (message_seq, first, last, parts) SELECT seq, ?4, ?5, ?6 FROM message WHERE `+whereStreaming+`
				AND coalesce((SELECT ?4 = last + 1 OR ?4 = first AND ?5 >= last FROM chunk WHERE message_seq = message.seq ORDER BY first DESC LIMIT 1), TRUE)
				ON CONFLICT (message_seq, first) DO UPDATE SET last = excluded.last, parts = excluded.parts`,
				c.ID, c.Owner, e.MessageID, next.First, next.Last, string(parts))
			if err != nil || n == 1 {
				return err
			}
		}
		row, err := tx.row(`SELECT seq FROM message WHERE `+whereStreaming, c.ID, c.Owner, e.MessageID)
		if err != nil {
			return err
		}
		var message int64
		if err := row.Scan(&message); err != nil {
			return err // sql.ErrNoRows is not found
		}
		return cmp.Or(refused, chunk.ErrGap)
	}})
}

// whereStreaming finds the answer ?3 in the conversation ?1 of the owner ?2.
const whereStreaming = `conversation_id = (SELECT id FROM conversation WHERE id = ?1 AND owner = ?2) AND id = ?3 AND status = 'streaming'`

// interrupt ends the answers that a process has left which no longer lives: no other can have the file.
func interrupt(ctx context.Context, tx *sql.Tx) error {
	found, err := tx.QueryContext(ctx, `SELECT seq, content, parts, `+chunks+` FROM message WHERE status = 'streaming'`)
	if err != nil {
		return err
	}
	left, err := collect(found, scanLeft)
	if err != nil {
		return err
	}
	for _, l := range left {
		l.message.SetParts(l.message.AllParts().Cut())
		end, err := endingOf(l.message)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE message SET content = ?2, parts = ?3, status = 'interrupted', finish_reason = 'interrupted'
			WHERE seq = ?1`, l.seq, end[0], end[1]); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM chunk`)
	return err
}

// left is an answer that was left streaming.
type left struct {
	seq     int64
	message assistant.Message // what it consists of
}

func scanLeft(row scanner) (l left, err error) {
	var parts, stored []byte
	if err := row.Scan(&l.seq, &l.message.Content, &parts, &stored); err != nil {
		return l, err
	}
	if err := decode(parts, &l.message.Parts); err != nil {
		return l, fmt.Errorf("decode parts: %w", err)
	}
	return l, setStored(&l.message, stored)
}
