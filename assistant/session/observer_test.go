package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// watcher is an Observer that writes down what it is told.
type watcher struct {
	mu               sync.Mutex
	open             int
	closed           []assistant.SessionSummary
	lagging, waiting int
	failed           []assistant.Reason
	answers          []*watched
	titled           []string
	stored           []string
}

// watched is one answer.
type watched struct {
	*watcher
	start assistant.AnswerStart
	calls []string
	ends  []assistant.AnswerSummary
}

func (w *watcher) Opened(assistant.Peer) { w.do(func() { w.open++ }) }
func (w *watcher) Closed(_ assistant.Peer, s assistant.SessionSummary) {
	w.do(func() { w.open--; w.closed = append(w.closed, s) })
}

// Clustered and Buried come only from stores that are shared.
func (w *watcher) Clustered(assistant.NodeState) {}
func (w *watcher) Buried()                       {}
func (w *watcher) Lagging(change int)            { w.do(func() { w.lagging += change }) }
func (w *watcher) Waiting(change int)            { w.do(func() { w.waiting += change }) }
func (w *watcher) Failed(r assistant.Reason)     { w.do(func() { w.failed = append(w.failed, r) }) }

func (w *watcher) Answering(start assistant.AnswerStart) assistant.AnswerObserver {
	a := &watched{watcher: w, start: start}
	w.do(func() { w.answers = append(w.answers, a) })
	return a
}

func (w *watcher) Titled(s assistant.Source, u assistant.Usage) {
	w.do(func() { w.titled = append(w.titled, fmt.Sprint(s.Model, u)) })
}

func (w *watcher) Stored(call string, _ time.Duration, err error) {
	w.do(func() { w.stored = append(w.stored, fmt.Sprint(call, " ", err)) })
}

func (w *watcher) Uploaded(refused assistant.Reason, bytes int) {
	w.do(func() { w.stored = append(w.stored, fmt.Sprintf("uploaded %d %s", bytes, refused)) })
}

func (w *watcher) LimitsShared(shared bool) {
	w.do(func() { w.stored = append(w.stored, fmt.Sprint("limits shared: ", shared)) })
}

func (a *watched) FirstPiece(time.Duration)      { a.called("first") }
func (a *watched) Piece()                        { a.called("piece") }
func (a *watched) FellBack(f assistant.Fallback) { a.called("fallback to " + f.Next.Model) }
func (a *watched) Called(c assistant.CallSummary) {
	a.called("call of " + c.Tool + " " + string(c.State))
}
func (a *watched) Ended(s assistant.AnswerSummary) {
	a.called("ended")
	a.do(func() { a.ends = append(a.ends, s) })
}

func (a *watched) called(name string) { a.do(func() { a.calls = append(a.calls, name) }) }

func (w *watcher) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// expectGauges holds that nothing but so many sockets is under way.
func (w *watcher) expectGauges(t *testing.T, open int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open != open || w.lagging != 0 || w.waiting != 0 {
		t.Errorf("%d sockets are open, %d lag, %d questions wait; want %d, 0, 0", w.open, w.lagging, w.waiting, open)
	}
}

// expect holds that besides there were these errors, and that each answer has ended.
func (w *watcher) expect(t *testing.T, open int, failed ...assistant.Reason) {
	t.Helper()
	w.expectGauges(t, open)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.failed, failed) {
		t.Errorf("errors %q, want %q", w.failed, failed)
	}
	for i, a := range w.answers {
		if len(a.ends) != 1 {
			t.Errorf("answer %d has %d ends", i, len(a.ends))
		}
	}
}

// observed serves with a watcher.
func observed(t *testing.T, c conversation.Config, store assistant.Store) (*server, *watcher) {
	t.Helper()
	w := new(watcher)
	c.Observer = w
	return newServerOn(t, store, c, nil), w
}

