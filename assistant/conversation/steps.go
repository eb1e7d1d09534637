package conversation

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/window"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"
)

const (
	// maxCalls is how many calls of one step are made. The model is told of the others that there were too many.
	maxCalls = 16
	// maxDrafts is how many calls a model may begin in one step.
	maxDrafts = 128
	// maxArguments is the longest arguments of a call, in bytes.
	maxArguments = 64 << 10
	// maxResult is the longest result that is kept, in bytes.
	maxResult = 256 << 10
	// maxResults is how long all results of an answer may be together, in bytes; of those that come later the start is kept.
	maxResults = 4 << 20
	// maxRepeats is how often the same call may come in a row.
	maxRepeats = 2
)

var (
	errArguments = errors.New("the arguments of a call are longer than 64 KiB, or there are too many calls")
	errTool      = errors.New("the tool did not return in time")
)

// draft is a call that the model writes.
type draft struct {
	index     int
	call      assistant.ToolCallPart
	arguments bytes.Buffer
}

// run asks the model as often as it calls tools, and makes the calls between. It returns why the answer has ended.
//
// A call is stored before it is made, and what it returned after that. So where the process dies between the two, it is
// known that the call may have been made, and it is not made again.
func (c *Conversation) run(t *turn, o output) error {
	if t.open(c.askerOf(t)); t.toolbox.err != nil {
		t.assistant.Logger.Warn("tools are missing", zap.String("message_id", t.id), zap.Error(t.toolbox.err))
		if errors.Is(t.toolbox.err, assistant.ErrToolsRequired) && !t.resumed { // an answer that goes on was asked for them before
			t.usage = new(assistant.Usage) // the model is not asked
			return &assistant.ProviderError{Reason: assistant.ReasonProviderUnavailable, OfQuestion: true, Err: t.toolbox.err}
		}
		o.show(t.event(assistant.KindNotice, assistant.Notice{Reason: assistant.NoticeToolsUnavailable}))
	}
	for _, part := range c.parts() { // of an answer that goes on
		if call, ok := part.(assistant.ToolCallPart); ok {
			t.toolbox.used[call.CallID] = true
		}
	}
	files, err := c.filesOf(t)
	if err != nil {
		return err
	}
	for isFirst := true; ; isFirst = false {
		if waits, err := c.call(t, o); err != nil || waits {
			return err
		}
		if !isFirst && !c.goOn(t) {
			return errBudget
		}
		req := c.request(t)
		req.Files = files
		if req.Tools == nil && len(t.toolbox.tools) > 0 {
			o.show(t.event(assistant.KindNotice, assistant.Notice{Reason: assistant.NoticeToolSteps}))
		}
		err := t.stream(req, o)
		if t.finish != assistant.FinishToolCalls {
			return err
		}
		if t.finish = ""; err != nil { // the answer is not complete
			return err
		}
		if err := c.accept(t, o); err != nil {
			return err
		}
	}
}

// request is what the model gets next: no tools the last time.
func (c *Conversation) request(t *turn) assistant.Request {
	req := assistant.Request{Instructions: t.instructions, Turns: append(slices.Clip(t.history), window.Turn(t.question)), MaxTokens: t.meter.Limit()}
	if parts := c.parts(); len(parts) > 0 {
		t.textBefore = utf8.RuneCountInString(parts.Text())
		req.Turns = append(req.Turns, assistant.Turn{Role: assistant.RoleAssistant, Content: parts.Text(), Parts: parts, Hidden: t.hidden})
	}
	if t.steps+1 < t.assistant.MaxSteps {
		req.Tools = t.toolbox.tools
	} else {
		req.TextOnly = true
	}
	return req
}

// parts are those of the running answer.
func (c *Conversation) parts() assistant.Parts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partsLocked()
}

func (c *Conversation) partsLocked() assistant.Parts {
	if c.view.Running == nil {
		return nil
	}
	return c.view.Running.Text.Parts(true)
}

// stepsOf returns how often a model was asked that has written so much and called tools.
func stepsOf(parts assistant.Parts) (n int) {
	returned := true
	for _, p := range parts {
		switch p := p.(type) {
		case assistant.ToolResultPart:
			returned = true
		case assistant.ToolCallPart:
			if p.Where == assistant.WhereProvider {
				continue
			}
			if returned {
				n++
			}
			returned = false
		}
	}
	return n
}

