package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

const (
	pace       = 10 * time.Second // between looks at the connection that holds the lock
	sweepEvery = 6                // looks between sweeps
)

// node is a process that lives, as others see it: the holder of an advisory lock.
//
//	join ──► run: every pace, check the lock's connection or take the lock anew; every sixth time, sweep
type node struct {
	// fixed
	id     int64
	store  *Store
	log    *zap.Logger
	pace   time.Duration
	config *pgx.ConnConfig
	cancel context.CancelFunc
	ended  chan struct{}

	// run's
	conn *pgx.Conn // holds the lock; nil while it is lost
}

// join takes a lock, interrupts the answers of the dead, and starts run, which leave ends.
func join(ctx context.Context, s *Store, log *zap.Logger, pace time.Duration) (*node, error) {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	n := &node{
		id: int64(binary.NativeEndian.Uint64(id[:])), store: s, log: log, pace: pace,
		config: s.pool.Config().ConnConfig, ended: make(chan struct{}),
	}
	// A server whose client's machine is gone notices within half a minute, not after two hours.
	n.config.RuntimeParams["tcp_keepalives_idle"] = "10"
	n.config.RuntimeParams["tcp_keepalives_interval"] = "5"
	n.config.RuntimeParams["tcp_keepalives_count"] = "3"
	if err := n.hold(ctx); err != nil {
		return nil, err
	}
	if err := n.sweep(ctx); err != nil {
		n.release()
		return nil, fmt.Errorf("interrupt answers: %w", err)
	}
	running, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go n.run(running)
	return n, nil
}

// leave ends run and gives the lock back.
func (n *node) leave() {
	n.cancel()
	<-n.ended
}

func (n *node) run(ctx context.Context) {
	defer close(n.ended)
	defer n.release()
	defer func() {
		if v := recover(); v != nil { // others will take our answers for interrupted; Finish mends them
			n.log.Error("keeping the lock panicked", zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	ticker := time.NewTicker(n.pace)
	defer ticker.Stop()
	looks := 0 // since the lock was taken
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if n.look(ctx) {
			looks = 0
		}
		// After a server's restart all nodes have lost their locks: give the others time to take theirs.
		if looks++; n.conn != nil && looks%sweepEvery == 0 {
			if err := n.sweep(ctx); err != nil && ctx.Err() == nil {
				n.log.Warn("looking for the answers of dead servers failed", zap.Error(err))
			}
		}
	}
}

// look checks that the lock is held. Where it is not, it tries to take it, and returns true.
func (n *node) look(ctx context.Context) bool {
	if n.conn != nil {
		timed, cancel := context.WithTimeout(ctx, n.store.timeout)
		err := n.conn.Ping(timed)
		cancel()
		if err == nil || ctx.Err() != nil {
			return false
		}
		n.log.Warn("connection to the database was lost", zap.Error(err))
		n.release()
	}
	if err := n.hold(ctx); err != nil {
		if ctx.Err() == nil {
			n.log.Warn("connecting to the database failed", zap.Error(err))
		}
		return true
	}
	n.log.Info("connection to the database is back")
	return true
}

// hold takes the lock on a connection of its own. It waits for a session of ours that the server does not
// know to be dead: until then others believe that we live.
func (n *node) hold(ctx context.Context) error {
	timed, cancel := context.WithTimeout(ctx, n.store.timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(timed, n.config)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(timed, `SELECT pg_advisory_lock($1)`, n.id); err != nil {
		_ = conn.Close(timed)
		return err
	}
	n.conn = conn
	return nil
}

// release gives the lock back at once: a server takes its time to notice that a connection is closed.
func (n *node) release() {
	if n.conn == nil {
		return
	}
	timed, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = n.conn.Exec(timed, `SELECT pg_advisory_unlock($1)`, n.id)
	_ = n.conn.Close(timed)
	n.conn = nil
}

// sweep marks the answers of nodes interrupted that hold no lock.
func (n *node) sweep(ctx context.Context) error {
	nodes, err := query(ctx, n.store, pgx.RowTo[int64], `SELECT DISTINCT node FROM message WHERE status = 'streaming' AND node <> $1`, n.id)
	if err != nil {
		return err
	}
	var errs []error
	for _, other := range nodes {
		answers, err := n.interrupt(ctx, other)
		if answers > 0 {
			n.log.Info("answers of a dead server marked interrupted", zap.Int64("answers", answers))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// interrupt ends the answers of another node if that is dead. It returns how many.
func (n *node) interrupt(ctx context.Context, other int64) (answers int64, err error) {
	timed, cancel := context.WithTimeout(ctx, n.store.timeout)
	defer cancel()
	err = pgx.BeginFunc(timed, n.store.pool, func(tx pgx.Tx) error {
		var dead bool
		if err := tx.QueryRow(timed, `SELECT pg_try_advisory_xact_lock($1)`, other).Scan(&dead); err != nil || !dead {
			return err
		}
		answers, err = end(timed, tx, other)
		return err
	})
	return answers, translate(ctx, err)
}

// end marks a node's answers interrupted, with what they have, and returns how many.
func end(ctx context.Context, tx pgx.Tx, node int64) (int64, error) {
	// Locks first, in a statement of its own: what comes after sees all that Extend has stored.
	if _, err := tx.Exec(ctx, `SELECT FROM message WHERE status = 'streaming' AND node = $1 ORDER BY seq FOR UPDATE`, node); err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, `SELECT seq, `+chunks+` FROM message WHERE status = 'streaming' AND node = $1`, node)
	if err != nil {
		return 0, err
	}
	var batch pgx.Batch
	var answers, seq int64
	var stored []chunk.Chunk
	_, err = pgx.ForEachRow(rows, []any{&seq, &stored}, func() error {
		var m assistant.Message
		m.SetParts(chunk.Join(stored))
		parts, err := partsColumn(m.Parts)
		batch.Queue(`UPDATE message SET content = $2, parts = $3, status = 'interrupted', finish_reason = 'interrupted' WHERE seq = $1`,
			seq, m.Content, parts)
		batch.Queue(`DELETE FROM chunk WHERE message_seq = $1`, seq)
		answers++
		stored = nil
		return err
	})
	if err != nil {
		return 0, err
	}
	return answers, tx.SendBatch(ctx, &batch).Close()
}
