package assistant

import (
	"context"
	"encoding/json"
	"iter"
	"slices"

	"go.uber.org/zap/zapcore"
)

// Provider is a language model.
//
// A Provider is safe for concurrent use. The contract of Stream, which the suite in
// assistanttest.TestProvider checks for every implementation:
//
//   - Nothing starts until the sequence is ranged over; everything is freed when the loop ends, for
//     whatever reason.
//   - The first error is the last value. It is a [*ProviderError] wherever the fault is known, and the
//     context's cause when ctx is done.
//   - An answer is complete only when a [Delta] with a FinishReason has been yielded. A stream that just
//     ends is an error (reason [ReasonProviderUnavailable]), never a success.
//   - When ctx is done the loop ends without delay and the model's own work is cancelled.
type Provider interface {
	// Source is who answers, as long as no [Fallback] says otherwise. It never changes.
	Source() Source
	// Stream answers req, one Delta for each piece that the model sends.
	Stream(ctx context.Context, req Request) iter.Seq2[Delta, error]
}

// Accepter is a Provider that may take more than text.
type Accepter interface {
	Provider
	// Accepts reports whether it answers a question that has all of these parts. It never changes.
	Accepts(question Parts) bool
}

// Accepts reports whether a provider answers a question that has all of these parts: where it is no [Accepter], one that is
// text, files of text included.
func Accepts(p Provider, question Parts) bool {
	if a, ok := p.(Accepter); ok {
		return a.Accepts(question)
	}
	return !slices.ContainsFunc(question, func(part Part) bool { return ContentOf(part) != ContentText })
}

// Source names who answers.
type Source struct {
	Provider string `json:"provider"` // in the configuration, such as openai; for operators
	Model    string `json:"model"`    // at the provider, such as gpt-4o; clients see it
}

// MarshalLogObject implements [zapcore.ObjectMarshaler], for zap.Inline.
func (s Source) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("provider", s.Provider)
	enc.AddString("model", s.Model)
	return nil
}

// Question returns the parts of the question to answer.
func (r Request) Question() Parts {
	for _, t := range slices.Backward(r.Turns) {
		if t.Role == RoleUser {
			return t.Parts
		}
	}
	return nil
}

// Request is what a [Provider] answers: the whole conversation so far.
type Request struct {
	// Instructions is the system message; empty means none.
	Instructions string
	// Turns are the earlier questions and answers and, last, the question to answer.
	Turns []Turn
	// Files are the bytes of images and files in Turns, by id. Of one that is missing here, or that the model does not take,
	// it gets [Mention].
	Files map[string][]byte
	// Tools are what the model may call; nil = nothing.
	Tools []Tool
	// TextOnly says that the model is to write, and to use nothing that its service offers besides.
	TextOnly bool
	// MaxTokens is how many tokens the answer may have, reasoning included; 0 is no limit. A provider tells its service,
	// where that takes a limit, unless its own is lower.
	MaxTokens int
}

// Turn is one side's message in a [Request]. As in a [Message], Content is the text, and Parts is nil where
// that is all. The last one is the question, or an answer whose calls have ended: the model goes on from there.
type Turn struct {
	Role    Role // RoleUser or RoleAssistant
	Content string
	Parts   Parts
	// Hidden is what the model wants to get back, of the last turn where that is an answer.
	Hidden []Hidden
}

// Hidden is something that a model wants to get back as it was, when it goes on after calls: its reasoning, encrypted. No
// client gets it, and no other Source.
type Hidden struct {
	Step int             `json:"step"` // in which the model was asked, from 1 on; the engine sets it
	From Source          `json:"from"` // the engine sets it
	Item json.RawMessage `json:"item"`
}

// Delta is one step of an answer. Any of its fields may be empty, also all of them: keep-alives and
// chunks that only carry bookkeeping are allowed. Text and Reasoning are the next of their [TextPart] and
// [ReasoningPart].
type Delta struct {
	Text         string       // the next piece of the answer, valid UTF-8
	Reasoning    string       // the next piece of the model's reasoning, valid UTF-8
	FinishReason FinishReason // set once, when the model says that the answer is complete
	Usage        *Usage       // set at most once: at or after the finish reason, or alone right before the error
	Fallback     *Fallback    // set alone and before any text: another provider answers
	Calls        *[]CallPiece // the next pieces of calls of tools
	Parts        *[]Part      // sources, and calls of tools that the model's service makes, each time as they are now
	Hidden       *Hidden      // to come back in the next request, if there is one after calls
	// More says that the next value, whatever it is, comes without a wait, so that both can be shown together. It saves
	// time, and may always be false.
	More bool
}

// CallPiece is the next piece of a call of a tool. After the last one comes [FinishToolCalls].
type CallPiece struct {
	Index     int    // tells the calls of one step apart
	ID, Name  string // with the first piece of an Index; the ID may be ""
	Arguments string // the next piece of a JSON object
}

// Fallback says that a provider failed before it sent any text, and which one is asked instead.
type Fallback struct {
	Failed Source
	Err    error // why; for the operator
	Usage  Usage // what the one that failed has told of tokens used in vain; a later Usage of the answer contains it
	Next   Source
}
