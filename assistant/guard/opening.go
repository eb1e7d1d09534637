package guard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.uber.org/zap"
)

const (
	// firstPause is the time between the first attempts to open a store. It doubles up to maxPause.
	firstPause = time.Second
	maxPause   = 15 * time.Second
)

// Opening is a store that may not be open yet. Calls wait for the first attempt to open it. If that fails, they
// return its error until a later attempt succeeds.
type Opening struct {
	// fixed
	open   func(context.Context) (assistant.Store, error)
	log    *zap.Logger
	cancel context.CancelFunc
	first  chan struct{} // closed after the first attempt
	ended  chan struct{} // closed when nothing runs in the background

	mu     sync.Mutex
	store  assistant.Store // nil = not open
	err    error           // of the last attempt
	damage error
	watch  func(assistant.Bounded) // set by Watch; nil before
}

// checker is a store that can look for damage. Check takes long, and other calls go on meanwhile.
type checker interface{ Check(context.Context) error }

// Open opens a store. Where that fails with [assistant.ErrUnavailable], or takes longer than ctx, attempts go on in
// the background until Close, and the store is returned as it is. Any other error is returned. Faults are logged, and
// so is damage, for which a store is checked in the background that has a method Check(context.Context) error.
func Open(ctx context.Context, open func(context.Context) (assistant.Store, error), log *zap.Logger) (*Opening, error) {
	o := &Opening{open: open, log: log, first: make(chan struct{}), ended: make(chan struct{})}
	var running context.Context
	running, o.cancel = context.WithCancel(context.WithoutCancel(ctx))
	refused := make(chan bool, 1)
	go o.run(running, refused)
	select {
	case <-o.first:
	case <-ctx.Done():
		refused <- false
		log.Warn("store is still being opened; until then stored conversations cannot be used")
		return o, nil
	}
	_, err := o.current()
	isFatal := err != nil && !errors.Is(err, assistant.ErrUnavailable)
	if refused <- isFatal; isFatal {
		_ = o.Close()
		return nil, err
	}
	return o, nil
}

// run opens the store and checks it. After the first attempt it waits to learn whether its error was fatal.
func (o *Opening) run(ctx context.Context, refused <-chan bool) {
	defer close(o.ended)
	isOpen := o.attempt(ctx)
	close(o.first)
	if <-refused {
		return
	}
	for pause := firstPause; !isOpen; pause = min(2*pause, maxPause) {
		_, err := o.current()
		o.log.Error("store cannot be opened; trying again", zap.Duration("pause", pause), zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if isOpen = o.attempt(ctx); isOpen {
			o.log.Info("store is open now")
		}
	}
	o.check(ctx)
}

func (o *Opening) attempt(ctx context.Context) bool {
	store, err := o.opened(ctx)
	o.mu.Lock()
	o.store, o.err = store, err
	watch := o.watch
	o.mu.Unlock()
	if bounded, ok := store.(assistant.Bounded); ok && watch != nil {
		watch(bounded)
	}
	return err == nil
}

// Watch implements [assistant.Bounded]: the store is told where it is bounded, once it is open.
func (o *Opening) Watch(inUse func(id string) bool, removed func(assistant.Owned)) {
	o.mu.Lock()
	o.watch = func(store assistant.Bounded) { store.Watch(inUse, removed) }
	bounded, ok := o.store.(assistant.Bounded)
	o.mu.Unlock()
	if ok {
		bounded.Watch(inUse, removed)
	}
}

func (o *Opening) opened(ctx context.Context) (store assistant.Store, err error) {
	defer assistant.Catch(&err)
	return o.open(ctx)
}

func (o *Opening) check(ctx context.Context) {
	store, ok := o.store.(checker) // only run writes it
	if !ok {
		return
	}
	var err error
	func() {
		defer assistant.Catch(&err)
		err = store.Check(ctx)
	}()
	if err == nil || ctx.Err() != nil {
		return
	}
	o.log.Error("store is damaged: restore a backup, or copy what can still be read into a new one", zap.Error(err))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.damage = err
}

// Damage returns what a check has found, nil as long as nothing is known.
func (o *Opening) Damage() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.damage
}

