// Package chain makes one provider of several, with a circuit breaker for each.
package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"

	"go.uber.org/zap"
)

// ErrPassedOver is in the Err of a [Fallback] where the provider was not even asked, because its circuit
// is open. The reason is that of its last failure.
var ErrPassedOver = errors.New("passed over since it failed")

// Chain is a [Provider] made of others: each question goes to the first, and to the next as long as none
// has sent any text or reasoning.
//
// It goes on after every fault of a provider, and after one of the question, since the next model may have
// room for it or take what this one refuses. It does not go on when a client has stopped the answer, nor
// after a content filter: that is an answer, which another model must not undo. When all have failed, the
// error is the last one that trying again may cure, or else the last.
//
// One that does not take what a question has is passed over for that question, which counts for nothing.
//
// A provider that fails three times in a row, or asks to be left alone for some time, is passed over: for
// 30 seconds or for that time. Then one question tries it; each try that fails doubles the pause, up to 5
// minutes. What is a question's fault does not count ([ProviderError]). When all are passed over, the one
// that is due first is asked all the same, so a chain of one is as good as its provider.
type Chain struct {
	links []*link
	log   *zap.Logger
}

type link struct {
	assistant.Provider
	circuit
}

func (l *link) health() Health { return l.circuit.health(l.Source()) }

// Health is how one provider of a [Chain] is.
type Health struct {
	assistant.Source
	State    CircuitState
	Since    time.Time        // when it became closed, or ceased to be; zero = it has always been closed
	Until    time.Time        // when it may be tried; zero = it is closed
	Failures int              // in a row
	Reason   assistant.Reason // of the last failure; empty = none
}

// New makes a chain of at least one provider, each with a Source of its own. A nil logger means none.
func New(log *zap.Logger, providers ...assistant.Provider) (*Chain, error) {
	c := &Chain{log: cmp.Or(log, zap.NewNop())}
	for _, p := range providers {
		if slices.ContainsFunc(c.links, func(l *link) bool { return l.Source() == p.Source() }) {
			return nil, fmt.Errorf("two providers are named %q and have the model %q; give one of them another label", p.Source().Provider, p.Source().Model)
		}
		c.links = append(c.links, &link{Provider: p})
	}
	if len(c.links) == 0 {
		return nil, errors.New("a chain needs a provider")
	}
	return c, nil
}

// Accepts reports whether one of the providers answers such a question.
func (c *Chain) Accepts(question assistant.Parts) bool {
	return slices.ContainsFunc(c.links, func(l *link) bool { return assistant.Accepts(l.Provider, question) })
}

// Source is the first provider's.
func (c *Chain) Source() assistant.Source { return c.links[0].Source() }

// Providers returns the providers, in the order of the chain. What is asked of one of them does not count for its
// circuit.
func (c *Chain) Providers() []assistant.Provider {
	out := make([]assistant.Provider, len(c.links))
	for i, l := range c.links {
		out[i] = l.Provider
	}
	return out
}

// Health returns how the providers are, in the order of the chain.
func (c *Chain) Health() []Health {
	out := make([]Health, len(c.links))
	for i, l := range c.links {
		out[i] = l.health()
	}
	return out
}

// Stream asks one provider after the other.
func (c *Chain) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		var faults []error
		var spent, used assistant.Usage // in vain: by all, and by the last one
		from, why := 0, error(nil)
		question := req.Question()
		if !c.Accepts(question) {
			yield(assistant.Delta{}, errUnsupported)
			return
		}
		for i, a := c.first(question); a != nil; i, a = c.next(i+1, question) {
			if i > 0 && why == nil {
				why = c.passedOver(question)
			}
			if why != nil && !yield(assistant.Delta{Fallback: &assistant.Fallback{Failed: c.links[from].Source(), Err: why, Usage: used, Next: c.links[i].Source()}}, nil) {
				a.left()
				return
			}
			var ended bool
			var err error
			if ended, used, err = c.ask(ctx, req, c.links[i], a, spent, yield); ended {
				return
			}
			spent = spent.Plus(used)
			faults, from, why = append(faults, err), i, err
		}
		end(yield, spent, joint(faults))
	}
}

// errUnsupported says that no provider takes what a question has.
var errUnsupported = &assistant.ProviderError{Reason: assistant.ReasonContentUnsupported, OfQuestion: true, Err: errors.New("no provider accepts what the question has")}

