package assistanttest

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Model is a Provider made of a function. A non-nil error of the function is yielded last. Its yield returns
// false once the caller has stopped.
type Model func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error

// Source returns the same names for every Model.
func (Model) Source() assistant.Source {
	return assistant.Source{Provider: "test", Model: "model"}
}

// Stream calls the function.
func (m Model) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		stopped := false
		err := m(ctx, req, func(d assistant.Delta) bool {
			stopped = stopped || !yield(d, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(assistant.Delta{}, err)
		}
	}
}

// Finished ends a complete answer.
var Finished = assistant.Delta{FinishReason: assistant.FinishStop}

// Echoes answers with the question.
var Echoes = Model(func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
	_ = yield(assistant.Delta{Text: req.Turns[len(req.Turns)-1].Content}) && yield(Finished)
	return nil
})

// Named is a Provider under another name, which its model has too.
type Named struct {
	assistant.Provider
	Name string
}

// Source returns the name, and the model name-1.
func (n Named) Source() assistant.Source {
	return assistant.Source{Provider: n.Name, Model: n.Name + "-1"}
}

// Fails returns a Model that fails at once with the reason.
func Fails(reason assistant.Reason, retryAfter time.Duration) Model {
	return func(context.Context, assistant.Request, func(assistant.Delta) bool) error {
		return &assistant.ProviderError{Reason: reason, RetryAfter: retryAfter, Err: errors.New("upstream said so")}
	}
}

// Flaky returns a Model that fails half of all questions, at random and before any text, and otherwise is m.
func Flaky(m Model) Model {
	return func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
		if rand.IntN(2) == 0 {
			return errors.New("failed at once")
		}
		return m(ctx, req, yield)
	}
}
