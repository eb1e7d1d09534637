package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// lease is the store's node: its row in the database, which says that it lives, and what is known of the other nodes.
type lease struct {
	// fixed
	store  *Store
	ttl    time.Duration
	name   string
	config *pgx.ConnConfig
	loop

	// run's; between runs, of whoever ended it
	conn *pgx.Conn // its own, so that it waits for no other call; nil while there is none

	mu       sync.Mutex
	node     assistant.NodeID
	draining bool
	until    time.Time // the node is not buried before
	since    time.Time // when the first of the last renewals began that have all succeeded; zero after a failure
	others   int
	death    time.Time // when the lease of the first of the others runs out; zero where that is not known
}

// newLease does not connect yet.
func newLease(s *Store, ttl time.Duration, config *pgx.ConnConfig) *lease {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	l := &lease{store: s, ttl: ttl, name: name, config: config.Copy()}
	l.config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // a pooler may be in between
	l.loop.run = l.run
	return l
}

// newNode returns a random number, which is positive: others stand for no node.
func newNode() assistant.NodeID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return assistant.NodeID(max(1, binary.NativeEndian.Uint64(b[:])>>1))
}

// Node implements [assistant.Cluster].
func (s *Store) Node() assistant.NodeID {
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	return s.lease.node
}

// Lease implements [assistant.Cluster]. It reaches from before the last renewal was sent.
func (s *Store) Lease() (until time.Time, others int) {
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	return s.lease.until, s.lease.others
}

// Nodes implements [assistant.Cluster]: a node lives until it is buried.
func (s *Store) Nodes(ctx context.Context) ([]assistant.Node, error) {
	return query(ctx, s, func(row pgx.CollectableRow) (n assistant.Node, err error) {
		err = row.Scan(&n.ID, &n.Name, &n.JoinedAt, &n.Draining)
		n.JoinedAt = n.JoinedAt.UTC()
		return n, err
	}, `SELECT id, name, joined_at, draining FROM assistant.node ORDER BY joined_at, id`)
}

// SetDraining implements [assistant.Cluster]. While a node drains, Claim returns an error that says so.
func (s *Store) SetDraining(ctx context.Context, draining bool) error {
	l := s.lease
	l.mu.Lock()
	l.draining = draining // also for the node that this one is after a burial
	node := l.node
	l.mu.Unlock()
	_, err := s.exec(ctx, `UPDATE assistant.node SET draining = $2 WHERE id = $1`, node, draining)
	return err
}

func (l *lease) connect(ctx context.Context) (err error) {
	if l.conn == nil {
		l.conn, err = pgx.ConnectConfig(ctx, l.config)
	}
	return err
}

// disconnect gives up a connection on which something has failed.
func (l *lease) disconnect() {
	if l.conn != nil {
		timed, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.conn.Close(timed)
		l.conn = nil
	}
}

// join makes the store another node, which holds nothing.
func (l *lease) join(ctx context.Context) error {
	node := newNode()
	_, err := l.conn.Exec(ctx, l.store.in(`INSERT INTO assistant.node (id, name, expires_at, draining) VALUES ($1, $2, assistant.clock() + $3, false)`),
		node, l.name, l.ttl)
	if err != nil {
		return err
	}
	l.store.claims.clear() // before anyone claims as this node
	l.mu.Lock()
	l.node, l.until, l.since = node, time.Time{}, time.Time{}
	l.mu.Unlock()
	return l.renew(ctx)
}

// run renews the lease, after a failure four times as often.
func (l *lease) run(ctx context.Context) {
	failing := false
	for {
		sent, wait := time.Now(), l.ttl/3
		err := l.keep(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil && !failing:
			l.store.log.Warn("renewing the lease in the database failed", zap.Error(err))
		case err == nil && failing:
			l.store.log.Info("renewing the lease in the database succeeds again")
		}
		if failing = err != nil; failing {
			wait /= 4
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(sent.Add(wait))):
		}
	}
}

// keep makes one attempt to renew the lease.
func (l *lease) keep(ctx context.Context) error {
	timed, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	err := l.connect(timed)
	if err == nil {
		err = l.renew(timed)
	}
	if err != nil {
		l.disconnect()
		l.mu.Lock()
		l.since = time.Time{}
		l.mu.Unlock()
	}
	return err
}

// renew makes the lease last for another TTL from now, and looks at the others. A node whose row is gone was buried:
// then the store joins as another.
func (l *lease) renew(ctx context.Context) error {
	l.mu.Lock()
	draining := l.draining
	l.mu.Unlock()
	sent := time.Now()
	var others int
	var death *time.Duration
	err := l.conn.QueryRow(ctx, l.store.in(`UPDATE assistant.node SET expires_at = assistant.clock() + $2, draining = $3 WHERE id = $1
		RETURNING (SELECT count(*) FROM assistant.node WHERE id <> $1), (SELECT min(expires_at) FROM assistant.node WHERE id <> $1) - assistant.clock()`),
		l.node, l.ttl, draining).Scan(&others, &death)
	if err == pgx.ErrNoRows { //nolint:errorlint // it is not wrapped
		l.store.log.Warn("this node's lease has run out and another node has taken over its conversations", zap.Int64("node", int64(l.node)))
		return l.join(ctx)
	}
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() || sent.After(l.until) { // stopped for that long, it has missed renewals
		l.since = sent
	}
	l.until, l.others, l.death = sent.Add(l.ttl), others, time.Time{}
	if death != nil {
		l.death = time.Now().Add(*death)
	}
	return nil
}

// mayBury reports whether another's lease has run out, while all renewals of this one have succeeded for a whole TTL.
func (l *lease) mayBury() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return !l.death.IsZero() && now.After(l.death) && !l.since.IsZero() && now.Sub(l.since) >= l.ttl && now.Before(l.until)
}

// forgetDeath leaves it to the next renewal to find out whose lease runs out next.
func (l *lease) forgetDeath() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.death = time.Time{}
}

// leave deletes the node's row, and frees what it still holds. Where the database is away, others will bury it.
func (l *lease) leave() {
	defer l.disconnect()
	timed, cancel := context.WithTimeout(context.Background(), min(l.store.timeout, 2*time.Second))
	defer cancel()
	if l.node == 0 || l.connect(timed) != nil {
		return
	}
	if _, err := l.conn.Exec(timed, l.store.in(`DELETE FROM assistant.node WHERE id = $1`), l.node); err == nil {
		_, _ = l.store.free(timed, l.conn)
	}
}

// loop is a goroutine that can be stopped and started again.
type loop struct {
	run    func(ctx context.Context)
	cancel context.CancelFunc // nil = it does not run
	ended  chan struct{}
}

func (l *loop) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.ended = cancel, make(chan struct{})
	go func() {
		defer close(l.ended)
		l.run(ctx)
	}()
}

// stop returns when the goroutine has ended. There may be none.
func (l *loop) stop() {
	if l.cancel != nil {
		l.cancel()
		<-l.ended
		l.cancel = nil
	}
}
