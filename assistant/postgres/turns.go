package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// verdict says why a turn cannot be begun, "" where it can: the first reason of several.
const verdict = `SELECT CASE
	WHEN EXISTS (SELECT FROM assistant.message WHERE conversation_id = $1 AND id = $2 AND seq < coalesce(kept.until, $6)) THEN 'duplicate'
	WHEN EXISTS (SELECT FROM assistant.message WHERE conversation_id = $1 AND client_id = $3 AND client_id <> '' AND seq < coalesce(kept.until, $6)) THEN 'duplicate'
	WHEN $4 <> coalesce((SELECT id FROM assistant.message WHERE conversation_id = $1 ORDER BY seq DESC LIMIT 1), '') THEN 'stale'
	WHEN kept.until IS NULL THEN 'not found'
	WHEN EXISTS (SELECT FROM assistant.message WHERE conversation_id = $1 AND status = 'streaming' AND seq < kept.until) THEN 'stale'
	WHEN $7 > 0 AND (SELECT count(*) FROM assistant.message WHERE conversation_id = $1 AND seq < kept.until) + $8 > $7 THEN 'full'
	ELSE '' END
	FROM (SELECT CASE $5 WHEN '' THEN $6 ELSE (SELECT seq FROM assistant.message WHERE conversation_id = $1 AND id = $5) END AS until) kept`

var verdicts = map[string]error{
	"duplicate": assistant.ErrDuplicate,
	"stale":     assistant.ErrStale,
	"not found": assistant.ErrNotFound,
	"full":      assistant.ErrConversationFull,
}

// judge queues verdict.
func (b *batch) judge(id string, next assistant.Beginning) {
	var questionID, clientID string
	added := 1
	if q := next.Question; q != nil {
		questionID, clientID, added = q.ID, clean(q.ClientID), 2
	}
	b.queue(verdict, id, questionID, clientID, clean(next.Last), next.DropFrom, int64(math.MaxInt64), next.MaxMessages, added).QueryRow(func(row pgx.Row) error {
		var reason string
		if err := row.Scan(&reason); err != nil {
			return err
		}
		return verdicts[reason]
	})
}

// Begin implements assistant.Store. The conversation's row is locked first, so that one turn after the
// other is begun.
func (s *Store) Begin(ctx context.Context, c assistant.Claim, next assistant.Beginning) error {
	b := s.transaction()
	b.must(assistant.ErrLost, `UPDATE assistant.conversation c SET updated_at = $5, title = CASE title WHEN '' THEN $6 ELSE title END WHERE `+held,
		claimed(c, next.Answer.CreatedAt, clean(next.Title))...)
	b.judge(c.ID, next)
	b.release(c, next)
	if next.DropFrom != "" {
		b.queue(`DELETE FROM assistant.message WHERE conversation_id = $1
			AND seq >= (SELECT seq FROM assistant.message WHERE conversation_id = $1 AND id = $2)`, c.ID, next.DropFrom)
	}
	var err error
	if next.Question != nil {
		err = b.insert(c.ID, *next.Question)
		b.use(c, next)
	}
	if err == nil {
		err = b.insert(c.ID, next.Answer)
	}
	if err == nil {
		err = b.append(c, next.Events, false)
	}
	if err != nil {
		return err
	}
	return s.lost(ctx, c, s.atomically(ctx, b))
}

// insert queues a new message, whose events come next.
func (b *batch) insert(id string, m assistant.Message) error {
	parts, err := partsColumn(m.Parts)
	if err != nil {
		return err
	}
	b.queue(`INSERT INTO assistant.message
		(conversation_id, id, role, client_id, created_at, content, parts, provider, model, status, finish_reason, reason, usage, first_event)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, (SELECT 1 + `+lastEvent+` FROM assistant.conversation c WHERE id = $1))`,
		id, m.ID, m.Role, clean(m.ClientID), m.CreatedAt,
		clean(m.Content), parts, clean(m.Provider), clean(m.Model), m.Status, m.FinishReason, m.Reason, m.Usage)
	return nil
}

// Finish implements assistant.Store.
func (s *Store) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	b := s.transaction()
	err := b.finish(c, e)
	if err == nil {
		err = b.append(c, e.Events, false)
	}
	if err == nil {
		err = s.atomically(ctx, b)
	}
	if errors.Is(err, errGap) {
		err = s.finishAgain(ctx, c, e)
	}
	return s.lost(ctx, c, err)
}

