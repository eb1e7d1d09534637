package limits

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// shelf is a ledger in memory, of several nodes. Its calls take a random time, and read and write at different moments.
type shelf struct {
	mu     sync.Mutex
	rows   map[string][]byte
	calls  map[string]int // by method
	living map[assistant.NodeID]bool
	offset time.Duration // of its clock
	idle   time.Duration // of the last ForgetAccounts
	fault  func() fault  // of the next call; nil = none
	slow   time.Duration // what each call takes at least
}

// fault is what becomes of a call.
type fault int

const (
	works fault = iota
	fails
	failsAfter // it was made
	hangs
)

var errDown = errors.New("connection refused")

func newShelf() *shelf {
	return &shelf{rows: map[string][]byte{}, calls: map[string]int{}, living: map[assistant.NodeID]bool{}}
}

func (s *shelf) called(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[name]
}

// state returns what is kept of a payer.
func (s *shelf) state(t *testing.T, p Payer) state {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	got, err := decode(s.rows[p.key()])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// seat is a shelf as one node has it.
type seat struct {
	*shelf
	node assistant.NodeID // 0 = the only one
}

// node returns the seat of a new node that lives.
func (s *shelf) node(n assistant.NodeID) *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.living[n] = true
	return &seat{s, n}
}

func (s *shelf) bury(n assistant.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.living, n)
}

func (s *seat) Node() assistant.NodeID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node
}

func (s *seat) Nodes(context.Context) (nodes []assistant.Node, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["nodes"]++
	for n := range s.living {
		nodes = append(nodes, assistant.Node{ID: n})
	}
	return nodes, nil
}

func (s *seat) ForgetAccounts(_ context.Context, idle time.Duration, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["forget"]++
	s.idle = idle
	if s.calls["forget"]%2 == 1 {
		return limit, nil // there are more
	}
	return 0, nil
}

func (s *seat) Account(ctx context.Context, payer string, change func([]byte, time.Time) ([]byte, error)) error {
	s.mu.Lock()
	s.calls["account"]++
	fault := works
	if s.fault != nil {
		fault = s.fault()
	}
	slow := s.slow
	s.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch fault {
	case fails:
		return errDown
	case hangs:
		<-ctx.Done()
		return context.Cause(ctx)
	}
	for {
		err := s.try(payer, change)
		if errors.Is(err, assistant.ErrStale) {
			continue
		}
		if err == nil && fault == failsAfter {
			return errDown
		}
		return err
	}
}

func (s *seat) try(payer string, change func([]byte, time.Time) ([]byte, error)) error {
	s.mu.Lock()
	old, now := s.rows[payer], time.Now().UTC().Add(s.offset).Truncate(time.Microsecond)
	s.mu.Unlock()
	nap()
	next, err := change(slices.Clone(old), now)
	if err != nil {
		return err
	}
	nap()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(s.rows[payer], old) {
		return assistant.ErrStale
	}
	s.rows[payer] = next
	return nil
}

// settled waits until nothing is told any more.
func settled() {
	time.Sleep(10 * time.Millisecond)
	synctest.Wait()
}

// nap lets others go first, for the bubble's time.
func nap() { time.Sleep(time.Duration(rand.IntN(3)) * 100 * time.Microsecond) }

// branch are accounts of one node, with what they tell.
type branch struct {
	*Accounts
	seat *seat
	logs *observer.ObservedLogs
	stop context.CancelFunc
	wg   sync.WaitGroup

	assistant.NoObserver
	mu     sync.Mutex
	shared []bool
}

func (b *branch) LimitsShared(shared bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shared = append(b.shared, shared)
}

func (b *branch) told() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprint(b.shared)
}

// open opens accounts at a seat.
func open(t *testing.T, at *seat) *branch {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	b := &branch{Accounts: NewAccounts(), seat: at, logs: logs}
	var ctx context.Context
	ctx, b.stop = context.WithCancel(context.Background())
	b.Share(Sharing{Ledger: at, Ctx: ctx, Log: zap.New(core), Observer: func() assistant.Observer { return b }, Go: func(f func()) bool {
		if ctx.Err() != nil {
			return false
		}
		b.wg.Go(f)
		return true
	}})
	t.Cleanup(func() {
		b.stop()
		b.wg.Wait()
	})
	return b
}

func (b *branch) messages() (all []string) {
	for _, e := range b.logs.All() {
		all = append(all, e.Message)
	}
	return all
}

// ask counts a question that comes, and opens its meter.
func (b *branch) ask(c Client, r Rate, budget Budget, input int) (*Meter, error) {
	if err := b.Count(c, r, budget, input); err != nil {
		return nil, err
	}
	m := new(Meter)
	if err := m.Open(b.Accounts, c, r, budget, input); err != nil {
		b.Uncount(c)
		return nil, err
	}
	return m, nil
}

// unask takes back a question whose meter is open.
func (b *branch) unask(c Client, m *Meter) {
	m.Drop()
	b.Uncount(c)
}

func clientOf(user string) Client { return Networks{}.ClientOf(user, netip.Addr{}) }

