package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	// inboxEvery is how often a node looks into its inbox, and callers after their calls; pollEvery is that where
	// notifications do not arrive, and how often everything is looked at there.
	inboxEvery, pollEvery = time.Second, 300 * time.Millisecond
	// untaken is how long a call waits in an inbox before its caller takes it back.
	untaken = 2500 * time.Millisecond
	// oldCommands are removed, whoever has sent them.
	oldCommands = time.Minute
	// inboxRows is how many commands are taken at once.
	inboxRows = 100
	// maxServed is how many calls are served at once.
	maxServed = 256
	// replyTimeout is how long the database may take for a reply, also while the broker is being closed.
	replyTimeout = 3 * time.Second
)

// The first byte of a reply.
const (
	served byte = iota // the rest is what the member has replied
	failed             // it has panicked
	busy               // nothing was done
)

var errFailed = errors.New("the other node failed to serve the call")

// command is a row of an inbox.
type command struct {
	From    assistant.NodeID
	Call    uuid.UUID
	IsReply bool
	Body    []byte
}

// outcome is what a reply says.
func (c command) outcome() ([]byte, error) {
	switch {
	case len(c.Body) == 0:
		return nil, errors.New("the reply is empty")
	case c.Body[0] == busy:
		return nil, fmt.Errorf("%w: it is busy", assistant.ErrNoNode)
	case c.Body[0] != served:
		return nil, errFailed
	}
	return c.Body[1:], nil
}

// Call implements [assistant.Broker].
func (b *Broker) Call(ctx context.Context, to assistant.NodeID, request []byte) ([]byte, error) {
	s := b.current()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case s == nil:
		return nil, assistant.ErrNoNode
	}
	call, replied := s.expect()
	defer s.forget(call)
	if err := s.send(ctx, command{to, call, false, request}); err != nil {
		return nil, err
	}
	ticker := time.NewTicker(inboxEvery)
	defer ticker.Stop()
	for {
		select {
		case reply := <-replied:
			return reply.outcome()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.ctx.Done():
			return nil, errors.New("broker was closed")
		case <-ticker.C:
			if err := s.lookAfter(ctx, to, call); err != nil {
				return nil, err
			}
		}
	}
}

// expect returns a new call, and where its reply comes.
func (s *session) expect() (uuid.UUID, <-chan command) {
	call, replied := uuid.New(), make(chan command, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[call] = replied
	return call, replied
}

func (s *session) forget(call uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, call)
}

// send puts a command into the inbox of a node that lives, and wakes it, in one statement. The command need not survive a
// crash of the server, so its disk is not waited for.
func (s *session) send(ctx context.Context, c command) error {
	n, err := s.store.exec(ctx, `WITH sent AS (INSERT INTO assistant.command (from_node, to_node, call, is_reply, body)
			SELECT $1, $2, $3::uuid, $4, $5::bytea WHERE EXISTS (SELECT FROM assistant.node WHERE id = $2 AND expires_at > assistant.clock()) RETURNING 1)
		SELECT set_config('synchronous_commit', 'off', true), pg_notify($6, $7) FROM sent`,
		s.me, c.From, c.Call, c.IsReply, nonNil(c.Body), s.channel, notice{From: s.me, To: c.From}.text())
	s.did(ctx, "call", err)
	if err == nil && n == 0 {
		err = assistant.ErrNoNode
	}
	return err
}

// nonNil returns an empty slice, which is no NULL, for nil.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// lookAfter returns an error where a call will have no reply: nobody has taken it for long, so that it is taken back, or
// whoever has taken it lives no more.
func (s *session) lookAfter(ctx context.Context, to assistant.NodeID, call uuid.UUID) error {
	type state struct{ Taken, Lives bool }
	at, err := one(ctx, s.store, pgx.RowToStructByPos[state], `WITH lives AS (SELECT EXISTS (SELECT FROM assistant.node WHERE id = $2 AND expires_at > assistant.clock()) AS lives),
			back AS (DELETE FROM assistant.command WHERE call = $1::uuid AND to_node = $2 AND NOT is_reply
				AND (at < assistant.clock() - $3::interval OR NOT (SELECT lives FROM lives)) RETURNING 1)
		SELECT NOT EXISTS (SELECT FROM back), lives FROM lives`, call, to, untaken)
	s.did(ctx, "look after a call", err)
	switch {
	case err != nil: // it is looked at again
		return nil //nolint:nilerr // did has logged it
	case !at.Taken:
		return assistant.ErrNoNode
	case !at.Lives:
		return errors.New("the other node has gone meanwhile")
	}
	return nil
}

