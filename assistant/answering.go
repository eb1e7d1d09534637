package assistant

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
)

// work answers until no question is left. It is the one goroutine of a busy conversation:
//
//	work ─ answer ─┬─ begin     find the question and what to tell the model, store, show streaming_start
//	               ├─ stream    Provider.Stream ─► recorder ─► show, store
//	               └─ finish    store the whole answer, show complete_streaming
func (c *conversation) work() {
	for t := c.running; t != nil; t = c.next() {
		c.answer(t)
	}
}

// startLocked makes t the running turn; false when the server stops.
func (c *conversation) startLocked(t *turn) bool {
	t.ctx, t.cancel = context.WithCancelCause(c.ctx)
	if !c.hub.begin(c, t) {
		t.cancel(nil)
		return false
	}
	c.running = t
	return true
}

// next ends the running turn and starts the one that waits longest; nil when there is none.
func (c *conversation) next() *turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.hub.end(c.running) // at last: a hub that drains closes sessions once no turn runs
	c.running.cancel(nil)
	c.running = nil
	for len(c.pending) > 0 && c.ctx.Err() == nil && !c.deleted {
		t := c.pending[0]
		c.pending = c.pending[1:]
		t.assistant.Observer.Waiting(-1)
		if c.startLocked(t) {
			return t
		}
		t.refuse(c, errorPayload(ReasonDraining, 0))
	}
	c.forgetPendingLocked()
	c.settleLocked()
	return nil
}

// answer runs a turn from its start to its one end. What keeps it from starting is told to its asker.
func (c *conversation) answer(t *turn) {
	defer close(t.done)
	defer t.meter.settle(0) // what has not begun costs nothing
	defer c.rescue(t)
	switch err := c.begin(t); {
	case errors.Is(err, ErrDuplicate):
		t.uncount()
		c.again(t)
		return
	case err != nil:
		if !isRefusal(err) {
			t.assistant.Logger.Warn("question not accepted", zap.String("conversation_id", c.id), zap.Error(err))
		}
		t.refuse(c, describeError(err))
		return
	}
	t.observer = t.assistant.Observer.Answering(AnswerStart{Peer: t.asker.Load().session.peer, ConversationID: c.id, MessageID: t.id, Source: t.source})
	t.logContent(c.id, t.question)
	req := Request{t.instructions, append(t.history, Turn{RoleUser, t.question.Content})}
	show := func(e event) { c.show(t, e) }
	var err error
	if c.stored() {
		r := newRecorder(t, func(text string) error { return c.extend(t, text) }, func() (int, error) { return c.storedLength(t) }, show)
		err = t.stream(req, r.add)
		r.end()
	} else {
		err = t.stream(req, show)
	}
	c.finish(t, t.conclude(err))
}

// show appends an event of the running answer, and keeps its text for snapshots: both at once, so that
// a snapshot contains exactly what its seq says.
func (c *conversation) show(t *turn, e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.kind {
	case eventPiece:
		t.text.WriteString(e.text)
	case eventReasoning:
		t.reasoning.WriteString(e.text)
	case eventFallback:
		t.source = e.detail.(Source)
	}
	c.log.Append(e)
}

// extend stores more of an answer's text, on the recorder's goroutine.
func (c *conversation) extend(t *turn, text string) (err error) {
	defer caught(&err)
	ctx, cancel := c.hub.storeContext()
	defer cancel()
	return c.hub.store.Extend(ctx, c.owner, c.id, t.id, text)
}

// storedLength is how much of a running answer the store has, in bytes.
func (c *conversation) storedLength(t *turn) (n int, err error) {
	defer caught(&err)
	ctx, cancel := c.hub.storeContext()
	defer cancel()
	last, _, err := c.hub.store.Messages(ctx, c.owner, c.id, "", 1)
	if err != nil {
		return 0, err
	}
	if len(last) == 0 || last[0].ID != t.id {
		return 0, ErrNotFound
	}
	return len(last[0].Content), nil
}

// finish stores the answer whole (finishing.go) and shows its end.
func (c *conversation) finish(t *turn, err error) {
	question := t.question
	question.Status = StatusComplete
	if t.finish == FinishError && t.text.Len() == 0 {
		question.Status = StatusFailed
	}
	ended := now()
	if fault := c.storeEnd(t, question, ended); fault != nil {
		err = fault
	}
	t.logContent(c.id, t.answer())
	t.logEnd(c.id, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := indexOf(c.messages, question.ID); i >= 0 {
		c.messages[i].Status = question.Status
	}
	c.info.UpdatedAt = ended
	c.showEndLocked(t, err)
	if t.assistant.ModelTitles && t.status() == StatusComplete && c.isFirstLocked() {
		c.hub.Go(func() { c.nameByModel(t) })
	}
}

func (c *conversation) showEndLocked(t *turn, err error) {
	c.messages = append(c.messages, t.answer())
	t.shown, t.ended = false, true
	if t.finish == FinishError {
		told := describeError(err)
		t.assistant.Observer.Failed(told.Reason)
		c.log.Append(event{kind: eventFailed, turn: t, detail: told})
	}
	seq := c.log.Append(event{kind: eventCompleted, turn: t, detail: t.completed()})
	c.ended = append(c.ended, mark{seq, time.Now()})
}

// rescue is deferred by answer: where what is plugged in panics, such as a store or a provider's error, the
// turn still gets its one end, and the conversation goes on.
func (c *conversation) rescue(t *turn) {
	v := recover()
	if v == nil {
		return
	}
	err := &panicError{v, debug.Stack()}
	t.finish = FinishError
	if !t.shown {
		t.meter.settle(0)
	}
	t.usage = t.meter.pay(t.usage)
	t.logEnd(c.id, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.shown {
		c.showEndLocked(t, err)
	} else {
		t.refuse(c, describeError(err))
	}
}

// again answers a question that was asked before, from memory or the store: as its turn was, without
// asking the model.
func (c *conversation) again(t *turn) {
	messages := c.asked(t.question.ClientID)
	if messages == nil {
		ctx, cancel := c.hub.storeContext()
		defer cancel()
		var err error
		if messages, err = c.hub.store.MessageByClientID(ctx, c.owner, c.id, t.question.ClientID); err != nil {
			t.refuse(c, describeError(storeFailed(err)))
			return
		}
	}
	t.asker.Load().session.request(t.id, true)
	for _, e := range replay(t, messages, c.stored()) {
		t.tell(c, e)
	}
}

// replay is a turn that has ended, as events.
func replay(t *turn, messages []Message, stored bool) (events []event) {
	question := messages[0]
	if stored {
		events = append(events, event{kind: eventUserMessage, detail: UserMessagePayload{question.ID, question.ClientID, question.Content, question.CreatedAt}})
	}
	for _, a := range messages[1:] {
		was := &turn{id: a.ID, source: t.source, finish: a.FinishReason, usage: a.Usage}
		events = append(events, event{kind: eventStarted, turn: was, detail: was.start()}, event{kind: eventPiece, turn: was, text: a.Content},
			event{kind: eventCompleted, turn: was, detail: was.completed()})
	}
	return events
}

// asked returns the question with that client id and its answer, where they are in memory.
func (c *conversation) asked(clientID string) []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range c.messages {
		if m.ClientID == clientID {
			return append([]Message(nil), c.messages[i:min(i+2, len(c.messages))]...)
		}
	}
	return nil
}