// wantRest checks that nothing is under way, neither here nor in the ledger.
func wantRest(t *testing.T, s *shelf, p Payer, branches ...*branch) {
	t.Helper()
	for i, b := range branches {
		if o := b.Open(); o != (Open{}) {
			t.Errorf("node %d has %+v", i, o)
		}
	}
	for _, m := range s.state(t, p).Shares {
		if !m.isAtRest() {
			t.Errorf("the ledger has %+v", m)
		}
	}
}

var ann = clientOf("ann")

// refusedFor returns the reason and the wait of a refusal.
func refusedFor(err error) string {
	refusal, ok := errors.AsType[*assistant.RefusalError](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(refusal.Reason, " ", refusal.RetryAfter.Round(time.Second))
}

// TestRateIsShared lets two nodes ask at random for hours, and questions be taken back. Never are there more than the
// rate allows over both, and as many as it allows.
func TestRateIsShared(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			shelf, hourly := newShelf(), Rate{Count: 6, Per: time.Hour, Burst: 3}
			branches := []*branch{open(t, shelf.node(1)), open(t, shelf.node(2))}
			began, asked := time.Now(), 0
			for time.Since(began) < 10*time.Hour {
				var wg sync.WaitGroup
				var mu sync.Mutex
				for range 1 + random.IntN(5) {
					b, isDropped := branches[random.IntN(2)], random.IntN(4) == 0
					wg.Go(func() {
						m, err := b.ask(ann, hourly, Budget{}, 1)
						switch {
						case err != nil:
							if refusal, ok := errors.AsType[*assistant.RefusalError](err); !ok || refusal.Reason != assistant.ReasonRateLimited || refusal.RetryAfter > 10*time.Minute {
								t.Errorf("refused: %v", err)
							}
						case isDropped:
							b.unask(ann, m)
						default:
							m.Pay(nil)
							mu.Lock()
							defer mu.Unlock()
							asked++
						}
					})
				}
				wg.Wait()
				if most := 3 + int(time.Since(began)/(10*time.Minute)); asked > most {
					t.Fatalf("%d questions in %v, %d are allowed", asked, time.Since(began), most)
				}
				time.Sleep(time.Duration(random.IntN(400)) * time.Second)
			}
			if asked < 50 { // 3 and 60, but for those that were taken back too late for another
				t.Errorf("only %d questions were let through", asked)
			}
			wantRest(t, shelf, ann.Payer, branches...)
		})
	}
}

// TestRestart holds that a restart, or another node, forgets nothing, and that the ledger refuses in the same words as
// the node alone.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf, twice, budget := newShelf(), Rate{Count: 2, Per: time.Hour}, Budget{100, time.Hour}
		first := open(t, shelf.node(1))
		for range 2 {
			m, err := first.ask(ann, twice, Budget{}, 1)
			if err != nil {
				t.Fatal(err)
			}
			m.Pay(nil)
		}
		m, err := first.ask(clientOf("bob"), Rate{}, budget, 60)
		if err != nil {
			t.Fatal(err)
		}
		m.Pay(&assistant.Usage{InputTokens: 60, OutputTokens: 35})
		settled()
		first.stop()
		for _, b := range []*branch{first, open(t, shelf.node(1)), open(t, shelf.node(2))} {
			if _, err := b.ask(ann, twice, Budget{}, 1); refusedFor(err) != "rate_limited 30m0s" {
				t.Errorf("a third question: %s", refusedFor(err))
			}
			if _, err := b.ask(clientOf("bob"), Rate{}, budget, 10); refusedFor(err) != "budget_exceeded 1h0m0s" {
				t.Errorf("beyond the budget: %s", refusedFor(err))
			}
		}
	})
}

// TestFloodStaysLocal holds that what the ledger has refused is refused again without asking it, until that is over or
// the limits have changed.
func TestFloodStaysLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf, once, budget := newShelf(), Rate{Count: 1, Per: time.Hour}, Budget{100, time.Hour}
		there, here := open(t, shelf.node(1)), open(t, shelf.node(2))
		m, err := there.ask(ann, once, Budget{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		m.Pay(nil)
		m, err = there.ask(clientOf("bob"), Rate{}, budget, 50)
		if err != nil {
			t.Fatal(err)
		}
		release, err := there.Connect(t.Context(), clientOf("cem").Payer, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		flood := func(step string, calls int) {
			t.Helper()
			settled()
			before := shelf.called("account")
			for range 100 {
				_, err1 := here.ask(ann, once, Budget{}, 1)
				_, err2 := here.ask(clientOf("bob"), Rate{}, budget, 50)
				_, err3 := here.Connect(t.Context(), clientOf("cem").Payer, 0, 1)
				if err1 == nil || err2 == nil || !errors.Is(err3, ErrUserConnections) {
					t.Fatalf("%s: let through: %v, %v, %v", step, err1, err2, err3)
				}
			}
			if n := shelf.called("account") - before; n != calls {
				t.Errorf("%s: %d calls, want %d", step, n, calls)
			}
		}
		flood("at first", 3)
		flood("then", 0)
		time.Sleep(time.Until(began.Add(1100 * time.Millisecond)))
		flood("after a second", 1) // connections
		time.Sleep(time.Until(began.Add(6 * time.Second)))
		flood("after the answer may have ended", 2)
		time.Sleep(time.Until(began.Add(10100 * time.Millisecond)))
		flood("after ten seconds", 2) // the questions of the rate, and connections
		once = Rate{Count: 1, Per: 2 * time.Hour}
		budget.Tokens--
		flood("under other limits", 3-1)
		release()
		m.Pay(&assistant.Usage{InputTokens: 90})
		settled()
		time.Sleep(10 * time.Second)
		if _, err := here.ask(clientOf("bob"), Rate{}, Budget{200, time.Hour}, 50); err != nil {
			t.Errorf("when there is room: %v", err)
		}
		again, err := here.Connect(t.Context(), clientOf("cem").Payer, 0, 1)
		if err != nil {
			t.Fatalf("after the other connection: %v", err)
		}
		again()
	})
}

