package conversation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
)

// Do gives the conversation a command. An [assistant.Ask] or [assistant.Regenerate] returns at once, without a call of
// the store, and so does an [assistant.Stop] of an answer that is known to run; what comes of it are events. A rename, a decision or a deletion
// returns when it is stored. A command that is not accepted returns an [*assistant.RefusalError], and a broken store an
// [*assistant.StoreError].
func (c *Conversation) Do(ctx context.Context, cmd assistant.Command) (assistant.Receipt, error) {
	switch cmd := cmd.(type) {
	case assistant.Ask:
		return c.ask(newTurn(c, cmd))
	case assistant.Regenerate:
		return c.ask(newTurnOf(c, cmd.Asker))
	case assistant.Decide:
		return c.decide(ctx, decisionOf(cmd))
	case assistant.SubmitResult:
		return c.decide(ctx, submittedResult(cmd))
	case assistant.SubmitInput:
		return c.decide(ctx, submittedInput(cmd))
	case assistant.Continue:
		return c.decide(ctx, continuing(cmd))
	case assistant.Stop:
		return c.stop(cmd)
	case assistant.Rename:
		_, err := c.rename(ctx, cmd, nil)
		return assistant.Receipt{}, err
	case assistant.Delete:
		return assistant.Receipt{}, c.remove(cmd)
	default:
		return assistant.Receipt{}, fmt.Errorf("unknown command %T", cmd)
	}
}

// ask puts t behind the questions that are there. When a question with its client id waits or is being
// answered already, t is dropped: its asker follows that one answer.
func (c *Conversation) ask(t *turn) (assistant.Receipt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch twin := c.twinLocked(t.question.ClientID); {
	case c.deleted:
		return assistant.Receipt{}, assistant.Refuse(assistant.ReasonUnknownTopic)
	case twin != nil:
		twin.join(t.asker)
		return assistant.Receipt{Run: twin.id}, nil
	case c.deleting > 0: // which may fail
		return assistant.Receipt{}, assistant.Refuse(assistant.ReasonBusy)
	case c.hub.Draining():
		return assistant.Receipt{}, assistant.Refuse(assistant.ReasonDraining)
	case t.regenerate && !c.canRegenerateLocked():
		return assistant.Receipt{}, assistant.Refuse(assistant.ReasonNothingToRegenerate)
	case c.running != nil && (len(c.pending) >= t.assistant.MaxPending || !c.hasRoomLocked(t)):
		return assistant.Receipt{}, assistant.Refuse(assistant.ReasonBusy)
	}
	if !c.view.WasAsked(t.question.ClientID, t.replaces) {
		if err := t.count(); err != nil {
			return assistant.Receipt{}, err
		}
	}
	switch {
	case c.running != nil:
		c.pending = append(c.pending, t)
		t.assistant.Observer.Waiting(1)
		return assistant.Receipt{Run: t.id, Queued: len(c.pending) > 1 || !c.running.ended}, nil
	case !c.startLocked(t):
	case !c.launchLocked(t):
	default:
		return assistant.Receipt{Run: t.id}, nil
	}
	t.uncount()
	return assistant.Receipt{}, assistant.Refuse(assistant.ReasonDraining)
}

// launchLocked starts the answering goroutine for the running turn; false, and the turn is none, when the server stops.
func (c *Conversation) launchLocked(t *turn) bool {
	if c.hub.Go(c.work) {
		return true
	}
	t.cancel(nil)
	c.running = nil
	c.hub.end(t)
	return false
}

// twinLocked finds a question with that client id that waits or is being answered.
func (c *Conversation) twinLocked(clientID string) *turn {
	for _, t := range c.unendedLocked() {
		if clientID != "" && t.question.ClientID == clientID {
			return t
		}
	}
	return nil
}

// unendedLocked are the turns that wait or are being answered.
func (c *Conversation) unendedLocked() []*turn {
	turns := slices.Clone(c.pending)
	if c.running != nil && !c.running.ended {
		turns = append(turns, c.running)
	}
	return turns
}

