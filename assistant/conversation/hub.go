// Package conversation is the engine: conversations in use, and the loop that streams a model's answers into
// them.
//
//	Conversation.Do(Ask) ─► queue of turns
//	                          │ one goroutine while busy (answer.go)
//	                          ▼
//	           Provider.Stream ─► stream.Log ◄─ Follower.Read ◄─ a mouth: a socket, a terminal, a test
//
// A conversation is a log of numbered events. An answer is appended piece by piece, and every follower reads
// the log from its own cursor. So the model never waits for a client, no piece is dropped for a slow one, and
// clients never wait for each other.
//
// # The door
//
// [Hub.Open] opens a conversation for its owner, [Conversation.Do] gives it a command, and
// [Conversation.Follow] follows it from a cursor. What follows conversations for a client is a [Mouth].
//
// # What is promised
//
//   - Questions of one conversation are answered in the order of their arrival.
//   - Every KindStarted is followed by exactly one KindCompleted, also after an error, a stop or a panic.
//   - Of several providers the next one is asked only while nothing of the answer has been shown: no text
//     is doubled, and none is lost.
//   - When the context of a connection's own conversation ends, the model's request is cancelled. An
//     answer in a stored conversation goes on without any client, for [Config.FinishAlone].
//   - The question of a stored conversation is durable before its KindStarted; its answer is stored
//     while it streams, and whole before its KindCompleted.
//   - A follower that comes back gets the events that it missed, or a snapshot that contains them.
//   - What a log holds is counted exactly, bounded, and forgotten after [Config.ResumeWindow].
//   - No input, no model and no store ends the process: goroutines recover, queues are bounded, store calls
//     end.
//
// # Goroutines
//
// A conversation has one goroutine while a question waits or is being answered, started and waited for by the
// [Hub], and one that stores the answer meanwhile. A store call runs on a goroutine of its own, for which its
// caller waits, unless it hangs. No lock is held while a provider or a store is called.
//
// # Several nodes
//
// Where the store is shared, the node that answers in a conversation has its claim (claims.go) and lends its log to
// the others (lending.go). Each of them shows the same log, as a mirror (mirror.go), forwards questions to the holder
// (forward.go) and has it carry out the rest (requests.go). nodes.go keeps the hub one of the nodes.
//
// # What lives and what is configured
//
// A [Hub] holds what lives: conversations in use, mouths, what is counted for limits, the store. An
// [Assistant] is one generation of settings. [Hub.Use] makes a newer one count for the next question of every
// conversation; running answers keep theirs. So a change of the configuration disturbs no client.
package conversation

import (
	"context"
	"errors"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/feed"
	"github.com/caddy-assistant/caddy-assistant/assistant/guard"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"go.uber.org/zap"
)

// ErrStopping is why mouths and answers end when their Hub is closed or drained.
var ErrStopping = errors.New("server is stopping")

// closeGrace is how long Close goes on after its context: answers are stored, sockets say goodbye.
const closeGrace = time.Second

// Hub holds what is alive: conversations in use, mouths, the store, and their goroutines. It belongs to
// no generation of settings: [Hub.Use] replaces those while everything goes on. All methods are safe for
// concurrent use.
type Hub struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	store    *guard.Guarded
	log      *zap.Logger
	accounts *limits.Accounts
	current  atomic.Pointer[Assistant] // the newest settings
	lists    feed.Feeds
	nodes    nodes
	reading  chan struct{} // holds one for each read that enqueue lets through

	// Locks are taken in this order: inUseMu, that of a conversation, mu, those of mouths.
	inUseMu sync.Mutex
	inUse   map[string]*Conversation

	telling   sync.Mutex // held while other nodes are told whether this one drains
	mu        sync.Mutex
	draining  *drain                  // no new mouths and turns; nil = serving
	closing   bool                    // and that for good
	closed    bool                    // no new goroutines
	answering map[*turn]*Conversation // turns that run
	mouths    map[Mouth]struct{}
	wg        sync.WaitGroup
}

// NewHub makes a Hub on a store, which stays the caller's to close. A nil logger means none. A store that is an
// [assistant.Cluster] needs [Hub.Connect], too.
func NewHub(store assistant.Store, log *zap.Logger) *Hub {
	if log == nil {
		log = zap.NewNop()
	}
	h := &Hub{log: log, accounts: limits.NewAccounts(), reading: make(chan struct{}, maxReading), answering: make(map[*turn]*Conversation),
		mouths: make(map[Mouth]struct{}), inUse: make(map[string]*Conversation)}
	h.store = guard.Store(store, h.observer)
	if bounded, ok := store.(assistant.Bounded); ok {
		bounded.Watch(h.isUsed, h.removed)
	}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	h.accounts.Share(limits.Sharing{Ledger: h.store, Ctx: h.ctx, Go: h.Go, Observer: h.observer, Log: log})
	return h
}

