package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// nameless is a provider that panics when it is asked for its model.
type nameless struct{ model }

func (nameless) Source() assistant.Source { panic("no name") }

// TestPanicEndsSession holds that a panic on a session's way ends that session with 1011 (internal error),
// is logged, and disturbs nobody else.
func TestPanicEndsSession(t *testing.T) {
	once := func() func() {
		done := false
		return func() {
			if !done {
				done = true
				panic("out of order")
			}
		}
	}
	for _, test := range []struct {
		name     string
		provider assistant.Provider
		peer     assistant.Peer
		breaks   func(p *pipe)
		sends    string
	}{
		{name: "Conn.Recv", breaks: func(p *pipe) { p.onRecv = once() }},
		{name: "Conn.Send", breaks: func(p *pipe) { p.onSend = once() }, sends: `{"action":"ping"}`},
		{name: "Provider.Model", provider: nameless{echoes}, sends: `{"action":"assistant_message","payload":"x"}`},
		{
			name: "Peer.Resolve", peer: assistant.Peer{Resolve: func(string) string { panic("out of order") }},
			sends: `{"action":"assistant_message","payload":"x"}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.ErrorLevel)
				if test.provider == nil {
					test.provider = echoes
				}
				s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{Provider: test.provider, Logger: zap.New(core)}, zap.New(core))
				other := s.dial()
				p := newPipe()
				if test.breaks != nil {
					test.breaks(p)
				}
				s.serve(p, test.peer)
				if test.sends != "" {
					p.in <- test.sends
				}
				if err := <-p.ended; err == nil || !strings.Contains(err.Error(), "panic: ") {
					t.Errorf("ended with %v", err)
				}
				if !slices.Equal(p.closes, []string{`[1011,""]`}) {
					t.Errorf("closed with %v", p.closes)
				}
				if logs.FilterMessage("session panicked").Len() != 1 || !strings.Contains(logs.All()[0].ContextMap()["stack"].(string), "panic_test.go") {
					t.Errorf("logged %v", logs.All())
				}
				other.in <- `{"action":"ping"}`
				synctest.Wait()
				if got := actions(other.frames(t)); !slices.Equal(got, []string{"pong"}) {
					t.Errorf("another session got %v", got)
				}
			})
		})
	}
}

// TestPanicInClose holds that a panic of Conn.Close does not keep Serve from returning.
func TestPanicInClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, echoes)
		p := newPipe()
		p.onClose = func() { panic("out of order") }
		s.serve(p, assistant.Peer{})
		p.left <- io.EOF
		<-p.ended
		if !slices.Equal(p.closes, []string{`[1000,""]`}) {
			t.Errorf("closed with %v", p.closes)
		}
	})
}

// oddError is an error of a provider that breaks whoever looks at it.
type oddError struct{}

func (oddError) Error() string { panic("no text") }
func (oddError) Unwrap() error { panic("no cause") }

// oddProvider breaks the contract of Provider at the first question.
type oddProvider struct {
	model
	stream func() iter.Seq2[assistant.Delta, error]
}

func (p oddProvider) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	if question(req) == "break" {
		return p.stream()
	}
	return p.model.Stream(ctx, req)
}

// TestOddProviders holds that whatever a provider does, its answer has one end, and the conversation goes on.
func TestOddProviders(t *testing.T) {
	yields := func(err error) func() iter.Seq2[assistant.Delta, error] {
		return func() iter.Seq2[assistant.Delta, error] {
			return func(yield func(assistant.Delta, error) bool) {
				_ = yield(assistant.Delta{Text: "partial"}, nil) && yield(assistant.Delta{}, err)
			}
		}
	}
	var typedNil *assistant.ProviderError
	for _, test := range []struct {
		name   string
		stream func() iter.Seq2[assistant.Delta, error]
		reason string
	}{
		{"panics", func() iter.Seq2[assistant.Delta, error] { panic("out of order") }, "internal"},
		{"returns nil", func() iter.Seq2[assistant.Delta, error] { return nil }, "internal"},
		{"goes on after the end", func() iter.Seq2[assistant.Delta, error] {
			return func(yield func(assistant.Delta, error) bool) {
				for range 3 {
					yield(assistant.Delta{Text: "x"}, errors.New("failed"))
				}
			}
		}, "internal"},
		{"ends without a word", func() iter.Seq2[assistant.Delta, error] {
			return func(func(assistant.Delta, error) bool) {}
		}, "provider_unavailable"},
		{"yields a nil error of its type", yields(typedNil), "internal"},
		{"yields an error that panics", yields(oddError{}), "internal"},
		{"yields an unknown reason", yields(&assistant.ProviderError{Reason: "odd"}), "internal"},
		{"says that it failed", func() iter.Seq2[assistant.Delta, error] {
			return func(yield func(assistant.Delta, error) bool) {
				yield(assistant.Delta{FinishReason: assistant.FinishError}, nil)
			}
		}, "internal"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.InfoLevel)
				s := newServerOn(t, memory.Open(memory.Config{}), conversation.Config{Provider: oddProvider{echoes, test.stream}, Logger: zap.New(core)}, nil)
				p := s.dial()
				p.in <- `{"action":"assistant_message","payload":"break"}`
				synctest.Wait()
				frames := p.frames(t)
				if n := len(frames); n < 3 || frames[0].Action != "streaming_start" || frames[n-2].Payload.Reason != test.reason || frames[n-1].Action != "complete_streaming" {
					t.Errorf("got %v", frames)
				}
				if logs.FilterMessage("answer failed").Len() != 1 {
					t.Errorf("logged %v", logs.All())
				}
				p.in <- `{"action":"assistant_message","payload":"go on"}`
				synctest.Wait()
				if got := actions(p.frames(t)); !slices.Equal(got, []string{"streaming_start", "streaming", "complete_streaming"}) {
					t.Errorf("the next question got %v", got)
				}
			})
		})
	}
}

// oddStore is a Store some of whose methods panic.
type oddStore struct {
	assistant.Store
	panics atomic.Value // of string: their names
}

func (s *oddStore) fall(method string) {
	if methods, _ := s.panics.Load().(string); slices.Contains(strings.Fields(methods), method) {
		panic(method + " is out of order")
	}
}

func (s *oddStore) Messages(ctx context.Context, owner, id, before string, limit int) ([]assistant.Message, bool, error) {
	s.fall("Messages")
	return s.Store.Messages(ctx, owner, id, before, limit)
}

func (s *oddStore) Delete(ctx context.Context, owner, id string) error {
	s.fall("Delete")
	return s.Store.Delete(ctx, owner, id)
}

func (s *oddStore) Begin(ctx context.Context, c assistant.Claim, b assistant.Beginning) error {
	s.fall("Begin")
	return s.Store.Begin(ctx, c, b)
}

func (s *oddStore) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	s.fall("Extend")
	return s.Store.Extend(ctx, c, e)
}

func (s *oddStore) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	s.fall("Finish")
	return s.Store.Finish(ctx, c, e)
}

func (s *oddStore) Rename(ctx context.Context, owner, id, title string, was *string) (assistant.Conversation, error) {
	s.fall("Rename")
	return s.Store.Rename(ctx, owner, id, title, was)
}

// TestStorePanicsDuringAnswer holds that a turn whose store panics has one end, or is refused, and that the
// conversation goes on.
func TestStorePanicsDuringAnswer(t *testing.T) {
	for _, test := range []struct {
		method string
		strict bool
		want   []string // without what every first answer has
		reason string
	}{
		{"Begin", false, []string{"error"}, "storage_unavailable"},
		{"Extend", false, []string{"streaming_start", "streaming", "complete_streaming"}, ""}, // from memory
		{"Extend", true, []string{"streaming_start", "error", "complete_streaming"}, "storage_unavailable"},
		{"Extend Messages", true, []string{"streaming_start", "error", "complete_streaming"}, "storage_unavailable"},
		{"Finish", false, []string{"streaming_start", "streaming", "error", "complete_streaming"}, "storage_unavailable"},
		{"Finish", true, []string{"streaming_start", "streaming", "error", "complete_streaming"}, "storage_unavailable"},
	} {
		t.Run(fmt.Sprint(test.method, " strict ", test.strict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &oddStore{Store: memory.Open(memory.Config{})}
				s := newServerOn(t, store, conversation.Config{Strict: test.strict, Provider: counts(1, time.Second)}, nil)
				p, topic := s.dialStored()
				ask := fmt.Sprintf(`{"action":"assistant_message","topic":%q,"ref":"q","payload":"x"}`, topic)
				store.panics.Store(test.method)
				p.in <- ask
				time.Sleep(time.Minute)
				store.panics.Store("")
				got := slices.DeleteFunc(p.frames(t), func(f frame) bool { return f.Action == "user_message" || f.Action == "conversation_updated" })
				if !slices.Equal(actions(got), test.want) {
					t.Errorf("got %v, want %v", actions(got), test.want)
				}
				for _, f := range got {
					if f.Ref != "q" || f.Action == "error" && f.Payload.Reason != test.reason {
						t.Errorf("got %s", f.text)
					}
				}
				p.in <- ask
				time.Sleep(time.Minute)
				if got := actions(p.frames(t)); !slices.Contains(got, "streaming") || slices.Contains(got, "error") {
					t.Errorf("the next question got %v", got)
				}
			})
		})
	}
}

// TestStorePanicsInHandler holds that a request whose store panics gets an error, and its session goes on.
func TestStorePanicsInHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &oddStore{Store: memory.Open(memory.Config{})}
		store.panics.Store("Rename")
		s := newServerOn(t, store, conversation.Config{Provider: echoes}, nil)
		p, topic := s.dialStored()
		p.in <- fmt.Sprintf(`{"action":"rename_conversation","payload":{"conversation_id":%q,"title":"x"},"ref":"r"}`, strings.TrimPrefix(topic, "conversation:"))
		p.in <- `{"action":"ping"}`
		synctest.Wait()
		got := p.frames(t)
		if !slices.Equal(actions(got), []string{"error", "pong"}) || got[0].Ref != "r" || got[0].Payload.Reason != "storage_unavailable" {
			t.Errorf("got %v", got)
		}
	})
}

// TestStorePanicsInVerb holds that a conversation which the store could neither read nor delete, since it
// panicked, is as it was: the request is refused, the operator learns why, and the next one succeeds.
func TestStorePanicsInVerb(t *testing.T) {
	for method, action := range map[string]string{"Messages": "subscribe", "Delete": "delete_conversation"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.WarnLevel)
				store := &oddStore{Store: memory.Open(memory.Config{})}
				s := newServerOn(t, store, conversation.Config{Provider: echoes, Logger: zap.New(core)}, nil)
				const id = "00000000-0000-4000-8000-000000000001"
				must(0, store.Create(t.Context(), "ann", assistant.Conversation{ID: id, Title: "kept"}))
				p := s.serve(newPipe(), assistant.Peer{User: "ann"})
				send := func(action, payload string) []frame {
					p.in <- fmt.Sprintf(`{"action":%q,"topic":"conversation:%s","payload":%s,"ref":"r"}`, action, id, payload)
					synctest.Wait()
					return p.frames(t)
				}
				store.panics.Store(method)
				payload := map[string]string{"subscribe": "null", "delete_conversation": fmt.Sprintf(`{"conversation_id":%q}`, id)}[action]
				if got := send(action, payload); len(got) != 1 || got[0].Payload.Reason != "storage_unavailable" {
					t.Fatalf("while the store is out of order: %v", got)
				}
				if lines := logs.FilterMessage("request failed").All(); len(lines) != 1 || lines[0].ContextMap()["action"] != action || lines[0].ContextMap()["stack"] == nil {
					t.Errorf("logged %v", logs.All())
				}
				store.panics.Store("")
				if got := send("subscribe", "null"); len(got) != 2 || !strings.Contains(got[1].text, `"title":"kept"`) {
					t.Errorf("then: %v", got)
				}
				if got := actions(send("assistant_message", `"x"`)); !slices.Contains(got, "complete_streaming") {
					t.Errorf("the next question got %v", got)
				}
			})
		})
	}
}
