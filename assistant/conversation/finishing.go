package conversation

import (
	"errors"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"go.uber.org/zap"
)

const (
	// finishTries is how often the end of an answer is offered to the store before it is shown as failed.
	finishTries = 3
	// maxFinishPause bounds the pauses between the tries after that.
	maxFinishPause = time.Minute
)

// finish stores the answer whole and shows its end.
func (c *Conversation) finish(t *turn, err error) {
	c.mu.Lock()
	t.text.Join()
	c.mu.Unlock()
	question := t.question
	question.Status = assistant.StatusComplete
	if t.finish == assistant.FinishError && !t.text.HasText() {
		question.Status = assistant.StatusFailed
	}
	ended := now()
	if fault := c.storeEnd(t, question, ended); fault != nil {
		err = fault
	}
	c.logContent(t, t.answer())
	c.logEnd(t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := indexOf(c.messages, question.ID); i >= 0 {
		c.messages[i].Status = question.Status
	}
	c.updatedLocked(ended)
	c.showEndLocked(t, err)
	if t.assistant.ModelTitles && t.status() == assistant.StatusComplete && c.isFirstLocked() {
		c.hub.Go(func() { c.nameByModel(t) })
	}
}

func (c *Conversation) showEndLocked(t *turn, err error) {
	c.messages = append(c.messages, t.answer())
	t.shown, t.ended = false, true
	if t.finish == assistant.FinishError {
		failed := assistant.Describe(err)
		t.assistant.Observer.Failed(failed.Reason)
		c.appendLocked(t.event(assistant.KindFailed, failed))
	}
	c.appendLocked(t.event(assistant.KindCompleted, assistant.Completed{FinishReason: t.finish, Usage: t.usage}))
}

// storeEnd stores the final messages. Where the store does not take them, the answer is failed and is
// offered as that in the background, so that the store gets what was shown once it is back.
func (c *Conversation) storeEnd(t *turn, question assistant.Message, at time.Time) (err error) {
	if !c.stored() {
		return nil
	}
	for try := range finishTries {
		recorder.Pause(c.ctx, time.Duration(try)*100*time.Millisecond)
		if err = c.offer(at, question, t.answer()); err == nil {
			return nil
		}
	}
	err = &assistant.StoreError{Err: err}
	t.finish, t.reason = assistant.FinishError, assistant.Describe(err).Reason
	answer := t.answer()
	c.hub.store.Owe(question, answer)
	c.hub.Go(func() { c.storeLate(at, question, answer) })
	return err
}

// offer stores final messages, or not. A conversation that has been deleted meanwhile is no fault.
func (c *Conversation) offer(at time.Time, messages ...assistant.Message) error {
	err := c.hub.store.Finish(c.hub.lasting(), c.owner, c.id, at, messages...)
	if errors.Is(err, assistant.ErrNotFound) {
		return nil
	}
	return err
}

// storeLate offers final messages until the store takes them, and for the last time when the server stops.
func (c *Conversation) storeLate(at time.Time, messages ...assistant.Message) {
	for wait := time.Second; ; wait = min(2*wait, maxFinishPause) {
		stopping := !recorder.Pause(c.ctx, wait)
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
func (c *Conversation) updatedSince(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.info.UpdatedAt.After(at) {
		return c.info.UpdatedAt
	}
	return at
}
