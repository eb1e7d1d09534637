package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgxlisten"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	// announceEvery bounds how often a node notifies: a commit that does takes a lock of the whole server.
	announceEvery = 20 * time.Millisecond
	// announceAgain is the pause after a failure.
	announceAgain = time.Second
	// maxNotice is the longest notification, in bytes; PostgreSQL's own limit is 8,000. More than maxNotices at once
	// become one that says that everything is to be looked at.
	maxNotice, maxNotices = 7900, 20
	// maxWaiting is how many conversations are announced one by one.
	maxWaiting = 10_000
	// listenAgain is the pause before a connection that was lost is made again.
	listenAgain = time.Second
	// proofTime is how long a notification to oneself may take, and proofEvery the pause until the next one.
	proofTime, proofEvery = 3 * time.Second, time.Minute
)

// channel is the name of the notifications of a schema. A name may not be longer than 63 bytes.
func (s *Store) channel() string {
	name := sha256.Sum256([]byte(s.in("assistant.")))
	return "caddy_assistant_" + hex.EncodeToString(name[:8])
}

// notice is a notification. One from a node that says nothing else says that everything is to be looked at.
type notice struct {
	From      assistant.NodeID     `json:"from"`
	To        assistant.NodeID     `json:"to,omitempty"`    // whose inbox has a command
	Proof     string               `json:"proof,omitempty"` // for the sender itself
	Standings []assistant.Standing `json:"standings,omitempty"`
}

// text is what is sent.
func (n notice) text() string {
	data, err := json.Marshal(n)
	if err != nil {
		panic(err) // plain values
	}
	return string(data)
}

// Announce implements [assistant.Broker].
func (b *Broker) Announce(standings ...assistant.Standing) {
	s := b.current()
	if s == nil || len(standings) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, next := range standings {
		s.waiting[next.ID] = next.Over(s.waiting[next.ID])
	}
	if len(s.waiting) > maxWaiting {
		clear(s.waiting)
		s.missed = true
	}
	raise(s.news)
}

// announceLoop notifies of what waits.
func (s *session) announceLoop() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.news:
		}
		wait := announceEvery
		if err := s.notify(s.notices()); err != nil {
			s.mu.Lock()
			s.missed = true
			s.mu.Unlock()
			raise(s.news)
			wait = announceAgain
		}
		if !s.pause(wait) {
			return
		}
	}
}

// notices are what waits to be announced, each in JSON.
func (s *session) notices() []string {
	s.mu.Lock()
	waiting, missed := s.waiting, s.missed
	s.waiting, s.missed = map[string]assistant.Standing{}, false
	s.mu.Unlock()
	all := []string{notice{From: s.me}.text()}
	if missed {
		return all
	}
	var texts []string
	next, size := notice{From: s.me}, len(all[0])
	for _, standing := range waiting {
		length := len(notice{Standings: []assistant.Standing{standing}}.text()) // and more
		if len(all[0])+length > maxNotice || len(texts) > maxNotices {
			return all
		}
		if size+length > maxNotice {
			texts = append(texts, next.text())
			next.Standings, size = nil, len(all[0])
		}
		next.Standings, size = append(next.Standings, standing), size+length
	}
	if len(next.Standings) > 0 {
		texts = append(texts, next.text())
	}
	return texts
}

// notify sends notifications in one go. Nothing waits for the disk: what a crash of the server loses, its clients learn to
// have missed.
func (s *session) notify(texts []string) error {
	_, err := s.store.exec(s.ctx, `SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, text) FROM unnest($2::text[]) AS text`,
		s.channel, texts)
	s.did(s.ctx, "announce", err)
	return err
}

// listenLoop keeps a connection that listens. One that is deaf is given up for a while.
func (s *session) listenLoop() {
	for s.ctx.Err() == nil {
		s.listenUntilDeaf()
		s.hears.Store(false)
		s.pause(proofEvery)
	}
}

func (s *session) listenUntilDeaf() {
	ctx, cancel := context.WithCancel(s.ctx)
	var listener sync.WaitGroup
	defer s.attached.Store(0)
	defer listener.Wait()
	defer cancel()
	l := &pgxlisten.Listener{ReconnectDelay: listenAgain, Connect: s.connect, LogError: s.broke}
	l.Handle(s.channel, s)
	listener.Go(func() { _ = l.Listen(ctx) }) // its error is the context's
	ticker := time.NewTicker(proofEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.listening:
		case <-ticker.C:
		}
		before := s.attached.Load()
		if !isAttached(before) {
			continue
		}
		switch arrives, err := s.prove(); {
		case s.ctx.Err() != nil:
			return
		case err != nil:
			s.pause(listenAgain)
			raise(s.listening)
		case s.attached.Load() != before: // it may have been sent too soon, or too late
			raise(s.listening)
		case !arrives:
			s.log.Warn("notifications do not arrive, as behind a pooler in transaction mode: the store is looked at instead; "+
				"broker postgres <dsn>, with a DSN that leads to the server directly, is faster", zap.Duration("every", s.poll))
			return
		case !s.hears.Swap(true):
			s.log.Info("listening to other nodes")
		}
	}
}

func (s *session) connect(ctx context.Context) (*pgx.Conn, error) {
	timed, cancel := context.WithTimeout(ctx, s.store.timeout)
	defer cancel()
	return pgx.ConnectConfig(timed, s.listen)
}

// isAttached reports whether there is a connection that listens, by how often it was made or lost.
func isAttached(times int64) bool { return times%2 == 1 }

// broke is called when the connection that listens is lost, or cannot be made.
func (s *session) broke(ctx context.Context, err error) {
	if isAttached(s.attached.Load()) {
		s.attached.Add(1)
	}
	if s.hears.Swap(false) && ctx.Err() == nil {
		s.log.Warn("listening to other nodes broke off", zap.Error(err))
	}
}

// prove reports whether a notification to this node arrives.
func (s *session) prove() (arrives bool, err error) {
	select {
	case <-s.proven:
	default:
	}
	if err := s.notify([]string{notice{From: s.me, Proof: s.proof}.text()}); err != nil {
		return false, err
	}
	select {
	case <-s.proven:
		return true, nil
	case <-s.ctx.Done():
	case <-time.After(proofTime):
	}
	return false, nil
}

// HandleBacklog is called when the connection listens, again after it was lost: announcements may have been missed.
func (s *session) HandleBacklog(context.Context, string, *pgx.Conn) error {
	s.attached.Add(1)
	raise(s.listening)
	raise(s.inbox)
	s.tell(0, nil)
	return nil
}

// HandleNotification takes what a node says.
func (s *session) HandleNotification(_ context.Context, n *pgconn.Notification, _ *pgx.Conn) error {
	var said notice
	switch err := json.Unmarshal([]byte(n.Payload), &said); {
	case err != nil:
		s.log.Debug("notification is not ours", zap.Error(err))
	case said.To == s.me:
		raise(s.inbox)
	case said.Proof == s.proof:
		raise(s.proven)
	case said.To == 0 && said.Proof == "" && said.From != s.me:
		s.tell(said.From, said.Standings)
	}
	return nil
}

// tell hands announcements to the member, whose panics end nothing.
func (s *session) tell(from assistant.NodeID, standings []assistant.Standing) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("announcement panicked", zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	s.member.Standings(from, standings)
}

var _ interface {
	pgxlisten.Handler
	pgxlisten.BacklogHandler
} = (*session)(nil)
