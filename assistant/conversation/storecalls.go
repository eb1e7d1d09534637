package conversation

import (
	"context"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	// storeTimeout bounds one call of the store.
	storeTimeout = 10 * time.Second
	// storeGrace is how long a call may take to notice its timeout. One that takes longer hangs, and is
	// left alone.
	storeGrace = time.Second
)

// storeCalls is the store as the engine uses it. Each call ends: it has a deadline, a panic becomes its
// error, and one that hangs is left behind. Each call is timed for the observer.
type storeCalls struct {
	assistant.Store // for Close; all other methods are below
	hub             *Hub
}

type outcome[T any] struct {
	value T
	err   error
}

// call runs one call of the store. A store that ignores its context keeps the goroutine, not the caller.
func call[T any](s *storeCalls, ctx context.Context, name string, f func(context.Context) (T, error)) (T, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
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
	s.hub.observer().Stored(name, time.Since(began), o.err)
	return o.value, o.err
}

// late waits a little longer for a call whose context has ended: it may have succeeded all the same.
func late[T any](ctx context.Context, done <-chan outcome[T]) (o outcome[T]) {
	hangs := time.NewTimer(storeGrace)
	defer hangs.Stop()
	select {
	case o = <-done:
	case <-hangs.C:
		o.err = context.Cause(ctx)
	}
	return o
}

// do is call for methods that return nothing but an error.
func do(s *storeCalls, ctx context.Context, name string, f func(context.Context) error) error {
	_, err := call(s, ctx, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

func (s *storeCalls) Create(ctx context.Context, owner string, c assistant.Conversation) error {
	return do(s, ctx, "create", func(ctx context.Context) error { return s.Store.Create(ctx, owner, c) })
}

func (s *storeCalls) Conversation(ctx context.Context, owner, id string) (assistant.Conversation, error) {
	return call(s, ctx, "conversation", func(ctx context.Context) (assistant.Conversation, error) {
		return s.Store.Conversation(ctx, owner, id)
	})
}

func (s *storeCalls) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	return call(s, ctx, "list", func(ctx context.Context) ([]assistant.Conversation, error) {
		return s.Store.List(ctx, owner, after, limit)
	})
}

func (s *storeCalls) Rename(ctx context.Context, owner, id, title string, was *string) (assistant.Conversation, error) {
	return call(s, ctx, "rename", func(ctx context.Context) (assistant.Conversation, error) {
		return s.Store.Rename(ctx, owner, id, title, was)
	})
}

func (s *storeCalls) Delete(ctx context.Context, owner, id string) error {
	return do(s, ctx, "delete", func(ctx context.Context) error { return s.Store.Delete(ctx, owner, id) })
}

func (s *storeCalls) Messages(ctx context.Context, owner, id, before string, limit int) ([]assistant.Message, bool, error) {
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

func (s *storeCalls) MessageByClientID(ctx context.Context, owner, id, clientID string) ([]assistant.Message, error) {
	return call(s, ctx, "message_by_client_id", func(ctx context.Context) ([]assistant.Message, error) {
		return s.Store.MessageByClientID(ctx, owner, id, clientID)
	})
}

func (s *storeCalls) Begin(ctx context.Context, owner, id string, b assistant.Beginning) error {
	return do(s, ctx, "begin", func(ctx context.Context) error { return s.Store.Begin(ctx, owner, id, b) })
}

func (s *storeCalls) Extend(ctx context.Context, owner, id, messageID string, offset int, parts assistant.Parts) error {
	return do(s, ctx, "extend", func(ctx context.Context) error { return s.Store.Extend(ctx, owner, id, messageID, offset, parts) })
}

func (s *storeCalls) Finish(ctx context.Context, owner, id string, at time.Time, messages ...assistant.Message) error {
	return do(s, ctx, "finish", func(ctx context.Context) error { return s.Store.Finish(ctx, owner, id, at, messages...) })
}

func (s *storeCalls) DeleteBefore(ctx context.Context, t time.Time, limit int) ([]string, error) {
	return call(s, ctx, "delete_before", func(ctx context.Context) ([]string, error) { return s.Store.DeleteBefore(ctx, t, limit) })
}
