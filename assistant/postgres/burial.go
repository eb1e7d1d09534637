package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

const (
	burialSize = 200 // conversations that one transaction takes from the dead
	strayEvery = 5   // TTLs between looks for claims that nobody knows of
)

// sweeper takes over from nodes that are dead. Several nodes may do so at once: each row is taken by one of them, and
// what one that dies has left is finished by the next.
type sweeper struct {
	// fixed
	store *Store
	loop

	// run's
	freed, looked time.Time // when free and strays were last called
}

func newSweeper(s *Store) *sweeper {
	w := &sweeper{store: s}
	w.loop.run = w.run
	return w
}

// run looks twelve times in a TTL whether something is to be done, which takes no call to the database.
func (w *sweeper) run(ctx context.Context) {
	s, failing := w.store, false
	w.freed, w.looked = time.Now(), time.Now()
	ticker := time.NewTicker(s.lease.ttl / 12)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := w.sweep(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			s.log.Warn("taking over from dead nodes failed", zap.Error(err))
		}
		failing = err != nil
	}
}

func (w *sweeper) sweep(ctx context.Context) error {
	s := w.store
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if s.lease.mayBury() {
		if err := s.bury(timed); err != nil {
			return err
		}
		w.freed = time.Time{}
	}
	if time.Since(w.freed) >= s.lease.ttl {
		left, err := s.free(timed, s.pool)
		if err != nil {
			return err
		}
		if !left {
			w.freed = time.Now()
		}
	}
	if time.Since(w.looked) >= strayEvery*s.lease.ttl {
		w.looked = time.Now()
		return s.strays(timed)
	}
	return nil
}

// bury deletes the rows of nodes whose lease has run out: they are dead now, whatever they may believe. One that is just
// being renewed is passed over, and a renewal that comes later finds no row. Where our own lease has run out, as after an
// outage of the database, nobody is buried.
func (s *Store) bury(ctx context.Context) error {
	dead, err := query(ctx, s, pgx.RowToStructByPos[deadNode], `DELETE FROM assistant.node WHERE id IN (
			SELECT id FROM assistant.node WHERE expires_at < assistant.clock()
			AND EXISTS (SELECT FROM assistant.node WHERE id = $1 AND expires_at > assistant.clock())
			FOR UPDATE SKIP LOCKED)
		RETURNING id, name`, s.Node())
	for _, node := range dead {
		s.log.Warn("a node's lease has run out: its conversations are taken over", zap.Int64("node", node.ID), zap.String("name", node.Name))
	}
	s.lease.forgetDeath()
	return err
}

type deadNode struct {
	ID   int64
	Name string
}

// beginner is a pool or a connection.
type beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// isDead is the condition that nobody who lives holds a conversation.
const isDead = `c.holder IS NOT NULL AND NOT EXISTS (SELECT FROM assistant.node WHERE node.id = c.holder)`

// free takes all conversations from those who live no more. It reports whether some are left, which others had locked.
func (s *Store) free(ctx context.Context, db beginner) (left bool, err error) {
	for more, answers := true, 0; more && err == nil; {
		err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			more, left, answers, err = s.freeSome(ctx, tx)
			return err
		})
		if err == nil && answers > 0 {
			s.log.Info("answers of dead nodes marked interrupted", zap.Int("answers", answers))
		}
	}
	return left, translate(ctx, err)
}

// freeSome takes as many conversations as fit into a transaction. Each is nobody's then, its log has a new epoch, and an
// answer that was streaming is interrupted with what is stored of it. What is just being stored of one is waited for: it
// is passed over, and left.
func (s *Store) freeSome(ctx context.Context, tx pgx.Tx) (more, left bool, answers int, err error) {
	ids, err := collect[string](ctx, tx, s.in(`SELECT c.id FROM assistant.conversation c WHERE `+isDead+` LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED`), burialSize)
	if err != nil {
		return false, false, 0, err
	}
	if len(ids) == 0 {
		found, err := collect[bool](ctx, tx, s.in(`SELECT true FROM assistant.conversation c WHERE `+isDead+` LIMIT 1`))
		return false, len(found) > 0, 0, err
	}
	// Another node may have freed one, and a third claimed it, before we got the lock: now that it is held, look again.
	ids, err = collect[string](ctx, tx, s.in(`SELECT c.id FROM assistant.conversation c WHERE c.id = ANY($1) AND `+isDead), ids)
	if err != nil {
		return false, false, 0, err
	}
	answers, err = s.takeOver(ctx, tx, ids)
	return true, false, answers, err
}