// answering is an answer of random pieces until its end, or that of the budget. It returns what it has used, and its last
// piece.
func answering(random *rand.Rand, m *Meter, input int) (used, last int) {
	output := 0
	for range random.IntN(60) {
		last = 1 + random.IntN(400)
		output += last
		time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
		if !m.Add(last * 4) {
			break
		}
	}
	return input + output, last
}

// TestBudgetIsShared lets two nodes answer at random. What is used beyond the budget is at most the last pieces of those
// that answer at once; then the ledger has exactly what was used, and nothing is reserved.
func TestBudgetIsShared(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			shelf, budget := newShelf(), Budget{20_000, time.Hour}
			branches := []*branch{open(t, shelf.node(1)), open(t, shelf.node(2))}
			var wg sync.WaitGroup
			var mu sync.Mutex
			total, lasts, refused := 0, 0, 0
			for i := range 40 {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				wg.Go(func() {
					for range 5 {
						time.Sleep(time.Duration(random.IntN(20_000)) * time.Millisecond)
						input, used, last := 1+random.IntN(500), 0, 0
						m, err := branches[random.IntN(2)].ask(ann, Rate{}, budget, input)
						if err == nil {
							used, last = answering(random, m, input)
							m.Pay(&assistant.Usage{InputTokens: input, OutputTokens: used - input})
						}
						mu.Lock()
						if total += used; err != nil {
							refused++
						}
						lasts = max(lasts, last)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			settled()
			time.Sleep(time.Second)
			wantRest(t, shelf, ann.Payer, branches...)
			s := shelf.state(t, ann.Payer)
			if got := s.Spent.total(); got != total {
				t.Errorf("the ledger has %d tokens, %d were used", got, total)
			}
			// Near its end a budget of that size is reserved by four answers at once: 10,000 and half of what is left, down to 2,048.
			if total < budget.Tokens-minOutput || total > budget.Tokens+5*lasts {
				t.Errorf("%d tokens were used of %d, with pieces of up to %d", total, budget.Tokens, lasts)
			}
			if refused == 0 {
				t.Error("no question was refused")
			}
		})
	}
}

// TestFaults holds that calls of the ledger whose outcome is not known, or which fail, lose nothing and count nothing
// twice: once the ledger is back, it has what was asked and used, and nothing is under way.
func TestFaults(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			shelf := newShelf()
			plenty, budget := Rate{Count: 1000, Per: 1_000_000 * time.Hour}, Budget{1 << 40, 1000 * time.Hour}
			branches := []*branch{open(t, shelf.node(1)), open(t, shelf.node(2))}
			shelf.fault = func() fault { return []fault{works, works, works, works, fails, failsAfter, hangs}[random.IntN(7)] }
			var wg sync.WaitGroup
			var mu sync.Mutex
			total, asked := 0, 0
			for i := range 20 {
				random := rand.New(rand.NewPCG(seed, uint64(10+i)))
				wg.Go(func() {
					for range 10 {
						time.Sleep(time.Duration(random.IntN(20_000)) * time.Millisecond)
						b, input := branches[random.IntN(2)], 1+random.IntN(500)
						release, err := b.Connect(t.Context(), ann.Payer, 0, 1000)
						if err != nil {
							t.Error(err)
							return
						}
						m, err := b.ask(ann, plenty, budget, input)
						if err != nil {
							t.Error(err)
							return
						}
						if random.IntN(4) == 0 {
							b.unask(ann, m)
						} else {
							used, _ := answering(random, m, input)
							m.Pay(&assistant.Usage{InputTokens: input, OutputTokens: used - input})
							mu.Lock()
							total, asked = total+used, asked+1
							mu.Unlock()
						}
						release()
					}
				})
			}
			wg.Wait()
			shelf.mu.Lock()
			shelf.fault = nil
			shelf.mu.Unlock()
			time.Sleep(time.Minute)
			settled()
			wantRest(t, shelf, ann.Payer, branches...)
			s := shelf.state(t, ann.Payer)
			if got := s.Spent.total(); got != total {
				t.Errorf("the ledger has %d tokens, %d were used", got, total)
			}
			if got := s.Questions.taken(time.Now()); got != asked {
				t.Errorf("the ledger has %d questions, %d were asked", got, asked)
			}
		})
	}
}