// Ping returns nil if the store answers.
func (o *Opening) Ping(ctx context.Context) error {
	_, err := call(Store(o, func() assistant.Observer { return assistant.NoObserver{} }), ctx, "ping", func(ctx context.Context) (assistant.Conversation, error) {
		return o.Conversation(ctx, "", assistant.NewID())
	})
	if errors.Is(err, assistant.ErrNotFound) {
		return nil
	}
	return err
}

// Close ends the attempts, or closes the store.
func (o *Opening) Close() error {
	o.cancel()
	<-o.ended
	if store, err := o.current(); err == nil {
		return store.Close()
	}
	return nil
}

// current returns the store, or why there is none.
func (o *Opening) current() (assistant.Store, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.store, o.err
}

// Opened returns the store that was opened, or why there is none. It waits for the first attempt.
func (o *Opening) Opened(ctx context.Context) (assistant.Store, error) {
	select {
	case <-o.first:
		return o.current()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Create implements [assistant.Store], as do the methods below.
func (o *Opening) Create(ctx context.Context, owner string, c assistant.Conversation) error {
	s, err := o.Opened(ctx)
	if err != nil {
		return err
	}
	return s.Create(ctx, owner, c)
}

// Conversation returns one conversation.
func (o *Opening) Conversation(ctx context.Context, owner, id string) (assistant.Conversation, error) {
	s, err := o.Opened(ctx)
	if err != nil {
		return assistant.Conversation{}, err
	}
	return s.Conversation(ctx, owner, id)
}

// List returns conversations.
func (o *Opening) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	s, err := o.Opened(ctx)
	if err != nil {
		return nil, err
	}
	return s.List(ctx, owner, after, limit)
}

// Rename sets a title.
func (o *Opening) Rename(ctx context.Context, owner, id, title string, was *string) (assistant.Conversation, error) {
	s, err := o.Opened(ctx)
	if err != nil {
		return assistant.Conversation{}, err
	}
	return s.Rename(ctx, owner, id, title, was)
}

// Delete removes a conversation.
func (o *Opening) Delete(ctx context.Context, owner, id string) error {
	s, err := o.Opened(ctx)
	if err != nil {
		return err
	}
	return s.Delete(ctx, owner, id)
}

// Messages returns a page of messages.
func (o *Opening) Messages(ctx context.Context, owner, id, before string, limit int) ([]assistant.Message, bool, error) {
	s, err := o.Opened(ctx)
	if err != nil {
		return nil, false, err
	}
	return s.Messages(ctx, owner, id, before, limit)
}

// MessageByClientID returns a message and its answer.
func (o *Opening) MessageByClientID(ctx context.Context, owner, id, clientID string) ([]assistant.Message, error) {
	s, err := o.Opened(ctx)
	if err != nil {
		return nil, err
	}
	return s.MessageByClientID(ctx, owner, id, clientID)
}

// Private returns what a conversation keeps for itself.
func (o *Opening) Private(ctx context.Context, owner, id string) (assistant.Private, error) {
	s, err := o.Opened(ctx)
	if err != nil {
		return assistant.Private{}, err
	}
	return s.Private(ctx, owner, id)
}

// Begin stores the start of a turn.
func (o *Opening) Begin(ctx context.Context, c assistant.Claim, b assistant.Beginning) error {
	s, err := o.Opened(ctx)
	if err != nil {
		return err
	}
	return s.Begin(ctx, c, b)
}

// Extend stores more of an answer.
func (o *Opening) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	s, err := o.Opened(ctx)
	if err != nil {
		return err
	}
	return s.Extend(ctx, c, e)
}

// Finish stores final messages.
func (o *Opening) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	s, err := o.Opened(ctx)
	if err != nil {
		return err
	}
	return s.Finish(ctx, c, e)
}

// Waiting finds what waits for a person.
func (o *Opening) Waiting(ctx context.Context, t time.Time, limit int) ([]assistant.Owned, error) {
	s, err := o.Opened(ctx)
	if err != nil {
		return nil, err
	}
	return s.Waiting(ctx, t, limit)
}

// DeleteBefore removes old conversations.
func (o *Opening) DeleteBefore(ctx context.Context, t time.Time, limit int) ([]assistant.Owned, error) {
	s, err := o.Opened(ctx)
	if err != nil {
		return nil, err
	}
	return s.DeleteBefore(ctx, t, limit)
}

var _ assistant.Bounded = (*Opening)(nil)
