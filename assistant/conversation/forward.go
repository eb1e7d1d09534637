package conversation

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
)

const (
	// takeOver is how long a question waits for a conversation that another node holds and cannot be asked for: longer
	// than it takes to bury a node.
	takeOver = 15 * time.Second
	// askAgain is how often a node is reminded of a question of which nothing was heard since.
	askAgain = 5 * time.Second
	// askPause is the pause before a question is tried again, the first time.
	askPause = 20 * time.Millisecond
	// callTimeout bounds one call of another node.
	callTimeout = 5 * time.Second
)

// away is a turn that another node is to answer. It is under the conversation's lock.
type away struct {
	ended   chan struct{} // closed when its end, or its refusal, has come
	isOver  bool
	holder  assistant.NodeID // the node that was asked; 0 = none
	outcome error            // why there is no answer of this turn; nil = there is, or was
}

// obtain makes this node the one that answers t, or has the one answer that does. answered reports that: then nothing
// is left to do. The error is a refusal, or the store's.
func (c *Conversation) obtain(t *turn) (answered bool, err error) {
	until, at := time.Now().Add(takeOver), c.cursor()
	for pause := askPause; ; pause = min(2*pause, time.Second) {
		var err error
		isAccepted := c.isAccepted(t)
		if isAccepted {
			err = c.take()
		}
		held, isHeld := errors.AsType[*assistant.HeldError](err)
		switch {
		case !isAccepted, err == nil && !c.isAccepted(t):
			return false, assistant.Refuse(assistant.ReasonDraining) // which its origin takes for errMoved
		case err == nil:
			return false, nil
		case !isHeld:
			return false, c.hub.unheld(err)
		}
		accepted := false
		if err = nil; held.Holder != c.hub.node() { // not a rename that is under way, or a claim that nobody knows of
			accepted, err = c.forward(t, held.Holder)
		}
		switch {
		case err != nil:
			return false, err
		case accepted && c.isAnswered(t):
			return true, nil
		case accepted, c.cursor() != at: // the conversation is alive
			until, at, pause = time.Now().Add(takeOver), c.cursor(), askPause
		case time.Now().After(until):
			return false, assistant.Refuse(assistant.ReasonBusy)
		}
		if !recorder.Pause(t.ctx, pause) {
			return false, assistant.Refuse(assistant.ReasonBusy)
		}
	}
}

// isAccepted reports whether the claim is the one under which another node's turn was accepted. Under a later one that
// node may have answered it, and others may have replaced the answer.
func (c *Conversation) isAccepted(t *turn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.origin == 0 || c.held && t.accepted == c.claims
}

// isAnswered reports whether the turn has had its end or its refusal, or was stopped here.
func (c *Conversation) isAnswered(t *turn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.away.isOver || t.ctx.Err() != nil
}

// forward asks the holder to answer t, and waits until that is over one way or another. accepted is false where it was
// not asked, and must be asked again. The error is a refusal.
func (c *Conversation) forward(t *turn, holder assistant.NodeID) (accepted bool, err error) {
	c.lend(t, holder)
	defer c.lend(t, 0)
	c.hub.end(t) // this node may go without waiting for it
	defer c.hub.reclaim(c, t)
	c.heard(assistant.Standing{Owned: c.owned(), Cursor: c.cursor(), Holder: holder})
	for t.ctx.Err() == nil {
		reply, err := c.hub.call(t.ctx, holder, askRequest(c, t))
		switch {
		case err != nil:
			return accepted, nil
		case reply.Outcome == outcomeRefused && reply.Failed.Reason == assistant.ReasonDraining:
			return accepted, nil // this node takes over when that one has let go
		case reply.Outcome == outcomeRefused:
			return true, reply.refusal()
		case reply.Outcome == outcomeJoined:
			c.joined(t, reply.Run)
			return true, nil
		case reply.Outcome != outcomeAccepted:
			return accepted, nil
		case reply.Queued && !accepted:
			c.notify(t, assistant.NoticeQueued)
		}
		accepted = true
		select {
		case <-t.away.ended:
			if outcome := t.away.outcome; !errors.Is(outcome, errMoved) {
				return true, outcome
			}
			return false, nil
		case <-t.ctx.Done():
		case <-time.After(askAgain):
			if c.leftBy(holder) {
				return accepted, nil
			}
		}
	}
	return accepted, nil
}

// lend notes which node was asked to answer t.
func (c *Conversation) lend(t *turn, holder assistant.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if holder == 0 {
		t.away.holder = 0
	} else {
		t.away = away{ended: make(chan struct{}), holder: holder}
	}
}

// errMoved says that the node which had accepted a question does not answer it after all.
var errMoved = errors.New("the node drains")

// leftBy reports whether the node does not hold the conversation any more, as far as is known.
func (c *Conversation) leftBy(holder assistant.NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mirror.standing.Holder != holder
}

func (c *Conversation) cursor() assistant.Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.Cursor()
}

// notify tells the askers of t something.
func (c *Conversation) notify(t *turn, reason assistant.NoticeReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range t.keys {
		c.deliverLocked(k, t.event(assistant.KindNotice, assistant.Notice{Reason: reason}))
	}
}

// joined tells the askers of t that their question is being answered as run.
func (c *Conversation) joined(t *turn, run string) {
	c.mu.Lock()
	isAnswered := view.IndexOf(c.view.Messages, run) >= 0
	t.away.isOver = true
	if run != t.id && !isAnswered {
		t.ended = true
		t.uncount()
		for _, k := range t.keys {
			c.deliverLocked(k, assistant.Event{Kind: assistant.KindJoined, Run: run})
		}
	}
	c.mu.Unlock()
	switch {
	case run == t.id:
		c.replayOwn(t)
	case isAnswered:
		c.replay(t)
	}
}

