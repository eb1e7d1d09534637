// Package guard makes a store one that its callers can rely on: whatever the store does, each call ends.
package guard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	// timeout bounds one call of the store.
	timeout = 10 * time.Second
	// grace is how long a call may take to notice its timeout. One that takes longer hangs, and is
	// left alone.
	grace = time.Second
)

// Store returns the store with a guard around each call but Close: it has a deadline of 10 seconds, a panic becomes
// its error, and a call that hangs a second longer is left behind. Each call is timed for the observer of the time.
//
// Whatever the store is, it can be used as an [assistant.Cluster]: one that is none is a cluster of one node, which may
// write to every conversation. [Guarded.Cluster] says which it is.
func Store(store assistant.Store, observer func() assistant.Observer) *Guarded {
	return &Guarded{Store: store, observer: observer}
}

// Guarded is a store with a guard.
type Guarded struct {
	assistant.Store // for Close; all other methods are here, in cluster.go and in ledger.go
	observer        func() assistant.Observer

	owed sync.Map // assistant.Message by ID, which Finish has still to store
}

// Owe makes what is read of messages what was shown of them, until Finish has stored them, or finds them deleted or the
// claim lost.
func (s *Guarded) Owe(messages ...assistant.Message) {
	for _, m := range messages {
		s.owed.Store(m.ID, m)
	}
}

// shown returns messages as they were shown, where the store does not have that yet.
func (s *Guarded) shown(messages []assistant.Message) []assistant.Message {
	for i, m := range messages {
		if owed, ok := s.owed.Load(m.ID); ok {
			messages[i] = owed.(assistant.Message)
		}
	}
	return messages
}

type outcome[T any] struct {
	value T
	err   error
}

// call runs one call of the store. A store that ignores its context keeps the goroutine, not the caller.
func call[T any](s *Guarded, ctx context.Context, name string, f func(context.Context) (T, error)) (T, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan outcome[T], 1)
	go func() {
		var o outcome[T]
		defer func() { done <- o }()
		defer assistant.Catch(&o.err)
		o.value, o.err = f(ctx)
	}()
	var o outcome[T]
	select {
	case o = <-done:
	case <-ctx.Done():
		o = late(ctx, done)
	}
	s.observer().Stored(name, time.Since(began), o.err)
	return o.value, o.err
}

// late waits a little longer for a call whose context has ended: it may have succeeded all the same.
func late[T any](ctx context.Context, done <-chan outcome[T]) (o outcome[T]) {
	hangs := time.NewTimer(grace)
	defer hangs.Stop()
	select {
	case o = <-done:
	case <-hangs.C:
		o.err = context.Cause(ctx)
	}
	return o
}

// do is call for methods that return nothing but an error.
func do(s *Guarded, ctx context.Context, name string, f func(context.Context) error) error {
	_, err := call(s, ctx, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

func (s *Guarded) Create(ctx context.Context, owner string, c assistant.Conversation) error {
	return do(s, ctx, "create", func(ctx context.Context) error { return s.Store.Create(ctx, owner, c) })
}

func (s *Guarded) Conversation(ctx context.Context, owner, id string) (assistant.Conversation, error) {
	return call(s, ctx, "conversation", func(ctx context.Context) (assistant.Conversation, error) {
		return s.Store.Conversation(ctx, owner, id)
	})
}

func (s *Guarded) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	return call(s, ctx, "list", func(ctx context.Context) ([]assistant.Conversation, error) {
		return s.Store.List(ctx, owner, after, limit)
	})
}

func (s *Guarded) Rename(ctx context.Context, owner, id, title string, was *string) (assistant.Conversation, error) {
	return call(s, ctx, "rename", func(ctx context.Context) (assistant.Conversation, error) {
		return s.Store.Rename(ctx, owner, id, title, was)
	})
}

func (s *Guarded) Delete(ctx context.Context, owner, id string) error {
	return do(s, ctx, "delete", func(ctx context.Context) error { return s.Store.Delete(ctx, owner, id) })
}

func (s *Guarded) Messages(ctx context.Context, owner, id, before string, limit int) ([]assistant.Message, bool, error) {
	type page struct {
		messages []assistant.Message
		more     bool
	}
	p, err := call(s, ctx, "messages", func(ctx context.Context) (p page, err error) {
		p.messages, p.more, err = s.Store.Messages(ctx, owner, id, before, limit)
		return p, err
	})
	return s.shown(p.messages), p.more, err
}

func (s *Guarded) MessageByClientID(ctx context.Context, owner, id, clientID string) ([]assistant.Message, error) {
	messages, err := call(s, ctx, "message_by_client_id", func(ctx context.Context) ([]assistant.Message, error) {
		return s.Store.MessageByClientID(ctx, owner, id, clientID)
	})
	return s.shown(messages), err
}

func (s *Guarded) Private(ctx context.Context, owner, id string) (assistant.Private, error) {
	return call(s, ctx, "private", func(ctx context.Context) (assistant.Private, error) { return s.Store.Private(ctx, owner, id) })
}

func (s *Guarded) Begin(ctx context.Context, c assistant.Claim, b assistant.Beginning) error {
	return do(s, ctx, "begin", func(ctx context.Context) error { return s.Store.Begin(ctx, c, b) })
}

func (s *Guarded) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	return do(s, ctx, "extend", func(ctx context.Context) error { return s.Store.Extend(ctx, c, e) })
}

func (s *Guarded) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	err := do(s, ctx, "finish", func(ctx context.Context) error { return s.Store.Finish(ctx, c, e) })
	if err == nil || errors.Is(err, assistant.ErrNotFound) || errors.Is(err, assistant.ErrLost) {
		for _, m := range e.Messages {
			s.owed.Delete(m.ID)
		}
	}
	return err
}

func (s *Guarded) Waiting(ctx context.Context, t time.Time, limit int) ([]assistant.Owned, error) {
	return call(s, ctx, "waiting", func(ctx context.Context) ([]assistant.Owned, error) { return s.Store.Waiting(ctx, t, limit) })
}

func (s *Guarded) DeleteBefore(ctx context.Context, t time.Time, limit int) ([]assistant.Owned, error) {
	return call(s, ctx, "delete_before", func(ctx context.Context) ([]assistant.Owned, error) { return s.Store.DeleteBefore(ctx, t, limit) })
}
