package guard_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/guard"
)

// odd is a store whose calls do what it is told.
type odd struct {
	assistant.Store
	call func(ctx context.Context) error
}

func (s odd) Conversation(ctx context.Context, _, _ string) (assistant.Conversation, error) {
	return assistant.Conversation{}, s.call(ctx)
}

// timed is an Observer of store calls.
type timed struct {
	assistant.NoObserver
	mu    sync.Mutex
	calls []string
}

func (o *timed) Stored(operation string, took time.Duration, _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, operation+" "+took.String())
}

// expectCall holds that a call of a store, each call of which does what *does does, reaches the store, ends and is timed.
func expectCall(t *testing.T, does *func(context.Context) error, observer *timed, name string, call func() error) {
	t.Helper()
	*does = func(context.Context) error { return nil }
	if err := call(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	*does = func(context.Context) error { panic("out of order") }
	if err := call(); err == nil || !strings.Contains(err.Error(), "panic: out of order") {
		t.Errorf("%s that panics: %v", name, err)
	}
	*does = func(context.Context) error { time.Sleep(time.Hour); return nil }
	began := time.Now()
	if err := call(); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 11*time.Second {
		t.Errorf("%s that hangs: %v after %v", name, err, time.Since(began))
	}
	if want := []string{name + " 0s", name + " 0s", name + " 11s"}; !slices.Equal(observer.calls, want) {
		t.Errorf("observed %q, want %q", observer.calls, want)
	}
	observer.calls = nil
	time.Sleep(2 * time.Hour) // the bubble waits for the call that hangs
	synctest.Wait()
}

// TestCalls holds that each call of a store ends, also one of a store that listens to nothing, and is timed.
func TestCalls(t *testing.T) {
	for _, test := range []struct {
		name  string
		call  func(ctx context.Context) error
		takes time.Duration
		err   string
	}{
		{"answers", func(context.Context) error { return assistant.ErrNotFound }, 0, "not found"},
		{"listens", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 10 * time.Second, "deadline exceeded"},
		{"is done late", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(900 * time.Millisecond); return nil }, 10900 * time.Millisecond, ""},
		{"hangs", func(context.Context) error { time.Sleep(time.Hour); return nil }, 11 * time.Second, "deadline exceeded"},
		{"panics", func(context.Context) error { panic("out of order") }, 0, "panic: out of order"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				observer := &timed{}
				store := guard.Store(odd{call: test.call}, func() assistant.Observer { return observer })
				began := time.Now()
				_, err := store.Conversation(t.Context(), "ann", "id")
				if took := time.Since(began); took != test.takes {
					t.Errorf("took %v, want %v", took, test.takes)
				}
				if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
					t.Errorf("got %v", err)
				}
				if want := []string{"conversation " + test.takes.String()}; !slices.Equal(observer.calls, want) {
					t.Errorf("observed %q, want %q", observer.calls, want)
				}
				time.Sleep(2 * time.Hour) // the bubble waits for the call that hangs
			})
		})
	}
}

// TestCallEndsWithItsCaller holds that a call ends soon after the caller's context.
func TestCallEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := odd{call: func(context.Context) error { time.Sleep(time.Hour); return nil }}
		store := guard.Store(hangs, func() assistant.Observer { return assistant.NoObserver{} })
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		began := time.Now()
		if _, err := store.Conversation(ctx, "ann", "id"); !errors.Is(err, gone) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(2 * time.Hour)
	})
}

// TestOwed reads messages as they were shown, until the store has them or they are gone.
func TestOwed(t *testing.T) {
	store := &owing{messages: []assistant.Message{{ID: "q", Content: "why"}, {ID: "a", Status: assistant.StatusStreaming}}, err: errors.New("disk is full")}
	s := guard.Store(store, func() assistant.Observer { return assistant.NoObserver{} })
	failed := assistant.Message{ID: "a", Status: assistant.StatusFailed}
	read := func() assistant.Status {
		t.Helper()
		page, _, err := s.Messages(t.Context(), "ann", "id", "", 2)
		pair, err2 := s.MessageByClientID(t.Context(), "ann", "id", "c")
		if err != nil || err2 != nil || page[1].Status != pair[1].Status || page[0].Content != "why" {
			t.Fatalf("got %v, %v, %v, %v", page, pair, err, err2)
		}
		return page[1].Status
	}
	for _, end := range []error{nil, assistant.ErrNotFound, assistant.ErrLost} {
		store.err = errors.New("disk is full")
		s.Owe(failed)
		if err := s.Finish(t.Context(), assistant.Claim{}, assistant.Ending{Messages: []assistant.Message{failed}}); err == nil || read() != assistant.StatusFailed {
			t.Errorf("while it is owed: %s, %v", read(), err)
		}
		store.err = end
		if _ = s.Finish(t.Context(), assistant.Claim{}, assistant.Ending{Messages: []assistant.Message{failed}}); read() != assistant.StatusStreaming {
			t.Errorf("after %v: %s", end, read())
		}
	}
}

// owing is a store whose Finish fails.
type owing struct {
	assistant.Store
	messages []assistant.Message
	err      error
}

func (s *owing) Messages(context.Context, string, string, string, int) ([]assistant.Message, bool, error) {
	return slices.Clone(s.messages), false, nil
}

func (s *owing) MessageByClientID(context.Context, string, string, string) ([]assistant.Message, error) {
	return slices.Clone(s.messages), nil
}

func (s *owing) Finish(context.Context, assistant.Claim, assistant.Ending) error { return s.err }