// write takes pieces of calls, and shows them. It returns how many characters they have.
func (t *turn) write(pieces *[]assistant.CallPiece, show func(assistant.Event)) (characters int, err error) {
	if pieces == nil {
		return 0, nil
	}
	for _, p := range *pieces {
		i := slices.IndexFunc(t.drafts, func(d draft) bool { return d.index == p.Index })
		if i < 0 {
			if len(t.drafts) == maxDrafts {
				return characters, &assistant.ProviderError{Reason: assistant.ReasonProviderRejected, Err: errArguments}
			}
			t.drafts = append(t.drafts, t.newDraft(p))
			i = len(t.drafts) - 1
			show(t.event(assistant.KindToolCall, assistant.ToolCall{Call: t.drafts[i].call}))
		}
		if p.Arguments == "" {
			continue
		}
		d := &t.drafts[i]
		d.arguments.WriteString(p.Arguments)
		if d.arguments.Len() > maxArguments {
			return characters, &assistant.ProviderError{Reason: assistant.ReasonProviderRejected, Err: errArguments}
		}
		characters += utf8.RuneCountInString(p.Arguments)
		show(t.event(assistant.KindToolArgs, assistant.ToolArgs{CallID: d.call.CallID, Piece: withoutNUL(p.Arguments)}))
	}
	return characters, nil
}

// newDraft begins a call. Models and servers may give no id, or the same one twice.
func (t *turn) newDraft(p assistant.CallPiece) draft {
	id := assistant.ToolName(p.ID)
	if id != p.ID || id == "" || t.toolbox.used[id] {
		id = "call_" + assistant.NewID()
	}
	t.toolbox.used[id] = true
	name := cmp.Or(assistant.ToolName(p.Name), "unnamed")
	tool := t.toolbox.byName[name]
	return draft{index: p.Index, call: assistant.ToolCallPart{CallID: id, Name: name, Title: tool.Title, Arguments: json.RawMessage("{}"),
		Where: cmp.Or(tool.Where, assistant.WhereServer), State: assistant.CallPreparing}}
}

// accept decides what becomes of the calls that the model has written, and stores that: they may be made then.
func (c *Conversation) accept(t *turn, o output) error {
	parts, drafts := c.parts(), t.drafts
	var refused []assistant.ToolResultPart
	t.drafts = nil
	if len(drafts) == 0 {
		return assistant.ErrUnfinished
	}
	if err := c.readPrivate(t); err != nil {
		return err
	}
	for i := range drafts {
		d := &drafts[i]
		call, why := t.judge(d, i, parts)
		o.show(t.event(assistant.KindToolCall, assistant.ToolCall{Call: call}))
		parts = parts.With(call)
		if why != "" {
			refused = append(refused, noResult(call.CallID, why))
			t.called(call, 0)
		}
	}
	for _, result := range refused { // behind all calls of the step
		o.show(t.event(assistant.KindToolResult, assistant.ToolResult{Result: result}))
	}
	o.shown()
	return stored(o.sync())
}

// stored is an error of the store as one of the answer.
func stored(err error) error {
	if err == nil || errors.Is(err, assistant.ErrLost) || errors.Is(err, assistant.ErrNotFound) {
		return err
	}
	return &assistant.StoreError{Err: err}
}

// goOn pays for the last step, and reports whether the budget has another one.
func (c *Conversation) goOn(t *turn) bool {
	parts := c.parts()
	w := t.assistant.Window()
	used, within := t.meter.Next(t.usage, t.need()+w.Tokens(t.history)+w.TokensOf(parts.Text(), parts))
	t.usage, t.spent = nil, t.spent.Plus(used)
	return within
}

// judge returns a call as it is to be made, or why it is not, for the model.
func (t *turn) judge(d *draft, n int, parts assistant.Parts) (call assistant.ToolCallPart, why string) {
	call = d.call
	tool, isKnown := t.toolbox.byName[call.Name]
	arguments, fault := objectOf(d.arguments.Bytes())
	call.State = assistant.CallFailed
	if fault == nil && isKnown {
		fault = checkArguments(tool.Parameters, arguments)
	}
	if arguments != nil {
		call.Arguments = arguments
	}
	isTainted := t.toolbox.isTainted(parts, tool)
	switch {
	case n >= maxCalls:
		return call, "This was not called: there were too many calls at once."
	case !isKnown:
		return call, noSuchTool
	case fault != nil:
		return call, "The arguments are not valid: " + fault.Error()
	case repeats(parts, call) > maxRepeats:
		return call, "This was called before with the same arguments."
	case tool.Where == assistant.WhereClient:
		return t.waiting(call, assistant.WaitingForClient), ""
	case (!tool.Approve || t.private.Has(tool)) && !isTainted:
		call.State = assistant.CallRunning
	case t.toolbox.mayApprove:
		call.MayRemember = !isTainted
		return t.waiting(call, assistant.WaitingForApproval), ""
	default:
		call.State = assistant.CallDenied
		return call, deniedByClient
	}
	return call, ""
}

