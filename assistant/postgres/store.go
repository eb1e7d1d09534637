// Package postgres keeps conversations in PostgreSQL, version 12 or newer, which several servers may share.
//
// Each open [Store] is a node: a row that says until when its lease lasts, by the database's clock. It is renewed every
// two seconds for six more, on a connection of its own. A conversation that is busy has a holder and a fence, and what is
// written names both: a statement whose claim is not the conversation's any more writes nothing. No clock is compared
// there; time decides only when a node may be buried.
//
//	Open ─► join ─► lease: renew, every third of the TTL ─► buried? join as another node
//	             └► sweeper: bury nodes whose lease has run out, and free what dead nodes hold
//	Close ─► delete the node's row, and free what it still holds
//
// A node is buried only by one that has renewed its own lease for a whole TTL without a failure, so that after an outage
// of the database all have time to renew theirs. lease.pml is a model of this, for Spin.
//
// Servers of this version and of older ones cannot share a database: the first new one refuses to migrate the tables
// while an older one runs.
//
// A connection pooler in between may be in session or in transaction mode; nothing is kept in a session. The store
// notices the pooler, and then prepares no statements unless default_query_exec_mode says so: an Extend takes the server
// about twice as long. What is stored is as durable as the server's disk: asynchronous commit is switched off where
// that matters, but a server with fsync off keeps no promise. A server's text cannot hold a NUL or invalid UTF-8: U+FFFD
// takes its place, and no owner's name may contain it.
package postgres

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	defaultConns   = 16 // enough for commits to share the server's syncs; pgxpool's own default is 4
	defaultTimeout = 10 * time.Second
	leaseTTL       = 6 * time.Second
)

// Config says where a [Store] is.
type Config struct {
	// DSN is a URL or a list of key=value as libpq knows them; what it leaves out comes from the PG*
	// variables of the environment. pool_max_conns bounds the connections (default: 16, and one for the
	// lease). search_path names the schema (default: assistant), which is made where it is missing.
	DSN string `json:"dsn"`
	// Timeout bounds each call that has no earlier deadline. Default: 10s.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Store is an [assistant.Cluster] in a PostgreSQL database.
type Store struct {
	pool    *pgxpool.Pool
	names   *strings.Replacer // puts the schema into statements
	timeout time.Duration
	log     *zap.Logger
	claims  claims
	lease   *lease
	sweeper *sweeper
	close   func()
}

// Open connects, makes or migrates the tables, joins as a node named like its host, and marks answers interrupted that
// belong to no node any more; those of nodes whose lease has run out follow within seconds. The logger, which may be nil,
// gets a line when the lease cannot be renewed, and of nodes that were buried. No error contains the DSN or its password.
// Where the server is away, or takes no more connections, the error is an [assistant.ErrUnavailable].
func Open(ctx context.Context, config Config, log *zap.Logger) (*Store, error) {
	s, err := open(ctx, config, log, leaseTTL)
	if err != nil && isAway(err) {
		err = fmt.Errorf("%w: %w", assistant.ErrUnavailable, err)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func open(ctx context.Context, config Config, log *zap.Logger, ttl time.Duration) (*Store, error) {
	if log == nil {
		log = zap.NewNop()
	}
	where, err := parse(config.DSN)
	if err != nil {
		return nil, err
	}
	s := &Store{timeout: cmp.Or(config.Timeout, defaultTimeout), log: log}
	s.close = sync.OnceFunc(s.shut)
	s.lease = newLease(s, ttl, where.ConnConfig)
	s.sweeper = newSweeper(s)
	if err := s.open(ctx, where); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, where place) error {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.lease.connect(timed)
	if err == nil {
		err = where.adapt(timed, s.lease.conn)
	}
	if err == nil {
		s.pool, err = pgxpool.NewWithConfig(ctx, where.Config)
	}
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	schema, err := migrate(ctx, s.pool, where.searchPath)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	s.names = strings.NewReplacer("assistant.", schema+".")
	if err := s.lease.join(timed); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if _, err := s.free(timed, s.pool); err != nil {
		return fmt.Errorf("interrupt answers: %w", err)
	}
	s.lease.start()
	s.sweeper.start()
	return nil
}

// Close waits for running calls, takes the node out of the cluster, and frees everything.
func (s *Store) Close() error {
	s.close()
	return nil
}

func (s *Store) shut() {
	s.sweeper.stop()
	if s.pool != nil {
		s.pool.Close()
	}
	s.lease.stop()
	s.lease.leave()
}

var _ assistant.Cluster = (*Store)(nil)
