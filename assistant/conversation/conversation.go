package conversation

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
)

// recallMessages is how many messages are read back at once.
const recallMessages = 200

// Conversation is a conversation in use: its log, its last messages, its questions in order of arrival,
// and, while there are any, the one goroutine that answers them. All methods are safe for concurrent use.
//
// A connection's own conversation has no id, is never stored and ends with its context. Any other is in
// the hub's list while it is open or an answer runs, and for ResumeWindow after.
type Conversation struct {
	// fixed
	id, owner string
	ctx       context.Context // running answers end with it
	hub       *Hub
	// writing holds one: who stores events before they are in the log, and so must know their numbers. Pieces of a
	// running answer are appended without it.
	writing chan struct{}

	load    sync.Once // reads what the store has
	loadErr error     // set by load
	isRead  atomic.Bool

	isHolding bool // the answering goroutine holds the claim; only it looks at this

	// under writing
	claim      assistant.Claim
	users      int               // of the claim
	isDoubtful bool              // the store may have more than the log: a claim that is given back settles that
	lingers    bool              // it is kept although it has no user
	lingering  *time.Timer       // ends that; nil = it never did
	late       *assistant.Ending // of an answer, which the store has not taken yet
	lateDone   chan struct{}     // closed when late has become nil
	kept       uint64            // the number of the last event that the store has

	mu        sync.Mutex
	own       ownFiles   // of a connection's own conversation
	view      *view.View // empty until it is read; another one where what it shows no longer holds
	running   *turn      // nil when idle
	pending   []*turn    // bounded by ask
	opened    int        // how often it is open
	followers []*Follower
	deleting  int                             // commands to delete it that are under way
	settled   map[string]assistant.RequestKey // calls of the last answer that were decided, and by which command; nil = none
	deleted   bool
	private   *assistant.Private // of the connection's own; nil = nothing
	alone     *time.Timer        // what happens when it is not open for long; nil = nothing
	ages      stream.Ages        // of the log
	trimmer   *time.Timer        // trims the log by its ages; nil when there are none
	mirror    mirror
	held      bool                           // this node has the claim
	heldAs    assistant.NodeID               // as which node
	claims    int                            // that this node has had
	remote    map[assistant.NodeID]time.Time // nodes on which it is open, each until then
	feeds     map[chan struct{}]struct{}     // of other nodes; each is woken when the claim is given back; nil = none
}

// windowParts is into how many parts, at most, a resume window is divided: events of one part are trimmed together.
const windowParts = 64

func newConversation(ctx context.Context, hub *Hub, owner, id string) *Conversation {
	c := &Conversation{id: id, owner: owner, ctx: ctx, hub: hub, writing: make(chan struct{}, 1)}
	c.viewLocked(assistant.State{})
	return c
}

// write waits until nobody else writes; after it without error comes written.
func (c *Conversation) write(ctx context.Context) error {
	select {
	case c.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Conversation) written() { <-c.writing }

// Close ends what Open began. It is called once.
func (c *Conversation) Close() {
	c.mu.Lock()
	c.opened--
	isOpen := c.opened > 0
	c.settleLocked()
	if !isOpen && c.mirror.unfeed != nil {
		c.mirror.unfeed()
	}
	c.mu.Unlock()
	if !isOpen {
		c.presence(false)
	}
}

// stored reports whether this is a stored conversation, and not a connection's own.
func (c *Conversation) stored() bool { return c.id != "" }

func (c *Conversation) owned() assistant.Owned { return assistant.Owned{Owner: c.owner, ID: c.id} }

// loadOnce loads what the store has, once, and returns the error of that.
func (c *Conversation) loadOnce() error {
	c.load.Do(func() { c.loadErr = c.read() })
	return c.loadErr
}

// read loads what the store has: the last page.
func (c *Conversation) read() error {
	c.writing <- struct{}{}
	defer c.written()
	if err := c.hub.enqueue(c.ctx, c.reload); err != nil {
		return err
	}
	c.isRead.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mirrorLocked()
	return nil
}

// viewLocked begins a view. writing is held, too.
func (c *Conversation) viewLocked(s assistant.State) {
	if s.Cursor.Epoch == "" { // the store keeps none
		s.Cursor.Epoch = assistant.NewID()
	}
	c.view, c.kept = view.New(s), s.Cursor.Seq
}

// readBack puts older messages before the given ones until enough says so or none is left. No lock is held.
func (c *Conversation) readBack(messages []assistant.Message, more bool, enough func([]assistant.Message) bool) ([]assistant.Message, bool, error) {
	for more && !enough(messages) {
		var before string
		if len(messages) > 0 {
			before = messages[0].ID
		}
		page, older, err := c.hub.store.Messages(c.hub.lasting(), c.owner, c.id, before, recallMessages)
		if err != nil {
			return nil, false, err
		}
		messages, more = append(page, messages...), older
	}
	return messages, more, nil
}

// open counts one more user.
func (c *Conversation) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened++
	c.settleLocked()
}