// waiting is a call that waits.
func (t *turn) waiting(call assistant.ToolCallPart, what assistant.WaitingFor) assistant.ToolCallPart {
	call.State, call.WaitingFor, call.ExpiresAt = assistant.CallWaiting, what, now().Add(t.assistant.ApprovalTimeout)
	return call
}

// errNoObject says that arguments are none, also where a name is there twice: people and tools could read another one.
var errNoObject = &assistant.ArgumentsError{Problem: "they are no JSON object"}

// objectOf returns arguments as a JSON object.
func objectOf(arguments []byte) (json.RawMessage, error) {
	if len(bytes.TrimSpace(arguments)) == 0 {
		return json.RawMessage("{}"), nil // some models leave them out where there are none
	}
	object := jsontext.Value(bytes.Clone(arguments))
	err := object.Compact(jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false))
	if err != nil || object.Kind() != '{' || !isKept(object) {
		return nil, errNoObject
	}
	return json.RawMessage(object), nil
}

// maxDepth is how deep values may stand in each other. Stores and encoders have limits of their own, beyond which a
// conversation could not be read any more.
const maxDepth = 64

// isKept reports whether JSON of others can be kept: it is valid, in UTF-8, without a name twice in an object and not too
// deep. Encoders and stores refuse what is not.
func isKept(value []byte) bool {
	decoder := jsontext.NewDecoder(bytes.NewReader(value), jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false))
	for n := 0; ; n++ {
		switch _, err := decoder.ReadToken(); {
		case errors.Is(err, io.EOF):
			return n > 0
		case err != nil, decoder.StackDepth() > maxDepth:
			return false
		}
	}
}

// repeats returns how often the last calls were the same one, with this.
func repeats(parts assistant.Parts, call assistant.ToolCallPart) (n int) {
	for _, p := range slices.Backward(parts) {
		was, ok := p.(assistant.ToolCallPart)
		switch {
		case !ok:
			continue
		case was.State == assistant.CallPreparing:
			continue
		case was.Name != call.Name || !bytes.Equal(was.Arguments, call.Arguments):
			return n + 1
		}
		n++
	}
	return n + 1
}

// call makes the calls that were decided, at most so many at once, and stores what they return. waits says that a person
// has to decide about others: the answer ends until then.
func (c *Conversation) call(t *turn, o output) (waits bool, err error) {
	calls := slices.DeleteFunc(c.parts().Calls(assistant.CallRunning), isProviders)
	if len(calls) > 0 {
		for r := range c.outcomes(t, calls) {
			if r.isProgress {
				o.show(t.event(assistant.KindToolCall, assistant.ToolCall{Call: r.call}))
				o.shown()
				continue
			}
			t.noteOutcome(r)
			o.show(t.event(assistant.KindToolCall, assistant.ToolCall{Call: r.call}))
			if r.call.State != assistant.CallWaiting {
				t.keep(&r.result)
				o.show(t.event(assistant.KindToolResult, assistant.ToolResult{Result: r.result, Duration: r.took}))
				for _, source := range r.sources {
					source.Start, source.End = 0, 0
					t.addParts([]assistant.Part{source}, o.show)
				}
				t.called(r.call, r.took)
			}
			o.shown()
		}
		if err := stored(o.sync()); err != nil {
			return false, err
		}
	}
	switch {
	case t.ctx.Err() != nil:
		return false, context.Cause(t.ctx)
	case len(c.parts().Calls(assistant.CallWaiting)) > 0:
		t.finish = assistant.FinishWaiting
		return true, nil
	}
	return false, nil
}

// isProviders reports whether the model's service makes a call.
func isProviders(call assistant.ToolCallPart) bool { return call.Where == assistant.WhereProvider }

// maxAdded is how many parts of its own a model's service may add to an answer.
const maxAdded = 500

