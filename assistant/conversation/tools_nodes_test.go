package conversation_test

import (
	"context"
	"encoding/json"
	"slices"
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

// pays is a model that calls pay, and then says what that has returned.
func pays(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
	last := req.Turns[len(req.Turns)-1]
	if last.Role == assistant.RoleUser {
		_ = yield(assistant.Delta{Calls: &[]assistant.CallPiece{{ID: "call_0", Name: "pay", Arguments: "{}"}}}) && yield(assistant.Delta{FinishReason: assistant.FinishToolCalls})
		return nil
	}
	r, _ := last.Parts.Result("call_0")
	_ = yield(assistant.Delta{Text: r.Content}) && yield(assistanttest.Finished)
	return nil
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
	c := &cluster{t: t, db: clustertest.NewDatabase(), bus: brokertest.NewBus(), seen: map[assistant.Cursor]string{}}
	for range 3 {
		c.add(conversation.Config{Provider: assistanttest.Model(pays), Tools: l})
	}
	synctest.Wait()
	created, err := c.nodes[0].hub.Create(t.Context(), "ann", "")
	if err != nil {
		t.Fatal(err)
	}
	c.id = created.ID
	a := c.nodes[0].tab(nil)
	tabs := []*tab{c.nodes[1].tab(nil), c.nodes[2].tab(nil)}
	asker := func(tab *tab, n uint64) assistant.Asker {
		return assistant.Asker{From: assistant.RequestKey{Mouth: tab.mouth, N: n}, Peer: assistant.Peer{User: "ann"}, CanDecide: true}
	}
	receipt, err := a.c.Do(t.Context(), assistant.Ask{Asker: asker(a, 1), Text: "Pay."})
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
			errs[i] = tab.do(assistant.Decide{Asker: asker(tab, 2), MessageID: run, CallID: "call_0", Approve: i > 0, Reason: "no"})
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
	again := tabs[won].do(assistant.Decide{Asker: asker(tabs[won], 2), MessageID: run, CallID: "call_0", Approve: won > 0, Reason: "no"})
	if again != nil {
		t.Errorf("the same decision again: %v", again)
	}
	if other := tabs[won].do(assistant.Decide{Asker: asker(tabs[won], 3), MessageID: run, CallID: "call_0", Approve: true}); assistant.Describe(other).Reason != assistant.ReasonNotWaiting {
		t.Errorf("another decision: %v", other)
	}
	if len(l.ids) != want {
		t.Errorf("the call was made %d times", len(l.ids))
	}
}
