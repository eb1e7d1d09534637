package chain_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/demo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

type (
	model = assistanttest.Model
	named = assistanttest.Named
)

var (
	finished = assistanttest.Finished
	echoes   = assistanttest.Echoes
	fails    = assistanttest.Fails
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newChain(t testing.TB, providers ...assistant.Provider) *chain.Chain {
	t.Helper()
	for i, p := range providers {
		if _, ok := p.(model); ok {
			providers[i] = named{Provider: p, Name: fmt.Sprintf("p%d", i)}
		}
	}
	return must(chain.New(nil, providers...))
}

// TestChainIsAProvider runs the contract suite on a chain that answers at once, and on one that falls back.
func TestChainIsAProvider(t *testing.T) {
	down := fails(assistant.ReasonProviderUnavailable, 0)
	for name, links := range map[string][]assistant.Provider{
		"One":      {&demo.Provider{}},
		"Fallback": {down, down, &demo.Provider{}, down},
	} {
		t.Run(name, func(t *testing.T) {
			assistanttest.TestProvider(t, func(t *testing.T) assistant.Provider { return newChain(t, slices.Clone(links)...) })
		})
	}
}

// chainTest is one question to a chain of providers that do anything, and what came of it.
type chainTest struct {
	t     *testing.T
	asked []string // names, in order
	says  map[string]string
	who   string // answers, as far as the consumer knows
	text  string // text and reasoning
	fell  int    // fallbacks
	ended bool
}

// anything yields some pieces of text and reasoning that name it, then ends as random says.
func (c *chainTest) anything(name string, random *rand.Rand) assistant.Provider {
	return named{Provider: model(func(ctx context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
		if slices.Contains(c.asked, name) {
			c.t.Errorf("%s was asked twice", name)
		}
		c.asked = append(c.asked, name)
		ending := random.IntN(4)
		for i := range max(0, random.IntN(8)-3) {
			d := assistant.Delta{Text: fmt.Sprintf("%s.%d ", name, i)}
			if random.IntN(3) == 0 {
				d = assistant.Delta{Reasoning: d.Text}
			}
			c.says[name] += d.Text + d.Reasoning
			if random.IntN(3) == 0 && !yield(assistant.Delta{}) || !yield(d) {
				return nil
			}
		}
		reasons := slices.Sorted(maps.Keys(maps.Collect(assistant.Reason("").Values())))
		switch ending {
		case 0:
			return &assistant.ProviderError{Reason: assistant.Reason(reasons[random.IntN(len(reasons))]), RetryAfter: time.Duration(random.IntN(100)) * time.Second, Err: errors.New("said so")}
		case 1:
			return errors.New("failed")
		case 2:
			return nil // without a finish reason, as it must not
		default:
			yield(finished)
			return nil
		}
	}), Name: name}
}

func (c *chainTest) take(d assistant.Delta, err error) {
	if c.ended {
		c.t.Fatalf("%+v, %v came after the end", d, err)
	}
	c.ended = err != nil || d.FinishReason != ""
	if f := d.Fallback; f != nil {
		c.fell++
		if c.text != "" || f.Failed.Provider != c.who || f.Err == nil {
			c.t.Errorf("after %q of %s: fallback %+v", c.text, c.who, f)
		}
		if errors.Is(f.Err, chain.ErrPassedOver) == slices.Contains(c.asked, f.Failed.Provider) {
			c.t.Errorf("%s was asked: %v, and yet %v", f.Failed.Provider, c.asked, f.Err)
		}
		c.who = f.Next.Provider
	}
	c.text += d.Text + d.Reasoning
}

// TestChainRandom: whatever the providers do, an answer is all that one of them said and nothing else, nobody
// is asked twice or after something was shown, and there is one end.
func TestChainRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		fallbacks, errs := 0, 0
		for range 500 {
			c := &chainTest{t: t}
			var providers []assistant.Provider
			for i := range 1 + random.IntN(4) {
				providers = append(providers, c.anything(fmt.Sprintf("p%d", i), random))
			}
			links := newChain(t, providers...)
			for range 12 {
				c.asked, c.says, c.who, c.text, c.fell, c.ended = nil, map[string]string{}, links.Source().Provider, "", 0, false
				for d, err := range links.Stream(t.Context(), assistant.Request{}) {
					c.take(d, err)
					if err != nil {
						errs++
					}
				}
				last := c.asked[len(c.asked)-1]
				if !c.ended || c.who != last || c.text != c.says[last] {
					t.Fatalf("%s answered %q, ended: %v; asked were %v, which said %q", c.who, c.text, c.ended, c.asked, c.says)
				}
				fallbacks += c.fell
				time.Sleep(time.Duration(random.IntN(60)) * time.Second) // the bubble's
			}
		}
		if fallbacks < 1000 || errs < 500 {
			t.Errorf("only %d fallbacks and %d errors", fallbacks, errs)
		}
	})
}

