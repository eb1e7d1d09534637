package assistant

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// errStopped is why an answer ends that a client has stopped.
var errStopped = errors.New("stopped by a client")

// turn is one question and its answer.
type turn struct {
	// fixed
	id           string // the answer's message id
	assistant    *Assistant
	model        string
	instructions string
	question     string

	// set when it starts to run, under the conversation's lock
	ctx    context.Context
	cancel context.CancelCauseFunc

	// the answering goroutine's
	text    strings.Builder
	finish  FinishReason
	usage   *Usage
	started time.Time
	waited  time.Duration // until the first piece
}

func newTurn(a *Assistant, instructions, question string) *turn {
	return &turn{id: uuid.NewString(), assistant: a, model: a.provider.Model(), instructions: instructions, question: question}
}

// run asks the provider and emits what it sends. Afterwards finish and usage are set, whatever happened.
func (t *turn) run(history []Turn, emit func(event)) error {
	t.started = time.Now()
	req := Request{t.instructions, append(slices.Clone(history), Turn{RoleUser, t.question})}
	err := t.stream(req, emit)
	switch cause := context.Cause(t.ctx); {
	case err == nil, t.finish != "": // the model had said all
	case cause != nil: // stopped, or its conversation is gone: what the provider made of it is no fault
		t.finish, err = FinishStopped, cause
	default:
		t.finish = FinishError
	}
	if t.usage == nil {
		t.usage = t.estimate(req)
	}
	return err
}

// stream is the streaming loop.
func (t *turn) stream(req Request, emit func(event)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	for delta, err := range t.assistant.provider.Stream(t.ctx, req) {
		if cause := context.Cause(t.ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
		t.take(delta, emit)
	}
	if t.finish == "" {
		return &ProviderError{Reason: ReasonProviderUnavailable, Err: errors.New("stream ended without a finish reason")}
	}
	return nil
}

func (t *turn) take(d Delta, emit func(event)) {
	if t.waited == 0 && d.Text+d.Reasoning != "" {
		t.waited = time.Since(t.started)
	}
	if d.Reasoning != "" {
		emit(event{kind: eventReasoning, turn: t, text: d.Reasoning})
	}
	if d.Text != "" {
		t.text.WriteString(d.Text)
		emit(event{kind: eventPiece, turn: t, text: d.Text})
	}
	if d.FinishReason != "" {
		t.finish = d.FinishReason
	}
	if d.Usage != nil {
		t.usage = d.Usage
	}
}

// remember is history with this turn. A question without any answer is not told to the model again:
// many models insist that roles alternate.
func (t *turn) remember(history []Turn) []Turn {
	if t.text.Len() == 0 {
		return history
	}
	return append(history, Turn{RoleUser, t.question}, Turn{RoleAssistant, t.text.String()})
}

func (t *turn) completed() *CompleteStreamingPayload {
	return &CompleteStreamingPayload{MessageID: t.id, FinishReason: t.finish, Usage: t.usage}
}

// estimate counts a token for every four characters, which is about right for English text.
func (t *turn) estimate(req Request) *Usage {
	in := utf8.RuneCountInString(req.Instructions)
	for _, turn := range req.Turns {
		in += utf8.RuneCountInString(turn.Content)
	}
	u := &Usage{InputTokens: (in + 3) / 4, OutputTokens: (utf8.RuneCountInString(t.text.String()) + 3) / 4, Estimated: true}
	u.TotalTokens = u.InputTokens + u.OutputTokens
	return u
}

// logEnd writes the one line of an answer.
func (t *turn) logEnd(err error) {
	fields := []zap.Field{
		zap.String("message_id", t.id), zap.String("model", t.model), zap.String("finish_reason", string(t.finish)),
		zap.Int("input_tokens", t.usage.InputTokens), zap.Int("output_tokens", t.usage.OutputTokens), zap.Bool("estimated", t.usage.Estimated),
		zap.Duration("first_piece", t.waited), zap.Duration("duration", time.Since(t.started)),
	}
	if t.finish != FinishError {
		t.assistant.log.Info("answer ended", append(fields, zap.NamedError("cause", err))...)
		return
	}
	if crash, ok := errors.AsType[*panicError](err); ok {
		fields = append(fields, zap.ByteString("stack", crash.stack))
	}
	t.assistant.log.Error("answer failed", append(fields, zap.Error(err))...)
}