// addParts shows what the model's service has added: sources, and its own calls of tools.
func (t *turn) addParts(parts []assistant.Part, show func(assistant.Event)) {
	for _, part := range parts {
		if t.added++; t.added > maxAdded {
			return
		}
		switch p := part.(type) {
		case assistant.ToolCallPart:
			p.CallID, p.Where = assistant.ToolName(p.CallID), assistant.WhereProvider
			arguments, err := objectOf(p.Arguments)
			if p.CallID == "" || err != nil || len(arguments) > maxArguments {
				continue
			}
			p.Arguments = arguments
			show(t.event(assistant.KindToolCall, assistant.ToolCall{Call: p}))
			if p.State != assistant.CallRunning {
				t.calls++
				t.observer.Called(assistant.CallSummary{Tool: p.Name, ID: p.CallID, State: p.State})
			}
		case assistant.ToolResultPart:
			p.CallID, p.Content = assistant.ToolName(p.CallID), readable(p.Content)
			t.keep(&p)
			show(t.event(assistant.KindToolResult, assistant.ToolResult{Result: p}))
		case assistant.SourcePart:
			p.URL, p.Title = readable(p.URL), readable(p.Title)
			if p.End > 0 {
				p.Start, p.End = p.Start+t.textBefore, p.End+t.textBefore
			}
			show(t.event(assistant.KindPart, assistant.Added{Part: p}))
		}
	}
}

// noteOutcome notes what is to be kept of a call beside its result.
func (t *turn) noteOutcome(o callOutcome) {
	switch t.private.forget(o.call.CallID); {
	case o.call.State == assistant.CallWaiting:
		t.private.ask(o.call.CallID, o.state)
	case o.call.State == assistant.CallDone && o.call.Remember:
		t.private.grant(t.toolbox.byName[o.call.Name])
	}
}

// keep bounds what is kept of all results of an answer.
func (t *turn) keep(r *assistant.ToolResultPart) {
	if t.kept += len(r.Content) + len(r.Structured); t.kept > maxResults {
		r.Content, r.Structured, r.Truncated = firstBytes(r.Content, 1<<10), nil, true
	}
}

// resultsOf is how long all results of an answer are, in bytes.
func resultsOf(parts assistant.Parts) (n int) {
	for _, p := range parts {
		if r, ok := p.(assistant.ToolResultPart); ok {
			n += len(r.Content) + len(r.Structured)
		}
	}
	return n
}

// called counts a call that has ended.
func (t *turn) called(call assistant.ToolCallPart, took time.Duration) {
	t.calls++
	name := call.Name
	if _, isKnown := t.toolbox.byName[name]; !isKnown {
		name = "" // the model's word
	}
	t.observer.Called(assistant.CallSummary{Tool: name, ID: call.CallID, State: call.State, Duration: took})
}

// callOutcome is what came of a call.
type callOutcome struct {
	call       assistant.ToolCallPart
	result     assistant.ToolResultPart
	sources    []assistant.SourcePart
	state      string // of a call that waits for input
	isProgress bool   // the call is still being made
	took       time.Duration
}

// outcomes makes calls, and returns what comes of them, the first that ends first.
func (c *Conversation) outcomes(t *turn, calls []assistant.ToolCallPart) <-chan callOutcome {
	results, places := make(chan callOutcome), make(chan struct{}, t.assistant.MaxParallel)
	var wg sync.WaitGroup
	for _, call := range calls {
		answered := t.private.input(call.CallID)
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			told := &teller{call: call, to: results}
			outcome := c.outcome(t, c.calling(t, call.CallID), call, answered, told.tell)
			told.end()
			results <- outcome
		})
	}
	go func() {
		wg.Wait()
		close(results)
	}()
	return results
}

// progressEvery is how often at most the progress of a call is shown.
const progressEvery = 250 * time.Millisecond

// teller tells how far a call is, until it has returned.
type teller struct {
	call assistant.ToolCallPart
	to   chan<- callOutcome

	mu       sync.Mutex
	last     time.Time
	hasEnded bool
}

// tell tells it, unless it was told just now.
func (r *teller) tell(p assistant.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hasEnded || time.Since(r.last) < progressEvery || math.IsNaN(p.Done+p.Total) || math.IsInf(p.Done+p.Total, 0) {
		return
	}
	p.Text = readable(firstBytes(p.Text, maxProgress))
	call := r.call
	call.Progress = &p
	select {
	case r.to <- callOutcome{call: call, isProgress: true}:
		r.last = time.Now()
	default: // whoever shows it is busy, and the tool must not wait for that
	}
}

// maxProgress is the longest text of a progress, in bytes.
const maxProgress = 500

// firstBytes returns the start of a text, of at most n bytes and with no half character at its end.
func firstBytes(text string, n int) string { return strings.ToValidUTF8(text[:min(len(text), n)], "") }

func (r *teller) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hasEnded = true
}

// calling is who asks, with placeholders that name the call.
func (c *Conversation) calling(t *turn, callID string) assistant.Peer {
	peer := c.askerOf(t).Peer
	named := strings.NewReplacer("{assistant.user}", peer.User, "{assistant.conversation_id}", c.id, "{assistant.message_id}", t.id, "{assistant.call_id}", callID)
	resolve := peer.Resolved
	peer.Resolve = func(template string) string { return named.Replace(resolve(template)) } // so that no value is taken for a template
	return peer
}