// passedOver says why the first provider was not asked.
func (c *Chain) passedOver(question assistant.Parts) error {
	reason := c.links[0].health().Reason
	if !assistant.Accepts(c.links[0].Provider, question) {
		reason = assistant.ReasonContentUnsupported
	}
	return &assistant.ProviderError{Reason: reason, Err: ErrPassedOver}
}

// first begins with the first provider that is not passed over, or else with the one that is due first.
func (c *Chain) first(question assistant.Parts) (int, *attempt) {
	if i, a := c.next(0, question); a != nil {
		return i, a
	}
	due, health := -1, c.Health()
	for i, h := range health {
		if assistant.Accepts(c.links[i].Provider, question) && (due < 0 || h.Until.Before(health[due].Until)) {
			due = i
		}
	}
	return due, c.links[due].overrule()
}

// next begins with the first provider from i on that takes the question and is not passed over; nil when there is none.
func (c *Chain) next(i int, question assistant.Parts) (int, *attempt) {
	for ; i < len(c.links); i++ {
		if !assistant.Accepts(c.links[i].Provider, question) {
			continue
		}
		if a := c.links[i].enter(); a != nil {
			return i, a
		}
	}
	return i, nil
}

// ask hands on what l says, after others have spent something. It has not ended when l has failed so that the next may be
// asked; used is what l has taken for that.
func (c *Chain) ask(ctx context.Context, req assistant.Request, l *link, a *attempt, spent assistant.Usage, yield func(assistant.Delta, error) bool) (ended bool, used assistant.Usage, err error) {
	defer a.left()
	begun, complete := false, false
	err = assistant.ErrUnfinished
	for d, fault := range l.Stream(ctx, req) {
		if fault != nil {
			err = fault
			break
		}
		if !begun && (d.Text != "" || d.Reasoning != "" || d.Calls != nil || d.FinishReason != "") {
			begun = true
			c.answered(l, a)
		}
		if d.FinishReason != "" {
			complete = true
			a.completed()
		}
		if d.Usage != nil {
			if !begun {
				used = *d.Usage
				continue
			}
			d.Usage = new(spent.Plus(*d.Usage))
		}
		if !yield(d, nil) {
			return true, used, nil
		}
	}
	switch {
	case complete:
		return true, used, nil
	case ctx.Err() != nil && used == (assistant.Usage{}): // which leaves it to an estimate
		yield(assistant.Delta{}, context.Cause(ctx))
		return true, used, nil
	case ctx.Err() != nil:
		end(yield, spent.Plus(used), context.Cause(ctx))
		return true, used, nil
	}
	c.failed(l, a, err)
	switch {
	case begun:
		yield(assistant.Delta{}, err)
	case assistant.Describe(err).Reason == assistant.ReasonContentFiltered:
		end(yield, spent.Plus(used), err)
	default:
		return false, used, err
	}
	return true, used, nil
}

// end yields the error, and before it what was spent although nothing was shown.
func end(yield func(assistant.Delta, error) bool, spent assistant.Usage, err error) {
	if spent == (assistant.Usage{}) || yield(assistant.Delta{Usage: &spent}, nil) {
		yield(assistant.Delta{}, err)
	}
}

func (c *Chain) answered(l *link, a *attempt) {
	if a.answered() && len(c.links) > 1 {
		c.log.Info("provider answers again", zap.Inline(l.Source()))
	}
}

// failed judges a provider by its error. One that refuses a question has answered.
func (c *Chain) failed(l *link, a *attempt, err error) {
	if assistant.IsOfQuestion(err) {
		c.answered(l, a)
	} else if a.failed(err) && len(c.links) > 1 {
		h := l.health()
		c.log.Warn("provider is passed over", zap.Inline(h.Source), zap.String("reason", string(h.Reason)), zap.Time("until", h.Until))
	}
}

// joint returns the error when all that were asked have failed. The operator's text has all of them.
func joint(faults []error) error {
	if len(faults) == 1 {
		return faults[0]
	}
	best := assistant.Describe(faults[0])
	for _, err := range faults[1:] {
		if d := assistant.Describe(err); d.Reason.Explain().Retryable || !best.Reason.Explain().Retryable {
			best = d
		}
	}
	return &assistant.ProviderError{Reason: best.Reason, RetryAfter: best.RetryAfter, Err: errors.Join(faults...)}
}

var _ assistant.Accepter = (*Chain)(nil)