// Use makes a the settings of every conversation's next turn and returns the ones before it, nil at first.
// Running answers keep the settings that they began with.
func (h *Hub) Use(a *Assistant) (previous *Assistant) { return h.current.Swap(a) }

// Using returns the newest settings; nil before the first [New] or Use.
func (h *Hub) Using() *Assistant { return h.current.Load() }

// Accounts returns what is counted for limits.
func (h *Hub) Accounts() *limits.Accounts { return h.accounts }

func (h *Hub) observer() assistant.Observer {
	if a := h.Using(); a != nil {
		return a.Observer
	}
	return assistant.NoObserver{}
}

// Go runs f on a goroutine that Close waits for. A panic of f is logged and goes no further. It returns
// false, and does nothing, once the Hub is closed.
func (h *Hub) Go(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				h.log.Error("goroutine panicked", zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
			}
		}()
		f()
	})
	return true
}

// ErrClosed says that a Hub is closed.
var ErrClosed = errors.New("assistant is closed")

// Run calls f with a context that ends with ctx and with the Hub, which waits for f. Once the Hub is closed
// it returns ErrClosed and does nothing.
func (h *Hub) Run(ctx context.Context, f func(context.Context) error) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return ErrClosed
	}
	h.wg.Add(1)
	h.mu.Unlock()
	defer h.wg.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.ctx, func() { cancel(ErrStopping) })()
	return f(ctx)
}

// Close refuses new turns, announces that to mouths, waits until running answers have ended or ctx is done, interrupts
// the rest, ends every mouth and waits a second at most. Its error says that something was still alive then.
func (h *Hub) Close(ctx context.Context) error {
	d := h.drain(true)
	grace, cancel := h.quieten(ctx, d)
	defer cancel()
	h.Go(h.releaseIdle)
	h.cancel(ErrStopping)
	h.mu.Lock()
	h.closed, d.over = true, true
	for m := range h.mouths {
		m.End(ErrStopping)
	}
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-grace.Done():
		return errors.New("sessions or answers did not end in time")
	}
}

// begin counts a turn of c that is about to run; false once the hub drains.
func (h *Hub) begin(c *Conversation, t *turn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining != nil {
		return false
	}
	t.started = now()
	h.answering[t] = c
	return true
}

func (h *Hub) end(t *turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.answering, t)
	if h.draining != nil {
		h.draining.settle(len(h.answering))
	}
}

// reclaim undoes end, of a turn that another node was to answer. A hub that drains ends the turn: its client asks again
// elsewhere.
func (h *Hub) reclaim(c *Conversation, t *turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining != nil {
		t.cancel(ErrStopping)
		return
	}
	h.answering[t] = c
}

// lasting is the context of store calls that must end well, whatever becomes of their cause. Each call has a
// deadline of its own.
func (h *Hub) lasting() context.Context { return context.WithoutCancel(h.ctx) }

// Allowed returns [assistant.ErrNotFound] when the user has no conversation of this id. Missing and foreign look
// alike.
func (h *Hub) Allowed(ctx context.Context, user, id string) error {
	if c := h.used(id); c != nil {
		if c.owner != user {
			return assistant.ErrNotFound
		}
		return nil
	}
	return h.enqueue(ctx, func() error {
		_, err := h.store.Conversation(ctx, user, id)
		return err
	})
}

const (
	// maxReading is how many reads for who begins to follow a conversation the store has at once. When thousands come
	// back at the same time, the others wait here: in the store, they would use up the time that each call has.
	maxReading = 16
	// maxQueued is how long they wait.
	maxQueued = 30 * time.Second
)

var errQueued = errors.New("too many conversations are to be read")

// enqueue calls read when its turn has come.
func (h *Hub) enqueue(ctx context.Context, read func() error) error {
	if err := h.awaitTurn(ctx); err != nil {
		return err
	}
	defer func() { <-h.reading }()
	return read()
}

