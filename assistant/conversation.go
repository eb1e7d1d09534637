package assistant

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
)

const (
	// maxLogBytes bounds what a conversation's log holds for followers that lag.
	maxLogBytes = 16 << 20
	// pageSize is how many messages a snapshot has.
	pageSize = 50
)

// conversation is a conversation in use: its log, its last messages, its questions in order of arrival,
// and, while there are any, the one goroutine that answers them (work, in answering.go).
//
// A connection's own conversation has no id, is never stored and ends with its session. Any other is in
// the hub's list while somebody follows it or an answer runs, and for ResumeWindow after.
type conversation struct {
	// fixed
	id, owner string
	epoch     string          // names the numbering of log
	ctx       context.Context // running answers end with it
	hub       *Hub
	log       *stream.Log[event]

	load    sync.Once // reads what the store has
	loadErr error     // set by load
	isRead  chan struct{}

	mu        sync.Mutex
	info      Conversation
	messages  []Message // the last ones, oldest first, without the running answer; only work changes them
	more      bool      // the store has older ones
	running   *turn     // nil when idle
	pending   []*turn   // bounded by ask
	followers int
	deleted   bool
	alone     *time.Timer // what happens when nobody follows for long; nil = nothing
	ended     []mark      // the ends of answers that are in the log, oldest first
}

// mark is the end of an answer in the log.
type mark struct {
	seq uint64
	at  time.Time
}

func newConversation(ctx context.Context, hub *Hub, owner, id string) *conversation {
	return &conversation{
		id: id, owner: owner, epoch: newID(), ctx: ctx, hub: hub,
		log: stream.New(maxLogBytes, event.size), isRead: make(chan struct{}),
	}
}

// stored tells a stored conversation from a connection's own.
func (c *conversation) stored() bool { return c.id != "" }

// read loads what the store has: the last page, or more where the model is to be told more.
func (c *conversation) read(contextTokens int) (err error) {
	defer caught(&err) // or whoever comes next would take it for read
	ctx, cancel := c.hub.storeContext()
	defer cancel()
	info, err := c.hub.store.Conversation(ctx, c.owner, c.id)
	if err != nil {
		return err
	}
	messages, more, err := c.readBack(ctx, nil, true, func(messages []Message) bool {
		return len(messages) >= pageSize && tokensOf(messages) >= contextTokens
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.info, c.messages, c.more = info, messages, more
	close(c.isRead)
	return nil
}

// readBack puts older messages before the given ones until enough says so or none is left. No lock is held.
func (c *conversation) readBack(ctx context.Context, messages []Message, more bool, enough func([]Message) bool) ([]Message, bool, error) {
	for more && !enough(messages) {
		var before string
		if len(messages) > 0 {
			before = messages[0].ID
		}
		page, older, err := c.hub.store.Messages(ctx, c.owner, c.id, before, pageSize)
		if err != nil {
			return nil, false, err
		}
		messages, more = append(page, messages...), older
	}
	return messages, more, nil
}

func tokensOf(messages []Message) (n int) {
	for _, m := range messages {
		n += tokens(m.Content)
	}
	return n
}

func (c *conversation) loaded() bool {
	select {
	case <-c.isRead:
		return true
	default:
		return false
	}
}

// follow and unfollow count followers.
func (c *conversation) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followers++
	c.settleLocked()
}

func (c *conversation) unfollow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followers--
	c.settleLocked()
}

func (c *conversation) unused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.followers == 0 && c.running == nil
}

// settleLocked decides what happens to a stored conversation that nobody follows: its answer may go on
// for a while, and its log is kept for those who come back.
func (c *conversation) settleLocked() {
	if c.alone != nil {
		c.alone.Stop()
		c.alone = nil
	}
	switch {
	case !c.stored() || c.followers > 0 || c.deleted:
	case c.running == nil:
		window := defaultResumeWindow
		if a := c.hub.Using(); a != nil {
			window = a.ResumeWindow
		}
		c.alone = time.AfterFunc(window, func() { c.hub.evict(c) })
	case c.running.assistant.CancelAlone:
		c.abandonLocked()
	default:
		c.alone = time.AfterFunc(c.running.assistant.FinishAlone, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.followers == 0 {
				c.abandonLocked()
			}
		})
	}
}

// abandonLocked stops the running answer and forgets the questions that wait.
func (c *conversation) abandonLocked() {
	c.forgetPendingLocked()
	if c.running != nil {
		c.running.cancel(errAlone)
	}
}

// forgetPendingLocked forgets the questions that wait. They do not count: nobody has been asked them.
func (c *conversation) forgetPendingLocked() {
	for _, t := range c.pending {
		t.assistant.Observer.Waiting(-1)
		t.uncount()
	}
	c.pending = nil
}

