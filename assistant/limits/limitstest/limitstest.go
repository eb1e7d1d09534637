// Package limitstest checks what is counted for limits through a store that is an [assistant.Ledger].
//
//   - [TestAccounts] lets several nodes count at random.
//   - [BenchmarkAccounts] measures what a question costs.
package limitstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/guard"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"go.uber.org/zap"
)

// Place is where a store keeps accounts. Each call opens a store there, or fails the test.
type Place func(tb testing.TB) assistant.Store

// node is what counts at one store.
type node struct {
	*limits.Accounts
	store *guard.Guarded
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

func open(tb testing.TB, place Place) *node {
	tb.Helper()
	unobserved := func() assistant.Observer { return assistant.NoObserver{} }
	n := &node{Accounts: limits.NewAccounts(), store: guard.Store(place(tb), unobserved)}
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	n.Share(limits.Sharing{Ledger: n.store, Ctx: ctx, Observer: unobserved, Log: zap.NewNop(), Go: func(f func()) bool {
		if ctx.Err() != nil {
			return false
		}
		n.wg.Go(f)
		return true
	}})
	return n
}

// close ends the node in order. What it has under way is left as it is.
func (n *node) close(tb testing.TB) {
	tb.Helper()
	n.stop()
	n.wg.Wait()
	if err := n.store.Close(); err != nil {
		tb.Error(err)
	}
}

// ask counts a question when it comes and when it begins.
func (n *node) ask(c limits.Client, r limits.Rate, b limits.Budget, input int) (*limits.Meter, error) {
	if err := n.Count(c, r, b, input); err != nil {
		return nil, err
	}
	m := new(limits.Meter)
	if err := m.Open(n.Accounts, c, r, b, input); err != nil {
		n.Uncount(c)
		return nil, err
	}
	return m, nil
}

// kept is what a ledger has of a payer.
type kept struct {
	Questions struct{ Left float64 }
	Spent     struct{ Parts []struct{ Tokens int } }
	Shares    []struct{ Reserved, Sockets int }
}

func (k kept) spent() (n int) {
	for _, p := range k.Spent.Parts {
		n += p.Tokens
	}
	return n
}

// isAtRest reports whether nothing is under way.
func (k kept) isAtRest() bool {
	for _, s := range k.Shares {
		if s.Reserved != 0 || s.Sockets != 0 {
			return false
		}
	}
	return true
}

var errLook = errors.New("only looks")

func (n *node) kept(tb testing.TB, user string) (k kept) {
	tb.Helper()
	var broken error
	err := n.store.Account(tb.Context(), user, func(state []byte, _ time.Time) ([]byte, error) {
		if state != nil {
			broken = json.Unmarshal(state, &k)
		}
		return nil, errLook
	})
	if !errors.Is(err, errLook) || broken != nil {
		tb.Fatal(err, broken)
	}
	return k
}

// atRest waits until the ledger knows of nothing under way, and returns what it has.
func (n *node) atRest(tb testing.TB, user string) kept {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		k := n.kept(tb, user)
		if k.isAtRest() {
			return k
		}
		if time.Now().After(deadline) {
			tb.Fatalf("under way is %+v", k)
		}
	}
}

func clientOf(user string) limits.Client { return limits.Networks{}.ClientOf(user, netip.Addr{}) }

var ann = clientOf("ann")

// reason returns why a question was refused.
func reason(err error) assistant.Reason {
	refusal, ok := errors.AsType[*assistant.RefusalError](err)
	if !ok {
		return ""
	}
	return refusal.Reason
}

// TestAccounts checks that limits hold over all nodes and beyond restarts. Each call of place makes an empty place, of
// which so many stores may be open at once.
func TestAccounts(t *testing.T, nodes int, place func(tb testing.TB) Place) {
	t.Helper()
	for name, run := range map[string]func(*testing.T, []*node, Place){
		"Rate": testRate, "Budget": testBudget, "Connections": testConnections, "Restart": testRestart, "Dead": testDead,
	} {
		t.Run(name, func(t *testing.T) {
			p := place(t)
			all := make([]*node, nodes)
			for i := range all {
				all[i] = open(t, p)
			}
			run(t, all, p)
		})
	}
}

