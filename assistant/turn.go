package assistant

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"go.uber.org/zap"
)

// Why an answer ends before the model has said all.
var (
	errStopped = errors.New("stopped by a client")
	errAlone   = errors.New("no socket is left")
	errBudget  = errors.New("the budget of tokens is used up")
)

// turn is one question and its answer.
type turn struct {
	// fixed
	id           string // the answer's message id
	assistant    *Assistant
	instructions string
	regenerate   bool
	replaces     string // id of the question that it replaces, with all after it
	payer        payer

	// the last one that asked for it
	asker atomic.Pointer[asker]

	// changed under the conversation's lock by whoever shows the answer, and read without it once that has ended
	source Source

	// set before it is shown, under the conversation's lock
	question Message
	counted  bool // as one of its payer's questions
	history  []Turn
	trimmed  bool // there is more history than the model is told
	ctx      context.Context
	cancel   context.CancelCauseFunc

	started time.Time     // set by Hub.begin
	done    chan struct{} // closed after its last event

	// under the conversation's lock while it runs
	shown     bool // between its start and its end
	ended     bool // after its end
	text      strings.Builder
	reasoning strings.Builder

	// the answering goroutine's
	meter    meter
	finish   FinishReason
	usage    *Usage
	waited   time.Duration // until the first piece
	pieces   int
	observer AnswerObserver // nil until it begins and after its end
}

// asker is who asked for a turn, and how.
type asker struct {
	session  *Session
	envelope wire.Envelope
}

func newTurn(r *request, content string) *turn {
	a := r.settings()
	t := &turn{
		id: newID(), assistant: a, source: a.Provider.Source(), instructions: r.peer.instructions(a.Instructions),
		payer: r.peer.payer(), done: make(chan struct{}),
		question: Message{ID: newID(), Role: RoleUser, Content: withoutNUL(content), Status: StatusComplete},
	}
	t.asker.Store(&asker{r.Session, r.envelope})
	return t
}

// askedBy makes the frames of the answer the answer to a's request, until the last of them. The conversation's
// lock is held, so that it is still to come.
func (t *turn) askedBy(a *asker) {
	t.asker.Store(a)
	a.session.remember(t.id, a.envelope)
}

// now is the current time with the precision that all stores keep.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// tell answers the asker directly: what happens to its request before, or instead of, the answer. Where c
// is given, it is told after the events that are in c's log now.
func (t *turn) tell(c *conversation, e event) {
	a := t.asker.Load()
	a.session.deliver(a.envelope, e, c)
}

// refuse tells the asker why there will be no answer.
func (t *turn) refuse(c *conversation, p ErrorPayload) {
	t.uncount()
	t.assistant.Observer.Failed(p.Reason)
	t.asker.Load().session.request(t.id, true)
	t.tell(c, event{kind: eventFailed, detail: p})
}

// conclude sets finish and usage: err is what stream returned, after everything has been shown.
func (t *turn) conclude(err error) error {
	cause := context.Cause(t.ctx)
	switch {
	case cause != nil && isFault(cause):
		t.finish, err = FinishError, cause
	case t.finish != "": // the model had said all, and all was shown
	case errors.Is(err, errBudget):
		t.finish = FinishBudget
	case errors.Is(cause, errStopping):
		t.finish, err = FinishInterrupted, cause
	case cause != nil: // what the provider made of it is no fault
		t.finish, err = FinishStopped, cause
	default:
		t.finish = FinishError
	}
	t.usage = t.meter.pay(t.usage)
	return err
}

// isFault tells a turn that was cancelled because its store broke from one that somebody ended.
func isFault(cause error) bool {
	_, ok := errors.AsType[*storageError](cause)
	return ok
}

