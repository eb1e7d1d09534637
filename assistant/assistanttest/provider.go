package assistanttest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestProvider checks the contract of [assistant.Provider]. Each call of newProvider makes a provider whose
// model answers every question with some text, and registers its cleanup with t.Cleanup. Afterwards no
// goroutine may be left.
func TestProvider(t *testing.T, newProvider func(t *testing.T) assistant.Provider) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(providerTest)
	}{
		{"Answer", providerTest.answers},
		{"History", providerTest.remembers},
		{"NotRanged", providerTest.startsNothing},
		{"Break", providerTest.breaks},
		{"CancelledBefore", providerTest.cancelledBefore},
		{"CancelledInTheMiddle", providerTest.cancelledInTheMiddle},
		{"Concurrent", providerTest.answersAtOnce},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { expectNothingSince(t, before) }) // runs after newProvider's cleanup
			test.run(providerTest{t, newProvider(t)})
		})
	}
}

// promptly is how soon a cancelled answer must end.
const promptly = time.Second

type providerTest struct {
	*testing.T
	assistant.Provider
}

func (p providerTest) answers() {
	if s := p.Source(); s.Provider == "" || s.Model == "" {
		p.Errorf("source = %+v, want two names", s)
	}
	p.answer(request("What is Go?"))
}

func (p providerTest) remembers() {
	first := p.answer(request("What is Go?"))
	req := request("What is Go?", first, "Can you give me an example?")
	req.Instructions = "Answer briefly."
	p.answer(req)
}

func (p providerTest) startsNothing() {
	before := goleak.IgnoreCurrent()
	p.Stream(p.Context(), request("What is Go?"))
	expectNothingSince(p.T, before)
}

func (p providerTest) breaks() {
	for range 3 {
		for d, err := range p.Stream(p.Context(), request("What is Go?")) {
			if err != nil {
				p.Fatalf("unexpected error: %v", err)
			}
			if d.Text != "" {
				break
			}
		}
	}
	p.answer(request("Are you still there?"))
}

func (p providerTest) cancelledBefore() {
	cause := errors.New("cancelled before")
	ctx, cancel := context.WithCancelCause(p.Context())
	cancel(cause)
	begin, values := time.Now(), 0
	var last error
	for d, err := range p.Stream(ctx, request("What is Go?")) {
		values++
		last = err
		if d != (assistant.Delta{}) {
			p.Errorf("got %+v, want nothing", d)
		}
	}
	p.expectCause(last, cause, time.Since(begin))
	if values != 1 {
		p.Errorf("got %d values, want the error alone", values)
	}
}

func (p providerTest) cancelledInTheMiddle() {
	cause := errors.New("cancelled in the middle")
	ctx, cancel := context.WithCancelCause(p.Context())
	defer cancel(nil)
	var begin time.Time
	var last error
	for d, err := range p.Stream(ctx, request("What is Go?")) {
		if last != nil {
			p.Errorf("got %+v, %v after the error", d, err)
		}
		last = err
		if d.Text != "" && begin.IsZero() {
			begin = time.Now()
			cancel(cause)
		}
	}
	if begin.IsZero() {
		p.Fatalf("no text, error %v", last)
	}
	p.expectCause(last, cause, time.Since(begin))
}

func (p providerTest) expectCause(err, cause error, after time.Duration) {
	p.Helper()
	if !errors.Is(err, cause) {
		p.Errorf("ended with %v, want the cause %q", err, cause)
	}
	if after > promptly {
		p.Errorf("ended after %s, more than %s", after, promptly)
	}
}

func (p providerTest) answersAtOnce() {
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { p.answer(request("What is Go?")) })
	}
	group.Wait()
}

// answer expects a whole answer that keeps all rules, and returns its text.
func (p providerTest) answer(req assistant.Request) string {
	p.Helper()
	var text strings.Builder
	var finish assistant.FinishReason
	var usage *assistant.Usage
	for d, err := range p.Stream(p.Context(), req) {
		switch {
		case err != nil:
			p.Errorf("unexpected error: %v", err)
		case finish != "" && (d.Text != "" || d.Reasoning != "" || d.FinishReason != ""):
			p.Errorf("got %+v after the finish reason", d)
		case !utf8.ValidString(d.Text) || !utf8.ValidString(d.Reasoning):
			p.Errorf("got %+v, which is not valid UTF-8", d)
		case d.Usage != nil && usage != nil:
			p.Error("got usage twice")
		}
		text.WriteString(d.Text)
		if d.FinishReason != "" {
			finish = d.FinishReason
		}
		if d.Usage != nil {
			usage = d.Usage
			p.expectUsage(usage, finish)
		}
	}
	if text.Len() == 0 {
		p.Error("no text")
	}
	switch finish {
	case assistant.FinishStop, assistant.FinishLength, assistant.FinishContentFilter:
	default:
		p.Errorf("finish reason %q, want stop, length or content_filter", finish)
	}
	return text.String()
}

func (p providerTest) expectUsage(u *assistant.Usage, finish assistant.FinishReason) {
	p.Helper()
	if finish == "" {
		p.Error("got usage before the finish reason")
	}
	if u.InputTokens <= 0 || u.OutputTokens <= 0 || u.TotalTokens != u.InputTokens+u.OutputTokens || u.Estimated {
		p.Errorf("usage = %+v, want what the model reports, and its sum", *u)
	}
}

// request returns a conversation: question, answer, question, and so on.
func request(texts ...string) assistant.Request {
	var req assistant.Request
	for i, text := range texts {
		role := assistant.RoleUser
		if i%2 == 1 {
			role = assistant.RoleAssistant
		}
		req.Turns = append(req.Turns, assistant.Turn{Role: role, Content: text})
	}
	return req
}

func expectNothingSince(t *testing.T, before goleak.Option) {
	t.Helper()
	if err := goleak.Find(before); err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
}
