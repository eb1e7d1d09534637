package chain_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// spends reports usage and fails, as a model does that only thinks.
func spends(reason assistant.Reason, shown string, input, output int) assistant.Provider {
	return model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
		usage := &assistant.Usage{InputTokens: input, OutputTokens: output, TotalTokens: input + output}
		if shown != "" && !yield(assistant.Delta{Reasoning: shown}) || !yield(assistant.Delta{Usage: usage}) {
			return nil
		}
		return &assistant.ProviderError{Reason: reason, Err: errors.New("spent")}
	})
}

// answers says something and reports usage.
func answers(input, output int) assistant.Provider {
	return model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
		_ = yield(assistant.Delta{Text: "Hi"}) && yield(finished) &&
			yield(assistant.Delta{Usage: &assistant.Usage{InputTokens: input, OutputTokens: output, TotalTokens: input + output}})
		return nil
	})
}

// TestSpent holds that the usage of an answer contains what was spent on those that failed before.
func TestSpent(t *testing.T) {
	const empty, filtered = assistant.ReasonEmptyAnswer, assistant.ReasonContentFiltered
	for _, test := range []struct {
		name  string
		links []assistant.Provider
		want  assistant.Usage
		err   assistant.Reason
	}{
		{"then one answers", []assistant.Provider{spends(empty, "", 10, 500), answers(10, 3)}, assistant.Usage{InputTokens: 20, OutputTokens: 503, TotalTokens: 523}, ""},
		{"all fail", []assistant.Provider{spends(empty, "", 10, 500), spends(empty, "", 10, 7)}, assistant.Usage{InputTokens: 20, OutputTokens: 507, TotalTokens: 527}, empty},
		{"one has shown something", []assistant.Provider{spends(empty, "", 1, 2), spends(empty, "Hm", 10, 7), answers(1, 1)}, assistant.Usage{InputTokens: 11, OutputTokens: 9, TotalTokens: 20}, empty},
		{"a filter refuses", []assistant.Provider{spends(filtered, "", 10, 0), answers(1, 1)}, assistant.Usage{InputTokens: 10, TotalTokens: 10}, filtered},
		{"nothing is told", []assistant.Provider{fails(empty, 0), fails(empty, 0)}, assistant.Usage{}, empty},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got assistant.Usage
			var last error
			reports := 0
			for d, err := range newChain(t, test.links...).Stream(t.Context(), assistant.Request{}) {
				if last = err; d.Usage != nil {
					got = *d.Usage
					reports++
				}
			}
			if got != test.want || reports > 1 {
				t.Errorf("reported %+v in %d deltas, want %+v", got, reports, test.want)
			}
			if test.err == "" && last != nil || test.err != "" && assistant.Describe(last).Reason != test.err {
				t.Errorf("ended with %v, want %s", last, test.err)
			}
		})
	}
}

// TestSpentIsTold holds that each fallback says what was used in vain, and that nothing is said instead of an estimate
// where the last one that is asked has not told what it has used.
func TestSpentIsTold(t *testing.T) {
	const empty = assistant.ReasonEmptyAnswer
	silent := model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
		_ = yield(assistant.Delta{Text: "Hi"}) && yield(finished)
		return nil
	})
	stopped := errors.New("stopped")
	for _, test := range []struct {
		name string
		last string // what the last one says before it is stopped; "" = it answers
	}{
		{"no usage is reported", ""},
		{"stopped in the middle", "Hi"},
		{"stopped before", "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			last := silent
			if test.last != "" {
				last = model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
					if test.last != "-" {
						yield(assistant.Delta{Text: test.last})
					}
					stop(stopped)
					return stopped
				})
			}
			var told []assistant.Usage
			for d, err := range newChain(t, spends(empty, "", 10, 500), fails(empty, 0), spends(empty, "", 7, 0), last).Stream(ctx, assistant.Request{}) {
				if d.Fallback != nil {
					told = append(told, d.Fallback.Usage)
				}
				if d.Usage != nil {
					t.Errorf("told %+v instead of an estimate", *d.Usage)
				}
				if wantErr := test.last != ""; err != nil != wantErr && d == (assistant.Delta{}) {
					t.Errorf("ended with %v", err)
				}
			}
			if want := []assistant.Usage{{InputTokens: 10, OutputTokens: 500, TotalTokens: 510}, {}, {InputTokens: 7, TotalTokens: 7}}; !slices.Equal(told, want) {
				t.Errorf("fallbacks told %+v, want %+v", told, want)
			}
		})
	}
}
