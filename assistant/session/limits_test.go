package session_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
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
	return refusalIn(p.frames(t))
}

func refusalIn(frames []frame) string {
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

// TestBudgetIsShared runs many answers of one user at once, and one of another's. As many run as the budget has room
// for; together they use it up and not more than a piece each beyond, and all end in the moment of their next piece.
func TestBudgetIsShared(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprint("strict ", strict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const budget, sockets, running = 40_000, 20, 6 // which reserve 16384 tokens, half of the rest four times at most, and the last
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
				time.Sleep(3 * time.Minute)
				total, refused := 0, 0
				for _, p := range pipes {
					frames := p.frames(t)
					if frames[len(frames)-1].Action == "error" {
						if got := refusalIn(frames); got != "budget_exceeded 5s" {
							t.Errorf("refused: %s", got)
						}
						refused++
						continue
					}
					n, reason := used(t, frames)
					if text := strings.Count(strings.Join(actions(frames), " "), "streaming "); reason != "budget" || text == 0 {
						t.Errorf("an answer ended with %s after %d pieces", reason, text)
					}
					total += n
				}
				if sockets-refused != running {
					t.Errorf("%d answers ran, want %d", sockets-refused, running)
				}
				if total <= budget || total > budget+running {
					t.Errorf("%d tokens were used of %d", total, budget)
				}
				if got := actions(bob.frames(t)); slices.Contains(got, "complete_streaming") {
					t.Error("bob's answer has ended too")
				}
				pipes[0].in <- `{"action":"assistant_message","payload":"go"}`
				synctest.Wait()
				if got := refusal(t, pipes[0]); !strings.HasPrefix(got, "budget_exceeded 5") {
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
				Provider: model(endless), Rate: limits.Rate{Count: questions, Per: hour}, Budget: limits.Budget{Tokens: tokens, Per: hour},
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
		use(0, 50) // less than the running answer has reserved
		ask(other)
		if got := refusal(t, other); got != "budget_exceeded 5s" {
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
			Rate: limits.Rate{Count: 3, Per: hour}, Provider: model(func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
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
					Rate: limits.Rate{Count: 4, Per: hour}, CancelAlone: true, Provider: model(endless),
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
			Rate: limits.Rate{Count: 2, Per: hour}, MaxPending: 1,
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

// TestSpentInVain holds that what a provider has used that failed is paid for, also where the next one reports nothing or
// is stopped, and that it counts while the answer streams.
func TestSpentInVain(t *testing.T) {
	thinks := assistanttest.Named{Name: "thinks", Provider: model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
		yield(assistant.Delta{Usage: &assistant.Usage{InputTokens: 10, OutputTokens: 500, TotalTokens: 510}})
		return &assistant.ProviderError{Reason: assistant.ReasonEmptyAnswer, Err: errors.New("only thought")}
	})}
	for name, test := range map[string]struct {
		model  model
		budget int
		end    func(p *pipe)
		total  int
		reason string
	}{
		"no report": {func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			_ = yield(assistant.Delta{Text: "12345678"}) && yield(finished)
			return nil
		}, 1000, func(*pipe) {}, 513, "stop"},
		"stopped":           {endless, 1000, func(p *pipe) { p.in <- `{"action":"stop_streaming"}` }, 521, "stopped"},
		"end of the budget": {endless, 520, func(*pipe) {}, 521, "budget"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
					Provider: newChain(t, thinks, test.model), Budget: limits.Budget{Tokens: test.budget, Per: hour},
				}, nil)
				p := s.dial()
				p.in <- `{"action":"assistant_message","payload":"go","ref":"q"}`
				time.Sleep(95 * time.Millisecond) // ten pieces
				test.end(p)
				time.Sleep(time.Second)
				if total, reason := used(t, p.frames(t)); total != test.total || reason != test.reason {
					t.Errorf("%d tokens until %s, want %d until %s", total, reason, test.total, test.reason)
				}
			})
		})
	}
}