func (h *Hub) awaitTurn(ctx context.Context) error {
	select {
	case h.reading <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxQueued, errQueued)
	defer cancel()
	select {
	case h.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Open opens a stored conversation of the owner's. Its Close must be called once. One that is missing, or
// another's, is a refusal: not_found.
func (h *Hub) Open(owner, id string) (*Conversation, error) {
	h.inUseMu.Lock()
	c := h.inUse[id]
	if c == nil {
		c = newConversation(h.ctx, h, owner, id)
		h.inUse[id] = c
	}
	c.open()
	h.inUseMu.Unlock()
	err := c.loadOnce()
	if err != nil {
		h.forget(c, always) // the next one tries again
	} else if c.owner != owner {
		err = assistant.ErrNotFound
	} else {
		err = c.freshen(freshness)
	}
	if err != nil {
		c.Close()
		return nil, assistant.OfStore(err)
	}
	return c, nil
}

// OpenOwn makes a connection's own conversation: it starts empty, is never stored, and ends with ctx.
func (h *Hub) OpenOwn(ctx context.Context, owner string) *Conversation {
	c := newConversation(ctx, h, owner, "")
	c.open()
	return c
}

// Create stores a new conversation of the owner's.
func (h *Hub) Create(ctx context.Context, owner, title string) (assistant.Conversation, error) {
	c := assistant.Conversation{ID: assistant.NewID(), Title: title, CreatedAt: now()}
	c.UpdatedAt = c.CreatedAt
	if err := h.store.Create(ctx, owner, c); err != nil {
		return c, assistant.OfStore(err)
	}
	h.changed(owner, assistant.ChangeCreated, c)
	return c, nil
}

// Do gives a command to a stored conversation of the owner's that the caller has not opened. After a deletion no
// one finds it any more.
func (h *Hub) Do(ctx context.Context, owner, id string, cmd assistant.Command) (assistant.Receipt, error) {
	c, err := h.Open(owner, id)
	if err != nil {
		return assistant.Receipt{}, err
	}
	defer c.Close()
	r, err := c.Do(ctx, cmd)
	if _, deletes := cmd.(assistant.Delete); deletes && (err == nil || assistant.Describe(err).Reason == assistant.ReasonNotFound) {
		h.forget(c, always)
	}
	return r, err
}

// Rename gives a stored conversation of the owner's a title, and returns it as it is then. It loads no messages.
func (h *Hub) Rename(ctx context.Context, owner, id string, cmd assistant.Rename) (assistant.Conversation, error) {
	if c := h.used(id); c != nil && c.owner == owner {
		return c.rename(ctx, cmd, nil)
	}
	info, err := h.renameUnused(ctx, owner, id, cmd)
	if _, isHeld := errors.AsType[*assistant.HeldError](err); isHeld { // by a node that answers in it
		c, err := h.Open(owner, id)
		if err != nil {
			return info, err
		}
		defer c.Close()
		return c.rename(ctx, cmd, nil)
	}
	if err != nil {
		return info, h.unheld(err)
	}
	h.inUseMu.Lock()
	c := h.inUse[id]
	h.inUseMu.Unlock()
	if c != nil && c.loadOnce() == nil && !h.isClustered() { // it was opened meanwhile
		c.renamed(info, cmd.From)
		return info, nil
	}
	h.changed(owner, assistant.ChangeUpdated, info)
	return info, nil
}

// renameUnused renames a conversation of which this node has no view.
func (h *Hub) renameUnused(ctx context.Context, owner, id string, cmd assistant.Rename) (info assistant.Conversation, err error) {
	claim, at, err := h.store.Claim(ctx, owner, id)
	if err != nil {
		return info, err
	}
	seq, events := at.Seq, []assistant.Event(nil)
	if info, err = h.store.Rename(ctx, owner, id, cmd.Title, nil); err == nil {
		seq++
		events = []assistant.Event{{Seq: seq, Kind: assistant.KindRenamed, From: cmd.From, Body: assistant.Renamed{Conversation: info}}}
	}
	if err := h.store.Release(h.lasting(), claim, seq, events); err != nil {
		h.log.Warn("give a conversation back", zap.String("conversation_id", id), zap.Error(err))
	}
	s := assistant.Standing{Owned: claim.Owned, Cursor: assistant.Cursor{Epoch: at.Epoch, Seq: seq}}
	h.announce(s)
	if c := h.used(id); c != nil {
		c.heard(s)
	}
	return info, err
}

// conversations returns those that are in use, in no order.
func (h *Hub) conversations() []*Conversation {
	h.inUseMu.Lock()
	defer h.inUseMu.Unlock()
	return slices.Collect(maps.Values(h.inUse))
}

// used returns the conversation if it is in use.
func (h *Hub) used(id string) *Conversation {
	h.inUseMu.Lock()
	defer h.inUseMu.Unlock()
	if c := h.inUse[id]; c != nil && c.isRead.Load() {
		return c
	}
	return nil
}

// forget takes c from the list, if it is still so then; its followers go on.
func (h *Hub) forget(c *Conversation, still func() bool) {
	h.inUseMu.Lock()
	defer h.inUseMu.Unlock()
	if h.inUse[c.id] == c && still() {
		delete(h.inUse, c.id)
	}
}

func always() bool { return true }