func closeAll(t *testing.T, nodes []*node) {
	t.Helper()
	for _, n := range nodes {
		n.close(t)
	}
}

// testRate: of many questions at once, some of which are taken back, as many are let through as the rate has.
func testRate(t *testing.T, nodes []*node, place Place) {
	const most = 30
	hourly := limits.Rate{Count: most, Per: 1000 * time.Hour}
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	for range 100 {
		wg.Go(func() {
			for isDropped := true; isDropped; {
				n := nodes[rand.IntN(len(nodes))]
				m, err := n.ask(ann, hourly, limits.Budget{}, 1)
				if err != nil {
					if got := reason(err); got != assistant.ReasonRateLimited {
						t.Errorf("refused: %v", err)
					}
					return
				}
				if isDropped = rand.IntN(3) == 0; isDropped {
					m.Drop()
					n.Uncount(ann)
					continue
				}
				m.Pay(nil)
				mu.Lock()
				asked++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if asked > most || asked < most/2 { // one that is taken back may come too late for another
		t.Errorf("%d questions, %d are allowed", asked, most)
	}
	closeAll(t, nodes) // which tells all
	left := open(t, place)
	if got := left.kept(t, "ann").Questions.Left; math.Abs(got-float64(most-asked)) > 0.1 {
		t.Errorf("%v questions are left after %d of %d", got, asked, most)
	}
	left.close(t)
}

// testBudget: what is used beyond the budget is at most the last piece of each answer that is under way; the ledger has
// exactly what was used.
func testBudget(t *testing.T, nodes []*node, _ Place) {
	const piece, answers = 100, 60
	budget := limits.Budget{Tokens: 30_000, Per: 1000 * time.Hour}
	var wg sync.WaitGroup
	var mu sync.Mutex
	total, refused := 0, 0
	for range answers {
		n, pieces := nodes[rand.IntN(len(nodes))], rand.IntN(60)
		wg.Go(func() {
			m, err := n.ask(ann, limits.Rate{}, budget, piece)
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				refused++
				if got := reason(err); got != assistant.ReasonBudgetExceeded {
					t.Errorf("refused: %v", err)
				}
				return
			}
			for range pieces {
				if !m.Add(4 * piece) {
					break
				}
			}
			u := m.Pay(nil)
			mu.Lock()
			defer mu.Unlock()
			total += u.TotalTokens
		})
	}
	wg.Wait()
	k := nodes[0].atRest(t, "ann")
	if k.spent() != total {
		t.Errorf("the ledger has %d tokens, %d were used", k.spent(), total)
	}
	if total > budget.Tokens+5*piece {
		t.Errorf("%d tokens were used of %d, with %d refused", total, budget.Tokens, refused)
	}
	closeAll(t, nodes)
}

// testConnections: a user has never more connections than allowed, on all nodes together, and none is lost.
func testConnections(t *testing.T, nodes []*node, _ Place) {
	const most = 4
	var wg sync.WaitGroup
	var mu sync.Mutex
	open, highest := 0, 0
	for range 40 {
		wg.Go(func() {
			for range 10 {
				release, err := nodes[rand.IntN(len(nodes))].Connect(t.Context(), ann.Payer, 0, most)
				if err != nil {
					continue
				}
				mu.Lock()
				open++
				highest = max(highest, open)
				open--
				mu.Unlock()
				release()
			}
		})
	}
	wg.Wait()
	nodes[0].atRest(t, "ann")
	var releases []func()
	for i := range 3 * most {
		if release, err := nodes[i%len(nodes)].Connect(t.Context(), ann.Payer, 0, most); err == nil {
			releases = append(releases, release)
		}
	}
	if len(releases) != most {
		t.Errorf("%d connections, %d are allowed", len(releases), most)
	}
	for _, release := range releases {
		release()
	}
	nodes[0].atRest(t, "ann")
	closeAll(t, nodes)
}

// testRestart: what was asked and used counts after all nodes were closed and opened again.
func testRestart(t *testing.T, nodes []*node, place Place) {
	twice, budget := limits.Rate{Count: 2, Per: 1000 * time.Hour}, limits.Budget{Tokens: 1000, Per: 1000 * time.Hour}
	for i := range 2 {
		m, err := nodes[i%len(nodes)].ask(ann, twice, budget, 10)
		if err != nil {
			t.Fatal(err)
		}
		m.Pay(&assistant.Usage{InputTokens: 10, OutputTokens: 400})
		nodes[0].atRest(t, "ann")
	}
	for range 2 {
		closeAll(t, nodes)
		for i := range nodes {
			nodes[i] = open(t, place)
		}
		for i, n := range nodes {
			if _, err := n.ask(ann, twice, limits.Budget{}, 10); reason(err) != assistant.ReasonRateLimited {
				t.Errorf("node %d: a third question: %v", i, err)
			}
			if _, err := n.ask(ann, limits.Rate{}, budget, 200); reason(err) != assistant.ReasonBudgetExceeded {
				t.Errorf("node %d: beyond the budget: %v", i, err)
			}
		}
	}
	closeAll(t, nodes)
}

// testDead: what a node had under way that is gone is there for others, or for the next one.
func testDead(t *testing.T, nodes []*node, place Place) {
	budget := limits.Budget{Tokens: 1000, Per: 1000 * time.Hour}
	last := len(nodes) - 1
	if _, err := nodes[last].ask(ann, limits.Rate{}, budget, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[last].Connect(t.Context(), ann.Payer, 0, 1); err != nil {
		t.Fatal(err)
	}
	if last > 0 {
		if _, err := nodes[0].ask(ann, limits.Rate{}, budget, 10); reason(err) != assistant.ReasonBudgetExceeded {
			t.Errorf("while all is reserved: %v", err)
		}
		if _, err := nodes[0].Connect(t.Context(), ann.Payer, 0, 1); !errors.Is(err, limits.ErrUserConnections) {
			t.Errorf("while another is connected: %v", err)
		}
	}
	nodes[last].close(t)
	if last == 0 {
		nodes[0] = open(t, place)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		m, err := nodes[0].ask(ann, limits.Rate{}, budget, 10)
		release, err2 := nodes[0].Connect(t.Context(), ann.Payer, 0, 1)
		if err == nil {
			m.Drop()
		}
		if err2 == nil {
			release()
		}
		if err == nil && err2 == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the other is gone: %v, %v", err, err2)
		}
	}
	nodes[0].atRest(t, "ann")
	closeAll(t, nodes[:max(last, 1)])
}

// BenchmarkAccounts measures what a question costs from its arrival to its payment, by one caller and by many at once, for
// one user, for many, and without limits.
func BenchmarkAccounts(b *testing.B, place Place) {
	b.Helper()
	n := open(b, place)
	defer n.close(b)
	plenty, budget := limits.Rate{Count: 1 << 30, Per: time.Hour}, limits.Budget{Tokens: 1 << 50, Per: time.Hour}
	for _, test := range []struct {
		name    string
		rate    limits.Rate
		budget  limits.Budget
		callers int
		users   int
	}{
		{"none", limits.Rate{}, limits.Budget{}, 1, 1},
		{"rate", plenty, limits.Budget{}, 1, 1},
		{"budget", limits.Rate{}, budget, 1, 1},
		{"both", plenty, budget, 1, 1},
		{"both/40users", plenty, budget, 40, 40},
		{"both/40ofone", plenty, budget, 40, 1},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			var wg sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			for i := range test.callers {
				c := clientOf(fmt.Sprint("user ", i%test.users))
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						m, err := n.ask(c, test.rate, test.budget, 1000)
						if err != nil {
							b.Error(err)
							return
						}
						m.Add(400)
						m.Pay(nil)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			for i := range test.users {
				n.atRest(b, fmt.Sprint("user ", i))
			}
		})
	}
}
