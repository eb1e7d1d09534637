package assistant

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

const (
	// finishTries is how often the end of an answer is offered to the store before it is shown as failed.
	finishTries = 3
	// maxFinishPause bounds the pauses between the tries after that.
	maxFinishPause = time.Minute
)

// storeEnd stores the final messages. Where the store does not take them, the answer is failed and is
// offered as that in the background, so that the store gets what was shown once it is back.
func (c *conversation) storeEnd(t *turn, question Message, at time.Time) (err error) {
	if !c.stored() {
		return nil
	}
	for try := range finishTries {
		time.Sleep(time.Duration(try) * 100 * time.Millisecond)
		if err = c.offer(at, question, t.answer()); err == nil {
			return nil
		}
	}
	t.finish = FinishError
	answer := t.answer()
	c.hub.Go(func() { c.storeLate(at, question, answer) })
	return &storageError{err}
}

// offer stores final messages, or not. A conversation that has been deleted meanwhile is no fault.
func (c *conversation) offer(at time.Time, messages ...Message) (err error) {
	defer caught(&err)
	ctx, cancel := c.hub.storeContext()
	defer cancel()
	err = c.hub.store.Finish(ctx, c.owner, c.id, at, messages...)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// storeLate offers final messages until the store takes them, and for the last time when the server stops.
func (c *conversation) storeLate(at time.Time, messages ...Message) {
	for pause := time.Second; ; pause = min(2*pause, maxFinishPause) {
		stopping := !c.wait(pause)
		err := c.offer(c.updatedSince(at), messages...)
		switch id := zap.String("message_id", messages[len(messages)-1].ID); {
		case err == nil:
			c.hub.log.Info("late end of an answer stored", id)
			return
		case stopping:
			c.hub.log.Error("end of an answer not stored", id, zap.Error(err))
			return
		}
	}
}

// updatedSince is when the conversation was updated last: at, unless another turn has begun since.
func (c *conversation) updatedSince(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.info.UpdatedAt.After(at) {
		return c.info.UpdatedAt
	}
	return at
}

// wait returns true after the pause, false when the server stops.
func (c *conversation) wait(pause time.Duration) bool {
	ctx, cancel := context.WithTimeout(c.ctx, pause)
	defer cancel()
	<-ctx.Done()
	return c.ctx.Err() == nil
}
