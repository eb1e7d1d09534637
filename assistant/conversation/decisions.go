package conversation

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
)

// decision is what somebody wants of an answer that waits or was cut: one call is decided, all are denied, or the answer
// goes on. It may be carried out twice, and is then the same as once.
type decision struct {
	MessageID string          `json:"message_id"`
	CallID    string          `json:"call_id,omitempty"` // "" = it is about the whole answer
	Approve   bool            `json:"approve,omitempty"`
	Remember  bool            `json:"remember,omitempty"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Denied    string          `json:"denied,omitempty"` // what the model is told of a call that is denied; of the whole answer: it ends

	Result  *assistant.ToolResultPart        `json:"result,omitempty"`  // of a call that the client has made
	Answers map[string]assistant.InputAnswer `json:"answers,omitempty"` // to what a tool asks

	sentAsker

	asker assistant.Asker // at the node at which it arrives
}

// What models are told of calls that were not made.
const (
	noSuchTool     = "There is no tool of this name."
	deniedByUser   = "The user has denied this."
	deniedByStop   = "The user has stopped the answer."
	deniedByNext   = "The user has asked something else instead."
	deniedByTime   = "Nobody has decided in time."
	deniedByClient = "This needs the user's approval, and this client cannot ask for it."
)

func newDecision(messageID string, asker assistant.Asker) decision {
	return decision{MessageID: messageID, sentAsker: sent(asker), asker: asker}
}

func decisionOf(cmd assistant.Decide) decision {
	d := newDecision(cmd.MessageID, cmd.Asker)
	d.CallID, d.Approve, d.Remember, d.Arguments = cmd.CallID, cmd.Approve, cmd.Remember, cmd.Arguments
	if !d.Approve {
		d.Denied = deniedByUser
		if cmd.Reason != "" {
			d.Denied += " Reason: " + withoutNUL(cmd.Reason)
		}
	}
	return d
}

func submittedResult(cmd assistant.SubmitResult) decision {
	d := newDecision(cmd.MessageID, cmd.Asker)
	d.CallID, d.Result = cmd.CallID, new(resultPart(cmd.CallID, cmd.Result))
	return d
}

func submittedInput(cmd assistant.SubmitInput) decision {
	d := newDecision(cmd.MessageID, cmd.Asker)
	d.CallID, d.Answers = cmd.CallID, cmd.Answers
	return d
}

func continuing(cmd assistant.Continue) decision { return newDecision(cmd.MessageID, cmd.Asker) }

// ending denies all that waits, and ends the answer.
func ending(messageID string, from assistant.RequestKey, why string) decision {
	return decision{MessageID: messageID, Denied: why, sentAsker: sentAsker{From: from}}
}

// of returns who decides: a decision that another node has forwarded has it as data.
func (d decision) of() assistant.Asker {
	if d.asker.From != (assistant.RequestKey{}) {
		return d.asker
	}
	return d.received()
}

// decide carries out a decision, wherever the conversation is held. Run of the receipt is the answer, if that goes on.
func (c *Conversation) decide(ctx context.Context, d decision) (assistant.Receipt, error) {
	if err := c.checkArguments(ctx, d); err != nil {
		return assistant.Receipt{}, err
	}
	return carryOut(ctx, c, request{Kind: requestDecide, Decision: &d},
		func() (assistant.Receipt, error) { return c.decideHere(d) },
		func(r reply) (assistant.Receipt, bool) {
			return assistant.Receipt{Run: r.Run}, r.Outcome == outcomeAccepted
		})
}

// serveDecision is decide for another node, if this one holds the conversation.
func (c *Conversation) serveDecision(ctx context.Context, d decision) reply {
	if !c.holds() {
		return reply{Outcome: outcomeNotHeld}
	}
	receipt, err := c.decide(ctx, d)
	if err != nil {
		return refusal(err)
	}
	return reply{Outcome: outcomeAccepted, Run: receipt.Run}
}

// decideHere is decide where this node holds the conversation: it gives that back, or keeps it for the answer.
func (c *Conversation) decideHere(d decision) (assistant.Receipt, error) {
	t, err := c.reserveTurn(d)
	for until := time.Now().Add(callTimeout); errors.Is(err, errDeciding) && time.Now().Before(until) && recorder.Pause(c.ctx, 20*time.Millisecond); {
		t, err = c.reserveTurn(d)
	}
	if errors.Is(err, errDeciding) {
		err = assistant.Refuse(assistant.ReasonBusy)
	}
	if err != nil || t == nil {
		c.drop()
		return assistant.Receipt{}, err
	}
	goesOn, err := c.settle(t, d)
	switch {
	case errors.Is(err, assistant.ErrNotFound):
		c.hub.forget(c, always)
		c.vanished()
		err = assistant.Refuse(assistant.ReasonUnknownTopic)
	case errors.Is(err, assistant.ErrLost):
		err = assistant.Refuse(assistant.ReasonBusy)
	}
	if goesOn {
		c.isHolding = true // nobody else answers
		if !c.hub.Go(c.work) {
			c.work() // the server stops: so does the answer
		}
		return assistant.Receipt{Run: t.id}, nil
	}
	t.meter.Drop()
	t.uncount()
	c.drop()
	c.giveUp(t)
	return assistant.Receipt{}, err
}

// reserveTurn makes a turn for the answer the running one, so that nothing else begins. It returns nil where the decision
// was carried out before, or is when the answer has ended until then.
func (c *Conversation) reserveTurn(d decision) (*turn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.deleted:
		return nil, assistant.Refuse(assistant.ReasonUnknownTopic)
	case d.CallID != "" && c.settled[d.CallID] == d.From && d.From != (assistant.RequestKey{}):
		return nil, nil
	case c.running != nil && c.running.isDeciding():
		return nil, errDeciding
	case c.running != nil && c.running.id == d.MessageID && c.running.ended:
		return nil, errDeciding // it is about to be let go
	case c.running != nil && c.running.id == d.MessageID:
		return nil, c.running.decideLater(d, c.partsLocked())
	case c.running != nil, c.deleting > 0:
		return nil, assistant.Refuse(assistant.ReasonBusy)
	}
	t := newTurnOf(c, d.of())
	t.id, t.resumed = d.MessageID, true
	if !c.startLocked(t) {
		return nil, assistant.Refuse(assistant.ReasonDraining)
	}
	return t, nil
}

// decideLater keeps a decision about a call that waits while others are still being made: it is carried out when these have
// ended.
func (t *turn) decideLater(d decision, parts assistant.Parts) error {
	i := parts.CallIndex(d.CallID)
	isKept := slices.ContainsFunc(t.early, func(other decision) bool { return other.CallID == d.CallID })
	if d.CallID == "" || i < 0 || isKept || parts[i].(assistant.ToolCallPart).State != assistant.CallWaiting || t.ctx.Err() != nil {
		return d.refusal()
	}
	t.early = append(t.early, d)
	return nil
}

// decideEarly carries out what was decided before the answer had ended. Who decided is told if it is too late.
func (c *Conversation) decideEarly(decisions []decision) {
	for _, d := range decisions {
		c.hub.Go(func() {
			_, err := c.decide(c.hub.lasting(), d)
			if err == nil {
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.deliverLocked(d.From, assistant.Event{Kind: assistant.KindFailed, Run: d.MessageID, From: d.From, Body: assistant.Describe(err)})
		})
	}
}

// errDeciding says that another decision is being stored.
var errDeciding = errors.New("another decision is being stored")

// isDeciding reports whether the turn stands for a decision of which it is not known yet whether the answer goes on.
func (t *turn) isDeciding() bool { return t.resumed && !t.shown && !t.ended }

// refusal is why the decision is about nothing.
func (d decision) refusal() error {
	if d.CallID == "" && d.Denied == "" {
		return assistant.Refuse(assistant.ReasonNothingToContinue)
	}
	return assistant.Refuse(assistant.ReasonNotWaiting)
}

// giveUp ends a turn that was reserved, and lets the next one run.
func (c *Conversation) giveUp(t *turn) {
	c.mu.Lock()
	t.ended = true
	c.mu.Unlock()
	close(t.done)
	if next := c.next(); next != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.launchLocked(next)
	}
}

// waiting returns the id of the answer that waits; "" where none does.
func (c *Conversation) waiting() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waitingLocked().ID
}

func (c *Conversation) waitingLocked() (m assistant.Message) {
	if last := len(c.view.Messages) - 1; last >= 0 && c.view.Running == nil && c.view.Messages[last].Status == assistant.StatusWaiting {
		return c.view.Messages[last]
	}
	return m
}

// Call returns a call of a tool in one of the last messages, or in the running answer.
func (c *Conversation) Call(messageID, callID string) (call assistant.ToolCallPart, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts assistant.Parts
	i := view.IndexOf(c.view.Messages, messageID)
	switch {
	case i >= 0:
		parts = c.view.Messages[i].Parts
	case c.view.Running != nil && c.view.Running.ID == messageID:
		parts = c.partsLocked()
	}
	if i = parts.CallIndex(callID); i < 0 {
		return call, false
	}
	return parts[i].(assistant.ToolCallPart), true
}

// settle stores a decision and shows it. goesOn says that the answer streams again.
func (c *Conversation) settle(t *turn, d decision) (goesOn bool, err error) {
	c.writing <- struct{}{}
	defer c.written()
	if err := c.settleLate(); err != nil {
		return false, err
	}
	c.mu.Lock()
	messages := c.view.Messages
	c.mu.Unlock()
	last := len(messages) - 1
	if last < 1 || messages[last].ID != d.MessageID || messages[last-1].Role != assistant.RoleUser {
		return false, d.refusal()
	}
	answer := messages[last]
	if d.CallID == "" && d.Denied != "" {
		return false, c.endWaiting(answer, d.From, d.Denied)
	}
	before := answer
	if err := c.readPrivate(t); err != nil {
		return false, err
	}
	t.kept = resultsOf(answer.AllParts())
	events, parts, err := t.decided(answer, d)
	if err == nil && d.CallID == "" {
		err = t.count() // it asks the model, as a question does
	}
	if err != nil {
		return false, err
	}
	answer.SetParts(parts)
	if goesOn = len(parts.Calls(assistant.CallWaiting)) == 0; goesOn {
		if t.open(t.asker); errors.Is(t.toolbox.err, assistant.ErrToolsRequired) {
			return false, assistant.Refuse(assistant.ReasonProviderUnavailable) // it goes on waiting
		}
		if err := c.resume(t, messages[:last], before, answer); err != nil {
			return false, err
		}
		answer.Status, answer.FinishReason, answer.Reason = assistant.StatusStreaming, "", ""
		events = append(events, t.event(assistant.KindStarted, assistant.Started{Source: t.source, At: t.started, ReasoningLive: t.assistant.ReasoningLive, Resumed: true}))
	}
	mark(events, d.From, goesOn)
	if err := c.amend(answer, t.started, events, t.private.changed()); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.CallID != "" {
		if c.settled == nil || goesOn {
			c.settled = make(map[string]assistant.RequestKey)
		}
		c.settled[d.CallID] = d.From
	}
	t.shown = goesOn
	return goesOn, nil
}

// mark says of the events of a decision whose they are, and whether the answer goes on.
func mark(events []assistant.Event, from assistant.RequestKey, goesOn bool) {
	for i := range events {
		events[i].From = from
		switch body := events[i].Body.(type) {
		case assistant.ToolCall:
			body.GoesOn = goesOn
			events[i].Body = body
		case assistant.ToolResult:
			body.GoesOn = goesOn
			events[i].Body = body
		}
	}
}

// amend stores what a message has become that does not stream, and what is kept beside it, and shows the events that say
// so. writing is held.
func (c *Conversation) amend(answer assistant.Message, at time.Time, events []assistant.Event, private *assistant.Private) error {
	if c.stored() {
		err := c.hub.store.Finish(c.hub.lasting(), c.claim,
			assistant.Ending{At: at, Messages: []assistant.Message{answer}, Events: c.unstored(events), Private: private})
		switch {
		case errors.Is(err, assistant.ErrNotFound), errors.Is(err, assistant.ErrLost):
			return err
		case err != nil:
			c.isDoubtful = true
			return assistant.OfStore(err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keepLocked(private)
	for _, e := range events {
		c.appendLocked(e)
	}
	c.kept = c.view.Log.Last()
	c.updatedLocked()
	return nil
}

// decided returns what a decision makes of an answer: its parts, and the events that say so.
func (t *turn) decided(answer assistant.Message, d decision) (events []assistant.Event, parts assistant.Parts, err error) {
	if d.CallID == "" {
		return t.continued(answer)
	}
	parts = answer.AllParts()
	i := parts.CallIndex(d.CallID)
	if answer.Status != assistant.StatusWaiting || i < 0 {
		return nil, nil, d.refusal()
	}
	call := parts[i].(assistant.ToolCallPart)
	if call.State != assistant.CallWaiting {
		return nil, nil, d.refusal()
	}
	result := assistant.ToolResultPart{}
	switch {
	case d.Denied != "":
		result, call = noResult(call.CallID, d.Denied), call.Settled(assistant.CallDenied)
	case d.Result != nil && call.WaitingFor == assistant.WaitingForClient:
		result = *d.Result
		t.keep(&result)
		call = call.Settled(assistant.CallDone)
		if result.IsError {
			call.State = assistant.CallFailed
		}
	case d.Answers != nil && call.WaitingFor == assistant.WaitingForInput:
		if err := t.private.answer(call.CallID, d.Answers); err != nil {
			return nil, nil, err
		}
		call = call.Settled(assistant.CallRunning)
	case d.Approve && call.WaitingFor == assistant.WaitingForApproval:
		call.Remember = d.Remember && call.MayRemember && d.Arguments == nil
		call = call.Settled(assistant.CallRunning)
		if d.Arguments != nil {
			call.Arguments, call.Edited = d.Arguments, true
		}
	default:
		return nil, nil, d.refusal()
	}
	events, parts = settled(d.MessageID, parts, call, result)
	return events, parts, nil
}

// settled is a call that has been decided, with its result where that ends it.
func settled(run string, parts assistant.Parts, call assistant.ToolCallPart, result assistant.ToolResultPart) ([]assistant.Event, assistant.Parts) {
	events, parts := []assistant.Event{{Kind: assistant.KindToolCall, Run: run, Body: assistant.ToolCall{Call: call}}}, parts.With(call)
	if result.CallID != "" {
		events = append(events, assistant.Event{Kind: assistant.KindToolResult, Run: run, Body: assistant.ToolResult{Result: result}})
		parts = parts.With(result)
	}
	return events, parts
}

// continued lets an answer go on that was cut after a call. What is not known to have been done is made again only if
// that does no harm.
func (t *turn) continued(answer assistant.Message) (events []assistant.Event, parts assistant.Parts, err error) {
	parts = answer.AllParts()
	none := assistant.Refuse(assistant.ReasonNothingToContinue)
	if answer.Status == assistant.StatusComplete || answer.Status == assistant.StatusWaiting || len(parts) == 0 {
		return nil, nil, none
	}
	last := parts[len(parts)-1]
	for _, p := range slices.Backward(parts) { // behind a result is what it comes from
		if _, isSource := p.(assistant.SourcePart); !isSource {
			last = p
			break
		}
	}
	switch last.(type) {
	case assistant.ToolCallPart, assistant.ToolResultPart:
	default:
		return nil, nil, none
	}
	t.open(t.asker)
	for _, call := range parts.Calls(assistant.CallUnknown) {
		if t.toolbox.byName[call.Name].Repeatable {
			call = call.Settled(assistant.CallRunning)
			parts = parts.With(call)
			events = append(events, t.event(assistant.KindToolCall, assistant.ToolCall{Call: call}))
		}
	}
	return events, parts, nil
}

// resume gets a turn ready to go on with an answer: what the model receives, and what it may cost. writing is held.
func (c *Conversation) resume(t *turn, before []assistant.Message, was, answer assistant.Message) error {
	question := before[len(before)-1]
	messages, more, err := c.readBack(before, c.view.More, func(m []assistant.Message) bool { return view.Tokens(m) >= t.assistant.Context })
	if err != nil {
		return assistant.OfStore(err)
	}
	c.mu.Lock()
	t.question = question
	if more != c.view.More || len(messages) != len(before) {
		c.view.Messages, c.view.More = append(slices.Clip(messages), was), more
	}
	c.mu.Unlock()
	input := t.need() + view.Tokens([]assistant.Message{answer})
	t.history, t.trimmed = t.assistant.Window().Select(messages[:len(messages)-1], input)
	t.earlier, t.steps = answer.Usage, stepsOf(answer.AllParts())
	rate := limits.Rate{}
	if t.counted {
		rate = t.assistant.Rate
	}
	return t.meter.Open(t.hub.accounts, t.client, rate, t.assistant.Budget, input+t.assistant.Window().Tokens(t.history))
}

// endWaiting denies all that waits in an answer, and ends it. writing is held.
func (c *Conversation) endWaiting(answer assistant.Message, from assistant.RequestKey, why string) error {
	if answer.Status != assistant.StatusWaiting {
		return assistant.Refuse(assistant.ReasonNotWaiting)
	}
	parts, at := answer.AllParts(), now()
	var events []assistant.Event
	for _, call := range parts.Calls(assistant.CallWaiting) {
		var more []assistant.Event
		more, parts = settled(answer.ID, parts, call.Settled(assistant.CallDenied), noResult(call.CallID, why))
		events = append(events, more...)
	}
	source := assistant.Source{Provider: answer.Provider, Model: answer.Model}
	events = append(events,
		assistant.Event{Kind: assistant.KindStarted, Run: answer.ID, Body: assistant.Started{Source: source, At: at, Resumed: true}},
		assistant.Event{Kind: assistant.KindCompleted, Run: answer.ID, Body: assistant.Completed{FinishReason: assistant.FinishStopped, Usage: answer.Usage, At: at}})
	mark(events, from, true)
	answer.SetParts(parts)
	answer.Status, answer.FinishReason = assistant.StatusStopped, assistant.FinishStopped
	return c.amend(answer, at, events, nil)
}

// supersede ends an answer that waits where another question comes behind it. writing is held.
func (c *Conversation) supersede(t *turn, b assistant.Beginning) error {
	if b.DropFrom != "" {
		return nil // it goes
	}
	c.mu.Lock()
	answer := c.waitingLocked()
	c.mu.Unlock()
	if answer.ID == "" {
		return nil
	}
	err := c.endWaiting(answer, assistant.RequestKey{}, deniedByNext)
	c.selectHistory(t, b) // in which the calls are denied now
	return err
}