// TestChainHealth follows a circuit through its states.
func TestChainHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := true
		first := model(func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
			if failing {
				return fails(assistant.ReasonProviderTimeout, 0)(ctx, req, yield)
			}
			return echoes(ctx, req, yield)
		})
		core, logs := observer.New(zap.DebugLevel)
		links := must(chain.New(zap.New(core), named{Provider: first, Name: "first"}, named{Provider: echoes, Name: "second"}))
		begin := time.Now()
		ask := func() {
			for _, err := range links.Stream(t.Context(), assistant.Request{Turns: []assistant.Turn{{Content: "x"}}}) {
				if err != nil {
					t.Error(err)
				}
			}
		}
		expect := func(state chain.CircuitState, since, until time.Duration, failures int) {
			t.Helper()
			h := links.Health()[0]
			want := chain.Health{Source: assistant.Source{Provider: "first", Model: "first-1"}, State: state, Failures: failures, Reason: assistant.ReasonProviderTimeout}
			if since >= 0 {
				want.Since = begin.Add(since)
			}
			if until >= 0 {
				want.Until = begin.Add(until)
			}
			if h != want {
				t.Errorf("after %s: %+v, want %+v", time.Since(begin), h, want)
			}
			if other := (chain.Health{Source: assistant.Source{Provider: "second", Model: "second-1"}, State: chain.CircuitClosed}); links.Health()[1] != other {
				t.Errorf("the second is %+v", links.Health()[1])
			}
		}
		const s = time.Second
		ask()
		ask()
		expect(chain.CircuitClosed, -1, -1, 2)
		ask()
		expect(chain.CircuitOpen, 0, 30*s, 3)
		time.Sleep(30 * s)
		expect(chain.CircuitHalfOpen, 0, 30*s, 3)
		ask()
		expect(chain.CircuitOpen, 0, 90*s, 4)
		time.Sleep(60 * s)
		failing = false
		ask()
		if h := links.Health()[0]; h.State != chain.CircuitClosed || h.Failures != 0 || !h.Since.Equal(begin.Add(90*s)) {
			t.Errorf("after an answer: %+v", h)
		}
		var logged []string
		for _, entry := range logs.All() {
			logged = append(logged, fmt.Sprint(entry.Level, " ", entry.Message, " ", entry.ContextMap()["provider"]))
		}
		if want := []string{"warn provider is passed over first", "info provider answers again first"}; !slices.Equal(logged, want) {
			t.Errorf("logged %q, want %q", logged, want)
		}
		failing = true
		pause := time.Duration(0)
		for range 20 {
			ask()
			pause = time.Until(links.Health()[0].Until)
			time.Sleep(max(0, pause))
		}
		if pause != 5*time.Minute {
			t.Errorf("after many failures it is passed over for %s, want 5m", pause)
		}
	})
}

// TestChainFaultOfQuestion: questions that a provider refuses are asked of the next, and do not move the
// others there; such a refusal is an answer, so that it ends the pause of a provider that is tried again.
func TestChainFaultOfQuestion(t *testing.T) {
	for _, fault := range []*assistant.ProviderError{
		{Reason: assistant.ReasonProviderRejected, OfQuestion: true},
		{Reason: assistant.ReasonContextOverflow},
	} {
		t.Run(string(fault.Reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				says := error(fault)
				first := model(func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error { return says })
				links := newChain(t, first, named{Provider: echoes, Name: "second"})
				ask := func() (fell int) {
					for d, err := range links.Stream(t.Context(), assistant.Request{Turns: []assistant.Turn{{Content: "x"}}}) {
						if err != nil {
							t.Error(err)
						}
						if d.Fallback != nil && !errors.Is(d.Fallback.Err, chain.ErrPassedOver) {
							fell++
						}
					}
					return fell
				}
				for range 10 {
					if ask() != 1 {
						t.Fatal("the first was not asked, or the second was not")
					}
				}
				if h := links.Health()[0]; h.State != chain.CircuitClosed || h.Failures != 0 {
					t.Errorf("after questions that it refused: %+v", h)
				}
				says = errors.New("down")
				for range 3 {
					ask()
				}
				if h := links.Health()[0]; h.State != chain.CircuitOpen {
					t.Fatalf("after faults of its own: %+v", h)
				}
				time.Sleep(time.Minute)
				says = fault
				ask()
				if h := links.Health()[0]; h.State != chain.CircuitClosed {
					t.Errorf("after a question that it refused: %+v", h)
				}
			})
		})
	}
}

