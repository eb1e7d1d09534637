package conversation

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
	"go.uber.org/zap"
)

// A conversation that another node answers is shown here by the same events, with the same numbers. They come from the
// holder, through the broker, or from the store: whichever has them first.

const (
	// freshness is how old what this node knows of a conversation may be when someone begins to follow it.
	freshness = time.Second
	// patience is how long a conversation waits for news before it looks itself.
	patience = 5 * time.Second
	// catchUpBatches is how many batches are read from the store at once.
	catchUpBatches = 64
)

// mirror is what a conversation knows of its place among the nodes. It is under the conversation's lock.
type mirror struct {
	standing assistant.Standing // the last one heard of
	news     chan struct{}      // holds one: standing is new; nil before there was a goroutine
	runs     bool               // the goroutine that keeps the view as the holder's
	unfeed   context.CancelFunc // ends the feed that is under way; nil = there is none
	checked  time.Time          // when the store was asked last
	// what the holder was told last of this node's interest
	isPresent bool
	presented time.Time
	presentAt assistant.NodeID
	// of a view that another one has replaced
	former *stream.Log[assistant.Event]
	base   *assistant.Snapshot // for followers of the former log: the view after event number from
	from   uint64
}

// heard takes where the conversation is, as the store or another node says. It returns at once.
func (c *Conversation) heard(s assistant.Standing) {
	if s.Deleted {
		c.hub.vanished(s.Owned)
		return
	}
	if s.Epoch == "" {
		return // it is about the list
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &c.mirror
	if c.opened == 0 && c.running == nil {
		m.checked = time.Time{} // whoever opens it looks
		return
	}
	if m.unfeed != nil && (s.Epoch != m.standing.Epoch || s.Holder != m.standing.Holder) {
		m.unfeed()
	}
	if s.Change = ""; m.standing != s {
		m.standing = s
		stream.Wake(m.news)
	}
	c.mirrorLocked()
}

// mirrorLocked starts the goroutine that keeps the view as the holder's, where it is needed.
func (c *Conversation) mirrorLocked() {
	if !c.mirror.runs && c.isElsewhereLocked() {
		if c.mirror.news == nil {
			c.mirror.news = make(chan struct{}, 1)
		}
		c.mirror.runs = c.hub.Go(c.keepUp)
	}
}

// isElsewhereLocked reports whether the view may be behind what another node writes, and somebody looks.
func (c *Conversation) isElsewhereLocked() bool {
	s := c.mirror.standing
	return !c.deleted && c.isRead.Load() && (c.opened > 0 || c.running != nil) && !c.held &&
		(s.Holder != 0 && s.Holder != c.hub.node() || s.Epoch != "" && (s.Epoch != c.view.Epoch || s.Seq > c.view.Log.Last()))
}

// keepUp keeps the view as the holder's.
func (c *Conversation) keepUp() {
	c.hub.nodes.mirrored.Add(1)
	defer c.hub.nodes.mirrored.Add(-1)
	defer func() {
		if v := recover(); v != nil {
			c.mu.Lock()
			c.mirror.runs = false
			c.mu.Unlock()
			panic(v)
		}
	}()
	for {
		c.mu.Lock()
		s := c.mirror.standing
		if !c.isElsewhereLocked() || c.ctx.Err() != nil {
			c.mirror.runs = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		switch err := c.keepUpWith(s); {
		case errors.Is(err, assistant.ErrNotFound):
			c.hub.vanished(c.owned())
		case err != nil && c.ctx.Err() == nil:
			c.hub.log.Debug("conversation of another node not read", zap.String("conversation_id", c.id), zap.Error(err))
		}
		c.awaitNews()
	}
}

// awaitNews waits for a standing that differs, or until the store is to be looked at all the same.
func (c *Conversation) awaitNews() {
	timer := time.NewTimer(patience) // the hub looks more often, for all at once
	defer timer.Stop()
	select {
	case <-c.mirror.news:
	case <-c.ctx.Done():
	case <-timer.C:
		if err := c.refresh(); err != nil {
			c.hub.log.Debug("standing of a conversation not read", zap.String("conversation_id", c.id), zap.Error(err))
		}
	}
}

// keepUpWith takes what there is until s, and then what its holder shows as long as that can be followed.
func (c *Conversation) keepUpWith(s assistant.Standing) error {
	if err := c.catchUp(s); err != nil || s.Holder == 0 || s.Holder == c.hub.node() {
		return err
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	c.mu.Lock()
	c.mirror.unfeed = cancel
	at := c.view.Cursor()
	isNew := c.mirror.standing.Epoch != s.Epoch || c.mirror.standing.Holder != s.Holder || !c.isElsewhereLocked()
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mirror.unfeed = nil
	}()
	if isNew {
		return nil
	}
	c.presence(true)
	for b, err := range c.hub.follow(ctx, s.Holder, c.id, at) {
		if err == nil {
			err = c.applyBatch(b)
		}
		switch {
		case errors.Is(err, assistant.ErrNoNode): // the store has it, a little later
			return nil
		case errors.Is(err, assistant.ErrGone):
			return c.refresh()
		case err != nil:
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return c.refresh()
}

// applyBatch adds what another node has shown.
func (c *Conversation) applyBatch(b assistant.Batch) error {
	events, err := b.Events()
	if err != nil {
		return err
	}
	if err := c.write(c.ctx); err != nil {
		return err
	}
	defer c.shown() // after written
	defer c.written()
	if c.users > 0 || c.lingers {
		return nil // it is ours now
	}
	return c.applyEvents(b.Epoch, events)
}

// applyEvents adds the events that the view does not have yet. It returns [assistant.ErrGone] where some before them
// are missing. writing is held. Followers learn of them by shown.
func (c *Conversation) applyEvents(epoch string, events []assistant.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		switch last := c.view.Log.Last(); {
		case epoch != c.view.Epoch || e.Seq > last+1:
			return assistant.ErrGone
		case e.Seq <= last:
			continue
		}
		if replaced, ok := e.Body.(assistant.Replaced); ok && view.IndexOf(c.view.Messages, replaced.From) < 0 {
			return assistant.ErrGone // older than what is in memory
		}
		c.applyLocked(e)
		c.seenLocked(e)
	}
	return nil
}

// freshen makes sure that the view is as the store has had it that long ago at most, where another node may have
// written.
func (c *Conversation) freshen(age time.Duration) error {
	c.mu.Lock()
	isFresh := c.held || time.Since(c.mirror.checked) < age
	c.mu.Unlock()
	if isFresh || !c.stored() || !c.hub.isClustered() || !c.hub.othersLive() {
		return nil
	}
	err := c.refresh()
	if errors.Is(err, assistant.ErrNotFound) {
		c.hub.vanished(c.owned())
	}
	return err
}

// refresh makes the view as the store has it.
func (c *Conversation) refresh() error {
	standings, err := c.hub.store.Standings(c.hub.lasting(), []string{c.id})
	if err != nil {
		return err
	}
	for _, s := range standings {
		if s.Deleted || s.Owner != c.owner {
			return assistant.ErrNotFound
		}
		if err := c.catchUp(s); err != nil {
			return err
		}
		c.mu.Lock()
		c.mirror.checked = time.Now()
		c.mu.Unlock()
		c.heard(s)
	}
	return nil
}

// catchUp reads from the store what the view lacks until s.
func (c *Conversation) catchUp(s assistant.Standing) error {
	if err := c.write(c.ctx); err != nil {
		return err
	}
	defer c.written()
	if c.users > 0 || c.lingers {
		return nil // it is ours
	}
	return c.reach(s.Cursor)
}

// reach is catchUp up to a cursor. writing is held.
func (c *Conversation) reach(at assistant.Cursor) error {
	for {
		c.mu.Lock()
		have := c.view.Cursor()
		c.mu.Unlock()
		switch {
		case have.Epoch != at.Epoch:
			return c.reload()
		case have.Seq >= at.Seq:
			return nil
		}
		events, err := c.eventsAfter(have)
		if err == nil {
			err = c.applyEvents(have.Epoch, events)
			c.log().Notify(false)
		}
		switch {
		case errors.Is(err, assistant.ErrGone):
			return c.reload()
		case err != nil:
			return err
		}
	}
}

// eventsAfter returns the next events that the store has of the log after a cursor, at least one. It returns
// [assistant.ErrGone] where they are not there.
func (c *Conversation) eventsAfter(at assistant.Cursor) (events []assistant.Event, err error) {
	batches, err := c.hub.store.Events(c.hub.lasting(), c.owner, c.id, at, catchUpBatches)
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		some, err := b.Events()
		if err != nil {
			return nil, err
		}
		events = append(events, some...)
	}
	if len(events) == 0 {
		return nil, assistant.ErrGone
	}
	return events, nil
}

// reload begins another view, of what the store has now: its followers begin anew. writing is held.
func (c *Conversation) reload() error {
	state, err := c.hub.store.State(c.hub.lasting(), c.owner, c.id, view.PageMessages)
	if err != nil {
		return err
	}
	state.Conversation.ID = c.id // one string for both
	end, hasEnd := c.endSince(&state)
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &c.mirror
	former := c.view.Log
	c.viewLocked(state)
	c.ages = stream.Ages{}
	if c.isRead.Load() { // the view before it may have followers
		base := c.view.Snapshot()
		m.former, m.base, m.from = former, &base, c.view.Log.Last()
	}
	if hasEnd {
		c.appendLocked(end)
		c.seenLocked(end)
	}
	c.standLocked(state)
	former.End()
	return nil
}

// endSince returns the event that has ended the answer which the view shows as running, where that is the first event
// of another epoch: the node that answered was buried. The state is changed to the one before it, so that followers see
// the end as an event.
func (c *Conversation) endSince(s *assistant.State) (end assistant.Event, ok bool) {
	last := len(s.Messages) - 1
	if a := c.view.Running; a == nil || s.Cursor.Epoch == c.view.Epoch || s.Cursor.Seq != 1 || s.Running != nil || last < 0 || s.Messages[last].ID != a.ID {
		return end, false
	}
	events, err := c.eventsAfter(assistant.Cursor{Epoch: s.Cursor.Epoch})
	if err != nil || events[0].Kind != assistant.KindCompleted {
		return end, false
	}
	s.Running, s.Messages, s.Cursor.Seq = &s.Messages[last], s.Messages[:last], 0
	return events[0], true
}

// standLocked notes who holds the conversation, as a state says.
func (c *Conversation) standLocked(s assistant.State) {
	if !c.stored() || s.Cursor.Epoch == "" {
		return
	}
	c.mirror.checked = time.Now()
	c.mirror.standing = assistant.Standing{Owned: c.owned(), Cursor: s.Cursor, Holder: s.Holder}
	stream.Wake(c.mirror.news)
	c.mirrorLocked()
}

// Recall prepares for a client that comes back from another node: events after its cursor that this node has let go of,
// or never had, are read from the store, and those that it has seen and this node has not yet are waited for, up to a
// second.
func (c *Conversation) Recall(after assistant.Cursor) {
	if !c.stored() || !c.hub.isClustered() {
		return
	}
	c.mu.Lock()
	log, isCurrent := c.view.Log, after.Epoch == c.view.Epoch
	c.mu.Unlock()
	switch {
	case !isCurrent:
	case after.Seq > log.Last():
		c.await(log, after.Seq)
	case !log.Holds(after.Seq):
		c.readBefore(log, after)
	}
}

// await waits until a log has an event of that number, or a second.
func (c *Conversation) await(log *stream.Log[assistant.Event], seq uint64) {
	wake := make(chan struct{}, 1)
	defer log.Watch(func() { stream.Wake(wake) })()
	timer := time.NewTimer(freshness)
	defer timer.Stop()
	for log.Last() < seq {
		select {
		case <-wake:
		case <-timer.C:
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// readBefore puts what comes after a cursor in front of the log.
func (c *Conversation) readBefore(log *stream.Log[assistant.Event], after assistant.Cursor) {
	first := log.First()
	var events []assistant.Event
	for at := after; at.Seq < first; {
		more, err := c.eventsAfter(at)
		if err != nil {
			return
		}
		for _, e := range more {
			switch {
			case e.Seq <= at.Seq || e.Seq > first:
			case e.Seq > at.Seq+1, e.Kind == assistant.KindReplaced: // its snapshot is not known any more
				return
			default:
				events, at.Seq = append(events, e), e.Seq
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view.Log == log && log.Prepend(first, events) && c.view.Running == nil {
		c.markLocked(log.Last())
	}
}
