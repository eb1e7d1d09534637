package postgres

import (
	"context"
	"errors"
	"math"

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
	if next.DropFrom != "" {
		b.queue(`DELETE FROM assistant.message WHERE conversation_id = $1
			AND seq >= (SELECT seq FROM assistant.message WHERE conversation_id = $1 AND id = $2)`, c.ID, next.DropFrom)
	}
	var err error
	if next.Question != nil {
		err = b.insert(c.ID, *next.Question)
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
	err := s.finish(ctx, c, e, (*batch).append)
	if errors.Is(err, errGap) { // an earlier call may have stored some of it
		err = s.finish(ctx, c, e, (*batch).replace)
	}
	return s.lost(ctx, c, err)
}

func (s *Store) finish(ctx context.Context, c assistant.Claim, e assistant.Ending, store func(*batch, assistant.Claim, []assistant.Event, bool) error) error {
	b := s.transaction()
	b.must(assistant.ErrLost, `UPDATE assistant.conversation c SET updated_at = $5 WHERE `+held, claimed(c, e.At)...)
	for _, m := range e.Messages {
		parts, err := partsColumn(m.Parts)
		if err != nil {
			return err
		}
		b.must(assistant.ErrNotFound, `UPDATE assistant.message
			SET content = $3, parts = $4, provider = $5, model = $6, status = $7, finish_reason = $8, reason = $9, usage = $10
			WHERE conversation_id = $1 AND id = $2`, c.ID, m.ID,
			clean(m.Content), parts, clean(m.Provider), clean(m.Model), m.Status, m.FinishReason, m.Reason, m.Usage)
	}
	if err := store(b, c, e.Events, false); err != nil {
		return err
	}
	return s.atomically(ctx, b)
}
