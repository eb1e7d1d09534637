package assistanttest

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Model is a Provider made of a function. What the function returns is yielded last, where it is not nil; yield
// returns false once the caller wants no more.
type Model func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error

// Source is the same for all.
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

// Finished ends an answer that is complete.
var Finished = assistant.Delta{FinishReason: assistant.FinishStop}

// Echoes answers with the question.
var Echoes = Model(func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
	_ = yield(assistant.Delta{Text: req.Turns[len(req.Turns)-1].Content}) && yield(Finished)
	return nil
})

// Named is a Provider under another name; its model has that name, too.
type Named struct {
	assistant.Provider
	Name string
}

// Source is made of the name.
func (n Named) Source() assistant.Source {
	return assistant.Source{Provider: n.Name, Model: n.Name + "-1"}
}

// Fails fails at once for that reason.
func Fails(reason assistant.Reason, retryAfter time.Duration) Model {
	return func(context.Context, assistant.Request, func(assistant.Delta) bool) error {
		return &assistant.ProviderError{Reason: reason, RetryAfter: retryAfter, Err: errors.New("upstream said so")}
	}
}

// Flaky fails every other question before any text, and else is m.
func Flaky(m Model) Model {
	return func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
		if rand.IntN(2) == 0 {
			return errors.New("failed at once")
		}
		return m(ctx, req, yield)
	}
}