// seenLocked notes what an event of another node's says of the turn that was forwarded to it.
func (c *Conversation) seenLocked(e assistant.Event) {
	t := c.running
	if t == nil || e.Run != t.id {
		return
	}
	switch e.Kind {
	case assistant.KindStarted:
		t.shown = true
	case assistant.KindCompleted:
		t.ended = true
		t.overLocked(nil)
	}
}

// overLocked ends the wait for another node's answer.
func (t *turn) overLocked(outcome error) {
	if !t.away.isOver {
		t.away.isOver, t.away.outcome = true, outcome
		close(t.away.ended)
	}
}

// decided takes what the holder says of a question that it had accepted: a refusal, or [assistant.ErrDuplicate].
func (c *Conversation) decided(run string, outcome error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.running; t != nil && t.id == run && !t.shown {
		t.overLocked(outcome)
	}
}

// report tells the node that has forwarded t, if one has, what became of it. It asks again where it is not told.
func (c *Conversation) report(t *turn, r request) {
	if t.origin == 0 {
		return
	}
	r.Owner, r.Conversation, r.Run = c.owner, c.id, t.id
	c.hub.Go(func() { _, _ = c.hub.call(c.hub.lasting(), t.origin, r) })
}

// stopThere has the holder stop an answer. A node that is not reachable is asked again for a while: either it comes
// back, or the answer is interrupted.
func (c *Conversation) stopThere(holder assistant.NodeID, cmd assistant.Stop) {
	for until := time.Now().Add(takeOver); time.Now().Before(until); {
		_, err := c.hub.call(c.ctx, holder, request{Kind: requestStop, Owner: c.owner, Conversation: c.id, Run: cmd.Run, From: cmd.From})
		if err == nil || c.leftBy(holder) || !recorder.Pause(c.ctx, freshness) {
			return
		}
	}
}

// question is a turn on its way to the node that is to answer it.
type question struct {
	Run        string          `json:"run"`
	QuestionID string          `json:"question_id"`
	Text       string          `json:"text,omitempty"`
	Parts      assistant.Parts `json:"parts,omitempty"`
	ClientID   string          `json:"client_id,omitempty"`
	Replaces   string          `json:"replaces,omitempty"`
	Regenerate bool            `json:"regenerate,omitempty"`

	sentAsker
}

// sentAsker is an [assistant.Asker] on its way to another node.
type sentAsker struct {
	From         assistant.RequestKey `json:"from,omitzero"`
	Instructions string               `json:"instructions,omitempty"`
	User         string               `json:"user,omitempty"`
	ClientIP     netip.Addr           `json:"client_ip,omitzero"`
	RemoteAddr   string               `json:"remote_addr,omitempty"`
	CanDecide    bool                 `json:"can_decide,omitempty"`
	Tools        []assistant.Tool     `json:"tools,omitempty"` // the client's
}

func sent(a assistant.Asker) sentAsker {
	return sentAsker{From: a.From, Instructions: a.Instructions, User: a.Peer.User, ClientIP: a.Peer.ClientIP, RemoteAddr: a.Peer.RemoteAddr, CanDecide: a.CanDecide, Tools: a.Tools}
}

func (s sentAsker) received() assistant.Asker {
	return assistant.Asker{From: s.From, Instructions: s.Instructions, CanDecide: s.CanDecide, Tools: s.Tools,
		Peer: assistant.Peer{User: s.User, ClientIP: s.ClientIP, RemoteAddr: s.RemoteAddr}}
}

func askRequest(c *Conversation, t *turn) request {
	q := &question{Run: t.id, QuestionID: t.question.ID, Text: t.question.Content, Parts: t.question.Parts.Files(), ClientID: t.question.ClientID,
		Replaces: t.replaces, Regenerate: t.regenerate, sentAsker: sent(c.askerOf(t))}
	q.Instructions = t.instructions
	return request{Kind: requestAsk, Owner: c.owner, Conversation: c.id, Question: q}
}

// turnOf is the turn of a question that another node has forwarded. It was counted there.
func turnOf(c *Conversation, from assistant.NodeID, q *question) *turn {
	t := newTurnOf(c, q.received())
	t.id, t.origin, t.regenerate, t.replaces = q.Run, from, q.Regenerate, q.Replaces
	t.question.ID, t.question.ClientID = q.QuestionID, q.ClientID
	t.setQuestion(q.Text, q.Parts)
	t.client = t.assistant.Client(t.asker.Peer)
	return t
}

// serveAsk answers a question of another node's, if this node holds the conversation.
func (c *Conversation) serveAsk(from assistant.NodeID, q *question) reply {
	c.mu.Lock()
	isHolder, isAnswered, isAccepted := c.held, view.IndexOf(c.view.Messages, q.Run) >= 0, c.isUnendedLocked(q.Run)
	claim := c.claims
	c.mu.Unlock()
	switch {
	case isAnswered:
		return reply{Outcome: outcomeJoined, Run: q.Run}
	case isAccepted:
		return reply{Outcome: outcomeAccepted}
	case !isHolder, c.hub.Draining(): // the asker's node takes over when this one has let go
		return reply{Outcome: outcomeNotHeld}
	}
	t := turnOf(c, from, q)
	t.accepted = claim
	receipt, err := c.ask(t)
	switch {
	case err != nil:
		return refusal(err)
	case receipt.Run != q.Run:
		return reply{Outcome: outcomeJoined, Run: receipt.Run}
	}
	return reply{Outcome: outcomeAccepted, Queued: receipt.Queued}
}

// isUnendedLocked reports whether a turn waits or is being answered.
func (c *Conversation) isUnendedLocked(run string) bool {
	return slices.ContainsFunc(c.unendedLocked(), func(t *turn) bool { return t.id == run })
}