// inboxLoop takes commands out of the inbox. Where notifications do not arrive, it has everything looked at.
func (s *session) inboxLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var swept time.Time
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.inbox:
			s.empty()
		case <-timer.C:
			s.look()
		}
		if now := time.Now(); now.Sub(swept) > oldCommands {
			swept = now
			s.sweep()
		}
		timer.Reset(s.interval())
	}
}

func (s *session) interval() time.Duration {
	if s.hears.Load() {
		return inboxEvery
	}
	return s.poll
}

// look looks, without being woken, at what others may have sent.
func (s *session) look() {
	_, others := s.store.Lease()
	hears := s.hears.Load()
	if !hears || others > 0 || !s.works.Load() {
		s.empty()
	}
	if !hears && others > 0 {
		s.tell(0, nil)
	}
}

// sweep removes what nobody has taken.
func (s *session) sweep() {
	_, err := s.store.exec(s.ctx, `DELETE FROM assistant.command WHERE at < assistant.clock() - $1::interval`, oldCommands)
	s.did(s.ctx, "remove old calls", err)
}

// empty takes what is in the inbox. It is not cut off while the broker is being closed: what the database has given would
// be lost, and its callers would wait for as long as this node lives.
func (s *session) empty() {
	for more := true; more && s.ctx.Err() == nil; {
		commands, err := s.taken()
		s.did(s.ctx, "take calls", err)
		for _, c := range commands {
			s.take(c)
		}
		more = len(commands) == inboxRows
	}
}

// taken removes commands from the inbox and returns them.
func (s *session) taken() ([]command, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), replyTimeout)
	defer cancel()
	return query(ctx, s.store, scanCommand, `DELETE FROM assistant.command WHERE id IN
			(SELECT id FROM assistant.command WHERE to_node = $1 ORDER BY id LIMIT $2)
		RETURNING from_node, call, is_reply, body, set_config('synchronous_commit', 'off', true)`, s.me, inboxRows)
}

func scanCommand(row pgx.CollectableRow) (c command, err error) {
	err = row.Scan(&c.From, &c.Call, &c.IsReply, &c.Body, nil)
	return c, err
}

// take gives a reply to its caller, and has a call served.
func (s *session) take(c command) {
	if c.IsReply {
		s.mu.Lock()
		defer s.mu.Unlock()
		if replied := s.calls[c.Call]; replied != nil {
			delete(s.calls, c.Call)
			replied <- c // there is one
		}
		return
	}
	slots := s.slots
	if s.ctx.Err() != nil { // the broker is being closed, and serves nothing any more
		slots = nil
	}
	select {
	case slots <- struct{}{}:
		s.work.Go(func() {
			defer func() { <-s.slots }()
			s.reply(c, s.serve(c))
		})
	default:
		s.work.Go(func() { s.reply(c, []byte{busy}) })
	}
}

// serve has the member serve a call, and returns the body of the reply.
func (s *session) serve(c command) (body []byte) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("serving a call panicked", zap.Any("panic", v), zap.Stack("stack"))
			body = []byte{failed}
		}
	}()
	return append([]byte{served}, s.member.Serve(s.ctx, c.From, c.Body)...)
}

// reply sends a reply, also while the broker is being closed.
func (s *session) reply(c command, body []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), replyTimeout)
	defer cancel()
	_ = s.send(ctx, command{c.From, c.Call, true, body}) // where it does not come, the caller's context ends its waiting
}