// TestLongConversationWithinBudget holds that a conversation which is longer than the budget goes on: what the model is
// told leaves room for its answer.
func TestLongConversationWithinBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget = 80
		s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
			Budget: limits.Budget{Tokens: budget, Per: time.Minute},
			Provider: model(func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
				if req.MaxTokens < budget/8 {
					t.Errorf("%d tokens are left for the answer to %d turns", req.MaxTokens, len(req.Turns))
				}
				_ = yield(assistant.Delta{Text: "word"}) && yield(finished)
				return nil
			}),
		}, nil)
		p := s.dial()
		for range 30 { // until no more of them fit into the budget
			time.Sleep(time.Hour)
			p.in <- `{"action":"assistant_message","payload":"three to","ref":"q"}`
			synctest.Wait()
			if got := actions(p.frames(t)); slices.Contains(got, "error") {
				t.Fatalf("got %v", got)
			}
		}
		p.in <- `{"action":"assistant_message","payload":"` + strings.Repeat("word", budget-budget/8+1) + `","ref":"q"}`
		synctest.Wait()
		if got := refusal(t, p); got != "context_overflow 0s" {
			t.Errorf("a question that leaves no room: %s", got)
		}
	})
}

// TestFloodOfBudget holds that a service which sends much at once, to many sockets of one user, uses no more beyond the
// budget than its last piece: near the end of a budget one answer runs, and the model is told what is left.
func TestFloodOfBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget, sockets, piece = 1000, 50, 10_000
		var asked, total atomic.Int32
		s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
			Budget: limits.Budget{Tokens: budget, Per: hour},
			Provider: model(func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
				asked.Add(1)
				if req.MaxTokens < 900 || req.MaxTokens >= budget {
					t.Errorf("the model was told %d tokens", req.MaxTokens)
				}
				time.Sleep(time.Second)
				yield(assistant.Delta{Text: strings.Repeat("word", piece)})
				yield(finished)
				return nil
			}),
		}, nil)
		pipes := make([]*pipe, sockets)
		for i := range pipes {
			pipes[i] = s.serve(newPipe(), assistant.Peer{User: "ann"})
			pipes[i].in <- `{"action":"assistant_message","payload":"go","ref":"q"}`
		}
		time.Sleep(5 * time.Second)
		for _, p := range pipes {
			if frames := p.frames(t); frames[len(frames)-1].Action == "complete_streaming" {
				n, _ := used(t, frames)
				total.Add(int32(n))
			}
		}
		if asked.Load() != 1 || total.Load() > budget+piece {
			t.Errorf("%d answers used %d tokens of %d", asked.Load(), total.Load(), budget)
		}
	})
}

// TestToldLimit holds that an answer which the model ends at the limit it was told has come to the end of the budget, and
// not to a length of the model's.
func TestToldLimit(t *testing.T) {
	for _, test := range []struct {
		budget, output int
		told           bool
		reason         assistant.FinishReason
	}{
		{1000, 0, true, assistant.FinishBudget},    // as many as it was told
		{1000, 500, true, assistant.FinishLength},  // its own limit is lower
		{90_000, 0, false, assistant.FinishLength}, // so much that a service could refuse the number
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
				Budget: limits.Budget{Tokens: test.budget, Per: hour},
				Provider: model(func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
					if told := req.MaxTokens > 0; told != test.told {
						t.Errorf("budget %d: told %d", test.budget, req.MaxTokens)
					}
					output := cmp.Or(test.output, req.MaxTokens, 4096)
					yield(assistant.Delta{Text: "word"})
					yield(assistant.Delta{FinishReason: assistant.FinishLength, Usage: &assistant.Usage{InputTokens: 1, OutputTokens: output, TotalTokens: output + 1}})
					return nil
				}),
			}, nil)
			p := s.dial()
			p.in <- `{"action":"assistant_message","payload":"go","ref":"q"}`
			synctest.Wait()
			if _, reason := used(t, p.frames(t)); reason != string(test.reason) {
				t.Errorf("budget %d, output %d: ended with %s, want %s", test.budget, test.output, reason, test.reason)
			}
		})
	}
}