// TestDeadNodes holds that what a node had that is gone is there for the others, and what one has that lives is not. A
// node that was taken for dead tells again what it has.
func TestDeadNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf, budget := newShelf(), Budget{1000, time.Hour}
		here, there := open(t, shelf.node(1)), open(t, shelf.node(2))
		m, err := there.ask(ann, Rate{}, budget, 100)
		if err != nil {
			t.Fatal(err)
		}
		_, err = there.Connect(t.Context(), ann.Payer, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		input := 100
		tries := func(step string, want bool) {
			t.Helper()
			time.Sleep(refusesFor + time.Second)
			input-- // or the refusal would be remembered
			m, err := here.ask(ann, Rate{}, budget, input)
			if err == nil {
				m.Drop()
			}
			release, err2 := here.Connect(t.Context(), ann.Payer, 0, 1)
			if err2 == nil {
				release()
			}
			if (err == nil) != want || (err2 == nil) != want {
				t.Errorf("%s: %v, %v, want it let through: %v", step, err, err2, want)
			}
			settled()
		}
		tries("while the other lives", false)
		shelf.bury(2)
		tries("when it is dead", true)

		shelf.node(3)
		shelf.mu.Lock()
		there.seat.node = 3 // it was alive after all, and has joined again
		shelf.mu.Unlock()
		other, err := there.ask(clientOf("bob"), Rate{}, budget, 1)
		if err != nil {
			t.Fatal(err)
		}
		other.Pay(nil)
		tries("when it is another node", false)
		m.Pay(&assistant.Usage{InputTokens: 1})
		settled()
		if s := shelf.state(t, ann.Payer); s.reserved() != 0 || s.sockets() != 1 || s.Spent.total() != 1 {
			t.Errorf("the ledger has %+v", s)
		}
	})
}

// TestOneNode holds that a ledger of one node knows what processes before have left under way.
func TestOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf, budget := newShelf(), Budget{1000, time.Hour}
		for range 3 {
			b := open(t, &seat{shelf: shelf})
			if _, err := b.ask(ann, Rate{}, budget, 100); err != nil {
				t.Errorf("asked: %v", err)
			}
			if _, err := b.Connect(t.Context(), ann.Payer, 0, 1); err != nil {
				t.Errorf("connected: %v", err)
			}
			if _, err := b.ask(ann, Rate{}, budget, 100); err == nil {
				t.Error("the whole budget is reserved twice")
			}
		}
		if n := len(shelf.state(t, ann.Payer).Shares); n != 1 || shelf.called("nodes") != 0 {
			t.Errorf("%d shares, and %d looks for nodes", n, shelf.called("nodes"))
		}
	})
}

// TestAway holds that a ledger which is away or slow costs one second once, that the node counts alone meanwhile, as
// strictly as ever, and that the ledger then learns of it. Log and observer are told once of each change.
func TestAway(t *testing.T) {
	for name, outage := range map[string]fault{"away": fails, "slow": hangs} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shelf, thrice, budget := newShelf(), Rate{Count: 3, Per: time.Hour}, Budget{5000, time.Hour}
				b := open(t, shelf.node(1))
				m, err := b.ask(ann, thrice, budget, 10)
				if err != nil {
					t.Fatal(err)
				}
				shelf.mu.Lock()
				shelf.fault = func() fault { return outage }
				shelf.mu.Unlock()
				if began := time.Now(); !m.Add(4*2500) || time.Since(began) > patience {
					t.Errorf("an answer waited %v", time.Since(began))
				}
				began := time.Now()
				m.Pay(&assistant.Usage{OutputTokens: 2600})
				for range 2 {
					m, err := b.ask(ann, thrice, budget, 10)
					if err != nil {
						t.Fatal(err)
					}
					m.Pay(&assistant.Usage{InputTokens: 100})
				}
				if _, err := b.ask(ann, thrice, budget, 10); refusedFor(err) != "rate_limited 20m0s" && refusedFor(err) != "rate_limited 19m59s" {
					t.Errorf("a fourth question: %s", refusedFor(err))
				}
				if _, err := b.ask(ann, Rate{}, budget, 2300); !strings.HasPrefix(refusedFor(err), "budget_exceeded 1h") && !strings.HasPrefix(refusedFor(err), "budget_exceeded 59m59") {
					t.Errorf("beyond the budget: %s", refusedFor(err))
				}
				release, err := b.Connect(t.Context(), ann.Payer, 0, 1)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := b.Connect(t.Context(), ann.Payer, 0, 1); !errors.Is(err, ErrUserConnections) {
					t.Errorf("a second connection: %v", err)
				}
				if waited := time.Since(began); waited > patience {
					t.Errorf("all that waited %v", waited)
				}
				time.Sleep(5 * time.Minute)
				if n := shelf.called("account"); n > 30 {
					t.Errorf("%d calls while the ledger is away", n)
				}
				if got := b.told() + strings.Join(b.messages(), "; "); got != "[true false]limits are counted on this node alone until the store is back" {
					t.Errorf("told while it is away: %s", got)
				}
				shelf.mu.Lock()
				shelf.fault = nil
				shelf.mu.Unlock()
				time.Sleep(maxPause + time.Second)
				s := shelf.state(t, ann.Payer)
				if s.Spent.total() != 2800 || s.reserved() != 0 || s.sockets() != 1 || s.Questions.taken(time.Now()) != 3 {
					t.Errorf("the ledger has %+v", s)
				}
				if got := b.told() + strings.Join(b.messages()[1:], "; "); got != "[true false true]limits are counted in the store again" {
					t.Errorf("told when it is back: %s", got)
				}
				release()
				settled()
				time.Sleep(time.Second)
				wantRest(t, shelf, ann.Payer, b)
			})
		})
	}
}

