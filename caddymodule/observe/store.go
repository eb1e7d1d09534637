package observe

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/prometheus/client_golang/prometheus"
)

// observedStore measures the calls of a store's methods.
type observedStore struct {
	assistant.Store
	create, conversation, list, rename, remove, messages, messageByClientID, begin, extend, finish, deleteBefore storeCall
}

// Store wraps open, so that the calls of the store that it opens are measured under that name.
func Store(open func() (assistant.Store, error), handler, name string) func() (assistant.Store, error) {
	return func() (assistant.Store, error) {
		store, err := open()
		if err != nil {
			return nil, err
		}
		return observe(store, handler, name), nil
	}
}

func observe(store assistant.Store, handler, name string) *observedStore {
	call := func(operation string) storeCall {
		return storeCall{storeDuration.WithLabelValues(handler, name, operation), storeErrors.WithLabelValues(handler, name, operation)}
	}
	return &observedStore{
		Store: store, create: call("create"), conversation: call("conversation"), list: call("list"), rename: call("rename"),
		remove: call("delete"), messages: call("messages"), messageByClientID: call("message_by_client_id"), begin: call("begin"),
		extend: call("extend"), finish: call("finish"), deleteBefore: call("delete_before"),
	}
}

// storeCall holds the metrics of one method.
type storeCall struct {
	duration prometheus.Observer
	errors   prometheus.Counter
}

// ended measures a call; each method defers it.
func (c storeCall) ended(began time.Time, err *error) {
	c.duration.Observe(time.Since(began).Seconds())
	if *err != nil && !slices.ContainsFunc(answersOfStores, func(answer error) bool { return errors.Is(*err, answer) }) {
		c.errors.Inc()
	}
}

// answersOfStores lists errors that are answers: the store works.
var answersOfStores = []error{assistant.ErrNotFound, assistant.ErrDuplicate, assistant.ErrConversationFull}

func (s *observedStore) Create(ctx context.Context, owner string, c assistant.Conversation) (err error) {
	defer s.create.ended(time.Now(), &err)
	return s.Store.Create(ctx, owner, c)
}

func (s *observedStore) Conversation(ctx context.Context, owner, id string) (_ assistant.Conversation, err error) {
	defer s.conversation.ended(time.Now(), &err)
	return s.Store.Conversation(ctx, owner, id)
}

func (s *observedStore) List(ctx context.Context, owner string, after assistant.Conversation, limit int) (_ []assistant.Conversation, err error) {
	defer s.list.ended(time.Now(), &err)
	return s.Store.List(ctx, owner, after, limit)
}

func (s *observedStore) Rename(ctx context.Context, owner, id, title string) (_ assistant.Conversation, err error) {
	defer s.rename.ended(time.Now(), &err)
	return s.Store.Rename(ctx, owner, id, title)
}

func (s *observedStore) Delete(ctx context.Context, owner, id string) (err error) {
	defer s.remove.ended(time.Now(), &err)
	return s.Store.Delete(ctx, owner, id)
}

func (s *observedStore) Messages(ctx context.Context, owner, id, before string, limit int) (_ []assistant.Message, _ bool, err error) {
	defer s.messages.ended(time.Now(), &err)
	return s.Store.Messages(ctx, owner, id, before, limit)
}

func (s *observedStore) MessageByClientID(ctx context.Context, owner, id, clientID string) (_ []assistant.Message, err error) {
	defer s.messageByClientID.ended(time.Now(), &err)
	return s.Store.MessageByClientID(ctx, owner, id, clientID)
}

func (s *observedStore) Begin(ctx context.Context, owner, id string, b assistant.Beginning) (err error) {
	defer s.begin.ended(time.Now(), &err)
	return s.Store.Begin(ctx, owner, id, b)
}

func (s *observedStore) Extend(ctx context.Context, owner, id, messageID, text string) (err error) {
	defer s.extend.ended(time.Now(), &err)
	return s.Store.Extend(ctx, owner, id, messageID, text)
}

func (s *observedStore) Finish(ctx context.Context, owner, id string, at time.Time, messages ...assistant.Message) (err error) {
	defer s.finish.ended(time.Now(), &err)
	return s.Store.Finish(ctx, owner, id, at, messages...)
}

func (s *observedStore) DeleteBefore(ctx context.Context, t time.Time) (_ int, err error) {
	defer s.deleteBefore.ended(time.Now(), &err)
	return s.Store.DeleteBefore(ctx, t)
}

var _ assistant.Store = (*observedStore)(nil)
