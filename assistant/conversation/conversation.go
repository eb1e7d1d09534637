package conversation

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
)

const (
	// maxLogBytes bounds what a conversation's log holds for followers that lag.
	maxLogBytes = 16 << 20
	// pageMessages and pageBytes bound a page of messages, such as a snapshot has. One message is always in
	// it.
	pageMessages = 50
	pageBytes    = 1 << 20
	// recallMessages is how many messages are read back at once.
	recallMessages = 200
)

// Conversation is a conversation in use: its log, its last messages, its questions in order of arrival,
// and, while there are any, the one goroutine that answers them. All methods are safe for concurrent use.
//
// A connection's own conversation has no id, is never stored and ends with its context. Any other is in
// the hub's list while it is open or an answer runs, and for ResumeWindow after.
type Conversation struct {
	// fixed
	id, owner string
	epoch     string          // names the numbering of log
	ctx       context.Context // running answers end with it
	hub       *Hub
	log       *stream.Log[assistant.Event]
	renames   chan struct{} // holds one: the rename under way, so that events come in the store's order

	load    sync.Once // reads what the store has
	loadErr error     // set by load
	isRead  atomic.Bool

	mu        sync.Mutex
	info      assistant.Conversation
	messages  []assistant.Message // the last ones, oldest first, without the running answer; only work changes them
	more      bool                // the store has older ones
	running   *turn               // nil when idle
	pending   []*turn             // bounded by ask
	opened    int                 // how often it is open
	followers []*Follower
	deleted   bool
	gone      uint64      // the number of KindDeleted; 0 = it has not come
	alone     *time.Timer // what happens when it is not open for long; nil = nothing
	ages      stream.Ages // of the log
	trimmer   *time.Timer // trims the log by its ages; nil when there are none
}

// windowParts is into how many parts, at most, a resume window is divided: events of one part are trimmed together.
const windowParts = 64

func newConversation(ctx context.Context, hub *Hub, owner, id string) *Conversation {
	return &Conversation{
		id: id, owner: owner, epoch: assistant.NewID(), ctx: ctx, hub: hub,
		log: stream.New(maxLogBytes, assistant.Event.Size), renames: make(chan struct{}, 1),
	}
}

// Close ends what Open began. It is called once.
func (c *Conversation) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened--
	c.settleLocked()
}

// stored reports whether this is a stored conversation, and not a connection's own.
func (c *Conversation) stored() bool { return c.id != "" }

// loadOnce loads what the store has, once, and returns the error of that.
func (c *Conversation) loadOnce() error {
	c.load.Do(func() { c.loadErr = c.read() })
	return c.loadErr
}

// read loads what the store has: the last page.
func (c *Conversation) read() error {
	ctx := c.hub.lasting()
	info, err := c.hub.store.Conversation(ctx, c.owner, c.id)
	if err != nil {
		return err
	}
	messages, more, err := c.hub.store.Messages(ctx, c.owner, c.id, "", pageMessages)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.info, c.messages, c.more = info, messages, more
	c.isRead.Store(true)
	return nil
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

func tokensOf(messages []assistant.Message) (n int) {
	for _, m := range messages {
		n += limits.Tokens(m.Content)
	}
	return n
}

// open counts one more user.
func (c *Conversation) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened++
	c.settleLocked()
}

// settleLocked decides what happens to a stored conversation that is not open: its answer may go on
// for a while, and its log is kept for clients that come back.
func (c *Conversation) settleLocked() {
	if c.alone != nil {
		c.alone.Stop()
		c.alone = nil
	}
	switch {
	case !c.stored() || c.opened > 0 || c.deleted:
	case c.running == nil:
		c.alone = time.AfterFunc(c.hub.Using().resumeWindow(), func() { c.hub.forget(c, c.unused) })
	case c.running.assistant.CancelAlone:
		c.abandonLocked()
	default:
		c.alone = time.AfterFunc(c.running.assistant.FinishAlone, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.opened == 0 {
				c.abandonLocked()
			}
		})
	}
}

// unused reports whether the conversation is neither open nor answering.
func (c *Conversation) unused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened == 0 && c.running == nil
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

// appendLocked adds an event to the log.
func (c *Conversation) appendLocked(e assistant.Event) {
	seq := c.log.Append(e)
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
	c.log.Trim(c.ages.Forget(time.Now().Add(-window)))
	c.trimmer = nil
	if at, ok := c.ages.Oldest(); ok {
		c.trimmer = time.AfterFunc(window-time.Since(at), c.trim)
	} else if c.running == nil {
		c.forgetLocked(0)
	}
}

// forgetLocked lets go the oldest messages that the store has too, but keeps at least a page, and as many as have
// that many tokens.
func (c *Conversation) forgetLocked(tokens int) {
	n := 0
	for left := len(c.messages) - pageMessages; left >= pageMessages && tokensOf(c.messages[n+pageMessages:]) >= tokens; left -= pageMessages {
		n += pageMessages
	}
	if n > 0 {
		c.messages, c.more = slices.Clone(c.messages[n:]), c.more || c.stored()
	}
}

// updatedLocked shows a conversation in its owner's list as it is since its last message.
func (c *Conversation) updatedLocked(at time.Time) {
	if c.info.UpdatedAt = at; c.stored() && !c.deleted {
		c.hub.changed(c.owner, assistant.ChangeUpdated, c.info)
	}
}

// snapshotLocked is the conversation as it is after the last event of the log.
func (c *Conversation) snapshotLocked() assistant.Snapshot {
	page := lastPage(c.messages, pageMessages)
	s := assistant.Snapshot{
		Conversation: c.info, HasMore: c.more || len(page) < len(c.messages),
		Messages: append([]assistant.Message{}, page...),
	}
	if t := c.running; t != nil && t.shown {
		s.Running = &assistant.Running{ID: t.id, Content: t.text.Text(), Reasoning: t.text.Reasoning()}
	}
	return s
}

// lastPage returns the last messages: at most limit, of at most pageBytes, but at least one.
func lastPage(messages []assistant.Message, limit int) []assistant.Message {
	first, size := len(messages), 0
	for first > 0 && len(messages)-first < limit {
		if size += messages[first-1].Size(); size > pageBytes && first < len(messages) {
			break
		}
		first--
	}
	return messages[first:]
}

// indexOf returns where the message is, -1 when it is not there.
func indexOf(messages []assistant.Message, id string) int {
	return slices.IndexFunc(messages, func(m assistant.Message) bool { return m.ID == id })
}
