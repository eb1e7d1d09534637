package conversation

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"go.uber.org/zap"
)

// hold makes this node the one that writes to the conversation, until drop, and the view what the store has. Where
// another node does, the error is an [*assistant.HeldError].
func (c *Conversation) hold(ctx context.Context) error {
	if !c.stored() {
		return nil
	}
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.written()
	if c.lingers && c.claim.Node != c.hub.node() { // this node was buried
		c.lingers = false
		c.release()
	}
	if c.users > 0 || c.lingers {
		c.users++
		c.lingers = false
		return nil
	}
	claim, at, err := c.hub.store.Claim(ctx, c.owner, c.id)
	if err != nil {
		return err
	}
	if at.Epoch != "" {
		if err = c.reach(at); err == nil && c.cursor() != at {
			err = errors.New("log of a conversation does not end where the store says")
		}
	}
	if err != nil {
		return errors.Join(err, c.hub.store.Release(c.hub.lasting(), claim, at.Seq, nil))
	}
	c.claim, c.users, c.kept = claim, 1, c.view.Log.Last()
	c.hub.nodes.held.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held, c.heldAs = true, claim.Node
	c.claims++
	return nil
}

// unheld is what a client learns of an error of hold: a node that drains takes no more claims.
func (h *Hub) unheld(err error) error {
	if h.Draining() && !errors.Is(err, assistant.ErrNotFound) {
		return assistant.Refuse(assistant.ReasonDraining)
	}
	return assistant.OfStore(err)
}

// drop ends what hold began. The last one gives the claim back, unless no other node lives: then it lingers for the next
// question, which saves two calls of the store.
func (c *Conversation) drop() {
	if !c.stored() {
		return
	}
	c.writing <- struct{}{}
	defer c.written()
	if c.users--; c.users > 0 {
		return
	}
	if c.claim.Node != 0 && c.claim.Node == c.hub.node() && !c.hub.othersLive() && !c.hub.Draining() && !c.isDoubtful {
		c.lingers = true
		if c.lingering == nil {
			c.lingering = time.AfterFunc(lingerTime, c.releaseIdle)
		} else {
			c.lingering.Reset(lingerTime)
		}
		return
	}
	c.release()
}

// lingerTime is how long a claim is kept that no one uses, while this node is alone.
const lingerTime = time.Minute

// releaseIdle gives a claim back that lingers.
func (c *Conversation) releaseIdle() {
	c.writing <- struct{}{}
	defer c.written()
	if c.lingers {
		c.lingers = false
		c.release()
	}
}

// release gives the claim back. writing is held.
func (c *Conversation) release() {
	defer c.hub.nodes.held.Add(-1)
	err := c.hub.store.Release(c.hub.lasting(), c.claim, c.view.Log.Last(), c.unstored(nil))
	if errors.Is(err, assistant.ErrLost) {
		err = c.reload()
	}
	if err != nil && !errors.Is(err, assistant.ErrNotFound) {
		c.hub.log.Warn("give a conversation back", zap.String("conversation_id", c.id), zap.Error(err))
	}
	c.claim, c.isDoubtful = assistant.Claim{}, false
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	c.kept = c.view.Log.Last()
	c.tellLocked("")
	for wake := range c.feeds {
		stream.Wake(wake)
	}
	c.settleLocked()
	c.mirrorLocked()
}

// holds reports whether this node writes to the conversation.
func (c *Conversation) holds() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// take makes sure that the answering goroutine holds the claim.
func (c *Conversation) take() error {
	if c.isHolding {
		return nil
	}
	err := c.hold(c.hub.lasting())
	c.isHolding = err == nil
	return err
}

// letGo gives back what the answering goroutine holds, if nothing waits for it.
func (c *Conversation) letGo(isLost bool) {
	c.mu.Lock()
	isIdle := len(c.pending) == 0
	c.mu.Unlock()
	if c.isHolding && (isIdle || isLost) {
		c.isHolding = false
		c.drop()
	}
}

// tellLocked tells other nodes where the conversation is, and what has become of it in its owner's list.
func (c *Conversation) tellLocked(change assistant.ChangeKind) {
	if !c.stored() || !c.hub.isClustered() {
		return
	}
	s := assistant.Standing{Owned: c.owned(), Cursor: assistant.Cursor{Epoch: c.view.Epoch, Seq: c.kept}, Change: change}
	if c.held {
		s.Holder = c.claim.Node
	}
	c.hub.announce(s)
}

// proven waits until this node is sure to be taken for alive, where others live: until then it shows nothing, since
// they may have ended its answers. It returns at once as long as that is certain.
func (c *Conversation) proven(t *turn) error {
	if c.claim.Node == 0 || time.Now().Before(t.proven) {
		return nil
	}
	for {
		until, others := c.hub.store.Lease()
		switch {
		case c.hub.node() != c.claim.Node: // after the lease, which may be another node's
			return assistant.ErrLost
		case others == 0 || time.Now().Before(until):
			t.proven = until
			return nil
		case !recorder.Pause(t.ctx, leasePause):
			return context.Cause(t.ctx)
		}
	}
}

// mayBeBuried reports whether another node may have ended the running answer, because this one was taken for dead.
func (c *Conversation) mayBeBuried() bool {
	if c.claim.Node == 0 {
		return false
	}
	until, _ := c.hub.store.Lease()
	return c.hub.node() != c.claim.Node || !time.Now().Before(until)
}

// leasePause is how long a holder waits before it looks again whether its lease is renewed.
const leasePause = 50 * time.Millisecond

// lose ends a turn whose claim is lost: the store has ended its answer, and the view becomes what the store has.
func (c *Conversation) lose(t *turn) {
	t.finish, t.reason = assistant.FinishInterrupted, ""
	t.pay()
	c.logEnd(t, assistant.ErrLost)
	c.mu.Lock()
	t.ended = true
	c.mu.Unlock()
	c.letGo(true)
}

// present notes that the conversation is open on another node.
func (c *Conversation) present(node assistant.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.remote == nil {
		c.remote = make(map[assistant.NodeID]time.Time)
	}
	c.remote[node] = time.Now().Add(presenceFor)
	c.settleLocked()
}

func (c *Conversation) absent(node assistant.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.remote, node)
	c.settleLocked()
}

// isLent reports whether this node holds the conversation and another shows it.
func (c *Conversation) isLent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held && c.remoteLocked() > 0
}

// remoteLocked returns for how long the conversation counts as open on another node; 0 = it is not.
func (c *Conversation) remoteLocked() (left time.Duration) {
	for node, until := range c.remote {
		if d := time.Until(until); d > 0 {
			left = max(left, d)
		} else {
			delete(c.remote, node)
		}
	}
	return left
}

// presence tells the holder that the conversation is open here, now and then, or that it is not any more.
func (c *Conversation) presence(isOpen bool) {
	c.mu.Lock()
	m := &c.mirror
	holder := m.standing.Holder
	isOpen = isOpen && c.opened > 0
	isDue := isOpen != m.isPresent || isOpen && time.Since(m.presented) > presenceFor/3 || holder != m.presentAt
	if holder == 0 || c.held || !isDue || !isOpen && !m.isPresent {
		c.mu.Unlock()
		return
	}
	m.isPresent, m.presented, m.presentAt = isOpen, time.Now(), holder
	c.mu.Unlock()
	kind := requestAbsence
	if isOpen {
		kind = requestPresence
	}
	c.hub.Go(func() {
		_, _ = c.hub.call(c.hub.lasting(), holder, request{Kind: kind, Owner: c.owner, Conversation: c.id}) // the next one tells
	})
}
