package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

// lastEvent is the number of the last event that is stored of the log of a conversation c.
const lastEvent = `greatest(c.seq, (SELECT last FROM assistant.event WHERE conversation_id = c.id AND epoch = c.epoch ORDER BY first DESC LIMIT 1))`

// follow stores events that come right behind those that are stored. Its parameters are row's.
const follow = `INSERT INTO assistant.event (conversation_id, epoch, first, last, data, reasoning_live)
	SELECT c.id, c.epoch, $5, $6, $7, $8 FROM assistant.conversation c WHERE ` + held + ` AND $5 = 1 + ` + lastEvent

// extend is follow for an answer that is streaming, with one more parameter. It locks the conversation's row, so that no node
// that believes this one dead takes it over without the events.
const extend = follow + ` AND EXISTS (SELECT FROM assistant.message WHERE conversation_id = c.id AND id = $9 AND status = 'streaming')
	FOR SHARE OF c ON CONFLICT DO NOTHING`

// errGap says that events neither follow those that are stored nor take the place of the last of them.
var errGap = errors.New("events do not follow those that are stored")

// row returns the parameters of follow.
func row(c assistant.Claim, events []assistant.Event, reasoningLive bool) ([]any, error) {
	b, err := assistant.NewBatch("", events)
	return claimed(c, b.First, b.Last, clean(string(b.Data)), reasoningLive), err
}

// append queues follow; errGap if they do not.
func (b *batch) append(c assistant.Claim, events []assistant.Event, reasoningLive bool) error {
	if len(events) == 0 {
		return nil
	}
	args, err := row(c, events, reasoningLive)
	if err == nil {
		b.must(errGap, follow, args...)
	}
	return err
}

// cut queues the removal of all events from a number on.
func (b *batch) cut(c assistant.Claim, first uint64) {
	b.queue(`DELETE FROM assistant.event e USING assistant.conversation c
		WHERE `+held+` AND e.conversation_id = c.id AND e.epoch = c.epoch AND e.first >= $5`, claimed(c, first)...)
}

// replace queues events for the place of those that the last call may have stored, which begin with the same number and are
// no more.
func (b *batch) replace(c assistant.Claim, events []assistant.Event, reasoningLive bool) error {
	if len(events) == 0 {
		return nil
	}
	b.must(errGap, `SELECT FROM assistant.conversation c WHERE `+held+` AND $6 >= `+lastEvent+`
		AND NOT EXISTS (SELECT FROM assistant.event WHERE conversation_id = c.id AND epoch = c.epoch AND first > $5)`,
		claimed(c, events[0].Seq, events[len(events)-1].Seq)...)
	b.cut(c, events[0].Seq)
	return b.append(c, events, reasoningLive)
}

// Extend implements assistant.Store. Events that follow the last ones, which is usual, take one statement.
//
// A call that was given up may still be under way in the server when it is repeated. Then the index of events lets only one
// of them in, and the other, which sees the same end, finds that it has inserted nothing.
func (s *Store) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	if len(e.Events) > 0 {
		args, err := row(c, e.Events, e.ReasoningLive)
		if err != nil {
			return err
		}
		n, err := s.exec(ctx, extend, append(args, e.MessageID)...)
		if err != nil || n == 1 {
			return err
		}
	}
	err := s.rewrite(ctx, c, e)
	if err == nil && len(e.Events) == 0 {
		err = errGap
	}
	return s.lost(ctx, c, err)
}

// rewrite is Extend where events may be stored already. The lock comes first, in a statement of its own: what comes after
// sees all that is stored.
func (s *Store) rewrite(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	b := s.transaction()
	b.must(assistant.ErrLost, lock, claimed(c)...)
	b.must(assistant.ErrNotFound, `SELECT FROM assistant.message WHERE conversation_id = $1 AND id = $2 AND status = 'streaming'`, c.ID, e.MessageID)
	if err := b.replace(c, e.Events, e.ReasoningLive); err != nil {
		return err
	}
	return s.atomically(ctx, b)
}

// streamed is what has been stored of a message m since it streams: its events, as JSON for partEvents.
const streamed = `CASE status WHEN 'streaming' THEN (
	SELECT '[' || string_agg('{"First":' || first || ',"Last":' || last || ',"ReasoningLive":' || reasoning_live || ',"Data":' || data || '}', ',' ORDER BY first) || ']'
	FROM assistant.event e JOIN assistant.conversation c ON c.id = e.conversation_id AND c.epoch = e.epoch
	WHERE e.conversation_id = m.conversation_id AND first >= first_event) END`

