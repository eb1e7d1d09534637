package guard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// ledger returns the [assistant.Ledger] that is guarded, or why there is none: [assistant.ErrNoLedger] where the store is
// no Ledger.
func (s *Guarded) ledger(ctx context.Context) (assistant.Ledger, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return nil, err
	}
	ledger, ok := store.(assistant.Ledger)
	if !ok {
		return nil, assistant.ErrNoLedger
	}
	return ledger, nil
}

// keep makes one call of the ledger. Where there is none, nothing is timed.
func keep[T any](s *Guarded, ctx context.Context, name string, f func(context.Context, assistant.Ledger) (T, error)) (result T, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ledger, err := s.ledger(ctx)
	if err != nil {
		if !errors.Is(err, assistant.ErrNoLedger) {
			s.observer().Stored(name, time.Since(began), err)
		}
		return result, err
	}
	return call(s, ctx, name, func(ctx context.Context) (T, error) { return f(ctx, ledger) })
}

// Account implements [assistant.Ledger]. Once it has returned, change is not called any more, whatever the store does; a
// panic of change is an error. An error of change is none of the store.
func (s *Guarded) Account(ctx context.Context, payer string, change func(state []byte, now time.Time) ([]byte, error)) error {
	g := gate{change: change}
	said, err := keep(s, ctx, "account", func(ctx context.Context, ledger assistant.Ledger) (error, error) {
		err := ledger.Account(ctx, payer, g.pass)
		if said := g.said(); said != nil && errors.Is(err, said) {
			return said, nil
		}
		return nil, err
	})
	g.shut()
	return errors.Join(said, err)
}

var errShut = errors.New("change comes too late")

// gate lets a change be made until it is shut.
type gate struct {
	change func(state []byte, now time.Time) ([]byte, error)

	mu     sync.Mutex
	isShut bool
	err    error // the last one of change
}

func (g *gate) pass(state []byte, now time.Time) (next []byte, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isShut {
		return nil, errShut
	}
	defer func() { g.err = err }()
	defer assistant.Catch(&err)
	return g.change(state, now)
}

func (g *gate) said() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isShut = true
}

// ForgetAccounts implements [assistant.Ledger].
func (s *Guarded) ForgetAccounts(ctx context.Context, idle time.Duration, limit int) (int, error) {
	return keep(s, ctx, "forget_accounts", func(ctx context.Context, ledger assistant.Ledger) (int, error) {
		return ledger.ForgetAccounts(ctx, idle, limit)
	})
}

var _ assistant.Ledger = (*Guarded)(nil)
