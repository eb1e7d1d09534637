package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
	"github.com/caddy-assistant/caddy-assistant/assistant/guard"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestOpeningStore holds that an open store is the store.
func TestOpeningStore(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T) assistant.Store {
		t.Helper()
		o, err := guard.Open(t.Context(), func(context.Context) (assistant.Store, error) { return memory.Open(memory.Config{}), nil }, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		return o
	})
}

var errAway = fmt.Errorf("dial: %w", assistant.ErrUnavailable)

// checked is a store that finds damage, and counts its ends.
type checked struct {
	assistant.Store
	damage error
	closed int
}

func (c *checked) Check(context.Context) error { return c.damage }
func (c *checked) Close() error                { c.closed++; return c.Store.Close() }

// TestOpeningHeals opens a store at the third attempt, three seconds after the first. Until then calls fail, and
// afterwards damage is known.
func TestOpeningHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		attempts, store := 0, &checked{Store: memory.Open(memory.Config{}), damage: errors.New("page 7")}
		o, err := guard.Open(t.Context(), func(context.Context) (assistant.Store, error) {
			if attempts++; attempts < 3 {
				return nil, errAway
			}
			return store, nil
		}, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		for _, pause := range []time.Duration{0, 1500 * time.Millisecond} {
			time.Sleep(pause)
			if _, err := o.List(t.Context(), "ann", assistant.Conversation{}, 1); !errors.Is(err, assistant.ErrUnavailable) {
				t.Errorf("while it is away: %v", err)
			}
			if !errors.Is(o.Ping(t.Context()), assistant.ErrUnavailable) || o.Damage() != nil {
				t.Error("the store counts as one that answers")
			}
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if _, err := o.List(t.Context(), "ann", assistant.Conversation{}, 1); err != nil || attempts != 3 {
			t.Errorf("after %d attempts: %v", attempts, err)
		}
		if err := o.Ping(t.Context()); err != nil || o.Damage() != store.damage {
			t.Errorf("the ping finds %v, damage is %v", err, o.Damage())
		}
		for _, message := range []string{"store cannot be opened; trying again", "store is open now", "store is damaged: restore a backup, or copy what can still be read into a new one"} {
			if logs.FilterMessage(message).Len() == 0 {
				t.Errorf("the log does not say %q", message)
			}
		}
		if err := o.Close(); err != nil || store.closed != 1 {
			t.Errorf("closed %d times: %v", store.closed, err)
		}
	})
}

// TestOpeningRefused returns what will not pass by itself, panics included.
func TestOpeningRefused(t *testing.T) {
	newer := errors.New("file has version 99")
	synctest.Test(t, func(t *testing.T) {
		if o, err := guard.Open(t.Context(), func(context.Context) (assistant.Store, error) { return nil, newer }, zap.NewNop()); o != nil || !errors.Is(err, newer) {
			t.Errorf("got %v, %v", o, err)
		}
		_, err := guard.Open(t.Context(), func(context.Context) (assistant.Store, error) { panic("no driver") }, zap.NewNop())
		if _, ok := errors.AsType[*assistant.PanicError](err); !ok {
			t.Errorf("got %v", err)
		}
	})
}

// TestOpeningSlow does not wait for a store that takes long; calls do. What it says in the end is not fatal then.
func TestOpeningSlow(t *testing.T) {
	for _, outcome := range []error{nil, errors.New("in use")} {
		synctest.Test(t, func(t *testing.T) {
			patient, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			began, attempts := time.Now(), 0
			o, err := guard.Open(patient, func(context.Context) (assistant.Store, error) {
				time.Sleep(5 * time.Second)
				if attempts++; attempts > 1 || outcome == nil {
					return memory.Open(memory.Config{}), nil
				}
				return nil, outcome
			}, zap.NewNop())
			if took := time.Since(began); err != nil || took != 3*time.Second {
				t.Fatalf("after %v: %v", took, err)
			}
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := o.Ping(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a call that does not wait: %v", err)
			}
			if err := o.Delete(t.Context(), "ann", "x"); outcome == nil && !errors.Is(err, assistant.ErrNotFound) || outcome != nil && !errors.Is(err, outcome) {
				t.Errorf("a call that waits: %v", err)
			}
			if took := time.Since(began); took != 5*time.Second {
				t.Errorf("it waited up to %v", took)
			}
			time.Sleep(7 * time.Second)
			if err := o.Ping(t.Context()); err != nil {
				t.Errorf("in the end: %v", err)
			}
			_ = o.Close()
		})
	}
}

// TestOpeningClosed ends the attempts; synctest would see a goroutine that goes on.
func TestOpeningClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, err := guard.Open(t.Context(), func(context.Context) (assistant.Store, error) { return nil, errAway }, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOpeningOfBounded holds that a bounded store learns what is in use, whether it is open before or after that is said.
func TestOpeningOfBounded(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			o, err := guard.Open(t.Context(), func(context.Context) (assistant.Store, error) {
				if attempts++; late && attempts == 1 {
					return nil, assistant.ErrUnavailable
				}
				return memory.Open(memory.Config{MaxConversations: 2}), nil
			}, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = o.Close() }()
			var removed []string
			o.Watch(func(id string) bool { return id == "followed" }, func(gone assistant.Owned) { removed = append(removed, gone.ID) })
			time.Sleep(time.Minute)
			for _, id := range []string{"followed", "second", "third"} {
				if err := o.Create(t.Context(), "ann", assistant.Conversation{ID: id}); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(removed, []string{"second"}) {
				t.Errorf("removed %q", removed)
			}
		})
	}
}
