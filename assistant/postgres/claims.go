package postgres

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// held is the condition that a conversation c still is its claim's: the parameters are claimed's. In these words for being
// equal the holder is no reason to look into the index of all that is held.
const held = `c.id = $1 AND c.owner = $2 AND c.holder IS NOT DISTINCT FROM $3 AND c.fence = $4`

// claimed returns the parameters of held, and more.
func claimed(c assistant.Claim, more ...any) []any {
	return append([]any{c.ID, c.Owner, c.Node, c.Fence}, more...)
}

// claims are those that this store has. The database may have more under the node's name: the outcome of a call may have
// been unknown, and what was committed without waiting for the disk may be undone by a crash of the server.
type claims struct {
	mu     sync.Mutex
	fences map[string]int64 // conversation → fence
	asked  map[string]int   // conversation → calls of Claim under way
}

func (l *claims) ask(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked == nil {
		l.asked = make(map[string]int)
	}
	l.asked[id]++
}

func (l *claims) askedFor(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked[id]--; l.asked[id] == 0 {
		delete(l.asked, id)
	}
}

func (l *claims) add(id string, fence int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fences == nil {
		l.fences = make(map[string]int64)
	}
	l.fences[id] = max(l.fences[id], fence)
}

// drop forgets a claim that is given back or lost.
func (l *claims) drop(c assistant.Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fences[c.ID] == c.Fence {
		delete(l.fences, c.ID)
	}
}

func (l *claims) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.fences)
}

// unknown reports whether a conversation that the database says this node holds is held by nobody here. The number of
// calls of Claim for it that may be about to say otherwise is given.
func (l *claims) unknown(id string, fence int64, calls int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fences[id] < fence && l.asked[id] <= calls
}

var (
	errDraining = errors.New("node is draining: it takes no more claims")
	errBuried   = errors.New("node was buried, and joins again")
	errFree     = errors.New("conversation is free")
)

// Claim implements [assistant.Cluster]. It does not wait for the server's disk: a claim that a crash of the server undoes
// is one with which nothing can be written.
func (s *Store) Claim(ctx context.Context, owner, id string) (assistant.Claim, assistant.Cursor, error) {
	s.claims.ask(id)
	defer s.claims.askedFor(id)
	for {
		claim, cursor, err := s.claim(ctx, assistant.Claim{Owned: assistant.Owned{Owner: owner, ID: id}, Node: s.Node()})
		if !errors.Is(err, errFree) {
			return claim, cursor, err
		}
	}
}

func (s *Store) claim(ctx context.Context, c assistant.Claim) (assistant.Claim, assistant.Cursor, error) {
	var cursor assistant.Cursor
	b := &batch{store: s}
	b.queue(commitSoon)
	b.queue(`UPDATE assistant.conversation c SET holder = $3, fence = fence + 1 WHERE id = $1 AND owner = $2 AND holder IS NULL
		AND EXISTS (SELECT FROM assistant.node WHERE id = $3 AND NOT draining)
		RETURNING fence, epoch, `+lastEvent, c.ID, c.Owner, c.Node).QueryRow(func(row pgx.Row) error {
		return row.Scan(&c.Fence, &cursor.Epoch, &cursor.Seq)
	})
	err := s.send(ctx, b)
	if errors.Is(err, assistant.ErrNotFound) {
		return assistant.Claim{}, cursor, s.unclaimed(ctx, c)
	}
	if err != nil {
		return assistant.Claim{}, cursor, err
	}
	s.claims.add(c.ID, c.Fence)
	return c, cursor, nil
}

// unclaimed returns why a conversation could not be claimed, errFree where it can be now.
func (s *Store) unclaimed(ctx context.Context, c assistant.Claim) error {
	type standing struct {
		Holder   assistant.NodeID
		Fence    int64
		Lives    bool
		Draining bool
	}
	found, err := one(ctx, s, pgx.RowToStructByPos[standing], `SELECT coalesce(holder, 0), fence, node.id IS NOT NULL, coalesce(draining, false)
		FROM assistant.conversation c LEFT JOIN assistant.node ON node.id = $3 WHERE c.id = $1 AND c.owner = $2`, c.ID, c.Owner, c.Node)
	switch {
	case err != nil:
		return err
	case found.Holder == c.Node && s.claims.unknown(c.ID, found.Fence, 1):
		if err := s.disown(ctx, c.ID, found.Fence); err != nil {
			return err
		}
		return errFree
	case found.Holder != 0:
		return &assistant.HeldError{Holder: found.Holder}
	case !found.Lives:
		return errBuried
	case found.Draining:
		return errDraining
	}
	return errFree
}

