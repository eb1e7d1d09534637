package conversation

import (
	"context"
	"errors"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"github.com/caddy-assistant/caddy-assistant/assistant/window"
	"go.uber.org/zap"
)

// work answers until no question is left. It is the one goroutine of a busy conversation:
//
//	work ─ answer ─┬─ begin     find the question and the history, store, show the start
//	               ├─ stream    Provider.Stream ─► take ─► recorder ─► show, store
//	               └─ finish    store the whole answer, show its end
func (c *Conversation) work() {
	for t := c.running; t != nil; t = c.next() {
		c.answer(t)
	}
}

// startLocked makes t the running turn; false when the server stops.
func (c *Conversation) startLocked(t *turn) bool {
	t.ctx, t.cancel = context.WithCancelCause(c.ctx)
	if !c.hub.begin(c, t) {
		t.cancel(nil)
		return false
	}
	c.running = t
	return true
}

// next ends the running turn and starts the one that waits longest; nil when there is none.
func (c *Conversation) next() *turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.hub.end(c.running) // at last: a hub that drains ends mouths once no turn runs
	c.running.cancel(nil)
	c.running = nil
	for len(c.pending) > 0 && c.ctx.Err() == nil && !c.deleted {
		t := c.pending[0]
		c.pending = c.pending[1:]
		t.assistant.Observer.Waiting(-1)
		if c.startLocked(t) {
			return t
		}
		c.refuseLocked(t, assistant.Refuse(assistant.ReasonDraining))
	}
	c.dropPendingLocked()
	c.settleLocked()
	return nil
}

// answer runs a turn from its start to its one end. What keeps it from starting is said to its askers alone.
func (c *Conversation) answer(t *turn) {
	defer close(t.done)
	defer t.meter.Settle(0) // what has not begun costs nothing
	defer c.rescue(t)
	switch err := c.begin(t); {
	case errors.Is(err, assistant.ErrDuplicate):
		c.replay(t)
		return
	case err != nil:
		if !assistant.IsRefusal(err) {
			t.assistant.Logger.Warn("question not accepted", append(assistant.FaultFields(err), zap.String("conversation_id", c.id))...)
		}
		c.refuse(t, err)
		return
	}
	t.observer = t.assistant.Observer.Answering(assistant.AnswerStart{Peer: c.askerOf(t).Peer, ConversationID: c.id, MessageID: t.id, Source: t.source})
	c.logContent(t, t.question)
	req := assistant.Request{Instructions: t.instructions, Turns: append(t.history, window.Turn(t.question)), MaxTokens: t.meter.Limit()}
	show := func(e assistant.Event) { c.show(t, e) }
	var err error
	if c.stored() {
		r := c.record(t, show)
		err = t.stream(req, r.Add)
		if !r.End() {
			t.finish = ""
		}
	} else {
		err = t.stream(req, show)
	}
	c.finish(t, t.conclude(err))
}

// record begins to store the answer.
func (c *Conversation) record(t *turn, show func(assistant.Event)) *recorder.Recorder {
	return recorder.Start(recorder.Config{
		Strict: t.assistant.Strict, Reasoning: !t.assistant.ReasoningLive, Show: show, Ctx: t.ctx, Cancel: t.cancel,
		Extend: func(offset int, parts assistant.Parts) error {
			return c.hub.store.Extend(c.hub.lasting(), c.owner, c.id, t.id, offset, parts)
		},
		Logger: t.assistant.Logger.With(zap.String("message_id", t.id)),
	})
}

// refuse says to the askers of t why there will be no answer.
func (c *Conversation) refuse(t *turn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuseLocked(t, err)
}

func (c *Conversation) refuseLocked(t *turn, err error) {
	t.uncount()
	t.ended = true
	failed := assistant.Describe(err)
	t.assistant.Observer.Failed(failed.Reason)
	for _, k := range t.keys {
		c.deliverLocked(k, t.event(assistant.KindFailed, failed))
	}
}