// TestChainProbe: a try whose client leaves, or that panics, blocks no later one.
func TestChainProbe(t *testing.T) {
	for name, end := range map[string]func(context.Context, *chain.Chain){
		"left": func(ctx context.Context, c *chain.Chain) {
			for range c.Stream(ctx, assistant.Request{}) {
				break
			}
		},
		"panics": func(ctx context.Context, c *chain.Chain) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			for range c.Stream(ctx, assistant.Request{}) {
			}
		},
		"cancelled": func(ctx context.Context, c *chain.Chain) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			for range c.Stream(ctx, assistant.Request{}) {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				first := model(func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
					asked++
					if asked == 1 {
						return fails(assistant.ReasonProviderRateLimited, time.Minute)(ctx, req, yield)
					}
					if asked == 2 && name == "panics" {
						panic("out of order")
					}
					if asked == 2 {
						yield(assistant.Delta{}) // a keep-alive: no verdict yet
						return context.Cause(ctx)
					}
					yield(finished)
					return nil
				})
				links := newChain(t, first, named{Provider: echoes, Name: "second"})
				ask := func() {
					for range links.Stream(t.Context(), assistant.Request{Turns: []assistant.Turn{{Content: "x"}}}) {
					}
				}
				ask()
				ask()
				if asked != 1 {
					t.Fatalf("asked %d times, want once: it has asked to be left alone", asked)
				}
				time.Sleep(time.Minute)
				end(t.Context(), links)
				ask()
				if asked != 3 || links.Health()[0].State != chain.CircuitClosed {
					t.Errorf("asked %d times, health %+v; want a second try", asked, links.Health()[0])
				}
			})
		})
	}
}

// TestChainLateAnswer: an answer that was asked for before the service wanted to be left alone, and comes
// after, does not change that; and a try that fails begins a new pause, however few failures there were.
func TestChainLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := assistanttest.NewScript("wait\ntext \"late\"\nfinish stop\n\nfail provider_rate_limited 60s\n\nfail provider_unavailable 0s")
		links := newChain(t, first, named{Provider: echoes, Name: "second"})
		ask := func() (text string) {
			for d, err := range links.Stream(t.Context(), assistant.Request{Turns: []assistant.Turn{{Content: "second"}}}) {
				if text += d.Text; err != nil {
					t.Error(err)
				}
			}
			return text
		}
		begin := time.Now()
		expect := func(until time.Duration, failures int) {
			t.Helper()
			h := links.Health()[0]
			if h.State != chain.CircuitOpen || h.Until.Sub(begin) != until || h.Failures != failures {
				t.Errorf("after %s: %+v, want it open until %s after %d failures", time.Since(begin), h, until, failures)
			}
		}
		late := make(chan string, 1)
		go func() { late <- ask() }()
		synctest.Wait()
		if text := ask(); text != "second" {
			t.Errorf("answered %q", text)
		}
		expect(60*time.Second, 1)
		first.Release()
		if text := <-late; text != "late" {
			t.Errorf("answered %q", text)
		}
		expect(60*time.Second, 1)
		time.Sleep(60 * time.Second)
		ask()
		expect(90*time.Second, 2)
	})
}

// TestChainErrors: when all fail, the client learns the last fault that trying again may cure, and the
// operator learns all of them.
func TestChainErrors(t *testing.T) {
	const (
		rejected, limited = assistant.ReasonProviderRejected, assistant.ReasonProviderRateLimited
		overflow, timeout = assistant.ReasonContextOverflow, assistant.ReasonProviderTimeout
	)
	for _, test := range []struct {
		reasons []assistant.Reason
		want    assistant.Reason
	}{
		{[]assistant.Reason{rejected}, rejected},
		{[]assistant.Reason{limited, rejected}, limited},
		{[]assistant.Reason{rejected, limited}, limited},
		{[]assistant.Reason{limited, timeout}, timeout},
		{[]assistant.Reason{overflow, rejected}, rejected},
		{[]assistant.Reason{rejected, overflow}, overflow},
	} {
		var providers []assistant.Provider
		for _, r := range test.reasons {
			providers = append(providers, fails(r, 0))
		}
		var last error
		for _, err := range newChain(t, providers...).Stream(t.Context(), assistant.Request{}) {
			last = err
		}
		fault, ok := errors.AsType[*assistant.ProviderError](last)
		if !ok || fault.Reason != test.want {
			t.Errorf("%v: ended with %v, want %s", test.reasons, last, test.want)
		}
		for _, r := range test.reasons {
			if !strings.Contains(last.Error(), string(r)) {
				t.Errorf("%v: the operator does not learn of %s from %q", test.reasons, r, last)
			}
		}
	}
}

