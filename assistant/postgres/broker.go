package postgres

import (
	"context"
	"errors"
	"iter"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Broker is an [assistant.Broker] on the store's database: announcements are notifications, calls are rows. It carries
// no logs, which are in the store anyway. Where notifications do not arrive, as behind a connection pooler in transaction
// mode, it lets the store be looked at three times a second instead.
//
// A node that does not take a call within four seconds, or whose lease has run out, is not reachable. Its database is the
// store's, whose statements are bounded by the store's timeout.
type Broker struct {
	store  *Store
	listen *pgx.ConnConfig
	log    *zap.Logger
	poll   time.Duration // pollEvery, and less in tests

	mu      sync.Mutex
	session *session // nil = not open
}

// Broker returns a broker on the store's database. directDSN, where it is not "", leads its listening connection to
// the server past a pooler. No error contains the DSN. A nil logger means none.
func (s *Store) Broker(directDSN string, log *zap.Logger) (*Broker, error) {
	if log == nil {
		log = zap.NewNop()
	}
	config := s.lease.config
	if directDSN != "" {
		direct, err := parse(directDSN)
		if err != nil {
			return nil, err
		}
		config = direct.ConnConfig
	}
	config = config.Copy()
	config.OnNotification = nil // pgx keeps them for us
	// A connection that listens sends nothing, and would not notice that the server is gone.
	config.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	return &Broker{store: s, listen: config, log: log, poll: pollEvery}, nil
}

// session is a broker from Open to Close.
//
//	announceLoop: notifies of what is announced
//	listenLoop ─► a listener, which calls HandleNotification, and a proof now and then that notifications arrive
//	inboxLoop: takes calls and replies ─► serve, a goroutine for each call
type session struct {
	*Broker

	// fixed
	me      assistant.NodeID
	member  assistant.Member
	channel string
	proof   string          // of a notification to oneself
	ctx     context.Context // ends with Close
	end     context.CancelFunc
	work    sync.WaitGroup
	slots   chan struct{} // one for each call that is served

	// signals, which hold one
	listening chan struct{} // the connection that listens is new
	proven    chan struct{} // a notification to oneself has arrived
	inbox     chan struct{} // there may be a command
	news      chan struct{} // there is something to announce

	attached atomic.Int64 // how often the connection that listens was made, and lost; see isAttached
	hears    atomic.Bool  // notifications arrive
	works    atomic.Bool  // the last statement did
	mute     atomic.Bool  // that it does not was logged

	mu      sync.Mutex
	waiting map[string]assistant.Standing // to be announced, by conversation
	missed  bool                          // others have missed something
	calls   map[uuid.UUID]chan<- command  // of this node, without a reply
}

// Name implements [assistant.Broker].
func (b *Broker) Name() string { return "postgres" }

// Open implements [assistant.Broker].
func (b *Broker) Open(_ context.Context, me assistant.NodeID, m assistant.Member) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session != nil {
		return errors.New("broker is open")
	}
	s := &session{
		Broker: b, me: me, member: m, channel: b.store.channel(), proof: uuid.NewString(), slots: make(chan struct{}, maxServed),
		listening: make(chan struct{}, 1), proven: make(chan struct{}, 1), inbox: make(chan struct{}, 1), news: make(chan struct{}, 1),
		waiting: map[string]assistant.Standing{}, calls: map[uuid.UUID]chan<- command{},
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	for _, loop := range []func(){s.announceLoop, s.listenLoop, s.inboxLoop} {
		s.work.Go(loop)
	}
	b.session = s
	return nil
}

// Close implements [assistant.Broker]. A call that the broker has not taken stays in its inbox, and its caller finds it not
// taken. Close waits at most six seconds for a database that hangs.
func (b *Broker) Close() error {
	b.mu.Lock()
	s := b.session
	b.session = nil
	b.mu.Unlock()
	if s != nil {
		s.end()
		s.work.Wait()
	}
	return nil
}

func (b *Broker) current() *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session
}

// Up implements [assistant.Broker].
func (b *Broker) Up() bool {
	s := b.current()
	return s != nil && s.works.Load()
}

// Mode returns "listen", or "poll" where notifications do not arrive.
func (b *Broker) Mode() string {
	if s := b.current(); s != nil && s.hears.Load() {
		return "listen"
	}
	return "poll"
}

// Follow implements [assistant.Broker]: logs are read from the store.
func (b *Broker) Follow(context.Context, assistant.NodeID, string, assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	return func(yield func(assistant.Batch, error) bool) { yield(assistant.Batch{}, assistant.ErrNoNode) }
}

// raise wakes whoever waits for c, which holds one.
func raise(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits, and returns false when the session has ended.
func (s *session) pause(d time.Duration) bool {
	select {
	case <-s.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// did notes how a statement went, and logs when that changes.
func (s *session) did(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() != nil {
		return // the caller has gone
	}
	s.works.Store(err == nil)
	switch {
	case err != nil && !s.mute.Swap(true):
		s.log.Warn("nodes cannot be reached by the database", zap.String("what", what), zap.Error(err))
	case err == nil && s.mute.Swap(false):
		s.log.Info("nodes can be reached by the database again")
	}
}

// Identity returns a name for the database, the same for all who share it: 32 hexadecimal digits.
func (s *Store) Identity(ctx context.Context) (string, error) {
	return one(ctx, s, pgx.RowTo[string], `SELECT id FROM assistant.cluster`)
}

var _ assistant.Broker = (*Broker)(nil)