// TestObserverAnswer shows what is told of an answer.
func TestObserverAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := assistant.Source{Provider: "test", Model: "model"}, assistant.Source{Provider: "test", Model: "spare"}
		s, w := observed(t, conversation.Config{Provider: model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			time.Sleep(time.Second)
			yield(assistant.Delta{Fallback: &assistant.Fallback{Failed: first, Err: errors.New("down"), Next: second}})
			yield(assistant.Delta{Reasoning: "hm"})
			yield(assistant.Delta{})
			time.Sleep(time.Second)
			yield(assistant.Delta{Text: "a", Reasoning: "b"})
			yield(assistant.Delta{FinishReason: assistant.FinishLength})
			yield(assistant.Delta{Usage: &assistant.Usage{InputTokens: 3, OutputTokens: 4, TotalTokens: 7}})
			return nil
		})}, memory.Open(memory.Config{}))
		p, topic := s.dialStored()
		p.in <- fmt.Sprintf(`{"action":"send_message","topic":%q,"payload":{"content":"x"}}`, topic)
		synctest.Wait()
		time.Sleep(time.Minute)
		w.expect(t, 1)
		a := w.answers[0]
		if want := []string{"fallback to spare", "first", "piece", "piece", "piece", "ended"}; !slices.Equal(a.calls, want) {
			t.Errorf("told %q, want %q", a.calls, want)
		}
		if a.start.Peer.User != "ann" || "conversation:"+a.start.ConversationID != topic || a.start.MessageID == "" || a.start.Source != first {
			t.Errorf("began with %+v", a.start)
		}
		end := a.ends[0]
		if end.FinishReason != assistant.FinishLength || end.Pieces != 3 || end.Usage.InputTokens != 3 || end.Usage.OutputTokens != 4 ||
			end.FirstPiece.Round(time.Second) != time.Second || end.Duration.Round(time.Second) != 2*time.Second || end.Err != nil || end.Reason != "" {
			t.Errorf("ended with %+v", end)
		}
	})
}

// TestObserverTitled shows what is told of a title that the model has made.
func TestObserverTitled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spare := assistant.Source{Provider: "test", Model: "spare"}
		s, w := observed(t, conversation.Config{ModelTitles: true, Provider: model(func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
			yield(assistant.Delta{Fallback: &assistant.Fallback{Next: spare}})
			yield(assistant.Delta{Text: "Title"})
			yield(finished)
			if req.Instructions != "" {
				yield(assistant.Delta{Usage: &assistant.Usage{InputTokens: 3, OutputTokens: 4, TotalTokens: 7}})
			}
			return nil
		})}, memory.Open(memory.Config{}))
		p, topic := s.dialStored()
		p.in <- fmt.Sprintf(`{"action":"assistant_message","topic":%q,"payload":"x"}`, topic)
		time.Sleep(time.Minute)
		w.expect(t, 1)
		if want := []string{"spare{3 4 7 false}"}; len(w.answers) != 1 || !slices.Equal(w.titled, want) {
			t.Errorf("%d answers, titles %q, want 1, %q", len(w.answers), w.titled, want)
		}
	})
}

// TestObserverEnds holds that each answer that begins has one end for its observer, and each error that
// clients are told is counted once, whatever breaks.
func TestObserverEnds(t *testing.T) {
	fails := func(err error) model {
		return func(context.Context, assistant.Request, func(assistant.Delta) bool) error { return err }
	}
	for _, test := range []struct {
		name     string
		provider assistant.Provider
		panics   string // the store's method
		finish   []assistant.FinishReason
		reason   assistant.Reason
	}{
		{"answers", echoes, "", []assistant.FinishReason{"stop"}, ""},
		{"fails", fails(&assistant.ProviderError{Reason: assistant.ReasonProviderTimeout}), "", []assistant.FinishReason{"error"}, "provider_timeout"},
		{"panics", model(func(context.Context, assistant.Request, func(assistant.Delta) bool) error { panic("out of order") }), "", []assistant.FinishReason{"error"}, "internal"},
		{"fails with an error that panics", fails(oddError{}), "", []assistant.FinishReason{"error"}, "internal"},
		{"store panics at the start", echoes, "Begin", nil, "storage_unavailable"},
		{"store panics at the end", echoes, "Finish", []assistant.FinishReason{"error"}, "storage_unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &oddStore{Store: memory.Open(memory.Config{})}
				s, w := observed(t, conversation.Config{Provider: test.provider}, store)
				p, topic := s.dialStored()
				second := s.serve(newPipe(), assistant.Peer{User: "ann"})
				second.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic)
				store.panics.Store(test.panics)
				p.in <- fmt.Sprintf(`{"action":"assistant_message","topic":%q,"payload":"x"}`, topic)
				time.Sleep(time.Minute)
				var failed []assistant.Reason
				if test.reason != "" {
					failed = append(failed, test.reason)
				}
				w.expect(t, 2, failed...)
				var finish []assistant.FinishReason
				for _, a := range w.answers {
					finish = append(finish, a.ends[0].FinishReason)
					if a.ends[0].Reason != test.reason {
						t.Errorf("reason %q, want %q", a.ends[0].Reason, test.reason)
					}
				}
				if !slices.Equal(finish, test.finish) {
					t.Errorf("finish reasons %q, want %q", finish, test.finish)
				}
			})
		})
	}
}