// Release implements [assistant.Cluster]. Where there is nothing to store it does not wait for the server's disk: if a
// crash of the server undoes that, the conversation is freed as a dead node's, soon.
func (s *Store) Release(ctx context.Context, c assistant.Claim, seq uint64, events []assistant.Event) error {
	defer s.claims.drop(c) // whatever comes of it: what is left in the database is found as one of nobody's
	err := s.release(ctx, c, seq, events)
	if errors.Is(err, errGap) {
		err = s.releaseAll(ctx, c, seq-uint64(len(events)))
	}
	return s.lost(ctx, c, err)
}

// release is Release where all is as it should be: the events follow those that are stored, and no answer streams.
func (s *Store) release(ctx context.Context, c assistant.Claim, seq uint64, events []assistant.Event) error {
	const free = `UPDATE assistant.conversation c SET holder = NULL, seq = $5 WHERE ` + held + `
		AND $5 = ` + lastEvent + ` AND NOT EXISTS (SELECT FROM assistant.message WHERE conversation_id = c.id AND status = 'streaming')`
	if len(events) == 0 {
		b := &batch{store: s}
		b.queue(commitSoon)
		b.must(errGap, free, claimed(c, seq)...)
		return s.send(ctx, b)
	}
	b := s.transaction()
	b.must(assistant.ErrLost, lock, claimed(c)...)
	if err := b.append(c, events, false); err != nil {
		return err
	}
	b.must(errGap, free, claimed(c, seq)...)
	return s.atomically(ctx, b)
}

// releaseAll is Release where the store does not end with event number last, as the holder believes, or has an answer
// streaming. Unless events are missing, a call whose outcome was unknown was carried out, and other nodes may have shown
// what this one has not: so the log begins anew, as after a burial, and the holder has lost it.
func (s *Store) releaseAll(ctx context.Context, c assistant.Claim, last uint64) error {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	stored := uint64(0)
	err := pgx.BeginFunc(timed, s.pool, func(tx pgx.Tx) error {
		// The lock comes first, in a statement of its own: what comes after sees all that is stored.
		_, err := tx.Exec(timed, s.in(lock), claimed(c)...)
		if err == nil {
			err = tx.QueryRow(timed, s.in(`SELECT `+lastEvent+` FROM assistant.conversation c WHERE `+held), claimed(c)...).Scan(&stored)
		}
		if err == nil && stored >= last {
			_, err = s.takeOver(timed, tx, []string{c.ID})
		}
		return err
	})
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return translate(ctx, err)
	case err == nil && stored < last:
		return errGap
	}
	return assistant.ErrLost
}

// lock holds a conversation that still is its claim's until the end of the transaction.
const lock = `SELECT FROM assistant.conversation c WHERE ` + held + ` FOR NO KEY UPDATE`

// lost returns the error of a call that has written with a claim. Where it found nothing that is the claim's, there may be
// no such conversation.
func (s *Store) lost(ctx context.Context, c assistant.Claim, err error) error {
	if errors.Is(err, assistant.ErrLost) {
		s.claims.drop(c)
		if _, missing := s.Conversation(ctx, c.Owner, c.ID); errors.Is(missing, assistant.ErrNotFound) {
			return missing
		}
	}
	return err
}

// nobody is the holder of conversations that are given up: no node has this id.
const nobody = -1

// disown gives up a conversation that nobody here knows to hold, as one of a dead node's.
func (s *Store) disown(ctx context.Context, id string, fence int64) error {
	_, err := s.exec(ctx, `UPDATE assistant.conversation SET holder = $1, fence = fence + 1 WHERE id = $2 AND holder IS NOT DISTINCT FROM $3 AND fence = $4`,
		nobody, id, s.Node(), fence)
	if err == nil {
		_, err = s.free(ctx, s.pool)
	}
	return err
}

// strays gives up the conversations that this node holds only as the database says.
func (s *Store) strays(ctx context.Context) error {
	type stray struct {
		ID    string
		Fence int64
	}
	all, err := query(ctx, s, pgx.RowToStructByPos[stray], `SELECT id, fence FROM assistant.conversation WHERE holder = $1`, s.Node())
	for _, c := range all {
		if err == nil && s.claims.unknown(c.ID, c.Fence, 0) {
			err = s.disown(ctx, c.ID, c.Fence)
		}
	}
	return err
}