// TestManyWhileAway holds that of many users who ask at once one waits for a ledger that is away, that calls which fail
// together are one failure, and that the ledger learns of all of them soon after it is back.
func TestManyWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf, budget := newShelf(), Budget{1 << 20, time.Hour}
		b := open(t, shelf.node(1))
		user := func(i int) Client { return clientOf(fmt.Sprint("user ", i)) }
		askAll := func() (waited time.Duration) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i := range 50 {
				wg.Go(func() {
					began := time.Now()
					m, err := b.ask(user(i), Rate{}, budget, 1)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					waited += time.Since(began)
					mu.Unlock()
					m.Pay(&assistant.Usage{InputTokens: 1})
				})
			}
			wg.Wait()
			return waited
		}
		shelf.fault = func() fault { return hangs }
		if waited := askAll(); waited != 50*time.Second {
			t.Errorf("at first all together waited %v", waited)
		}
		time.Sleep(firstPause - 10*time.Millisecond)
		if waited := askAll(); waited > 0 {
			t.Errorf("then all together waited %v", waited)
		}
		for range 3 {
			time.Sleep(maxPause)
			if waited := askAll(); waited > time.Second {
				t.Errorf("when it is tried again all together waited %v", waited)
			}
		}
		shelf.mu.Lock()
		shelf.fault = nil
		shelf.mu.Unlock()
		time.Sleep(maxPause + time.Second)
		for i := range 50 {
			if s := shelf.state(t, user(i).Payer); s.Spent.total() != 5 || s.reserved() != 0 {
				t.Errorf("of user %d the ledger has %+v", i, s)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		b := open(t, shelf.node(1))
		shelf.fault = func() fault { return hangs }
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() { _, _ = b.ask(clientOf(fmt.Sprint(i)), Rate{}, Budget{1 << 20, time.Hour}, 1) })
		}
		wg.Wait()
		b.link.mu.Lock()
		if b.link.pause != firstPause {
			t.Errorf("the pause is %v after one failure", b.link.pause)
		}
		b.link.retry = time.Now()
		b.link.mu.Unlock()
		if !b.link.isOn() || b.link.isOn() {
			t.Error("not one call tries it again")
		}
		b.link.mu.Lock()
		b.link.retry = time.Now().Add(firstPause)
		b.link.mu.Unlock()
		shelf.mu.Lock()
		shelf.fault = nil
		shelf.mu.Unlock()
		time.Sleep(firstPause + 10*time.Millisecond)
		if got := b.told(); got != "[false true]" {
			t.Errorf("after one pause: %s", got)
		}
	})
}

// TestNoLimits holds that without limits the ledger is never called, and where there is none, once.
func TestNoLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		b := open(t, shelf.node(1))
		release, err := b.Connect(t.Context(), ann.Payer, 100, 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := b.ask(ann, Rate{}, Budget{}, 1)
		if err != nil || !m.Add(1000) || b.CountWrite(ann, Rate{Count: 9, Per: time.Hour}) != nil {
			t.Errorf("not let through: %v", err)
		}
		m.Pay(nil)
		release()
		time.Sleep(48 * time.Hour)
		if len(shelf.calls) > 0 {
			t.Errorf("called %v", shelf.calls)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		none := &noLedger{}
		as, once := NewAccounts(), Rate{Count: 1, Per: time.Hour}
		as.Share(Sharing{Ledger: none, Ctx: t.Context(), Go: func(func()) bool { return false }, Log: zap.NewNop(), Observer: func() assistant.Observer { return assistant.NoObserver{} }})
		for _, user := range []string{"ann", "bob"} {
			b := &branch{Accounts: as}
			m, err := b.ask(clientOf(user), once, Budget{100, time.Hour}, 1)
			if err != nil {
				t.Fatal(err)
			}
			m.Pay(nil)
			if _, err := b.ask(clientOf(user), once, Budget{}, 1); err == nil {
				t.Errorf("%s asks twice", user)
			}
		}
		if none.calls != 1 {
			t.Errorf("%d calls", none.calls)
		}
		time.Sleep(time.Hour)
		as.leave(as.use(Payer{}))
		as.leave(as.use(Payer{user: "cem"}))
		if n := len(as.byPayer); n != 0 {
			t.Errorf("%d accounts are remembered", n)
		}
	})
}

// noLedger counts calls.
type noLedger struct {
	seat
	calls int
}

func (n *noLedger) Account(context.Context, string, func([]byte, time.Time) ([]byte, error)) error {
	n.calls++
	return assistant.ErrNoLedger
}

