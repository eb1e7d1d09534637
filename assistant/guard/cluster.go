package guard

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// farAway is for how long nobody buries a store that is no Cluster.
const farAway = 100 * 365 * 24 * time.Hour

var errNoCluster = errors.New("store is no cluster")

// Cluster returns the guarded store where it is an [assistant.Cluster], and nil where it is none. While it is not open, it
// returns why.
func (s *Guarded) Cluster(ctx context.Context) (assistant.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if cluster, err := s.behind(ctx); cluster == nil || err != nil {
		return nil, err
	}
	return s, nil
}

// behind returns the Cluster that is guarded; nil where the store is none.
func (s *Guarded) behind(ctx context.Context) (assistant.Cluster, error) {
	store, err := s.opened(ctx)
	cluster, _ := store.(assistant.Cluster)
	return cluster, err
}

// opened returns the store that is guarded, or why it is not open.
func (s *Guarded) opened(ctx context.Context) (assistant.Store, error) {
	if opening, ok := s.Store.(*Opening); ok {
		return opening.Opened(ctx)
	}
	return s.Store, nil
}

// now is behind for methods that do not wait: nil where the store is not open.
func (s *Guarded) now() assistant.Cluster {
	store := s.Store
	if opening, ok := store.(*Opening); ok {
		var err error
		if store, err = opening.current(); err != nil {
			return nil
		}
	}
	cluster, _ := store.(assistant.Cluster)
	return cluster
}

// ask makes one call of the cluster. Where there is none, it returns alone.
func ask[T any](s *Guarded, ctx context.Context, name string, alone outcome[T], f func(context.Context, assistant.Cluster) (T, error)) (T, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cluster, err := s.behind(ctx)
	switch {
	case err != nil:
		s.observer().Stored(name, time.Since(began), err)
		var none T
		return none, err
	case cluster == nil:
		return alone.value, alone.err
	}
	return call(s, ctx, name, func(ctx context.Context) (T, error) { return f(ctx, cluster) })
}

// order is ask for methods that return nothing but an error, and do nothing where there is no cluster.
func order(s *Guarded, ctx context.Context, name string, f func(context.Context, assistant.Cluster) error) error {
	_, err := ask(s, ctx, name, outcome[struct{}]{}, func(ctx context.Context, c assistant.Cluster) (struct{}, error) { return struct{}{}, f(ctx, c) })
	return err
}

// Node implements [assistant.Cluster]. It returns 0 for a store that is none, or is not open.
func (s *Guarded) Node() assistant.NodeID {
	if cluster := s.now(); cluster != nil {
		return cluster.Node()
	}
	return 0
}

// Lease implements [assistant.Cluster]. A store that is none, or is not open, is alone and never buried.
func (s *Guarded) Lease() (until time.Time, others int) {
	if cluster := s.now(); cluster != nil {
		return cluster.Lease()
	}
	return time.Now().Add(farAway), 0
}

// Nodes implements [assistant.Cluster]. A store that is none has no nodes.
func (s *Guarded) Nodes(ctx context.Context) ([]assistant.Node, error) {
	return ask(s, ctx, "nodes", outcome[[]assistant.Node]{}, func(ctx context.Context, c assistant.Cluster) ([]assistant.Node, error) {
		return c.Nodes(ctx)
	})
}

// SetDraining implements [assistant.Cluster]. For a store that is none it does nothing.
func (s *Guarded) SetDraining(ctx context.Context, draining bool) error {
	return order(s, ctx, "set_draining", func(ctx context.Context, c assistant.Cluster) error { return c.SetDraining(ctx, draining) })
}

// claimed is what Claim returns.
type claimed struct {
	claim  assistant.Claim
	cursor assistant.Cursor
}

// Claim implements [assistant.Cluster]. A store that is none gives every claim, also of conversations that it does not
// have, and each log begins at 0.
func (s *Guarded) Claim(ctx context.Context, owner, id string) (assistant.Claim, assistant.Cursor, error) {
	alone := claimed{claim: assistant.Claim{Owned: assistant.Owned{Owner: owner, ID: id}}}
	got, err := ask(s, ctx, "claim", outcome[claimed]{value: alone}, func(ctx context.Context, c assistant.Cluster) (got claimed, err error) {
		got.claim, got.cursor, err = c.Claim(ctx, owner, id)
		return got, err
	})
	return got.claim, got.cursor, err
}

// Release implements [assistant.Cluster]. For a store that is none it does nothing.
func (s *Guarded) Release(ctx context.Context, claim assistant.Claim, seq uint64, events []assistant.Event) error {
	return order(s, ctx, "release", func(ctx context.Context, c assistant.Cluster) error { return c.Release(ctx, claim, seq, events) })
}

// State implements [assistant.Cluster]. Of a store that is none it is made of Conversation and Messages: it has no cursor,
// and an answer that is streaming is one of the messages.
func (s *Guarded) State(ctx context.Context, owner, id string, limit int) (assistant.State, error) {
	state, err := call(s, ctx, "state", func(ctx context.Context) (state assistant.State, err error) {
		cluster, err := s.behind(ctx)
		switch {
		case err != nil:
			return state, err
		case cluster != nil:
			return cluster.State(ctx, owner, id, limit)
		}
		if state.Conversation, err = s.Store.Conversation(ctx, owner, id); err != nil {
			return state, err
		}
		state.Messages, state.More, err = s.Store.Messages(ctx, owner, id, "", limit)
		return state, err
	})
	if state.Running != nil {
		if owed, ok := s.owed.Load(state.Running.ID); ok {
			state.Running, state.Messages = nil, append(state.Messages, owed.(assistant.Message))
		}
	}
	if n := len(state.Messages) - max(limit, 0); n > 0 {
		state.Messages, state.More = state.Messages[n:], true
	}
	state.Messages = s.shown(state.Messages)
	return state, err
}

// Standings implements [assistant.Cluster]. It is an error for a store that is none.
func (s *Guarded) Standings(ctx context.Context, ids []string) ([]assistant.Standing, error) {
	return ask(s, ctx, "standings", outcome[[]assistant.Standing]{err: errNoCluster}, func(ctx context.Context, c assistant.Cluster) ([]assistant.Standing, error) {
		return c.Standings(ctx, ids)
	})
}

// Events implements [assistant.Cluster]. It is an error for a store that is none.
func (s *Guarded) Events(ctx context.Context, owner, id string, after assistant.Cursor, limit int) ([]assistant.Batch, error) {
	return ask(s, ctx, "events", outcome[[]assistant.Batch]{err: errNoCluster}, func(ctx context.Context, c assistant.Cluster) ([]assistant.Batch, error) {
		return c.Events(ctx, owner, id, after, limit)
	})
}

// Trim implements [assistant.Cluster]. A store that is none has no events.
func (s *Guarded) Trim(ctx context.Context, before time.Time, limit int) (int, error) {
	return ask(s, ctx, "trim", outcome[int]{}, func(ctx context.Context, c assistant.Cluster) (int, error) { return c.Trim(ctx, before, limit) })
}

var _ assistant.Cluster = (*Guarded)(nil)
