package conversation

import (
	"errors"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
	"go.uber.org/zap"
)

const (
	// finishTries is how often the end of an answer is offered to the store before it is shown as failed.
	finishTries = 3
	// maxFinishPause bounds the pauses between the tries after that.
	maxFinishPause = time.Minute
)

// finish stores the answer whole and shows its end. kept is the number of the last event that is stored.
func (c *Conversation) finish(t *turn, err error, kept uint64) {
	switch err := c.tryFinish(t, err, kept); {
	case errors.Is(err, assistant.ErrLost):
		c.lose(t)
	case errors.Is(err, assistant.ErrNotFound): // deleted, from another node
		c.hub.forget(c, always)
		c.vanished()
	}
}

// tryFinish is finish. Where the claim is lost, nothing is shown.
func (c *Conversation) tryFinish(t *turn, err error, kept uint64) error {
	c.writing <- struct{}{}
	defer c.written()
	c.kept = kept
	at := now()
	fault := c.storeEnd(t, err, at)
	switch {
	case errors.Is(fault, assistant.ErrLost):
		return fault
	case errors.Is(fault, assistant.ErrNotFound) && c.mayBeBuried(): // before it was deleted
		t.finish = assistant.FinishInterrupted
	}
	if broken, ok := errors.AsType[*assistant.StoreError](fault); ok {
		err = broken
	}
	c.logEnd(t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.showEndLocked(t, t.ending(err, at))
	if c.late == nil {
		c.kept = c.view.Log.Last()
	}
	c.updatedLocked()
	if t.assistant.ModelTitles && view.StatusOf(t.finish) == assistant.StatusComplete && c.isFirstLocked() {
		c.hub.Go(func() { c.nameByModel(t) })
	}
	return fault
}

func (c *Conversation) showEndLocked(t *turn, events []assistant.Event) {
	t.ended = true
	for _, e := range events {
		if failed, ok := e.Body.(assistant.Failed); ok {
			t.assistant.Observer.Failed(failed.Reason)
		}
		c.appendLocked(e)
	}
}

// end is what the store is to have of the turn's end, and the answer in it.
func (c *Conversation) end(t *turn, err error, at time.Time) (assistant.Ending, assistant.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.Running.Text.Join()
	shown := *c.view.Running
	shown.Reason = t.reason
	answer, status := shown.Ended(assistant.Completed{FinishReason: t.finish, Usage: t.whole()})
	question := t.question
	question.Status = status
	return assistant.Ending{At: at, Messages: []assistant.Message{question, answer}, Events: c.unstored(t.ending(err, at)), Private: t.toKeep()}, answer
}

// storeEnd stores the final messages. Where the store does not take them, the answer is failed and is
// offered as that in the background, so that the store gets what was shown once it is back.
func (c *Conversation) storeEnd(t *turn, cause error, at time.Time) (err error) {
	end, answer := c.end(t, cause, at)
	defer func() { c.logContent(t, answer) }()
	if !c.stored() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.keepLocked(end.Private)
		return nil
	}
	for try := range finishTries {
		recorder.Pause(c.ctx, time.Duration(try)*100*time.Millisecond)
		if err = c.offer(end); isFinal(err) {
			return err
		}
	}
	err = &assistant.StoreError{Err: err}
	t.finish, t.reason = assistant.FinishError, assistant.Describe(err).Reason
	end, answer = c.end(t, err, at)
	c.hub.store.Owe(end.Messages...)
	c.late, c.lateDone = &end, make(chan struct{})
	c.users++
	done := c.lateDone
	c.hub.Go(func() { c.storeLate(done) })
	return err
}

// offer offers the store an end.
func (c *Conversation) offer(end assistant.Ending) error {
	return c.hub.store.Finish(c.hub.lasting(), c.claim, end)
}

// isFinal reports whether it makes no sense to offer an end again: it is stored, or has no place any more.
func isFinal(err error) bool {
	return err == nil || errors.Is(err, assistant.ErrNotFound) || errors.Is(err, assistant.ErrLost)
}

// settleLate offers the store the end of the answer before, if it has not taken it yet. writing is held.
func (c *Conversation) settleLate() error {
	if c.late == nil {
		return nil
	}
	id := zap.String("message_id", c.late.Messages[1].ID)
	switch err := c.offer(*c.late); {
	case err == nil:
		c.hub.log.Info("late end of an answer stored", id)
		if n := len(c.late.Events); n > 0 {
			c.kept = c.late.Events[n-1].Seq
		}
	case isFinal(err):
		c.hub.log.Warn("end of an answer has no place any more", id, zap.Error(err))
		if errors.Is(err, assistant.ErrNotFound) {
			c.hub.vanished(c.owned())
		}
	default:
		return &assistant.StoreError{Err: err}
	}
	c.late = nil
	close(c.lateDone)
	return nil
}

// storeLate offers an end until the store takes it, and for the last time when the server stops.
func (c *Conversation) storeLate(done <-chan struct{}) {
	defer c.drop()
	for pause := time.Second; ; pause = min(2*pause, maxFinishPause) {
		timer := time.NewTimer(pause)
		select {
		case <-done:
			timer.Stop()
			return
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
		}
		if stopping := c.ctx.Err() != nil; c.tryLate(stopping) || stopping {
			return
		}
	}
}

// tryLate offers the end once, and reports whether the store has it now.
func (c *Conversation) tryLate(isLast bool) bool {
	c.writing <- struct{}{}
	defer c.written()
	id := ""
	if c.late != nil {
		id = c.late.Messages[1].ID
	}
	err := c.settleLate()
	if err != nil && isLast {
		c.hub.log.Error("end of an answer not stored", zap.String("message_id", id), zap.Error(err))
	}
	return err == nil
}