// stream is the streaming loop: it asks the provider and shows what it sends.
func (t *turn) stream(req Request, show func(event)) (err error) {
	defer caught(&err)
	for delta, err := range t.assistant.Provider.Stream(t.ctx, req) {
		if cause := context.Cause(t.ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
		t.take(delta, show)
		if !t.meter.add(delta.Text+delta.Reasoning) && t.finish == "" {
			return errBudget // which ends the model's request
		}
	}
	if t.finish == "" {
		return errUnfinished
	}
	return nil
}

func (t *turn) take(d Delta, show func(event)) {
	if d.Fallback != nil {
		t.fallBack(d.Fallback, show)
	}
	d.Text, d.Reasoning = withoutNUL(d.Text), withoutNUL(d.Reasoning)
	if t.waited == 0 && d.Text+d.Reasoning != "" {
		t.waited = time.Since(t.started)
	}
	if d.Reasoning != "" {
		show(event{kind: eventReasoning, turn: t, text: d.Reasoning})
	}
	if d.Text != "" {
		show(event{kind: eventPiece, turn: t, text: d.Text})
	}
	if d.FinishReason != "" {
		t.finish = d.FinishReason
	}
	if d.Usage != nil {
		t.usage = d.Usage
	}
	t.observe(d)
}

// fallBack tells clients and operator that another provider answers.
func (t *turn) fallBack(f *Fallback, show func(event)) {
	level := zap.WarnLevel
	if errors.Is(f.Err, ErrPassedOver) {
		level = zap.DebugLevel // a provider that is down would fill the log
	}
	t.assistant.Logger.Log(level, "provider failed, another is asked", append(f.Failed.fields(), zap.String("message_id", t.id),
		zap.String("reason", string(reasonOf(f.Err))), zap.String("next_provider", f.Next.Provider), zap.String("next_model", f.Next.Model), zap.Error(f.Err))...)
	show(event{kind: eventFallback, turn: t, detail: f.Next})
}

// withoutNUL is text that every store can hold: PostgreSQL's text has no NUL.
func withoutNUL(text string) string { return strings.ReplaceAll(text, "\x00", "\uFFFD") }

// answer is the message as it is now.
func (t *turn) answer() Message {
	return Message{ID: t.id, Role: RoleAssistant, Content: t.text.String(), Status: t.status(), FinishReason: t.finish,
		Usage: t.usage, CreatedAt: t.started}
}

func (t *turn) status() Status {
	switch t.finish {
	case "":
		return StatusStreaming
	case FinishStopped, FinishBudget:
		return StatusStopped
	case FinishError:
		return StatusFailed
	case FinishInterrupted:
		return StatusInterrupted
	default:
		return StatusComplete
	}
}

func (t *turn) start() StreamingStartPayload {
	return StreamingStartPayload{MessageID: t.id, Model: t.source.Model}
}

func (t *turn) completed() CompleteStreamingPayload {
	return CompleteStreamingPayload{MessageID: t.id, FinishReason: t.finish, Usage: t.usage}
}

// logEnd writes the one line of an answer, and tells the observer.
func (t *turn) logEnd(conversation string, err error) {
	end := t.summary(err)
	if o := t.observer; o != nil {
		t.observer = nil
		o.Ended(end)
	}
	fields := append(end.Source.fields(),
		zap.String("message_id", t.id), zap.String("user", t.asker.Load().session.peer.User), zap.String("finish_reason", string(end.FinishReason)),
		zap.Int("input_tokens", end.Usage.InputTokens), zap.Int("output_tokens", end.Usage.OutputTokens), zap.Bool("estimated", end.Usage.Estimated),
		zap.Int("pieces", end.Pieces), zap.Duration("first_piece", end.FirstPiece), zap.Duration("duration", end.Duration),
	)
	if conversation != "" {
		fields = append(fields, zap.String("conversation_id", conversation))
	}
	if t.finish != FinishError {
		t.assistant.Logger.Info("answer ended", append(fields, zap.NamedError("cause", err))...)
		return
	}
	fields = append(fields, faultFields(err)...)
	t.assistant.Logger.Error("answer failed", append(fields, zap.String("reason", string(end.Reason)))...)
}

// faultFields tell the operator of err.
func faultFields(err error) []zap.Field {
	fields := []zap.Field{zap.Error(err)}
	if crash, ok := errors.AsType[*panicError](err); ok {
		fields = append(fields, zap.ByteString("stack", crash.stack))
	}
	return fields
}

// logContent writes the text of a message, where the settings and the logger's level let it.
func (t *turn) logContent(conversation string, m Message) {
	if !t.assistant.LogContent {
		return
	}
	line := t.assistant.Logger.Check(zap.DebugLevel, "message")
	if line == nil {
		return
	}
	fields := []zap.Field{zap.String("message_id", m.ID), zap.String("user", t.asker.Load().session.peer.User),
		zap.String("role", string(m.Role)), zap.String("content", m.Content)}
	if conversation != "" {
		fields = append(fields, zap.String("conversation_id", conversation))
	}
	line.Write(fields...)
}