// ask puts t behind the questions that are there. When a question with its client id waits or is being
// answered already, the frames of that one answer t's request from now on, and t is dropped.
func (c *conversation) ask(t *turn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	asker := t.asker.Load()
	switch twin := c.twinLocked(t.question.ClientID); {
	case c.deleted:
		return refusal{ReasonUnknownTopic}
	case twin != nil:
		twin.askedBy(asker)
		return nil
	case c.hub.Draining():
		return refusal{ReasonDraining}
	case t.regenerate && !c.canRegenerateLocked():
		return refusal{ReasonNothingToRegenerate}
	case c.running != nil && len(c.pending) >= t.assistant.MaxPending:
		return refusal{ReasonBusy}
	}
	if !c.wasAsked(t.question.ClientID, t.replaces) {
		if err := t.count(); err != nil {
			return err
		}
	}
	t.askedBy(asker)
	switch {
	case c.running != nil:
		c.pending = append(c.pending, t)
		t.assistant.Observer.Waiting(1)
		t.tell(nil, event{kind: eventNotice, detail: notice(NoticeQueued)})
		return nil
	case !c.startLocked(t):
	case !c.hub.Go(c.work):
		t.cancel(nil)
		c.running = nil
		c.hub.end(t)
	default:
		return nil
	}
	asker.session.request(t.id, true)
	t.uncount()
	return refusal{ReasonDraining}
}

// twinLocked finds a question with that client id that waits or is being answered.
func (c *conversation) twinLocked(clientID string) *turn {
	for _, t := range c.unendedLocked() {
		if clientID != "" && t.question.ClientID == clientID {
			return t
		}
	}
	return nil
}

// unendedLocked are the turns that wait or are being answered.
func (c *conversation) unendedLocked() []*turn {
	turns := slices.Clone(c.pending)
	if c.running != nil && !c.running.ended {
		turns = append(turns, c.running)
	}
	return turns
}

func (c *conversation) canRegenerateLocked() bool {
	return c.running != nil || slices.ContainsFunc(c.messages, func(m Message) bool { return m.Role == RoleUser })
}

// stop ends the running answer, if messageID is its id or empty. Found is called with it first, before
// its last events are appended.
func (c *conversation) stop(messageID string, found func(*turn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.running; t != nil && !t.ended && (messageID == "" || messageID == t.id) {
		found(t)
		t.cancel(errStopped)
	}
}

// resume decides how a follower goes on that has seen everything up to after. It returns the number
// from which it follows, and what it is told first; snapshot is nil when after still is in the log.
func (c *conversation) resume(s *Session, from *SubscribePayload) (cursor uint64, subscribed SubscribedPayload, snapshot *SnapshotPayload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.log.Last()
	subscribed = SubscribedPayload{Epoch: c.epoch, Seq: last}
	if c.running != nil && c.running.shown {
		subscribed.Streaming = &c.running.id
	}
	if from != nil && from.Epoch == c.epoch && from.After <= last && c.log.Holds(from.After) {
		subscribed.Recovered = true
		return from.After, subscribed, nil
	}
	s.forget(c.topic(), c.unendedLocked()...) // the last frames of the others are skipped
	whole := c.snapshotLocked()
	return last, subscribed, &whole
}

// snapshotLocked is the conversation as it is after the last event of the log.
func (c *conversation) snapshotLocked() SnapshotPayload {
	first := max(0, len(c.messages)-pageSize)
	s := SnapshotPayload{
		Conversation: c.info, HasMore: c.more || first > 0,
		Messages: append([]Message{}, c.messages[first:]...),
	}
	if t := c.running; t != nil && t.shown {
		s.Streaming = &StreamingAnswer{t.id, t.text.String(), t.reasoning.String()}
	}
	return s
}

// rename tells the followers of a new title; by is who asked for it, nil where nobody did.
func (c *conversation) rename(info Conversation, by *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.info.Title = info.Title
	c.log.Append(event{kind: eventUpdated, detail: info, by: by})
}

// remove ends everything in the conversation, deletes it from the store and tells the followers.
func (c *conversation) remove(by *request) error {
	c.mu.Lock()
	for _, t := range c.pending {
		t.refuse(c, errorPayload(ReasonUnknownTopic, 0))
	}
	c.forgetPendingLocked()
	c.deleted = true
	running := c.running
	if running != nil {
		running.cancel(errStopped)
	}
	c.mu.Unlock()
	ctx, cancel := c.hub.storeContext()
	defer cancel()
	if running != nil {
		select {
		case <-running.done:
		case <-ctx.Done():
		}
	}
	err := c.erase(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.deleted = false
		return err
	}
	c.log.Append(event{kind: eventDeleted, detail: ConversationDeletedPayload{c.id}, by: by})
	return err
}

func (c *conversation) erase(ctx context.Context) (err error) {
	defer caught(&err)
	return c.hub.store.Delete(ctx, c.owner, c.id)
}

// indexOf returns where the message is, -1 when it is not there.
func indexOf(messages []Message, id string) int {
	return slices.IndexFunc(messages, func(m Message) bool { return m.ID == id })
}