// TestWriteRate holds that creating, renaming and deleting conversations count together, for a user and for the network
// of anonymous clients, and asking does not.
func TestWriteRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{
			Provider: model(endless), WriteRate: limits.Rate{Count: 60, Per: time.Minute, Burst: 3},
		}, nil)
		do := func(p *pipe, frame string) []frame {
			p.in <- frame
			synctest.Wait()
			return p.frames(t)
		}
		ann := s.serve(newPipe(), assistant.Peer{User: "ann"})
		id := do(ann, `{"action":"create_conversation"}`)[0].Payload.ConversationID
		do(ann, fmt.Sprintf(`{"action":"rename_conversation","payload":{"conversation_id":%q,"title":"x"}}`, id))
		do(ann, fmt.Sprintf(`{"action":"delete_conversation","payload":{"conversation_id":%q}}`, id))
		for _, frame := range []string{
			`{"action":"create_conversation"}`,
			fmt.Sprintf(`{"action":"rename_conversation","payload":{"conversation_id":%q,"title":"x"}}`, id),
			fmt.Sprintf(`{"action":"delete_conversation","payload":{"conversation_id":%q}}`, id),
		} {
			want := "rate_limited 1s"
			if strings.Contains(frame, id) {
				want = "not_found 0s" // which is said first
			}
			if got := refusalIn(do(ann, frame)); got != want {
				t.Errorf("%s: %s, want %s", frame, got, want)
			}
		}
		time.Sleep(time.Second)
		if got := do(ann, `{"action":"create_conversation"}`); got[0].Action != "conversation_created" {
			t.Errorf("a second later: %s", got[0].text)
		}
		neighbours := []assistant.Peer{{ClientIP: netip.MustParseAddr("2001:db8:0:1::1")}, {ClientIP: netip.MustParseAddr("2001:db8:0:1::2")}}
		created := 0
		for range 3 {
			for _, peer := range neighbours {
				if do(s.serve(newPipe(), peer), `{"action":"create_conversation"}`)[0].Action == "conversation_created" {
					created++
				}
			}
		}
		if created != 3 {
			t.Errorf("two anonymous clients of one network created %d", created)
		}
	})
}

// TestFloodOfConversations holds that one anonymous client who creates conversations without end, however fast, throws
// out neither the conversation that another follows nor one that another user has, and that what goes is shown.
func TestFloodOfConversations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServerOn(t, memory.Open(memory.Config{MaxConversations: 500}), conversation.Config{Provider: assistanttest.Echoes}, nil)
		before := heap()
		ann, bob := s.serve(newPipe(), assistant.Peer{User: "ann"}), s.serve(newPipe(), assistant.Peer{User: "bob"})
		created := func(p *pipe) string {
			p.in <- `{"action":"create_conversation"}`
			synctest.Wait()
			frames := p.frames(t)
			return frames[len(frames)-1].Payload.ConversationID
		}
		followed, left := created(ann), created(bob)
		ann.in <- fmt.Sprintf(`{"action":"subscribe","topic":"conversation:%s"}`, followed)
		flood := s.serve(newPipe(), assistant.Peer{ClientIP: netip.MustParseAddr("198.51.100.7")})
		first := created(flood)
		flood.in <- fmt.Sprintf(`{"action":"subscribe","topic":"conversation:%s"}`, first)
		flood.in <- fmt.Sprintf(`{"action":"unsubscribe","topic":"conversation:%s"}`, first)
		for range 10_050 {
			flood.in <- `{"action":"create_conversation"}`
		}
		synctest.Wait()
		for user, id := range map[string]string{"ann": followed, "bob": left} {
			if err := s.hub.Allowed(t.Context(), user, id); err != nil {
				t.Errorf("%s's conversation: %v", user, err)
			}
		}
		if err := s.hub.Allowed(t.Context(), "", first); !errors.Is(err, assistant.ErrNotFound) {
			t.Errorf("the flood's first one is still served: %v", err)
		}
		ann.in <- fmt.Sprintf(`{"action":"assistant_message","payload":"still here","topic":"conversation:%s"}`, followed)
		synctest.Wait()
		if got := actions(ann.frames(t)); !slices.Contains(got, "complete_streaming") {
			t.Errorf("ann got %q", got)
		}
		_ = flood.frames(t)
		time.Sleep(time.Hour)
		if kept := heap() - before; kept > 2<<20 {
			t.Errorf("the flood keeps %d KB", kept>>10)
		}
		runtime.KeepAlive(s)
	})
}
