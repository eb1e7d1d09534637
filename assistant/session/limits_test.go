package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// endless says a token every ten milliseconds.
func endless(ctx context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
	for yield(assistant.Delta{Text: "word"}) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

const hour = time.Hour

// refusal is what the only error among the frames says: its reason and when to try again.
func refusal(t *testing.T, p *pipe) string {
	t.Helper()
	frames := p.frames(t)
	i := slices.IndexFunc(frames, func(f frame) bool { return f.Action == "error" })
	if i < 0 {
		return fmt.Sprint("no refusal: ", actions(frames))
	}
	var f struct {
		Payload struct {
			Reason       string
			RetryAfterMS int64 `json:"retry_after_ms"`
		}
	}
	must(0, json.Unmarshal([]byte(frames[i].text), &f))
	return fmt.Sprint(f.Payload.Reason, " ", time.Duration(f.Payload.RetryAfterMS)*time.Millisecond)
}

// used is what the answer that ends the frames has used.
func used(t *testing.T, frames []frame) (total int, reason string) {
	t.Helper()
	last := frames[len(frames)-1]
	var f struct {
		Payload struct{ Usage assistant.Usage }
	}
	if must(0, json.Unmarshal([]byte(last.text), &f)); last.Action != "complete_streaming" {
		t.Fatalf("the last frame is %s", last.text)
	}
	return f.Payload.Usage.TotalTokens, last.Payload.FinishReason
}

// TestBudgetIsShared runs many answers of one user at once, and some of another's: together they use the budget
// up and not more than a piece each beyond, and all end in the moment of their next piece.
func TestBudgetIsShared(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprint("strict ", strict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const budget, sockets = 1000, 20
				s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
					Provider: model(endless), Strict: strict, Budget: limits.Budget{Tokens: budget, Per: hour},
				}, nil)
				pipes, topics := make([]*pipe, sockets), make([]string, sockets)
				for i := range pipes {
					pipes[i], topics[i] = s.dialStored()
				}
				bob := s.serve(newPipe(), assistant.Peer{User: "bob"})
				bob.in <- `{"action":"assistant_message","payload":"go","ref":"q"}`
				for i, p := range pipes {
					p.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"go","topic":%q}`, topics[i])
				}
				time.Sleep(5 * time.Second)
				total := 0
				for _, p := range pipes {
					frames := p.frames(t)
					n, reason := used(t, frames)
					if text := strings.Count(strings.Join(actions(frames), " "), "streaming "); reason != "budget" || text == 0 {
						t.Errorf("an answer ended with %s after %d pieces", reason, text)
					}
					total += n
				}
				if total <= budget || total > budget+sockets {
					t.Errorf("%d tokens were used of %d", total, budget)
				}
				if got := actions(bob.frames(t)); slices.Contains(got, "complete_streaming") {
					t.Error("bob's answer has ended too")
				}
				pipes[0].in <- `{"action":"assistant_message","payload":"go"}`
				synctest.Wait()
				if got := refusal(t, pipes[0]); !strings.HasPrefix(got, "budget_exceeded 59m5") {
					t.Errorf("then: %s", got)
				}
			})
		})
	}
}

// TestBudgetCannotBeLeft holds that an answer counts however it ends: a client that leaves and comes back from
// the same network goes on with what is left.
func TestBudgetCannotBeLeft(t *testing.T) {
	for name, test := range map[string]struct {
		model model
		end   func(p *pipe)
	}{
		"client is gone": {endless, func(p *pipe) { p.left <- io.ErrUnexpectedEOF }},
		"stopped":        {endless, func(p *pipe) { p.in <- `{"action":"stop_streaming"}` }},
		"provider fails": {func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
			yield(assistant.Delta{Reasoning: strings.Repeat("word", 100)})
			return errors.New("failed")
		}, func(*pipe) {}},
		"provider panics": {func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
			yield(assistant.Delta{Text: strings.Repeat("word", 100)})
			panic("out of order")
		}, func(*pipe) {}},
		"usage is reported": {func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
			yield(finished)
			yield(assistant.Delta{Usage: &assistant.Usage{InputTokens: 60, OutputTokens: 40}})
			return nil
		}, func(*pipe) {}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
					Provider: test.model, Budget: limits.Budget{Tokens: 100, Per: hour},
				}, nil)
				peer := func(ip string) assistant.Peer { return assistant.Peer{ClientIP: netip.MustParseAddr(ip)} }
				p := s.serve(newPipe(), peer("2001:db8::1"))
				p.in <- `{"action":"assistant_message","payload":"go","ref":"q"}`
				time.Sleep(989 * time.Millisecond) // a hundred pieces, less the question
				test.end(p)
				time.Sleep(time.Second)
				p = s.serve(newPipe(), peer("2001:db8::2"))
				p.in <- `{"action":"assistant_message","payload":"go"}`
				time.Sleep(time.Second)
				if got := refusal(t, p); !strings.HasPrefix(got, "budget_exceeded 59m") {
					t.Errorf("then: %s", got)
				}
				p = s.serve(newPipe(), peer("2001:db8:0:1::2"))
				p.in <- `{"action":"assistant_message","payload":"go"}`
				time.Sleep(500 * time.Millisecond)
				if got := p.frames(t); got[0].Action != "streaming_start" {
					t.Errorf("another network: %s", got[0].text)
				}
			})
		})
	}
}

// TestTitlesCost holds that a title of the model's is paid by who asked the question, and is left out where the
// budget has no more.
func TestTitlesCost(t *testing.T) {
	for tokens, want := range map[int]string{100: "Titled", 60: "go"} {
		synctest.Test(t, func(t *testing.T) {
			titles := 0
			s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
				ModelTitles: true, Budget: limits.Budget{Tokens: tokens, Per: hour},
				Provider: model(func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
					usage := &assistant.Usage{InputTokens: 1, OutputTokens: 29}
					if strings.HasPrefix(req.Instructions, "Name the conversation") {
						titles++
						usage.OutputTokens = 69
					}
					_ = yield(assistant.Delta{Text: "Titled"}) && yield(finished) && yield(assistant.Delta{Usage: usage})
					return nil
				}),
			}, nil)
			p, topic := s.dialStored()
			p.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"go","topic":%q}`, topic)
			synctest.Wait()
			p.frames(t)
			p.in <- `{"action":"list_conversations"}`
			synctest.Wait()
			if got := p.frames(t); !strings.Contains(got[0].text, `"title":"`+want+`"`) {
				t.Errorf("with %d tokens: %s", tokens, got[0].text)
			}
			if want == "Titled" {
				p.in <- `{"action":"assistant_message","payload":"go"}`
				synctest.Wait()
				if got := refusal(t, p); got != "budget_exceeded 1h0m0s" {
					t.Errorf("after a title: %s", got)
				}
			}
		})
	}
}