// TestSteps holds that an answer asks the ledger now and then, and never for each piece.
func TestSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf, budget := newShelf(), Budget{100_000, time.Hour}
		b := open(t, shelf.node(1))
		m, err := b.ask(ann, Rate{}, budget, 1)
		if err != nil {
			t.Fatal(err)
		}
		pieces := 0
		for m.Add(4) {
			pieces++
		}
		calls := shelf.called("account")
		for range 100 {
			if m.Add(4) {
				t.Error("a piece more")
			}
		}
		if n := shelf.called("account") - calls; n > 0 {
			t.Errorf("%d calls after the end of the budget", n)
		}
		if pieces != budget.Tokens-1 {
			t.Errorf("%d pieces of a token", pieces)
		}
		if n := shelf.called("account"); n > 12 {
			t.Errorf("%d calls for %d pieces", n, pieces)
		}
		m.Pay(nil)
	})
}

// TestWiderNetworkIsShared holds that all networks of a wider one together ask so many times as much over all nodes, and
// that a question which it refuses counts for none of them.
func TestWiderNetworkIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf, once := newShelf(), Rate{Count: 1, Per: time.Hour}
		branches := []*branch{open(t, shelf.node(1)), open(t, shelf.node(2))}
		wide := Networks{Prefix: 64, Wider: 48, Times: 3}
		client := func(n int) Client { return wide.ClientOf("", netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%d::1", n))) }
		for n := range 5 {
			m, err := branches[n%2].ask(client(n), once, Budget{}, 1)
			if (err == nil) != (n < 3) {
				t.Errorf("network %d: %v", n, err)
			}
			if err == nil {
				m.Pay(nil)
			}
			settled()
		}
		for n, want := range []int{1, 1, 1, 0, 0} {
			s := shelf.state(t, client(n).Payer)
			if got := s.Questions.taken(time.Now()); got != want {
				t.Errorf("%d questions of network %d count, want %d", got, n, want)
			}
		}
	})
}