// canRegenerateLocked reports whether there is a question, or may be one that another node has stored.
func (c *Conversation) canRegenerateLocked() bool {
	isBehind := c.stored() && !c.held && c.hub.isClustered() && c.hub.othersLive()
	return c.running != nil || isBehind || slices.ContainsFunc(c.view.Messages, func(m assistant.Message) bool { return m.Role == assistant.RoleUser })
}

// ErrNothingToStop says that the answer to stop does not run.
var ErrNothingToStop = errors.New("nothing to stop")

// stop ends the running answer, wherever it runs.
func (c *Conversation) stop(cmd assistant.Stop) (assistant.Receipt, error) {
	receipt, err := c.stopHere(cmd)
	if err == nil {
		return receipt, nil
	}
	if run := c.waiting(); run != "" && (cmd.Run == "" || cmd.Run == run) {
		c.hub.Go(func() {
			if _, err := c.decide(c.hub.lasting(), ending(run, cmd.From, deniedByStop)); err != nil {
				_, _ = c.stopHere(cmd) // a decision was faster, and it goes on; or it has ended
			}
		})
		return assistant.Receipt{Run: run}, nil
	}
	if !c.runsElsewhere() { // it may be faster than what other nodes say
		if err := c.freshen(0); err != nil {
			return receipt, assistant.OfStore(err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	run, holder := c.runElsewhereLocked(), c.mirror.standing.Holder
	if run == "" || holder == 0 || cmd.Run != "" && cmd.Run != run {
		return receipt, err
	}
	c.hub.Go(func() { c.stopThere(holder, assistant.Stop{From: cmd.From, Run: run}) })
	return assistant.Receipt{Run: run}, nil
}

// stopHere ends the answer that this node gives.
func (c *Conversation) stopHere(cmd assistant.Stop) (assistant.Receipt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.running
	if t == nil || t.ended || t.isDeciding() || t.away.holder != 0 || cmd.Run != "" && cmd.Run != t.id {
		return assistant.Receipt{}, ErrNothingToStop
	}
	if cmd.From != (assistant.RequestKey{}) && t.keyOf(cmd.From.Mouth) < 0 {
		t.keys = append(t.keys, cmd.From) // where there is no answer, it learns of that
	}
	t.cancel(errStopped)
	return assistant.Receipt{Run: t.id}, nil
}

func (c *Conversation) runsElsewhere() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runElsewhereLocked() != ""
}

// runElsewhereLocked returns the answer that another node gives, or is to give; "" where there is none.
func (c *Conversation) runElsewhereLocked() string {
	switch t := c.running; {
	case c.view.Running != nil:
		return c.view.Running.ID
	case t != nil && !t.ended:
		return t.id
	}
	return ""
}

// rename stores the title and shows it; where was is not nil, only if the title is still *was. Renames come one after
// the other, so that all followers end with the title that is stored.
func (c *Conversation) rename(ctx context.Context, cmd assistant.Rename, was *string) (assistant.Conversation, error) {
	return carryOut(ctx, c, request{Kind: requestRename, From: cmd.From, Title: cmd.Title, Was: was},
		func() (assistant.Conversation, error) { return c.renameHere(ctx, cmd, was) },
		func(r reply) (done assistant.Conversation, ok bool) {
			if r.Conversation != nil {
				done = *r.Conversation
			}
			return done, r.Conversation != nil
		})
}

// carryOut has a command carried out where the conversation is held: by here, which gives it back, or by the holder, which
// gets r. accepted returns what the holder's reply says, and whether that is an answer. It tries for callTimeout: the
// holder may change.
func carryOut[R any](ctx context.Context, c *Conversation, r request, here func() (R, error), accepted func(reply) (R, bool)) (none R, err error) {
	r.Owner, r.Conversation = c.owner, c.id
	for until := time.Now().Add(callTimeout); ; {
		err := c.hold(ctx)
		held, isHeld := errors.AsType[*assistant.HeldError](err)
		if err != nil && !isHeld {
			return none, c.hub.unheld(err)
		}
		if !isHeld {
			return here()
		}
		answer, err := c.hub.call(ctx, held.Holder, r)
		if err == nil && answer.Outcome == outcomeRefused {
			return none, answer.refusal()
		}
		if err == nil {
			if done, ok := accepted(answer); ok {
				return done, nil
			}
		}
		if time.Now().After(until) || !recorder.Pause(ctx, 100*time.Millisecond) {
			return none, assistant.Refuse(assistant.ReasonBusy)
		}
	}
}

// renameHere is rename where this node holds the conversation, which it gives back.
func (c *Conversation) renameHere(ctx context.Context, cmd assistant.Rename, was *string) (assistant.Conversation, error) {
	defer c.drop()
	if err := c.write(ctx); err != nil {
		return assistant.Conversation{}, err
	}
	defer c.written()
	info, err := c.hub.store.Rename(ctx, c.owner, c.id, cmd.Title, was)
	if err != nil {
		return info, assistant.OfStore(err)
	}
	c.renamed(info, cmd.From)
	return info, nil
}

// renamed shows a title that is stored.
func (c *Conversation) renamed(info assistant.Conversation, by assistant.RequestKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deleted {
		return
	}
	c.appendLocked(assistant.Event{Kind: assistant.KindRenamed, From: by, Body: assistant.Renamed{Conversation: info}})
	c.hub.changed(c.owner, assistant.ChangeUpdated, c.view.Info)
}

// removeTimeout is how long a deletion waits for the running answer to end.
const removeTimeout = 10 * time.Second

// remove ends everything in the conversation, deletes it from the store and shows that.
func (c *Conversation) remove(cmd assistant.Delete) error {
	c.mu.Lock()
	c.deleting++
	running := c.running
	if running != nil {
		running.cancel(errStopped)
	}
	c.mu.Unlock()
	if running != nil {
		ctx, cancel := context.WithTimeout(c.hub.lasting(), removeTimeout)
		defer cancel()
		select {
		case <-running.done:
		case <-ctx.Done():
		}
	}
	err := c.hub.store.Delete(c.hub.lasting(), c.owner, c.id)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deleting--
	if err != nil && !errors.Is(err, assistant.ErrNotFound) {
		c.refusePendingLocked(assistant.OfStore(err)) // nothing would start them
		return assistant.OfStore(err)
	}
	c.refusePendingLocked(assistant.Refuse(assistant.ReasonUnknownTopic))
	c.goneLocked(cmd.From)
	c.hub.Go(c.releaseIdle)
	c.hub.changed(c.owner, assistant.ChangeDeleted, assistant.Conversation{ID: c.id})
	if err != nil {
		return assistant.OfStore(err)
	}
	return nil
}

// refusePendingLocked refuses the questions that wait.
func (c *Conversation) refusePendingLocked(err error) {
	for _, t := range c.pending {
		c.refuseLocked(t, err)
	}
	c.dropPendingLocked()
}

// goneLocked shows, once, that the conversation is no longer in the store.
func (c *Conversation) goneLocked(by assistant.RequestKey) {
	c.deleted = true
	if c.view.Gone == 0 {
		c.appendLocked(assistant.Event{Kind: assistant.KindDeleted, From: by, Body: assistant.Deleted{ID: c.id}})
	}
}

// vanished shows that the conversation is not in the store any more. A running answer ends first.
func (c *Conversation) vanished() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deleted {
		c.refusePendingLocked(assistant.Refuse(assistant.ReasonUnknownTopic))
		c.deleted = true
	}
	if t := c.running; t != nil && !t.ended {
		t.cancel(assistant.ErrNotFound)
		if t.shown && c.held {
			return // its end comes here again
		}
	}
	c.goneLocked(assistant.RequestKey{})
}
