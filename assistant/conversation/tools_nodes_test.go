package conversation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/clustertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
)

// ledger is a tool that needs approval. It keeps the ids of all calls.
type ledger struct {
	mu  sync.Mutex
	ids []string
}

func (l *ledger) Tools(context.Context, assistant.Peer) ([]assistant.Tool, error) {
	return []assistant.Tool{{Name: "pay", Parameters: json.RawMessage(`{"type":"object"}`), Approve: true}}, nil
}

func (l *ledger) Call(_ context.Context, c assistant.Call) (assistant.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, c.ID)
	return assistant.Result{Text: "paid"}, nil
}

// tooled is a cluster of nodes with those tools and an empty conversation.
func tooled(t *testing.T, nodes int, tools assistant.Tools, model assistanttest.Model) *cluster {
	t.Helper()
	c := &cluster{t: t, db: clustertest.NewDatabase(), bus: brokertest.NewBus(), seen: map[assistant.Cursor]string{}}
	for range nodes {
		c.add(conversation.Config{Provider: model, Tools: tools})
	}
	synctest.Wait()
	created, err := c.nodes[0].hub.Create(t.Context(), "ann", "")
	if err != nil {
		t.Fatal(err)
	}
	c.id = created.ID
	return c
}

// asker is who asks by the tab, with its n-th request.
func (t *tab) asker(n uint64) assistant.Asker {
	return assistant.Asker{From: assistant.RequestKey{Mouth: t.mouth, N: n}, Peer: assistant.Peer{User: "ann"}, CanDecide: true}
}

// TestNodesDecide: a call that waits can be decided at any node, also after the one that asked is dead. Of two decisions at
// once, the first counts, and the call is made once or not at all.
func TestNodesDecide(t *testing.T) {
	for name, dies := range map[string]bool{"alive": false, "dead": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testNodesDecide(t, dies) })
		})
	}
}

func testNodesDecide(t *testing.T, dies bool) {
	t.Helper()
	l := new(ledger)
	c := tooled(t, 3, l, calls("pay"))
	a := c.nodes[0].tab(nil)
	tabs := []*tab{c.nodes[1].tab(nil), c.nodes[2].tab(nil)}
	receipt, err := a.c.Do(t.Context(), assistant.Ask{Asker: a.asker(1), Text: "Pay."})
	if err != nil {
		t.Fatal(err)
	}
	run := receipt.Run
	time.Sleep(time.Minute)
	if dies {
		c.nodes[0].store.Freeze(true)
		c.db.Bury(c.nodes[0].store)
	} else {
		tabs = append(tabs, a)
	}
	errs := make([]error, len(tabs))
	var wg sync.WaitGroup
	for i, tab := range tabs {
		wg.Go(func() {
			errs[i] = tab.do(assistant.Decide{Asker: tab.asker(2), MessageID: run, CallID: "call_0", Approve: i > 0, Reason: "no"})
		})
	}
	wg.Wait()
	time.Sleep(time.Minute)
	synctest.Wait()
	won := slices.IndexFunc(errs, func(err error) bool { return err == nil })
	for i, err := range errs {
		if i != won && assistant.Describe(err).Reason != assistant.ReasonNotWaiting {
			t.Errorf("decision %d: %v", i, err)
		}
	}
	want := min(max(won, 0), 1) // the first one denies
	if won < 0 || len(l.ids) != want {
		t.Errorf("decision %d won, the call was made %d times", won, len(l.ids))
	}
	for i, tab := range tabs {
		if got := tab.ends[run]; !slices.Equal(got, []assistant.FinishReason{assistant.FinishWaiting, assistant.FinishStop}) {
			t.Errorf("tab %d has seen the ends %v", i, got)
		}
	}
	again := tabs[won].do(assistant.Decide{Asker: tabs[won].asker(2), MessageID: run, CallID: "call_0", Approve: won > 0, Reason: "no"})
	if again != nil {
		t.Errorf("the same decision again: %v", again)
	}
	if other := tabs[won].do(assistant.Decide{Asker: tabs[won].asker(3), MessageID: run, CallID: "call_0", Approve: true}); assistant.Describe(other).Reason != assistant.ReasonNotWaiting {
		t.Errorf("another decision: %v", other)
	}
	if len(l.ids) != want {
		t.Errorf("the call was made %d times", len(l.ids))
	}
}