// takeOver makes conversations, whose rows are locked, nobody's: their logs begin anew, and answers that were streaming are
// interrupted. It returns how many.
func (s *Store) takeOver(ctx context.Context, tx pgx.Tx, ids []string) (answers int, err error) {
	cut, err := s.streaming(ctx, tx, ids)
	if err != nil {
		return 0, err
	}
	parts := make(map[int64]assistant.Parts)
	for _, answer := range cut {
		parts[answer.seq] = answer.parts
	}
	if err := interrupt(ctx, tx, s.in(`assistant.message`), parts); err != nil {
		return 0, err
	}
	epochs := make([]string, len(ids))
	for i := range epochs {
		epochs[i] = assistant.NewID()
	}
	b := &batch{store: s}
	b.queue(`DELETE FROM assistant.event WHERE conversation_id = ANY($1)`, ids)
	b.queue(`UPDATE assistant.conversation c SET holder = NULL, fence = fence + 1, seq = 0, epoch = next.epoch
		FROM unnest($1::text[], $2::text[]) AS next (id, epoch) WHERE c.id = next.id`, ids, epochs)
	for _, answer := range cut {
		if err := b.first(answer.conversation, answer.end()); err != nil {
			return 0, err
		}
	}
	return len(cut), tx.SendBatch(ctx, &b.Batch).Close()
}

// collect returns the only column of a query.
func collect[T any](ctx context.Context, tx pgx.Tx, statement string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// cutAnswer is an answer that a takeover interrupts.
type cutAnswer struct {
	seq              int64 // of its message
	conversation, id string
	at               time.Time       // the conversation's UpdatedAt, which stays
	parts            assistant.Parts // what is stored of it
}

// streaming returns the answers that stream in these conversations. Where a part of one cannot be read, it has what comes
// before: nothing keeps an answer from its end.
func (s *Store) streaming(ctx context.Context, tx pgx.Tx, ids []string) (answers []cutAnswer, err error) {
	rows, err := tx.Query(ctx, s.in(`SELECT m.seq, m.conversation_id, m.id, (SELECT updated_at FROM assistant.conversation c WHERE c.id = m.conversation_id), content, parts, `+streamed+`
		FROM assistant.message m WHERE conversation_id = ANY($1) AND status = 'streaming'`), ids)
	if err != nil {
		return nil, err
	}
	var a cutAnswer
	var parts, stored *string
	var m assistant.Message
	_, err = pgx.ForEachRow(rows, []any{&a.seq, &a.conversation, &a.id, &a.at, &m.Content, &parts, &stored}, func() error {
		var fault error
		if m.Parts = nil; parts != nil {
			fault = json.Unmarshal([]byte(*parts), &m.Parts)
		}
		added, err := partEvents(stored)
		if fault = errors.Join(fault, err); fault != nil {
			s.log.Error("what is stored of an answer cannot be read", zap.Int64("message", a.seq), zap.Error(fault))
		}
		a.parts = chunk.Join(m.AllParts(), partsOf(added))
		answers = append(answers, a)
		return nil
	})
	return answers, err
}

// interrupt gives messages these parts, and marks them interrupted.
func interrupt(ctx context.Context, tx pgx.Tx, table string, answers map[int64]assistant.Parts) error {
	var b pgx.Batch
	for answer, parts := range answers {
		var m assistant.Message
		m.SetParts(parts.Cut())
		column, err := partsColumn(m.Parts)
		if err != nil {
			return err
		}
		b.Queue(`UPDATE `+table+` SET content = $2, parts = $3, status = 'interrupted', finish_reason = 'interrupted' WHERE seq = $1`,
			answer, clean(m.Content), column)
	}
	return tx.SendBatch(ctx, &b).Close()
}

// end is the event that says so.
func (a cutAnswer) end() assistant.Event {
	return assistant.Event{Kind: assistant.KindCompleted, Run: a.id, Body: assistant.Completed{FinishReason: assistant.FinishInterrupted, At: a.at.UTC()}}
}

// first queues an answer's end as the first event of an epoch that has none: who has shown its start shows its end.
func (b *batch) first(conversation string, end assistant.Event) error {
	end.Seq = 1
	events, err := assistant.NewBatch("", []assistant.Event{end})
	if err != nil {
		return err
	}
	b.queue(`INSERT INTO assistant.event (conversation_id, epoch, first, last, data, reasoning_live)
		SELECT id, epoch, 1, 1, $2, false FROM assistant.conversation WHERE id = $1`, conversation, string(events.Data))
	b.queue(`UPDATE assistant.conversation SET seq = 1 WHERE id = $1`, conversation)
	return nil
}
