package termchat_test

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/termchat"
)

// till is a source of one tool, which needs approval, and of one that does not. It keeps what was called.
type till struct {
	mu    sync.Mutex
	calls []string
}

func (s *till) Tools(context.Context, assistant.Peer) ([]assistant.Tool, error) {
	anything := json.RawMessage(`{"type":"object"}`)
	return []assistant.Tool{
		{Name: "refund", Title: "Refund an order", Parameters: anything, Approve: true},
		{Name: "look", Parameters: anything},
	}, nil
}

func (s *till) Call(_ context.Context, c assistant.Call) (assistant.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c.Name+string(c.Arguments))
	return assistant.Result{Text: "ok"}, nil
}

func (s *till) called() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(slices.Sorted(slices.Values(s.calls)), " ")
}

// clerk is a model that looks once and refunds twice at a time, and then says what came of that.
type clerk struct{}

func (clerk) Source() assistant.Source { return assistant.Source{Provider: "clerk", Model: "clerk"} }

func (clerk) Stream(_ context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		last := req.Turns[len(req.Turns)-1]
		if last.Role != assistant.RoleAssistant {
			calls := []assistant.CallPiece{
				{Index: 0, ID: "c0", Name: "look", Arguments: `{}`},
				{Index: 1, ID: "c1", Name: "refund", Arguments: "{\"to\":\"a\u202Eb\"}"},
				{Index: 2, ID: "c2", Name: "refund", Arguments: `{"to":"c"}`},
			}
			_ = yield(assistant.Delta{Text: "Let me see."}, nil) && yield(assistant.Delta{Calls: &calls}, nil) && yield(assistant.Delta{FinishReason: assistant.FinishToolCalls}, nil)
			return
		}
		told := "told:"
		for _, p := range last.Parts {
			if r, ok := p.(assistant.ToolResultPart); ok {
				told += " " + r.CallID + " " + r.Content
			}
		}
		_ = yield(assistant.Delta{Text: told}, nil) && yield(assistant.Delta{FinishReason: assistant.FinishStop}, nil)
	}
}

func newTill(t *testing.T) (*site, *till) {
	tools := &till{}
	return newSiteOf(t, nil, conversation.Config{Provider: clerk{}, Tools: tools}), tools
}

const (
	asksFirst  = `Refund an order (refund): approve? [y/N] `
	firstCall  = `[Refund an order (refund) {"to":"a\u202eb"}]`
	secondCall = `[Refund an order (refund) {"to":"c"}]`
)

// TestDecide shows calls in a line each with nothing hidden, asks about those that wait, one after the other, also over a lost
// connection, and goes on with the answer.
func TestDecide(t *testing.T) {
	s, tools := newTill(t)
	in, typed := io.Pipe()
	term := s.chat(termchat.Config{In: in, CanDecide: true})
	_, _ = io.WriteString(typed, "Refund it.\n")
	term.notes.wait("approve? [y/N] ")
	const want = "\n[look]\n" + firstCall + "\n" + secondCall + "\n" + asksFirst
	if got := term.notes.String(); !strings.HasSuffix(got, want) {
		t.Errorf("shown %q, want %q", got, want)
	}
	s.cutter.cut()
	term.notes.wait("connecting again]\n" + asksFirst)
	_, _ = io.WriteString(typed, "YES\n")
	term.notes.wait(strings.Repeat(asksFirst, 2))
	_, _ = io.WriteString(typed, "\n")
	term.out.wait("told: ")
	term.notes.wait("[Refund an order (refund): denied]\n")
	term.notes.wait("denied]\n> ")
	_ = typed.Close()
	if err := term.end(); err != nil {
		t.Error(err)
	}
	if got := tools.called(); got != "look{} refund{\"to\":\"a\u202Eb\"}" {
		t.Errorf("called %q", got)
	}
	if got := term.out.String(); !strings.HasPrefix(got, "Let me see.told: c0 ok") || !strings.Contains(got, "c1 ok") || !strings.Contains(got, "c2 The user has denied this.") {
		t.Errorf("answered %q", got)
	}
}

// TestCannotDecide says how to decide where there is no terminal; then a terminal decides, in another process.
func TestCannotDecide(t *testing.T) {
	s, tools := newTill(t)
	term := s.chat(termchat.Config{Question: "Refund it."})
	err := term.end()
	if err == nil || !strings.Contains(err.Error(), "Refund an order (refund) waits for approval: decide on the chat page, or on a terminal with --conversation ") {
		t.Fatal(err)
	}
	_, id, _ := strings.Cut(err.Error(), "--conversation ")
	in, typed := io.Pipe()
	defer typed.Close()
	again := s.chat(termchat.Config{Conversation: id, In: in, CanDecide: true})
	again.notes.wait(asksFirst)
	for _, line := range []string{`[look: done]`, strings.TrimSuffix(firstCall, "]") + ": waiting]"} {
		if got := again.notes.String(); !strings.Contains(got, line) {
			t.Errorf("shown %q, want %q", got, line)
		}
	}
	_, _ = io.WriteString(typed, "y\ny\n")
	again.out.wait("told: ")
	again.interrupts <- struct{}{}
	if err := again.end(); err == nil {
		t.Error("not interrupted")
	}
	if got := tools.called(); got != "look{} refund{\"to\":\"a\u202Eb\"} refund{\"to\":\"c\"}" {
		t.Errorf("called %q", got)
	}
}

// TestUndecided ends a chat whose user goes away, or stops it, while calls wait; to stop denies them.
func TestUndecided(t *testing.T) {
	for name, test := range map[string]struct {
		leave  func(term *terminal, typed *io.PipeWriter)
		want   string
		status assistant.Status
	}{
		"gone":    {func(_ *terminal, typed *io.PipeWriter) { _ = typed.Close() }, "waits for approval", assistant.StatusWaiting},
		"stopped": {func(term *terminal, _ *io.PipeWriter) { term.interrupts <- struct{}{} }, "interrupted", assistant.StatusStopped},
	} {
		s, tools := newTill(t)
		in, typed := io.Pipe()
		term := s.chat(termchat.Config{Question: "Refund it.", In: in, CanDecide: true})
		term.notes.wait(asksFirst)
		test.leave(term, typed)
		if err := term.end(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		_ = typed.Close()
		if got := tools.called(); got != "look{}" {
			t.Errorf("%s: called %q", name, got)
		}
		_, id, _ := strings.Cut(term.notes.String(), "[conversation ")
		id, _, _ = strings.Cut(id, "]")
		if m, _, err := s.store.Messages(t.Context(), "ann", id, "", 10); err != nil || len(m) != 2 || m[1].Status != test.status {
			t.Errorf("%s: stored %+v, %v", name, m, err)
		}
	}
}