// TestObserverWaiting holds that questions which wait are counted until they do not, for whatever reason.
func TestObserverWaiting(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(s *server, p *pipe, topic string)
		open int
	}{
		{"answered", func(*server, *pipe, string) { time.Sleep(time.Hour) }, 1},
		{"socket gone", func(_ *server, p *pipe, _ string) { p.left <- io.EOF; time.Sleep(time.Hour) }, 0},
		{"deleted", func(_ *server, p *pipe, topic string) {
			p.in <- fmt.Sprintf(`{"action":"delete_conversation","payload":{"conversation_id":%q}}`, strings.TrimPrefix(topic, "conversation:"))
		}, 1},
		{"drained", func(s *server, _ *pipe, _ string) { s.close() }, 0},
	} {
		for _, stored := range []bool{false, true} {
			if test.name == "deleted" && !stored {
				continue
			}
			t.Run(fmt.Sprint(test.name, " stored ", stored), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, w := observed(t, conversation.Config{Provider: counts(3, time.Second)}, memory.Open(memory.Config{}))
					p, topic := s.dialStored()
					ask := `{"action":"assistant_message","payload":"x"}`
					if stored {
						ask = fmt.Sprintf(`{"action":"assistant_message","payload":"x","topic":%q}`, topic)
					}
					for range 3 {
						p.in <- ask
					}
					synctest.Wait()
					w.do(func() {
						if w.waiting != 2 {
							t.Errorf("%d wait, want 2", w.waiting)
						}
					})
					test.end(s, p, topic)
					synctest.Wait()
					w.expectGauges(t, test.open)
				})
			})
		}
	}
}

// TestObserverLagging holds that a socket that lags is counted until it does not, or is gone.
func TestObserverLagging(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprint("leaves ", leaves), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, w := observed(t, conversation.Config{Provider: counts(2000, 0)}, memory.Open(memory.Config{}))
				p := newPipe()
				p.gate = make(chan struct{}, 2)
				s.serve(p, assistant.Peer{})
				p.in <- `{"action":"assistant_message","payload":"count"}`
				synctest.Wait()
				p.gate <- struct{}{} // the first frames
				synctest.Wait()      // and it stands with a full batch
				w.do(func() {
					if w.lagging != 1 {
						t.Errorf("%d lag, want 1", w.lagging)
					}
				})
				open := 1
				if leaves {
					p.left <- errors.New("connection is broken")
					open = 0
				}
				close(p.gate)
				synctest.Wait()
				w.expect(t, open)
			})
		})
	}
}

// TestObserverErrors counts what clients are told before an answer begins.
func TestObserverErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := observed(t, conversation.Config{Provider: counts(1, time.Hour), MaxPending: 1}, memory.Open(memory.Config{}))
		p := s.dial()
		for _, frame := range []string{`{`, `{"action":"list_conversations"}`, `{"action":"regenerate"}`,
			`{"action":"assistant_message","payload":"1"}`, `{"action":"assistant_message","payload":"2"}`, `{"action":"assistant_message","payload":"3"}`} {
			p.in <- frame
		}
		p.left <- io.EOF
		<-p.ended
		synctest.Wait()
		w.expect(t, 0, "invalid", "unauthorized", "nothing_to_regenerate", "busy")
	})
}

// timeoutError is what a connection returns whose deadline has passed.
type timeoutError struct{ error }

func (timeoutError) Timeout() bool { return true }

// refusedError is a message that must not be accepted.
type refusedError struct{ error }

func (refusedError) CloseCode() int { return 1003 }

// TestObserverClosed sorts the ends of sessions, and counts what went through them.
func TestObserverClosed(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		end  func(s *server, p *pipe)
		want assistant.CloseCause
		code int
	}{
		{func(_ *server, p *pipe) { p.left <- io.EOF }, "left", 1000},
		{func(_ *server, p *pipe) { p.left <- broken }, "lost", 1011},
		{func(_ *server, p *pipe) { p.left <- fmt.Errorf("read: %w", timeoutError{broken}) }, "timeout", 1011},
		{func(_ *server, p *pipe) { p.left <- refusedError{broken} }, "refused", 1003},
		{func(_ *server, p *pipe) {
			for range 20 {
				p.in <- "{"
			}
		}, "malformed", 1008},
		{func(s *server, _ *pipe) { s.close() }, "draining", 1012},
		{func(_ *server, p *pipe) {
			p.onRecv = func() { panic("out of order") }
			p.in <- `{"action":"ping"}`
		}, "internal", 1011},
	} {
		t.Run(string(test.want), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, w := observed(t, conversation.Config{Provider: echoes}, memory.Open(memory.Config{}))
				p := s.dial()
				p.in <- `{"action":"ping","ref":"é"}`
				synctest.Wait()
				test.end(s, p)
				<-p.ended
				end := w.closed[0]
				if end.Cause != test.want || end.CloseCode != test.code || end.Err == nil {
					t.Errorf("ended with %+v, want %s, %d", end, test.want, test.code)
				}
				if sent := p.frames(t)[0].text; end.Received.Bytes < len(`{"action":"ping","ref":"é"}`) || end.Sent.Bytes < len(sent) || end.Received.Messages < 1 || end.Sent.Messages < 1 {
					t.Errorf("received %+v, sent %+v", end.Received, end.Sent)
				}
			})
		})
	}
}

