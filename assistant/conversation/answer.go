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
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
	"go.uber.org/zap"
)

// work answers until no question is left. It is the one goroutine of a busy conversation:
//
//	work ─ answer ─┬─ begin     find the question and the history, store, show the start
//	               ├─ run ─┬─ stream    Provider.Stream ─► take ─► recorder ─► show, store
//	               │       └─ call      calls of tools, and what they return; then stream again
//	               └─ finish    store the whole answer, show its end
func (c *Conversation) work() {
	for t := c.running; t != nil; {
		c.answer(t)
		early := c.earlyOf(t)
		t = c.next()
		c.decideEarly(early)
	}
}

func (c *Conversation) earlyOf(t *turn) []decision {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.early
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
	c.letGo(false)
	t, isLeft := c.startNext()
	if isLeft {
		c.drop()
	}
	return t
}

// startNext is next. isLeft says that the claim is still to be dropped: those that waited were refused.
func (c *Conversation) startNext() (next *turn, isLeft bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.hub.end(c.running) // at last: a hub that drains ends mouths once no turn runs
	c.running.cancel(nil)
	c.running = nil
	for len(c.pending) > 0 && c.ctx.Err() == nil && !c.deleted && c.deleting == 0 {
		t := c.pending[0]
		c.pending = c.pending[1:]
		t.assistant.Observer.Waiting(-1)
		if c.startLocked(t) {
			return t, false
		}
		c.refuseLocked(t, assistant.Refuse(assistant.ReasonDraining))
	}
	if c.deleting == 0 { // who deletes refuses them
		c.dropPendingLocked()
	}
	c.settleLocked()
	isLeft = c.isHolding
	c.isHolding = false // whoever works next takes it anew
	return nil, isLeft
}

// answer runs a turn from its start to its one end. What keeps it from starting is said to its askers alone.
func (c *Conversation) answer(t *turn) {
	defer close(t.done)
	defer t.meter.Drop() // what has not begun costs nothing
	defer c.rescue(t)
	if t.resumed || c.opens(t) {
		c.give(t)
	}
}

// opens obtains the conversation and begins the turn. It reports whether an answer is to be given.
func (c *Conversation) opens(t *turn) bool {
	answered, err := c.obtain(t)
	if answered {
		return false
	}
	if err == nil {
		err = c.begin(t)
	}
	switch {
	case errors.Is(err, assistant.ErrLost): // and nothing was shown
		c.letGo(true)
		c.refuse(t, assistant.Refuse(assistant.ReasonBusy))
	case errors.Is(err, errAnswered):
		c.replayOwn(t)
	case errors.Is(err, assistant.ErrDuplicate):
		c.replay(t)
	case err != nil:
		if !assistant.IsRefusal(err) {
			t.assistant.Logger.Warn("question not accepted", append(assistant.FaultFields(err), zap.String("conversation_id", c.id))...)
		}
		c.refuse(t, err)
	}
	return err == nil
}

// give gives the answer of a turn whose start was shown, or that goes on.
func (c *Conversation) give(t *turn) {
	t.observer = t.assistant.Observer.Answering(assistant.AnswerStart{Peer: c.askerOf(t).Peer, ConversationID: c.id, MessageID: t.id, Source: t.source})
	if !t.resumed {
		c.logContent(t, t.question)
	}
	if !c.stored() {
		c.finish(t, t.conclude(c.run(t, output{c.show, c.shown, func() error { return nil }})), 0)
		return
	}
	r := c.record(t)
	err := c.run(t, output{
		show: func(e assistant.Event) {
			if err := c.proven(t); errors.Is(err, assistant.ErrLost) {
				t.cancel(err)
			} else if err == nil {
				r.Add(e)
			}
		},
		shown: func() {
			if !t.assistant.Strict { // whose events come later
				c.shown()
			}
		},
		sync: r.Sync,
	})
	kept, shown := r.End()
	if !shown {
		t.finish = ""
	}
	if err = t.conclude(err); errors.Is(context.Cause(t.ctx), assistant.ErrLost) && c.isHeldBefore(c.hub.node()) {
		c.lose(t)
		return
	}
	c.finish(t, err, kept)
}

// record begins to store the answer.
func (c *Conversation) record(t *turn) *recorder.Recorder {
	claim := c.claim
	return recorder.Start(recorder.Config{
		Log: c.view.Log, After: c.kept, Show: c.show, Shown: func() { c.log().Notify(false) }, Strict: t.assistant.Strict, Ctx: t.ctx, Cancel: t.cancel,
		Lock: func() func() { c.writing <- struct{}{}; return c.written },
		Extend: func(events []assistant.Event) error {
			return c.extend(claim, assistant.Extension{MessageID: t.id, Events: events, ReasoningLive: t.assistant.ReasoningLive})
		},
		Logger: t.assistant.Logger.With(zap.String("message_id", t.id)),
	})
}