// outcome makes one call, or goes on with one that has asked for input.
func (c *Conversation) outcome(t *turn, peer assistant.Peer, call assistant.ToolCallPart, answered assistant.PendingInput, progress func(assistant.Progress)) callOutcome {
	start := time.Now()
	result, err := t.makeCall(assistant.Call{ID: t.id + "." + call.CallID, Name: call.Name, Arguments: call.Arguments, Peer: peer, ConversationID: c.id, MessageID: t.id,
		Answers: answered.Answers, State: answered.State, Progress: progress})
	if err == nil && result.Needs != nil {
		o, fault := t.needs(call, *result.Needs)
		if fault == nil {
			o.took = time.Since(start)
			return o
		}
		err = fmt.Errorf("%w: %w", assistant.ErrNotCalled, fault)
	}
	o := callOutcome{call: call, result: resultPart(call.CallID, result), sources: result.Sources, took: time.Since(start)}
	switch {
	case err == nil && !result.IsError:
		o.call.State = assistant.CallDone
	case err == nil:
		o.call.State = assistant.CallFailed
	case errors.Is(err, assistant.ErrNotCalled):
		o.call.State = assistant.CallFailed
		o.result = noResult(call.CallID, "The tool could not be called.")
	default:
		o.call.State = assistant.CallUnknown
		o.result = noResult(call.CallID, assistant.OutcomeUnknown)
	}
	if err != nil {
		t.assistant.Logger.Warn("call of a tool failed", zap.String("message_id", t.id), zap.String("tool", call.Name), zap.String("call_id", call.CallID),
			zap.String("state", string(o.call.State)), zap.Error(err))
	}
	return o
}

// needs is a call that goes on when a person has answered. The error says why it cannot wait for that.
func (t *turn) needs(call assistant.ToolCallPart, n assistant.Needs) (callOutcome, error) {
	size := len(n.State)
	for i := range n.Inputs {
		in := &n.Inputs[i]
		in.ID, in.Message, in.URL = readable(in.ID), readable(in.Message), readable(in.URL)
		if in.Schema != nil && !isKept(in.Schema) {
			return callOutcome{}, errors.New("it asks for input of which the schema is not valid")
		}
		size += len(in.ID) + len(in.Message) + len(in.URL) + len(in.Schema)
	}
	switch {
	case !t.toolbox.canDecide:
		return callOutcome{}, errors.New("it asks for input, and the client cannot ask")
	case len(n.Inputs) == 0 || size > maxInputState || !utf8.ValidString(n.State):
		return callOutcome{}, errors.New("it asks for nothing, or for more than 64 KiB")
	}
	call = t.waiting(call, assistant.WaitingForInput)
	call.Inputs = n.Inputs
	return callOutcome{call: call, state: n.State}, nil
}

// readable is text of others as it can be stored.
func readable(text string) string { return withoutNUL(strings.ToValidUTF8(text, "\uFFFD")) }

// makeCall calls the tool. A panic is an error, after which nothing is known.
func (t *turn) makeCall(call assistant.Call) (result assistant.Result, err error) {
	defer assistant.Catch(&err)
	tool, isKnown := t.toolbox.byName[call.Name]
	if !isKnown || t.ctx.Err() != nil {
		return result, assistant.ErrNotCalled // the tool was there when the call was decided, and nobody had stopped the answer
	}
	if err := checkArguments(tool.Parameters, call.Arguments); err != nil { // a person may have changed them
		return result, fmt.Errorf("%w: %w", assistant.ErrNotCalled, err)
	}
	ctx, cancel := context.WithTimeoutCause(t.ctx, t.assistant.ToolTimeout, errTool)
	defer cancel()
	return t.toolSource().Call(ctx, call)
}

// noResult tells the model why a call has returned nothing.
func noResult(callID, why string) assistant.ToolResultPart {
	return assistant.ToolResultPart{CallID: callID, Content: why, IsError: true}
}

// resultPart is a result as it is stored.
func resultPart(callID string, r assistant.Result) assistant.ToolResultPart {
	p := assistant.ToolResultPart{CallID: callID, Content: readable(r.Text), Structured: r.Structured, IsError: r.IsError}
	if len(p.Content) > maxResult {
		p.Content, p.Truncated = firstBytes(p.Content, maxResult), true
	}
	if len(p.Structured) > maxResult || !isKept(p.Structured) {
		p.Truncated = p.Truncated || len(p.Structured) > maxResult
		p.Structured = nil
	}
	return p
}