// TestLogContent holds that no text of a conversation is logged unless the settings and the level say so,
// and then all of it.
func TestLogContent(t *testing.T) {
	long := strings.Repeat("tell me \"all\"\n", 1000)
	for _, test := range []struct {
		content bool
		level   zap.AtomicLevel
		want    []string
	}{
		{false, zap.NewAtomicLevelAt(zap.DebugLevel), nil},
		{true, zap.NewAtomicLevelAt(zap.InfoLevel), nil},
		{true, zap.NewAtomicLevelAt(zap.DebugLevel), []string{"user " + long, "assistant " + long}},
	} {
		t.Run(fmt.Sprint(test.content, test.level), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(test.level)
				s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{Provider: echoes, LogContent: test.content, Logger: zap.New(core)}, nil)
				p := s.dial()
				p.in <- fmt.Sprintf(`{"action":"assistant_message","payload":%q}`, long)
				synctest.Wait()
				p.left <- io.EOF
				synctest.Wait()
				var got []string
				for _, line := range logs.All() {
					if text := fmt.Sprint(line.ContextMap()); line.Message != "message" && strings.Contains(text, "tell me") {
						t.Errorf("%s has the text: %.200s", line.Message, text)
					}
				}
				for _, line := range logs.FilterMessage("message").All() {
					fields := line.ContextMap()
					got = append(got, fmt.Sprint(fields["role"], " ", fields["content"]))
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("logged %.200q, want %.200q", got, test.want)
				}
			})
		})
	}
}

// TestLogLines shows the two lines that sessions and answers leave, and their fields.
func TestLogLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{Provider: echoes, Logger: zap.New(core)}, nil)
		p, topic := s.dialStored()
		p.in <- fmt.Sprintf(`{"action":"assistant_message","topic":%q,"payload":"x"}`, topic)
		synctest.Wait()
		p.left <- io.EOF
		<-p.ended
		synctest.Wait()
		for _, test := range []struct {
			message string
			fields  []string
		}{
			{"answer ended", []string{"calls", "conversation_id", "duration", "estimated", "finish_reason", "first_piece", "input_tokens", "message_id", "model", "output_tokens", "pieces", "provider", "steps", "user"}},
			{"session ended", []string{"bytes_in", "bytes_out", "cause", "client_ip", "close_code", "duration", "messages_in", "messages_out", "remote_addr", "user"}},
		} {
			lines := logs.FilterMessage(test.message).All()
			if len(lines) != 1 {
				t.Errorf("%d lines of %s", len(lines), test.message)
				continue
			}
			var names []string
			for name := range lines[0].ContextMap() {
				names = append(names, name)
			}
			if slices.Sort(names); !slices.Equal(names, test.fields) {
				t.Errorf("%s has the fields %q, want %q", test.message, names, test.fields)
			}
		}
	})
}

// TestFallbackLog: an answer's log names who gave it; one line says who failed, and none has a secret.
func TestFallbackLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		c := must(chain.New(nil, named{Provider: fails(assistant.ReasonProviderRejected, time.Hour), Name: "first"}, named{Provider: echoes, Name: "second"}))
		s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{Provider: c, Logger: zap.New(core)}, nil)
		p := s.dial()
		for range 2 { // the second time the first is not even asked
			p.in <- `{"action":"assistant_message","payload":"hello"}`
			synctest.Wait()
		}
		var lines []string
		for _, entry := range logs.All() {
			f := entry.ContextMap()
			lines = append(lines, fmt.Sprint(entry.Level, " ", entry.Message, " ", f["provider"], " ", f["model"], " ", f["reason"], " ", f["next_provider"], " ", f["next_model"]))
		}
		const ended = "info answer ended second second-1 <nil> <nil> <nil>"
		want := []string{"warn provider failed, another is asked first first-1 provider_rejected second second-1", ended, ended}
		if !slices.Equal(lines, want) {
			t.Errorf("logged %q, want %q", lines, want)
		}
	})
}
