package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

// Extend implements assistant.Store. What goes on where the last call has ended takes one statement.
func (s *Store) Extend(ctx context.Context, owner, id, messageID string, offset int, parts assistant.Parts) error {
	next, err := chunk.Split(offset, parts)
	if err != nil {
		return err
	}
	return s.writer.write(ctx, func(tx tx) error {
		for i, c := range next {
			n, err := tx.exec(`INSERT INTO chunk (message_seq, kind, text, start, stop) SELECT seq, ?4, ?5, ?6, ?7 FROM message
				WHERE conversation_id = (SELECT id FROM conversation WHERE id = ?1 AND owner = ?2) AND id = ?3 AND status = 'streaming'
				AND ?6 = coalesce((SELECT stop FROM chunk WHERE message_seq = message.seq ORDER BY start DESC LIMIT 1), 0)`,
				id, owner, messageID, c.Kind, c.Text, c.Start, c.Stop)
			switch {
			case err != nil:
				return err
			case n == 1:
				continue
			case i > 0:
				return errors.New("chunks do not follow each other")
			}
			return rewrite(tx, owner, id, messageID, offset, next)
		}
		if len(next) == 0 {
			return rewrite(tx, owner, id, messageID, offset, nil)
		}
		return nil
	})
}

// rewrite puts chunks in the place of everything from offset on.
func rewrite(tx tx, owner, id, messageID string, offset int, next []chunk.Chunk) error {
	row, err := tx.row(`SELECT seq FROM message
		WHERE conversation_id = (SELECT id FROM conversation WHERE id = ?1 AND owner = ?2) AND id = ?3 AND status = 'streaming'`, id, owner, messageID)
	if err != nil {
		return err
	}
	var message int64
	if err := row.Scan(&message); err != nil {
		return err // sql.ErrNoRows is not found
	}
	cut, err := rows(tx, scanChunk, `SELECT kind, text, start, stop FROM chunk WHERE message_seq = ? AND stop > ? ORDER BY start`, message, offset)
	if err != nil {
		return err
	}
	if _, err := tx.exec(`DELETE FROM chunk WHERE message_seq = ? AND stop > ?`, message, offset); err != nil {
		return err
	}
	if row, err = tx.row(`SELECT coalesce(max(stop), 0) FROM chunk WHERE message_seq = ?`, message); err != nil {
		return err
	}
	var before int
	if err := row.Scan(&before); err != nil {
		return err
	}
	if next, err = chunk.Replace(before, cut, offset, next); err != nil {
		return err
	}
	for _, c := range next {
		if _, err := tx.exec(`INSERT INTO chunk (message_seq, kind, text, start, stop) VALUES (?, ?, ?, ?, ?)`,
			message, c.Kind, c.Text, c.Start, c.Stop); err != nil {
			return err
		}
	}
	return nil
}

func scanChunk(row scanner) (c chunk.Chunk, err error) {
	err = row.Scan(&c.Kind, &c.Text, &c.Start, &c.Stop)
	return c, err
}

// interrupt ends the answers that a process has left which no longer lives: no other can have the file.
func interrupt(ctx context.Context, tx *sql.Tx) error {
	found, err := tx.QueryContext(ctx, `SELECT seq, `+chunks+` FROM message WHERE status = 'streaming'`)
	if err != nil {
		return err
	}
	left, err := collect(found, scanLeft)
	if err != nil {
		return err
	}
	for _, l := range left {
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
	var stored []byte
	if err := row.Scan(&l.seq, &stored); err != nil {
		return l, err
	}
	return l, setStored(&l.message, stored)
}