// TestConnectionsAreShared holds that a payer's connections count over all nodes, exactly, and those of all on each node
// alone.
func TestConnectionsAreShared(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			const most = 3
			shelf := newShelf()
			branches := []*branch{open(t, shelf.node(1)), open(t, shelf.node(2))}
			var wg sync.WaitGroup
			var mu sync.Mutex
			connected, highest := 0, 0
			for i := range 20 {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				wg.Go(func() {
					for range 20 {
						time.Sleep(time.Duration(random.IntN(10_000)) * time.Millisecond)
						release, err := branches[random.IntN(2)].Connect(t.Context(), ann.Payer, 0, most)
						if errors.Is(err, ErrUserConnections) {
							continue
						}
						mu.Lock()
						connected++
						highest = max(highest, connected)
						mu.Unlock()
						time.Sleep(time.Duration(random.IntN(5000)) * time.Millisecond)
						mu.Lock()
						connected--
						mu.Unlock()
						release()
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Second)
			if highest != most {
				t.Errorf("%d connections at once, want %d", highest, most)
			}
			wantRest(t, shelf, ann.Payer, branches...)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		for n := range assistant.NodeID(2) {
			b := open(t, shelf.node(n+1))
			for i, want := range []error{nil, nil, ErrConnections} {
				if _, err := b.Connect(t.Context(), clientOf(fmt.Sprint(i)).Payer, 2, 5); !errors.Is(err, want) {
					t.Errorf("connection %d: %v", i, err)
				}
			}
		}
	})
}

// TestConnectGivesUp holds that a client which goes away is not waited for, which says nothing of the ledger; and that one
// which is slow makes connections wait a second, also those behind others, and then none.
func TestConnectGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		b := open(t, shelf.node(1))
		shelf.fault = func() fault { return hangs }
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		release, err := b.Connect(ctx, ann.Payer, 0, 5)
		if err != nil || time.Since(began) != 100*time.Millisecond || len(b.messages()) > 0 {
			t.Fatalf("%v after %v: %v", err, time.Since(began), b.messages())
		}
		release()
	})
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		b := open(t, shelf.node(1))
		shelf.fault = func() fault { return hangs }
		for _, want := range []time.Duration{time.Second, 0} {
			var wg sync.WaitGroup
			began := time.Now()
			for range 5 {
				wg.Go(func() {
					if _, err := b.Connect(t.Context(), ann.Payer, 0, 10); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if waited := time.Since(began); waited != want {
				t.Errorf("waited %v, want %v", waited, want)
			}
		}
		if n := shelf.called("account"); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
	synctest.Test(t, func(t *testing.T) { // behind many that are slow, though not too slow
		shelf := newShelf()
		b := open(t, shelf.node(1))
		shelf.slow = 400 * time.Millisecond
		var wg sync.WaitGroup
		began := time.Now()
		for range 10 {
			wg.Go(func() {
				if _, err := b.Connect(t.Context(), ann.Payer, 0, 10); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("waited %v", waited)
		}
		settled()
		time.Sleep(time.Minute)
		if s := shelf.state(t, ann.Payer); s.sockets() != 10 || len(b.messages()) > 0 {
			t.Errorf("the ledger has %+v, told was %v", s, b.messages())
		}
	})
}

// TestNotUnderstood holds that a state which is not understood is logged, and counts as new.
func TestNotUnderstood(t *testing.T) {
	for name, stored := range map[string]string{
		"no JSON":            `{"questions"`,
		"a number":           `1`,
		"two":                `{} {}`,
		"an unknown field":   `{"questions2": {}}`,
		"another type":       `{"spent": 7}`,
		"a rate of no time":  `{"questions": {"rate": {"count": 1, "per": 0}, "left": 0, "at": "2026-01-02T03:04:05Z"}}`,
		"less than none":     `{"questions": {"rate": {"count": 1, "per": 1}, "left": -5, "at": "2026-01-02T03:04:05Z"}}`,
		"spent in no window": `{"spent": {"parts": [{"first": "2026-01-02T03:04:05Z", "last": "2026-01-02T03:04:05Z", "tokens": 5}]}}`,
		"spent less":         `{"spent": {"window": 5, "parts": [{"first": "2026-01-02T03:04:05Z", "last": "2026-01-02T03:04:05Z", "tokens": -5}]}}`,
		"reserved less":      `{"shares": [{"of": 1, "node": 1, "at": "2026-01-02T03:04:05Z", "reserved": -5}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shelf, once := newShelf(), Rate{Count: 1, Per: time.Hour}
				shelf.rows["ann"] = []byte(stored)
				b := open(t, shelf.node(1))
				if _, err := b.ask(ann, once, Budget{100, time.Hour}, 5); err != nil {
					t.Errorf("asked: %v", err)
				}
				all := b.logs.All()
				if len(all) != 1 || all[0].ContextMap()["user"] != "ann" || all[0].ContextMap()["error"] == nil {
					t.Errorf("logged %v", all)
				}
				if _, err := open(t, shelf.node(2)).ask(ann, once, Budget{}, 5); err == nil {
					t.Error("asked twice")
				}
			})
		})
	}
}

// TestStates holds that a state comes back as it was stored.
func TestStates(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)
	s := state{
		Questions: bucket{Rate{5, time.Hour, 2}, 1.0 / 3, now},
		Spent:     spending{time.Hour, []spent{{now, now.Add(time.Microsecond), 7}}},
		Shares:    []share{{1<<62 + 1, 1<<61 + 1, now, 1, 2, 3, 4}},
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(data)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(s) {
		t.Errorf("%s is %+v: %v", data, got, err)
	}
	if data, err := json.Marshal(state{}); err != nil || string(data) != "{}" {
		t.Errorf("nothing is %s: %v", data, err)
	}
	if got, err := decode(nil); err != nil || fmt.Sprint(got) != fmt.Sprint(state{}) {
		t.Errorf("what is not there is %+v: %v", got, err)
	}
}

// TestClock sets the ledger's clock forward and back: what was used before counts for one window more, behind that of the
// node itself, and no longer.
func TestClock(t *testing.T) {
	for name, limit := range map[string]struct {
		rate   Rate
		budget Budget
	}{"rate": {Rate{Count: 1, Per: time.Hour}, Budget{}}, "budget": {Rate{}, Budget{100, time.Hour}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shelf := newShelf()
				b := open(t, shelf.node(1))
				for i, step := range []struct{ offset, want time.Duration }{{0, 0}, {1000 * time.Hour, time.Hour}, {-1000 * time.Hour, 2 * time.Hour}, {0, time.Hour}} {
					shelf.mu.Lock()
					shelf.offset = step.offset
					shelf.mu.Unlock()
					began := time.Now()
					m, err := b.ask(ann, limit.rate, limit.budget, 60)
					for err != nil {
						if len(shelf.state(t, ann.Payer).Shares) == 0 {
							t.Error("nothing is left of what was counted")
						}
						refusal, _ := errors.AsType[*assistant.RefusalError](err)
						time.Sleep(refusal.RetryAfter)
						m, err = b.ask(ann, limit.rate, limit.budget, 60)
					}
					m.Pay(nil)
					settled()
					if waited := time.Since(began).Round(time.Minute); waited != step.want {
						t.Errorf("step %d, with an offset of %v: waited %v, want %v", i, step.offset, waited, step.want)
					}
				}
			})
		})
	}
}

// TestOldShares holds that a share of which nothing is under way is let go in time, and one of which something is, is kept.
func TestOldShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf, budget := newShelf(), Budget{1 << 20, 100 * time.Hour}
		ask := func(b *branch) *Meter {
			m, err := b.ask(ann, Rate{}, budget, 1)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		ask(open(t, shelf.node(1)))
		for n := range assistant.NodeID(3) {
			ask(open(t, shelf.node(n+2))).Pay(nil)
			settled()
			time.Sleep(keptAtRest * 2 / 3)
		}
		var nodes []assistant.NodeID
		for _, m := range shelf.state(t, ann.Payer).Shares {
			nodes = append(nodes, m.Node)
		}
		if want := []assistant.NodeID{1, 3, 4}; !slices.Equal(nodes, want) {
			t.Errorf("there are shares of the nodes %v, want %v", nodes, want)
		}
	})
}

// TestSweep holds that the ledger is swept at most once an hour, of what is older than any window, and that it is
// reminded of what is under way before it is taken for old.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		b := open(t, shelf.node(1))
		if _, err := b.Connect(t.Context(), clientOf("cem").Payer, 0, 1); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			window time.Duration
			sweeps int
			idle   time.Duration
		}{{time.Minute, 1, minKept}, {time.Minute, 1, minKept}, {1000 * time.Hour, 2, 1000 * time.Hour}, {time.Hour, 2, 1000 * time.Hour}} {
			m, err := b.ask(ann, Rate{}, Budget{1 << 30, step.window}, 1)
			if err != nil {
				t.Fatal(err)
			}
			m.Pay(nil)
			settled()
			if n := shelf.called("forget"); n != 2*step.sweeps || shelf.idle != step.idle {
				t.Errorf("swept %d times, at last of %v, want %d and %v", n/2, shelf.idle, step.sweeps, step.idle)
			}
			time.Sleep(sweepEvery/2 + time.Second)
		}
		before := time.Now()
		time.Sleep(minKept / 2)
		m, err := b.ask(ann, Rate{}, Budget{1 << 30, time.Hour}, 1)
		if err != nil {
			t.Fatal(err)
		}
		m.Pay(nil)
		time.Sleep(time.Second)
		if at := shelf.state(t, clientOf("cem").Payer).Shares[0].At; !at.After(before) {
			t.Errorf("a connection was told of at %v, not after %v", at, before)
		}
	})
}

// TestAtShutdown holds that what is used when the server stops is told, without a goroutine.
func TestAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		b := open(t, shelf.node(1))
		m, err := b.ask(ann, Rate{}, Budget{1000, time.Hour}, 1)
		if err != nil {
			t.Fatal(err)
		}
		settled()
		b.stop()
		m.Pay(&assistant.Usage{InputTokens: 700})
		if s := shelf.state(t, ann.Payer); s.Spent.total() != 700 || s.reserved() != 0 {
			t.Errorf("the ledger has %+v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) { // others see that the node is gone
		shelf := newShelf()
		b := open(t, shelf.node(1))
		release, err := b.Connect(t.Context(), ann.Payer, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		b.stop()
		release()
		if n := shelf.called("account"); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a ledger that is away is not waited for
		shelf := newShelf()
		b := open(t, shelf.node(1))
		shelf.fault = func() fault { return fails }
		if _, err := b.ask(ann, Rate{}, Budget{1000, time.Hour}, 1); err != nil {
			t.Fatal(err)
		}
		b.stop()
		time.Sleep(time.Hour)
		if n := shelf.called("account"); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestWaitIsBounded holds that a question waits for others of its user ten seconds at most, and is then counted here.
func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf()
		b := open(t, shelf.node(1))
		shelf.slow = 900 * time.Millisecond
		var wg sync.WaitGroup
		began := time.Now()
		for range 30 {
			wg.Go(func() {
				if _, err := b.ask(ann, Rate{}, Budget{1 << 30, time.Hour}, 1); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if waited := time.Since(began); waited > 10*time.Second {
			t.Errorf("waited %v", waited)
		}
		time.Sleep(time.Minute)
		if s := shelf.state(t, ann.Payer); s.reserved() < 30*minOutput || !b.use(ann.Payer).isKnown() {
			t.Errorf("the ledger has %+v", s)
		}
	})
}

// TestForgottenAccount holds that an account which this node has forgotten, and which the ledger has not, goes on.
func TestForgottenAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf, once := newShelf(), Rate{Count: 2, Per: time.Hour}
		b := open(t, shelf.node(1))
		for i := range 3 {
			m, err := b.ask(ann, once, Budget{100, time.Hour}, 10)
			if (err == nil) != (i < 2) {
				t.Fatalf("question %d: %v", i, err)
			}
			if err == nil {
				m.Pay(nil)
			}
			settled()
			b.Accounts.mu.Lock()
			b.forgetLocked(b.byPayer[ann.Payer])
			b.Accounts.mu.Unlock()
		}
		if s := shelf.state(t, ann.Payer); s.Spent.total() != 20 || len(s.Shares) != 1 {
			t.Errorf("the ledger has %+v", s)
		}
	})
}

// TestKeys holds that a user's name is its key, and that no other payer has that.
func TestKeys(t *testing.T) {
	seen := map[string]Payer{}
	network := Payer{network: netip.MustParsePrefix("192.0.2.1/32")}
	for _, p := range []Payer{
		{user: "ann"}, {user: "192.0.2.1/32"}, network, {}, {user: "invalid Prefix"}, {user: network.key()}, {user: notUser}, {user: notUser + notUser},
		{user: "a\x00b"}, {user: "a\xffb"}, {user: "a\\xffb"}, {user: `"a\xffb"`}, {user: "müller"},
	} {
		key := p.key()
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q have the key %q", p, other, key)
		}
		seen[key] = p
		if strings.Contains(key, "\x00") || strings.ToValidUTF8(key, "") != key {
			t.Errorf("the key %q cannot be stored", key)
		}
	}
	for _, name := range []string{"ann", "müller", "192.0.2.1/32"} {
		if key := (Payer{user: name}).key(); key != name {
			t.Errorf("%q has the key %q", name, key)
		}
	}
}