// TestChainMisuse: a chain is not empty, and its providers can be told apart.
func TestChainMisuse(t *testing.T) {
	if _, err := chain.New(nil); err == nil {
		t.Error("a chain of none")
	}
	_, err := chain.New(nil, named{Provider: echoes, Name: "a"}, named{Provider: echoes, Name: "b"}, named{Provider: echoes, Name: "a"})
	if err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), `"a-1"`) {
		t.Errorf("two providers of one name: %v", err)
	}
}

// taking is a provider that takes some kinds of content.
type taking struct {
	assistant.Provider

	kinds []assistant.Content
}

func (p taking) Accepts(question assistant.Parts) bool {
	return !slices.ContainsFunc(question, func(part assistant.Part) bool { return !slices.Contains(p.kinds, assistant.ContentOf(part)) })
}

// TestChainOfContents holds that a question goes to the providers that take what it has, and that the others are left alone.
func TestChainOfContents(t *testing.T) {
	image := assistant.Parts{assistant.ImagePart{FileID: "i", MediaType: "image/png"}, assistant.TextPart{Text: "What?"}}
	pdf := assistant.Parts{assistant.FilePart{FileID: "p", MediaType: "application/pdf"}, assistant.TextPart{Text: "What?"}}
	both := assistant.Parts{image[0], pdf[0]}
	takes := func(name string, p model, kinds ...assistant.Content) assistant.Provider {
		return taking{named{Provider: p, Name: name}, append(kinds, assistant.ContentText)}
	}
	answers := func(name string) model {
		return func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			_ = yield(assistant.Delta{Text: name}) && yield(finished)
			return nil
		}
	}
	ask := func(c *chain.Chain, question assistant.Parts) (text, fallbacks string, err error) {
		// What came before is of no interest.
		req := assistant.Request{Turns: []assistant.Turn{{Role: assistant.RoleUser, Content: "Hm", Parts: both}, {Role: assistant.RoleAssistant, Content: "Yes"},
			{Role: assistant.RoleUser, Content: question.Text(), Parts: question}}}
		for d, fault := range c.Stream(t.Context(), req) {
			text += d.Text
			if d.Fallback != nil {
				fallbacks += fmt.Sprintf("%s %s %v;", d.Fallback.Next.Provider, assistant.Describe(d.Fallback.Err).Reason, errors.Is(d.Fallback.Err, chain.ErrPassedOver))
			}
			err = fault
		}
		return text, fallbacks, err
	}
	down := false
	flaky := func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
		if down {
			return &assistant.ProviderError{Reason: assistant.ReasonProviderUnavailable, Err: errors.New("down")}
		}
		return answers("eyes")(ctx, req, yield)
	}
	c := must(chain.New(nil, takes("texts", answers("texts")), takes("eyes", flaky, assistant.ContentImage), takes("all", answers("all"), assistant.ContentImage, assistant.ContentPDF)))
	const skipped = " content_unsupported true;"
	for _, test := range []struct {
		question        assistant.Parts
		text, fallbacks string
	}{{nil, "texts", ""}, {image, "eyes", "eyes" + skipped}, {pdf, "all", "all" + skipped}, {both, "all", "all" + skipped}} {
		for range 4 { // more often than what opens a circuit
			if text, fallbacks, err := ask(c, test.question); text != test.text || fallbacks != test.fallbacks || err != nil {
				t.Errorf("%v: %q answers after %q: %v", test.question.FileIDs(), text, fallbacks, err)
			}
		}
	}
	for _, h := range c.Health() {
		if h.Failures != 0 || h.State != chain.CircuitClosed {
			t.Errorf("%s is %s after %d failures", h.Provider, h.State, h.Failures)
		}
	}
	down = true
	if text, fallbacks, err := ask(c, image); text != "all" || fallbacks != "eyes"+skipped+"all provider_unavailable false;" || err != nil {
		t.Errorf("%q answers after %q: %v", text, fallbacks, err)
	}
	if c := newChain(t, answers("texts")); c.Accepts(image) || !c.Accepts(nil) {
		t.Error("a chain takes what none of its providers does")
	} else if _, _, err := ask(c, image); assistant.Describe(err).Reason != assistant.ReasonContentUnsupported || !assistant.IsOfQuestion(err) {
		t.Errorf("got error %v", err)
	}
	// All circuits open: the one that is due first of those that take it is asked all the same.
	broken := must(chain.New(nil, takes("texts", answers("texts")), takes("eyes", flaky, assistant.ContentImage)))
	for range 5 {
		if _, _, err := ask(broken, image); assistant.Describe(err).Reason != assistant.ReasonProviderUnavailable {
			t.Errorf("got error %v", err)
		}
	}
}