// extend stores what was shown, and tells other nodes.
func (c *Conversation) extend(claim assistant.Claim, e assistant.Extension) error {
	err := c.hub.store.Extend(c.hub.lasting(), claim, e)
	if err == nil && c.hub.isClustered() {
		c.hub.announce(assistant.Standing{Owned: claim.Owned, Cursor: assistant.Cursor{Epoch: c.cursor().Epoch, Seq: e.Events[len(e.Events)-1].Seq}, Holder: claim.Node})
	}
	return err
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
	c.report(t, request{Kind: requestRefused, Failed: &failed})
	for _, k := range t.keys {
		c.deliverLocked(k, t.event(assistant.KindFailed, failed))
	}
}

// output is where the events of an answer go.
type output struct {
	show  func(assistant.Event)
	shown func()       // called where the next event may take a while
	sync  func() error // returns when what was shown is durable
}

// stream is the streaming loop: it asks the provider and shows what it sends.
func (t *turn) stream(req assistant.Request, o output) (err error) {
	defer o.shown()
	defer assistant.Catch(&err)
	t.steps++
	for delta, err := range t.assistant.Provider.Stream(t.ctx, req) {
		if t.ctx.Err() != nil {
			return context.Cause(t.ctx)
		}
		if err != nil {
			return err
		}
		characters, isCut := t.cut(&delta)
		t.take(delta, o.show)
		written, err := t.write(delta.Calls, o.show)
		if err != nil {
			return err
		}
		if !delta.More {
			o.shown()
		}
		switch within := t.meter.Add(characters + written); { // either ends the model's request
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
	if d.Parts != nil {
		t.addParts(*d.Parts, show)
	}
	if d.Hidden != nil {
		t.hide(*d.Hidden)
	}
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
	t.meter.Failed(f.Usage)
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
	case errors.Is(cause, assistant.ErrLost):
		t.finish, err = assistant.FinishInterrupted, cause
	case cause != nil: // what the provider made of it is no fault
		t.finish, err = assistant.FinishStopped, cause
	default:
		t.finish = assistant.FinishError
	}
	if t.finish == assistant.FinishError {
		t.reason = assistant.Describe(err).Reason
	}
	t.pay()
	return err
}

// pay pays for all that the model was asked.
func (t *turn) pay() {
	if t.usage != nil {
		t.usage = new(t.spent.Plus(*t.usage))
	}
	t.spent = assistant.Usage{} // a second call pays for nothing
	t.usage = t.meter.Pay(t.usage)
}

// isFault reports whether a turn was cancelled because its store broke.
func isFault(cause error) bool {
	_, ok := errors.AsType[*assistant.StoreError](cause)
	return ok
}

// show appends an event of the running answer. Followers learn of it by shown.
func (c *Conversation) show(e assistant.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if source, ok := e.Body.(assistant.Source); ok {
		c.running.source = source
	}
	c.applyLocked(e)
}

// shown lets followers see what show has appended. It is called without locks.
func (c *Conversation) shown() { c.log().Notify(true) }

func (c *Conversation) log() *stream.Log[assistant.Event] {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.Log
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
		t.meter.Drop()
	}
	t.pay()
	switch {
	case !t.shown:
		c.logEnd(t, err)
		c.refuse(t, err)
	case !t.ended:
		c.finish(t, err, c.kept)
	}
}

// replayOwn shows the askers of t its answer, where another node gave it and its events never came here.
func (c *Conversation) replayOwn(t *turn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := view.IndexOf(c.view.Messages, t.id)
	if t.ended || i < 1 {
		return
	}
	t.uncount()
	t.ended = true
	for _, k := range t.keys {
		c.deliverLocked(k, assistant.Replay(c.view.Messages[i-1:i+1], t.source)...)
	}
}

// replay answers a question that was asked before as its turn was, without asking the model.
func (c *Conversation) replay(t *turn) {
	c.mu.Lock()
	messages := c.view.Question(t.question.ClientID)
	c.mu.Unlock()
	if messages == nil {
		var err error
		if messages, err = c.hub.store.MessageByClientID(c.hub.lasting(), c.owner, c.id, t.question.ClientID); err != nil {
			c.refuse(t, assistant.OfStore(err))
			return
		}
	}
	c.report(t, request{Kind: requestAnswered})
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