// aloneGrace is how long an answer that is to be cancelled without any socket waits for one on another node.
const aloneGrace = 5 * time.Second

// settleLocked decides what happens to a stored conversation that is not open: its answer may go on
// for a while, and its log is kept for clients that come back.
func (c *Conversation) settleLocked() {
	if c.alone != nil {
		c.alone.Stop()
		c.alone = nil
	}
	if !c.stored() || c.opened > 0 || c.deleted {
		return
	}
	if c.running == nil {
		c.alone = time.AfterFunc(c.hub.Using().resumeWindow(), func() {
			c.releaseIdle()
			c.hub.forget(c, c.unused)
		})
		return
	}
	if left := c.remoteLocked(); left > 0 {
		c.alone = time.AfterFunc(left, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.settleLocked()
		})
		return
	}
	grace := c.running.assistant.FinishAlone
	if c.running.assistant.CancelAlone {
		grace = 0
		if c.hub.othersLive() {
			grace = aloneGrace
		}
	}
	if grace == 0 {
		c.abandonLocked()
		return
	}
	c.alone = time.AfterFunc(grace, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.opened == 0 && c.remoteLocked() == 0 {
			c.abandonLocked()
		}
	})
}

// unused reports whether the conversation is neither open nor answering, nor has an answer's end still to be stored.
func (c *Conversation) unused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened == 0 && c.running == nil && !c.held
}

// abandonLocked stops the running answer and drops the questions that wait.
func (c *Conversation) abandonLocked() {
	c.dropPendingLocked()
	if c.running != nil {
		c.running.cancel(errAlone)
	}
}

// dropPendingLocked drops the questions that wait. They do not count: the model was not asked.
func (c *Conversation) dropPendingLocked() {
	for _, t := range c.pending {
		t.assistant.Observer.Waiting(-1)
		t.uncount()
	}
	c.pending = nil
}

// appendLocked adds an event to the view.
func (c *Conversation) appendLocked(e assistant.Event) {
	c.applyLocked(e)
	c.view.Log.Notify(false)
}

// applyLocked is appendLocked without a word to the followers.
func (c *Conversation) applyLocked(e assistant.Event) {
	seq := c.view.Apply(e)
	if c.running == nil || e.Kind == assistant.KindCompleted {
		c.markLocked(seq)
	}
}

// markLocked lets everything up to seq go when the resume window has passed. Events of a running answer get
// their mark with its end.
func (c *Conversation) markLocked(seq uint64) {
	if !c.stored() {
		return // its follower lets go
	}
	window := c.hub.Using().resumeWindow()
	c.ages.Note(seq, time.Now(), window/windowParts)
	if c.trimmer == nil {
		c.trimmer = time.AfterFunc(window, c.trim)
	}
}

// trim forgets what is older than the resume window.
func (c *Conversation) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	window := c.hub.Using().resumeWindow()
	c.view.Log.Trim(c.ages.Forget(time.Now().Add(-window)))
	c.trimmer = nil
	if at, ok := c.ages.Oldest(); ok {
		c.trimmer = time.AfterFunc(window-time.Since(at), c.trim)
	} else if c.running == nil {
		c.view.Forget(0, c.stored())
	}
}

// updatedLocked shows a conversation in its owner's list as it is since its last message, and other nodes where its log
// is. writing is held, too.
func (c *Conversation) updatedLocked() {
	if c.stored() && !c.deleted {
		c.hub.lists.Publish(c.owner, assistant.Change{Kind: assistant.ChangeUpdated, Conversation: c.view.Info})
		c.tellLocked(assistant.ChangeUpdated)
	}
}