// TestLimitsOutliveSettings holds that a new generation of settings goes on from what was counted under the
// one before, and that running answers keep theirs.
func TestLimitsOutliveSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, model(endless))
		use := func(questions, tokens int) {
			s.hub.Use(conversation.New(s.hub, conversation.Config{
				Provider: model(endless), Rate: limits.Rate{Questions: questions, Per: hour}, Budget: limits.Budget{Tokens: tokens, Per: hour},
			}))
		}
		dial := func() *pipe { return s.serve(newPipe(), assistant.Peer{User: "ann"}) }
		ask := func(p *pipe) {
			p.in <- `{"action":"assistant_message","payload":"go","ref":"q"}`
			synctest.Wait()
		}
		use(1, 200)
		p, other := dial(), dial()
		ask(p)
		time.Sleep(time.Second)
		use(2, 50) // less than has been used
		ask(other)
		if got := refusal(t, other); got != "budget_exceeded 1h0m0s" {
			t.Errorf("under the lower budget: %s", got)
		}
		use(2, 1000)
		ask(other)
		if got := refusal(t, other); !strings.HasPrefix(got, "rate_limited 29m59") {
			t.Errorf("under the higher rate: %s", got)
		}
		time.Sleep(2 * time.Second)
		if n, reason := used(t, p.frames(t)); reason != "budget" || n != 201 {
			t.Errorf("the running answer ended with %s after %d tokens", reason, n)
		}
		use(0, 400)
		time.Sleep(15 * time.Minute)
		ask(other)
		time.Sleep(5 * time.Second)
		if n, reason := used(t, other.frames(t)); reason != "budget" || n != 200 {
			t.Errorf("the next answer ended with %s after %d tokens", reason, n)
		}
		use(0, 0)
		ask(p)
		time.Sleep(time.Minute)
		if got := p.frames(t); got[len(got)-1].Action != "streaming" {
			t.Errorf("without limits the answer ended with %s", got[len(got)-1].text)
		}
	})
}