// finish queues what the conversation and its messages become.
func (b *batch) finish(c assistant.Claim, e assistant.Ending) error {
	var private *string
	if e.Private != nil {
		text, err := json.Marshal(e.Private)
		if err != nil {
			return fmt.Errorf("encode private: %w", err)
		}
		private = new(clean(string(text)))
	}
	b.must(assistant.ErrLost, `UPDATE assistant.conversation c SET updated_at = $5, private = coalesce($6, private) WHERE `+held, claimed(c, e.At, private)...)
	var next *uint64 // event, where these come before
	if n := len(e.Events); n > 0 {
		next = new(e.Events[n-1].Seq + 1)
	}
	for _, m := range e.Messages {
		parts, err := partsColumn(m.Parts)
		if err != nil {
			return err
		}
		b.must(assistant.ErrNotFound, `UPDATE assistant.message
			SET content = $3, parts = $4, provider = $5, model = $6, status = $7, finish_reason = $8, reason = $9, usage = $10,
			first_event = CASE WHEN $7 = 'streaming' THEN coalesce($11, (SELECT 1 + `+lastEvent+` FROM assistant.conversation c WHERE id = $1)) ELSE first_event END
			WHERE conversation_id = $1 AND id = $2`, c.ID, m.ID,
			clean(m.Content), parts, clean(m.Provider), clean(m.Model), m.Status, m.FinishReason, m.Reason, m.Usage, next)
	}
	return nil
}

// finishAgain is Finish where an earlier call, whose outcome was unknown, has stored events of these numbers. If they are
// others, nodes may have shown them: then the log begins anew with the answer's end, and the holder has lost it.
func (s *Store) finishAgain(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	isOther := false
	err := pgx.BeginFunc(timed, s.pool, func(tx pgx.Tx) error {
		// The lock comes first, in a statement of its own: what comes after sees all that is stored.
		_, err := tx.Exec(timed, s.in(lock), claimed(c)...)
		if err == nil {
			isOther, err = s.hasOther(timed, tx, c, e.Events)
		}
		b := &batch{store: s}
		if err == nil {
			err = b.finish(c, e)
		}
		if err == nil && !isOther {
			err = b.replace(c, e.Events, false)
		}
		if err == nil {
			err = tx.SendBatch(timed, &b.Batch).Close()
		}
		if err == nil && isOther {
			err = s.beginAnew(timed, tx, c.ID, e.Events[len(e.Events)-1])
		}
		return err
	})
	if err == nil && isOther {
		return assistant.ErrLost
	}
	return translate(ctx, err)
}

// hasOther reports whether the last call has stored events that begin with the number of the first of these, and go on in
// another way.
func (s *Store) hasOther(ctx context.Context, tx pgx.Tx, c assistant.Claim, events []assistant.Event) (bool, error) {
	ours, err := assistant.NewBatch("", events)
	if err != nil {
		return false, err
	}
	rows, err := tx.Query(ctx, s.in(`SELECT e.epoch, first, last, data FROM assistant.event e JOIN assistant.conversation c ON c.id = e.conversation_id AND c.epoch = e.epoch
		WHERE e.conversation_id = $1 AND last >= $2`), c.ID, ours.First)
	if err != nil {
		return false, err
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByPos[assistant.Batch])
	if err != nil || len(stored) != 1 || stored[0].First != ours.First {
		return false, err
	}
	has, err := stored[0].Events()
	if err != nil {
		return false, err
	}
	want, err := ours.Events() // as they are when they are read back
	return len(has) > len(want) || err == nil && !reflect.DeepEqual(has, want[:len(has)]), err
}

// beginAnew takes a conversation over whose answer has ended: its log begins anew with that.
func (s *Store) beginAnew(ctx context.Context, tx pgx.Tx, id string, end assistant.Event) error {
	answers, err := s.takeOver(ctx, tx, []string{id})
	if err != nil || answers > 0 { // one that goes on was cut, which its log begins with
		return err
	}
	b := &batch{store: s}
	if err := b.first(id, end); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &b.Batch).Close()
}
