package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

// answer names a message that streams.
type answer struct {
	assistant.Owned

	message string
}

// Extend implements assistant.Store.
func (s *Store) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	next, refused := chunk.Of(e)
	parts, err := next.JSON()
	if err != nil {
		return err
	}
	of := answer{c.Owned, e.MessageID}
	return s.writer.submit(ctx, &write{ctx: ctx, once: true, done: make(chan struct{}), do: func(tx tx) error {
		if refused != nil {
			_, err := tx.streaming(of)
			return cmp.Or(err, refused)
		}
		return tx.extend(of, next, string(parts))
	}})
}

// extend adds a chunk to an answer, which it finds by its names the first time, and by its number after that.
func (tx tx) extend(of answer, next chunk.Chunk, parts string) error {
	if seq, isKnown := tx.writer.answers[of]; isKnown {
		if added, err := tx.add(seq, of, next, parts); added || err != nil {
			return err
		}
		delete(tx.writer.answers, of)
	}
	seq, err := tx.streaming(of)
	if err != nil {
		return err
	}
	added, err := tx.add(seq, of, next, parts)
	if err == nil && !added {
		err = chunk.ErrGap
	}
	if err == nil {
		tx.writer.answers[of] = seq
	}
	return err
}

// add adds a chunk to the answer, whose number was seq: behind its last chunk or in the place of that. It reports false where
// the number is another's now, or the chunk does not fit.
func (tx tx) add(seq int64, of answer, next chunk.Chunk, parts string) (added bool, err error) {
	n, err := tx.exec(`INSERT INTO chunk (message_seq, first, last, parts) SELECT seq, ?3, ?4, ?5 FROM message
		WHERE seq = ?1 AND id = ?2 AND conversation_id = ?6 AND status = 'streaming'
		AND coalesce((SELECT ?3 = last + 1 OR ?3 = first AND ?4 >= last FROM chunk WHERE message_seq = ?1 ORDER BY first DESC LIMIT 1), TRUE)
		ON CONFLICT (message_seq, first) DO UPDATE SET last = excluded.last, parts = excluded.parts`, seq, of.message, next.First, next.Last, parts, of.ID)
	return n == 1, err
}

// streaming returns the number of an answer that is streaming.
func (tx tx) streaming(a answer) (seq int64, err error) {
	row, err := tx.row(`SELECT seq FROM message WHERE conversation_id = (SELECT id FROM conversation WHERE id = ?1 AND owner = ?2)
		AND id = ?3 AND status = 'streaming'`, a.ID, a.Owner, a.message)
	if err == nil {
		err = row.Scan(&seq) // sql.ErrNoRows is not found
	}
	return seq, err
}

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