// partEvents returns the events that make the message's parts, of what streamed is.
func partEvents(stored *string) (found []assistant.Event, err error) {
	if stored == nil {
		return nil, nil
	}
	var rows []struct {
		First, Last   uint64
		ReasoningLive bool
		Data          json.RawMessage
	}
	if err := json.Unmarshal([]byte(*stored), &rows); err != nil {
		return nil, err
	}
	for _, r := range rows {
		events, err := assistant.Batch{First: r.First, Last: r.Last, Data: r.Data}.Events()
		if err != nil {
			return found, err
		}
		for _, e := range events {
			switch e.Kind {
			case assistant.KindReasoning:
				if !r.ReasoningLive {
					found = append(found, e)
				}
			case assistant.KindPiece, assistant.KindToolCall, assistant.KindToolResult, assistant.KindPart:
				found = append(found, e)
			}
		}
	}
	return found, nil
}

// partsOf returns what events amount to. No text of it is empty.
func partsOf(events []assistant.Event) assistant.Parts {
	return chunk.Join(assistant.Extension{Events: events}.Parts())
}

// Events implements [assistant.Cluster]. A batch that begins before the cursor is cut there.
func (s *Store) Events(ctx context.Context, owner, id string, after assistant.Cursor, limit int) ([]assistant.Batch, error) {
	var now assistant.Cursor
	var batches []assistant.Batch
	b := &batch{store: s}
	b.queue(`SELECT epoch, `+lastEvent+` FROM assistant.conversation c WHERE id = $1 AND owner = $2`, id, owner).QueryRow(func(row pgx.Row) error {
		return row.Scan(&now.Epoch, &now.Seq)
	})
	after.Seq = min(after.Seq, math.MaxInt64-1)
	b.queue(`SELECT epoch, first, last, data FROM assistant.event WHERE conversation_id = $1 AND epoch = $2 AND last > $3
		AND first >= coalesce((SELECT max(first) FROM assistant.event WHERE conversation_id = $1 AND epoch = $2 AND first <= $3 + 1), 0)
		ORDER BY first LIMIT $4`, id, after.Epoch, after.Seq, max(limit, 0)).Query(func(rows pgx.Rows) (err error) {
		batches, err = pgx.CollectRows(rows, pgx.RowToStructByPos[assistant.Batch])
		return err
	})
	if err := s.send(ctx, b); err != nil {
		return nil, err
	}
	switch {
	case now.Epoch != after.Epoch:
		return nil, assistant.ErrGone
	case len(batches) == 0 && (now.Seq <= after.Seq || limit <= 0):
		return nil, nil
	case len(batches) == 0 || batches[0].First > after.Seq+1:
		return nil, assistant.ErrGone
	}
	var err error
	batches[0], err = behind(batches[0], after.Seq)
	return batches, err
}

// behind returns the part of a batch that comes after an event.
func behind(b assistant.Batch, seq uint64) (assistant.Batch, error) {
	if b.First > seq {
		return b, nil
	}
	events, err := b.Events()
	if err != nil {
		return b, err
	}
	return assistant.NewBatch(b.Epoch, events[seq+1-b.First:])
}

// Trim implements [assistant.Cluster]. The last row of a log that is held stays: its numbers go on from there.
func (s *Store) Trim(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := s.exec(ctx, `WITH old AS MATERIALIZED (
			SELECT e.conversation_id, e.epoch, e.first FROM assistant.event e JOIN assistant.conversation c ON c.id = e.conversation_id
			WHERE e.at < $1
			AND NOT EXISTS (SELECT FROM assistant.message m WHERE m.conversation_id = c.id AND m.status = 'streaming' AND m.first_event <= e.first)
			AND (c.holder IS NULL OR EXISTS (SELECT FROM assistant.event later
				WHERE later.conversation_id = e.conversation_id AND later.epoch = e.epoch AND later.first > e.first))
			ORDER BY e.at LIMIT $2 FOR UPDATE OF e SKIP LOCKED)
		DELETE FROM assistant.event e USING old WHERE (e.conversation_id, e.epoch, e.first) = (old.conversation_id, old.epoch, old.first)`,
		before, max(limit, 0))
	return int(n), err
}
