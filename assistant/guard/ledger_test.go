package guard_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/guard"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"go.uber.org/zap"
)

// book is a ledger whose calls do what they are told, and change what it has then.
type book struct {
	assistant.Store
	call    func(ctx context.Context) error
	state   []byte
	made    error // of the last change
	changed chan struct{}
}

var bookTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (b *book) Account(ctx context.Context, payer string, change func([]byte, time.Time) ([]byte, error)) error {
	if err := errors.Join(told([]any{payer}, []any{"ann"}), b.call(ctx)); err != nil {
		return err
	}
	next, err := change(b.state, bookTime)
	if b.made = err; err == nil {
		b.state = next
	}
	close(b.changed)
	return err
}

func (b *book) ForgetAccounts(ctx context.Context, idle time.Duration, limit int) (int, error) {
	return 7, errors.Join(told([]any{idle, limit}, []any{time.Hour, 9}), b.call(ctx))
}

func newBook() *book {
	return &book{Store: memory.Open(memory.Config{}), call: func(context.Context) error { return nil }, state: []byte("old"), changed: make(chan struct{})}
}

// TestLedgerCalls holds that each call reaches the ledger, ends, and is timed.
func TestLedgerCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, observer := newBook(), &timed{}
		o := opening(t, b)
		s := guard.Store(o, func() assistant.Observer { return observer })
		defer s.Close()
		calls := map[string]func() error{
			"account": func() error {
				b.changed = make(chan struct{})
				return s.Account(t.Context(), "ann", func(state []byte, now time.Time) ([]byte, error) {
					return append(slices.Clone(state), '+'), told([]any{now}, []any{bookTime})
				})
			},
			"forget_accounts": func() error {
				n, err := s.ForgetAccounts(t.Context(), time.Hour, 9)
				if err == nil && n != 7 {
					t.Errorf("forgot %d", n)
				}
				return err
			},
		}
		for name, call := range calls {
			expectCall(t, &b.call, observer, name, call)
		}
		if string(b.state) != "old+" {
			t.Errorf("the state is %q", b.state)
		}
	})
}

// TestLateChange holds that a change is not called any more once its call has returned, and that it cannot be made then.
func TestLateChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.call = func(context.Context) error { time.Sleep(time.Hour); return nil }
		s := guard.Store(b, unobserved)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		called := false
		err := s.Account(ctx, "ann", func([]byte, time.Time) ([]byte, error) {
			called = true
			return []byte("new"), nil
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v", err)
		}
		<-b.changed
		if called || b.made == nil || string(b.state) != "old" {
			t.Errorf("called: %v, the state is %q: %v", called, b.state, b.made)
		}
	})
}

// TestErrorOfChange holds that an error of the change is returned, and a panic of it is one, but that neither is one of the
// store.
func TestErrorOfChange(t *testing.T) {
	for name, change := range map[string]func([]byte, time.Time) ([]byte, error){
		"error": func([]byte, time.Time) ([]byte, error) { return nil, errAway },
		"panic": func([]byte, time.Time) ([]byte, error) { panic(errAway.Error()) },
	} {
		failures := &failures{}
		s := guard.Store(newBook(), func() assistant.Observer { return failures })
		if err := s.Account(t.Context(), "ann", change); err == nil || !strings.Contains(err.Error(), errAway.Error()) {
			t.Errorf("%s: got error %v", name, err)
		}
		if len(failures.all) != 1 || failures.all[0] != nil {
			t.Errorf("%s: observed %v", name, failures.all)
		}
	}
}

// failures is an Observer of the errors of store calls.
type failures struct {
	assistant.NoObserver
	all []error
}

func (f *failures) Stored(_ string, _ time.Duration, err error) { f.all = append(f.all, err) }

// TestNoLedger holds that a store which is no ledger says so, without a call; and one that is not open, why.
func TestNoLedger(t *testing.T) {
	observer := &timed{}
	change := func([]byte, time.Time) ([]byte, error) { return nil, errors.New("called") }
	for _, store := range []assistant.Store{memory.Open(memory.Config{}), opening(t, memory.Open(memory.Config{}))} {
		s := guard.Store(store, func() assistant.Observer { return observer })
		if err := s.Account(t.Context(), "ann", change); !errors.Is(err, assistant.ErrNoLedger) {
			t.Errorf("got error %v", err)
		}
		if _, err := s.ForgetAccounts(t.Context(), time.Hour, 9); !errors.Is(err, assistant.ErrNoLedger) {
			t.Errorf("got error %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(observer.calls) > 0 {
		t.Errorf("observed %q", observer.calls)
	}
	synctest.Test(t, func(t *testing.T) {
		patient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		o, err := guard.Open(patient, func(context.Context) (assistant.Store, error) {
			time.Sleep(time.Minute)
			return newBook(), nil
		}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		s := guard.Store(o, func() assistant.Observer { return observer })
		defer s.Close()
		began := time.Now()
		if err := s.Account(t.Context(), "ann", change); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("got error %v after %v", err, time.Since(began))
		}
		if want := []string{"account 10s"}; !slices.Equal(observer.calls, want) {
			t.Errorf("observed %q, want %q", observer.calls, want)
		}
		time.Sleep(time.Minute)
	})
}