// TestDroppedIsAskedAgain holds that a client id which was known when it was sent again, and is dropped before
// its turn comes, is a new question and counts.
func TestDroppedIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
			Rate: limits.Rate{Questions: 3, Per: hour}, Provider: model(func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
				time.Sleep(time.Second)
				return echoes(ctx, req, yield)
			}),
		}, nil)
		p, topic := s.dialStored()
		send := func(payload string) {
			p.in <- fmt.Sprintf(`{"action":"send_message","payload":{%s},"topic":%q}`, payload, topic)
		}
		send(`"content":"one","client_id":"c1"`)
		time.Sleep(2 * time.Second)
		first := p.frames(t)[0].Payload.MessageID
		send(`"content":"two"`)
		send(fmt.Sprintf(`"content":"three","replaces":%q`, first))
		send(`"content":"one","client_id":"c1"`)
		time.Sleep(time.Minute)
		if got := refusal(t, p); !strings.HasPrefix(got, "rate_limited 19m5") {
			t.Errorf("got %s", got)
		}
	})
}

// TestDroppedDoesNotCount drops questions that wait: those that were not asked do not count, the running one does.
func TestDroppedDoesNotCount(t *testing.T) {
	for name, stored := range map[string]bool{"the connection's own": false, "stored": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
					Rate: limits.Rate{Questions: 4, Per: hour}, CancelAlone: true, Provider: model(endless),
				}, nil)
				p, topic := s.dialStored()
				ask := `{"action":"assistant_message","payload":"go"}`
				if stored {
					ask = fmt.Sprintf(`{"action":"assistant_message","payload":"go","topic":%q}`, topic)
				}
				for range 4 {
					p.in <- ask
				}
				synctest.Wait()
				p.left <- io.EOF
				synctest.Wait()
				p, _ = s.dialStored()
				for range 3 {
					p.in <- `{"action":"assistant_message","payload":"go"}`
				}
				synctest.Wait()
				if got := actions(p.frames(t)); slices.Contains(got, "error") {
					t.Errorf("after one was asked: %v", got)
				}
				p.in <- `{"action":"assistant_message","payload":"go"}`
				synctest.Wait()
				if got := refusal(t, p); got != "rate_limited 15m0s" {
					t.Errorf("after four were asked: %s", got)
				}
			})
		})
	}
}

// TestRefusedDoesNotCount refuses questions that were accepted into a queue, for various reasons: none counts.
func TestRefusedDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
			Rate: limits.Rate{Questions: 2, Per: hour}, MaxPending: 1,
			Provider: model(func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
				<-release
				return echoes(ctx, req, yield)
			}),
		}, nil)
		p, topic := s.dialStored()
		for _, payload := range []string{`"content":"one"`, `"content":"two","replaces":"x"`, `"content":"three"`} {
			p.in <- fmt.Sprintf(`{"action":"send_message","payload":{%s},"topic":%q}`, payload, topic)
		}
		synctest.Wait()
		if got := refusal(t, p); got != "busy 0s" {
			t.Errorf("the third: %s", got)
		}
		close(release)
		synctest.Wait()
		if got := refusal(t, p); got != "not_found 0s" {
			t.Errorf("the second: %s", got)
		}
		p.in <- `{"action":"assistant_message","payload":"four"}`
		synctest.Wait()
		if got := actions(p.frames(t)); !slices.Equal(got, []string{"streaming_start", "streaming", "complete_streaming"}) {
			t.Errorf("the fourth got %v", got)
		}
		p.in <- `{"action":"assistant_message","payload":"five"}`
		synctest.Wait()
		if got := refusal(t, p); got != "rate_limited 30m0s" {
			t.Errorf("the fifth: %s", got)
		}
	})
}