// stream is the streaming loop: it asks the provider and shows what it sends.
func (t *turn) stream(req assistant.Request, show func(assistant.Event)) (err error) {
	defer assistant.Catch(&err)
	for delta, err := range t.assistant.Provider.Stream(t.ctx, req) {
		if cause := context.Cause(t.ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
		characters, isCut := t.cut(&delta)
		t.take(delta, show)
		switch within := t.meter.Add(characters); { // either ends the model's request
		case isCut:
			return nil
		case !within && t.finish == "":
			return errBudget
		}
	}
	if t.finish == "" {
		return assistant.ErrUnfinished
	}
	return nil
}

// cut cuts off what is over the longest answer, which ends there. It returns how many characters are left of d.
func (t *turn) cut(d *assistant.Delta) (characters int, isCut bool) {
	for _, text := range []*string{&d.Reasoning, &d.Text} {
		n := utf8.RuneCountInString(*text)
		if left := t.assistant.MaxAnswer - t.characters; n > left {
			*text, n, isCut = firstOf(*text, left), left, true
			d.FinishReason = assistant.FinishLength
		}
		characters += n
		t.characters += n
	}
	return characters, isCut
}

// firstOf returns the first n characters of a text that has more.
func firstOf(text string, n int) string {
	for i := range text {
		if n--; n < 0 {
			return text[:i]
		}
	}
	return text
}

func (t *turn) take(d assistant.Delta, show func(assistant.Event)) {
	if d.Fallback != nil {
		t.fallBack(d.Fallback, show)
	}
	t.piece(assistant.KindReasoning, withoutNUL(d.Reasoning), show)
	t.piece(assistant.KindPiece, withoutNUL(d.Text), show)
	if d.FinishReason != "" {
		t.finish = d.FinishReason
	}
	if d.Usage != nil {
		t.usage = d.Usage
	}
}

// piece shows and counts a piece of text or reasoning, if there is one.
func (t *turn) piece(kind assistant.Kind, text string, show func(assistant.Event)) {
	if text == "" {
		return
	}
	if t.pieces++; t.pieces == 1 {
		t.waited = time.Since(t.started)
		t.observer.FirstPiece(t.waited)
	}
	show(assistant.Event{Kind: kind, Run: t.id, Text: text})
	t.observer.Piece()
}

// fallBack shows clients and operator that another provider answers.
func (t *turn) fallBack(f *assistant.Fallback, show func(assistant.Event)) {
	level := zap.WarnLevel
	if errors.Is(f.Err, chain.ErrPassedOver) {
		level = zap.DebugLevel // a provider that is down would fill the log
	}
	t.assistant.Logger.Log(level, "provider failed, another is asked", zap.Inline(f.Failed), zap.String("message_id", t.id),
		zap.String("reason", string(assistant.Describe(f.Err).Reason)), zap.String("next_provider", f.Next.Provider), zap.String("next_model", f.Next.Model), zap.Error(f.Err))
	show(t.event(assistant.KindFellBack, f.Next))
	t.observer.FellBack(*f)
}

// conclude sets how the turn ended: err is what stream returned, after everything has been shown.
func (t *turn) conclude(err error) error {
	cause := context.Cause(t.ctx)
	switch {
	case cause != nil && isFault(cause):
		t.finish, err = assistant.FinishError, cause
	case t.finish == assistant.FinishLength && t.meter.Reached(t.usage):
		t.finish = assistant.FinishBudget
	case t.finish != "": // the model had said all, and all was shown
	case errors.Is(err, errBudget):
		t.finish = assistant.FinishBudget
	case errors.Is(cause, ErrStopping):
		t.finish, err = assistant.FinishInterrupted, cause
	case cause != nil: // what the provider made of it is no fault
		t.finish, err = assistant.FinishStopped, cause
	default:
		t.finish = assistant.FinishError
	}
	if t.finish == assistant.FinishError {
		t.reason = assistant.Describe(err).Reason
	}
	t.usage = t.meter.Pay(t.usage)
	return err
}

// isFault reports whether a turn was cancelled because its store broke.
func isFault(cause error) bool {
	_, ok := errors.AsType[*assistant.StoreError](cause)
	return ok
}

// show appends an event of the running answer, and keeps its text for snapshots: both at once, so that
// a snapshot contains exactly what its seq says.
func (c *Conversation) show(t *turn, e assistant.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Kind {
	case assistant.KindPiece, assistant.KindReasoning:
		t.text.Add(e.Kind, e.Text)
	case assistant.KindFellBack:
		t.source = e.Body.(assistant.Source)
	}
	c.appendLocked(e)
}

// rescue is deferred by answer: where what is plugged in panics, such as a provider's error, the turn still
// gets its one end, and the conversation goes on.
func (c *Conversation) rescue(t *turn) {
	v := recover()
	if v == nil {
		return
	}
	err := &assistant.PanicError{Value: v, Stack: debug.Stack()}
	t.finish, t.reason = assistant.FinishError, assistant.ReasonInternal
	if !t.shown {
		t.meter.Settle(0)
	}
	t.usage = t.meter.Pay(t.usage)
	c.logEnd(t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.shown {
		c.showEndLocked(t, err)
	} else {
		c.refuseLocked(t, err)
	}
}

// replay answers a question that was asked before as its turn was, without asking the model.
func (c *Conversation) replay(t *turn) {
	messages := c.asked(t.question.ClientID)
	if messages == nil {
		var err error
		if messages, err = c.hub.store.MessageByClientID(c.hub.lasting(), c.owner, c.id, t.question.ClientID); err != nil {
			c.refuse(t, assistant.OfStore(err))
			return
		}
	}
	events := assistant.Replay(messages, t.source)
	if !c.stored() {
		events = events[1:] // its client knows the question
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.uncount()
	t.ended = true
	for _, k := range t.keys {
		c.deliverLocked(k, events...)
	}
}

// asked returns the question with that client id and its answer, where they are in memory.
func (c *Conversation) asked(clientID string) []assistant.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range c.messages {
		if m.ClientID == clientID {
			return append([]assistant.Message(nil), c.messages[i:min(i+2, len(c.messages))]...)
		}
	}
	return nil
}