// bank is a ledger whose pay takes no arguments, and that has a slow tool that may be called again.
type bank struct {
	mu    sync.Mutex
	calls []string
}

func (b *bank) Tools(context.Context, assistant.Peer) ([]assistant.Tool, error) {
	return []assistant.Tool{
		{Name: "pay", Parameters: json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`), Approve: true},
		{Name: "balance", Parameters: json.RawMessage(`{"type":"object"}`), Repeatable: true},
	}, nil
}

func (b *bank) Call(ctx context.Context, c assistant.Call) (assistant.Result, error) {
	b.mu.Lock()
	b.calls = append(b.calls, c.Name+string(c.Arguments))
	b.mu.Unlock()
	if c.Name == "balance" {
		c.Progress(assistant.Progress{Done: 1, Total: 2})
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
			return assistant.Result{}, context.Cause(ctx)
		}
	}
	return assistant.Result{Text: c.Name + " done"}, nil
}

// calls is a model that makes calls of tools, and then says the results that it has got.
func calls(tools ...string) assistanttest.Model {
	return func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
		last := req.Turns[len(req.Turns)-1]
		if last.Role == assistant.RoleUser {
			var pieces []assistant.CallPiece
			for i, tool := range tools {
				pieces = append(pieces, assistant.CallPiece{Index: i, ID: fmt.Sprint("call_", i), Name: tool, Arguments: "{}"})
			}
			_ = yield(assistant.Delta{Calls: &pieces}) && yield(assistant.Delta{FinishReason: assistant.FinishToolCalls})
			return nil
		}
		var said []string
		for i := range tools {
			if r, ok := last.Parts.Result(fmt.Sprint("call_", i)); ok {
				said = append(said, r.Content)
			}
		}
		_ = yield(assistant.Delta{Text: strings.Join(said, ", ")}) && yield(assistanttest.Finished)
		return nil
	}
}

// TestNodesContinueCall: a call that told of its progress when its node died is made again where it may be, and the model
// goes on with its result alone.
func TestNodesContinueCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bank)
		c := tooled(t, 2, b, calls("balance"))
		first, second := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		receipt, err := first.c.Do(t.Context(), assistant.Ask{Asker: first.asker(1), Text: "How much?"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		c.nodes[0].store.Freeze(true)
		c.db.Bury(c.nodes[0].store)
		time.Sleep(30 * time.Second)
		if err := second.do(assistant.Continue{Asker: second.asker(2), MessageID: receipt.Run}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []assistant.FinishReason{assistant.FinishInterrupted, assistant.FinishStop}
		if got := second.ends[receipt.Run]; !slices.Equal(got, want) || len(b.calls) != 2 {
			t.Errorf("the answer ended %v, called %q", got, b.calls)
		}
		messages, _, err := c.nodes[1].hub.Messages(t.Context(), "ann", c.id, "", 0)
		if err != nil || len(messages) != 2 || messages[1].Content != "balance done" {
			t.Errorf("stored is %+v, error %v", messages, err)
		}
	})
}

// TestNodesDecideEarly: a decision at another node, while the step's other calls run, is checked there and counts where the
// answer still asks for it.
func TestNodesDecideEarly(t *testing.T) {
	for name, test := range map[string]struct {
		arguments string
		calls     []string
		problem   bool
	}{
		"as it is":                 {"", []string{"balance{}", "pay{}"}, false},
		"edited beyond the schema": {`{"to":"me"}`, []string{"balance{}"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := new(bank)
				c := tooled(t, 2, b, calls("pay", "balance"))
				first, second := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
				receipt, err := first.c.Do(t.Context(), assistant.Ask{Asker: first.asker(1), Text: "Pay."})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				var arguments json.RawMessage
				if test.arguments != "" {
					arguments = json.RawMessage(test.arguments)
				}
				err = second.do(assistant.Decide{Asker: second.asker(2), MessageID: receipt.Run, CallID: "call_0", Approve: true, Arguments: arguments})
				if _, isProblem := errors.AsType[*assistant.ArgumentsError](err); isProblem != test.problem || !test.problem && err != nil {
					t.Errorf("the decision: %v", err)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if !slices.Equal(b.calls, test.calls) {
					t.Errorf("called %q, want %q", b.calls, test.calls)
				}
			})
		})
	}
}
