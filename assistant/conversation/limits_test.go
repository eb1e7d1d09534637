package conversation_test

import (
	"context"
	"net/netip"
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
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
)

// accounts are what a database keeps of payers. One that hangs does so until the call's context ends.
type accounts struct {
	mu    sync.Mutex
	rows  map[string][]byte
	hangs bool
	calls int
}

// counting is a node that keeps accounts.
type counting struct {
	*clusterNode
	*accounts
}

type clusterNode = clustertest.Node // whose name would hide its method Node

var _ interface {
	assistant.Cluster
	assistant.Ledger
} = counting{}

func (a *accounts) Account(ctx context.Context, payer string, change func([]byte, time.Time) ([]byte, error)) error {
	a.mu.Lock()
	a.calls++
	hangs := a.hangs
	a.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	next, err := change(a.rows[payer], time.Now().UTC())
	if err == nil {
		a.rows[payer] = next
	}
	return err
}

func (a *accounts) ForgetAccounts(context.Context, time.Duration, int) (int, error) { return 0, nil }

// onCounting runs a test on so many nodes that count together.
func onCounting(t *testing.T, nodes int, config conversation.Config, test func(*testing.T, *cluster, *accounts)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, db: clustertest.NewDatabase(), bus: brokertest.NewBus(), seen: map[assistant.Cursor]string{}}
		all := &accounts{rows: make(map[string][]byte)}
		for range nodes {
			config.Provider = assistanttest.Model(c.answer)
			store := c.db.Open()
			c.addOn(store, counting{store, all}, config)
		}
		c.create()
		test(t, c, all)
	})
}

// counted returns how many of ann's questions each node counts.
func (c *cluster) counted() (counts []int) {
	for _, n := range c.nodes {
		counts = append(counts, n.hub.Accounts().Asked(limits.Networks{}.ClientOf("ann", netip.Addr{}).Payer))
	}
	return counts
}

// TestNodesRate holds that questions count over all nodes, one that another node answers once, at the node to which it
// came; and that one which the store refuses, after it was accepted, counts for no one.
func TestNodesRate(t *testing.T) {
	onCounting(t, 3, conversation.Config{Rate: limits.Rate{Count: 2, Per: time.Hour}}, func(t *testing.T, c *cluster, _ *accounts) {
		a, b, third := c.nodes[0].tab(nil), c.nodes[1].tab(nil), c.nodes[2].tab(nil)
		a.ask("A", "")
		time.Sleep(500 * time.Millisecond)
		b.ask("B", "")
		c.shows(time.Minute, []string{"A", whole("A"), "B", whole("B")}, a, b, third)
		if got := c.counted(); !slices.Equal(got, []int{1, 1, 0}) {
			t.Errorf("the nodes count %v", got)
		}
		run := third.ask("C", "")
		c.shows(time.Minute, []string{"A", whole("A"), "B", whole("B")}, a, b, third)
		if len(third.told) != 1 || third.told[0].Kind != assistant.KindFailed || third.told[0].Run != run {
			t.Fatalf("the third asker was told %+v", third.told)
		}
		failed := third.told[0].Body.(assistant.Failed)
		if failed.Reason != assistant.ReasonRateLimited || failed.RetryAfter.Round(time.Minute) != 29*time.Minute {
			t.Errorf("refused: %+v", failed)
		}
		if got := c.counted(); !slices.Equal(got, []int{1, 1, 0}) {
			t.Errorf("then the nodes count %v", got)
		}
		time.Sleep(failed.RetryAfter)
		third.ask("C", "")
		c.shows(time.Minute, []string{"A", whole("A"), "B", whole("B"), "C", whole("C")}, a, b, third)
	})
}

// TestOwnConversationsCount holds that a connection's own conversation, which is not stored, counts over all nodes.
func TestOwnConversationsCount(t *testing.T) {
	onCounting(t, 2, conversation.Config{Rate: limits.Rate{Count: 1, Per: time.Hour}, Budget: limits.Budget{Tokens: 1000, Per: time.Hour}}, func(t *testing.T, c *cluster, _ *accounts) {
		for i, want := range []assistant.Kind{assistant.KindCompleted, assistant.KindFailed} {
			own := c.nodes[i].hub.OpenOwn(t.Context(), "ann")
			defer own.Close()
			m := newMouth(t)
			m.follow(own)
			if _, err := own.Do(t.Context(), assistant.Ask{Asker: assistant.Asker{From: assistant.RequestKey{Mouth: 1, N: 1}, Peer: assistant.Peer{User: "ann"}}, Text: "A"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			m.read(100)
			if last := m.events[len(m.events)-1]; last.Kind != want {
				t.Errorf("node %d: ended with %+v", i, last)
			}
		}
	})
}

// TestAskingDoesNotWait holds that a store which hangs makes no one wait who asks, and the answer a second.
func TestAskingDoesNotWait(t *testing.T) {
	config := conversation.Config{Rate: limits.Rate{Count: 2, Per: time.Hour}, Budget: limits.Budget{Tokens: 1 << 20, Per: time.Hour}}
	onCounting(t, 1, config, func(t *testing.T, c *cluster, all *accounts) {
		all.hangs = true
		tab := c.nodes[0].tab(nil)
		began := time.Now()
		tab.ask("A", "")
		if waited := time.Since(began); waited > 0 {
			t.Errorf("asking took %v", waited)
		}
		c.shows(900*time.Millisecond, nil, tab)
		c.shows(1200*time.Millisecond, []string{"A", whole("A")}, tab)
		all.mu.Lock()
		all.hangs = false
		all.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if o := c.nodes[0].hub.Accounts().Open(); o != (limits.Open{}) {
			t.Errorf("under way is %+v", o)
		}
	})
}

// TestNothingIsAskedWithoutLimits holds that accounts cost nothing where there are no limits.
func TestNothingIsAskedWithoutLimits(t *testing.T) {
	onCounting(t, 1, conversation.Config{WriteRate: limits.Rate{Count: 5, Per: time.Hour}, MaxConnections: 9, ModelTitles: true}, func(t *testing.T, c *cluster, all *accounts) {
		release, err := conversation.New(c.nodes[0].hub, *new(conversation.Config)).Admit(t.Context(), assistant.Peer{User: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		tab := c.nodes[0].tab(nil)
		tab.ask("A", "")
		c.shows(time.Minute, []string{"A", whole("A")}, tab)
		release()
		synctest.Wait()
		if all.calls > 0 {
			t.Errorf("%d calls", all.calls)
		}
	})
}
