// Package guard makes a store one that its callers can rely on: whatever the store does, each call ends.
package guard

import (
	"context"
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
func Store(store assistant.Store, observer func() assistant.Observer) assistant.Store {
	return &guarded{store, observer}
}

type guarded struct {
	assistant.Store // for Close; all other methods are below
	observer        func() assistant.Observer
}

type outcome[T any] struct {
	value T
	err   error
}

// call runs one call of the store. A store that ignores its context keeps the goroutine, not the caller.
func call[T any](s *guarded, ctx context.Context, name string, f func(context.Context) (T, error)) (T, error) {
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
func do(s *guarded, ctx context.Context, name string, f func(context.Context) error) error {
	_, err := call(s, ctx, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

func (s *guarded) Create(ctx context.Context, owner string, c assistant.Conversation) error {
	return do(s, ctx, "create", func(ctx context.Context) error { return s.Store.Create(ctx, owner, c) })
}

func (s *guarded) Conversation(ctx context.Context, owner, id string) (assistant.Conversation, error) {
	return call(s, ctx, "conversation", func(ctx context.Context) (assistant.Conversation, error) {
		return s.Store.Conversation(ctx, owner, id)
	})
}

func (s *guarded) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	return call(s, ctx, "list", func(ctx context.Context) ([]assistant.Conversation, error) {
		return s.Store.List(ctx, owner, after, limit)
	})
}

func (s *guarded) Rename(ctx context.Context, owner, id, title string, was *string) (assistant.Conversation, error) {
	return call(s, ctx, "rename", func(ctx context.Context) (assistant.Conversation, error) {
		return s.Store.Rename(ctx, owner, id, title, was)
	})
}

func (s *guarded) Delete(ctx context.Context, owner, id string) error {
	return do(s, ctx, "delete", func(ctx context.Context) error { return s.Store.Delete(ctx, owner, id) })
}

func (s *guarded) Messages(ctx context.Context, owner, id, before string, limit int) ([]assistant.Message, bool, error) {
	type page struct {
		messages []assistant.Message
		more     bool
	}
	p, err := call(s, ctx, "messages", func(ctx context.Context) (p page, err error) {
		p.messages, p.more, err = s.Store.Messages(ctx, owner, id, before, limit)
		return p, err
	})
	return p.messages, p.more, err
}

func (s *guarded) MessageByClientID(ctx context.Context, owner, id, clientID string) ([]assistant.Message, error) {
	return call(s, ctx, "message_by_client_id", func(ctx context.Context) ([]assistant.Message, error) {
		return s.Store.MessageByClientID(ctx, owner, id, clientID)
	})
}

func (s *guarded) Begin(ctx context.Context, owner, id string, b assistant.Beginning) error {
	return do(s, ctx, "begin", func(ctx context.Context) error { return s.Store.Begin(ctx, owner, id, b) })
}

func (s *guarded) Extend(ctx context.Context, owner, id, messageID string, offset int, parts assistant.Parts) error {
	return do(s, ctx, "extend", func(ctx context.Context) error { return s.Store.Extend(ctx, owner, id, messageID, offset, parts) })
}

func (s *guarded) Finish(ctx context.Context, owner, id string, at time.Time, messages ...assistant.Message) error {
	return do(s, ctx, "finish", func(ctx context.Context) error { return s.Store.Finish(ctx, owner, id, at, messages...) })
}

func (s *guarded) DeleteBefore(ctx context.Context, t time.Time, limit int) ([]assistant.Owned, error) {
	return call(s, ctx, "delete_before", func(ctx context.Context) ([]assistant.Owned, error) { return s.Store.DeleteBefore(ctx, t, limit) })
}

var _ assistant.Store = (*guarded)(nil)
