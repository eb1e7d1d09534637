package limits

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func payerOf(user string, addr netip.Addr) Payer { return Networks{}.ClientOf(user, addr).Payer }

// TestPayer holds who is counted together.
func TestPayer(t *testing.T) {
	ip := func(text string) Payer { return payerOf("", netip.MustParseAddr(text)) }
	for _, test := range []struct {
		name string
		a, b Payer
		same bool
	}{
		{"a user at two addresses", payerOf("ann", netip.MustParseAddr("192.0.2.1")), payerOf("ann", netip.Addr{}), true},
		{"two users at one address", payerOf("ann", netip.Addr{}), payerOf("bob", netip.Addr{}), false},
		{"a user whose name is an address", payerOf("192.0.2.1", netip.Addr{}), ip("192.0.2.1"), false},
		{"IPv4 neighbours", ip("192.0.2.1"), ip("192.0.2.2"), false},
		{"IPv4 in IPv6", ip("::ffff:192.0.2.1"), ip("192.0.2.1"), true},
		{"IPv4 neighbours in IPv6", ip("::ffff:192.0.2.1"), ip("::ffff:192.0.2.2"), false},
		{"one IPv6 network", ip("2001:db8:1:2::1"), ip("2001:db8:1:2:ffff:ffff:ffff:ffff"), true},
		{"two IPv6 networks", ip("2001:db8:1:2::1"), ip("2001:db8:1:3::1"), false},
		{"zones of an interface", ip("fe80::1%eth0"), ip("fe80::2%eth1"), true},
		{"no address", payerOf("", netip.Addr{}), payerOf("", netip.Addr{}), true},
	} {
		if same := test.a == test.b; same != test.same {
			t.Errorf("%s: counted together: %v, want %v", test.name, same, test.same)
		}
	}
}

// TestAccountsAreBounded floods a hub with anonymous clients: only so many are remembered, and no user is
// forgotten for them, nor one who still has a connection.
func TestAccountsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		as, once := NewAccounts(), Rate{Count: 1, Per: time.Hour}
		network := func(n int) Payer {
			return payerOf("", netip.AddrFrom16([16]byte{0x20, 1, 3: byte(n >> 16), 4: byte(n >> 8), 5: byte(n)}))
		}
		ask := func(p Payer) (refused bool) {
			a := as.use(p)
			defer as.leave(a)
			return a.take(questions, once) > 0
		}
		ask(Payer{user: "ann"})
		release, err := as.Connect(t.Context(), network(0), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for n := range maxIdleAccounts + 1000 {
			if ask(network(n)) {
				t.Fatalf("network %d is not new", n)
			}
		}
		if n := len(as.byPayer); n != maxIdleAccounts+2 {
			t.Errorf("%d accounts are remembered", n)
		}
		for p, forgotten := range map[Payer]bool{{user: "ann"}: false, network(0): false, network(1): true, network(2000): false} {
			if refused := ask(p); refused == forgotten {
				t.Errorf("%v is forgotten: %v, want %v", p, !refused, forgotten)
			}
		}
		release()
		time.Sleep(time.Hour) // all may ask again: nobody needs to be remembered
		for _, p := range []Payer{{user: "bob"}, {}} {
			as.leave(as.use(p))
		}
		if n := len(as.byPayer); n != 0 {
			t.Errorf("%d accounts are remembered that are as good as new", n)
		}
	})
}

// TestConnections counts exactly, whatever is refused in between.
func TestConnections(t *testing.T) {
	as := NewAccounts()
	ann, bob := Payer{user: "ann"}, Payer{user: "bob"}
	first, _ := as.Connect(t.Context(), ann, 3, 2)
	second, _ := as.Connect(t.Context(), ann, 3, 2)
	if _, err := as.Connect(t.Context(), ann, 3, 2); err != ErrUserConnections {
		t.Errorf("ann's third: %v", err)
	}
	third, err := as.Connect(t.Context(), bob, 3, 2)
	if err != nil {
		t.Errorf("bob's first: %v", err)
	}
	if _, err := as.Connect(t.Context(), bob, 3, 2); err != ErrConnections {
		t.Errorf("the fourth: %v", err)
	}
	first()
	fourth, err := as.Connect(t.Context(), bob, 3, 2)
	if err != nil {
		t.Errorf("a free place: %v", err)
	}
	for _, release := range []func(){second, third, fourth} {
		release()
	}
	if as.connections != 0 || len(as.byPayer) != 0 {
		t.Errorf("%d connections and %d accounts are left", as.connections, len(as.byPayer))
	}
}

// TestRateChanges holds that a reload which changes the rate goes on from what is left.
func TestRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(Payer{})
		five := Rate{Count: 60, Per: time.Minute, Burst: 5}
		for range 5 {
			if wait := a.take(questions, five); wait != 0 {
				t.Fatalf("within the burst: wait %v", wait)
			}
		}
		for _, step := range []struct {
			rate Rate
			want time.Duration
		}{
			{five, time.Second},
			{Rate{Count: 60, Per: time.Minute}, time.Second}, // more at once, but none is left
			{Rate{Count: 6, Per: time.Minute}, 10 * time.Second},
			{Rate{}, 0}, // no limit, and no question that counts
			{Rate{Count: 1, Per: time.Hour}, time.Hour},
			{five, time.Second},
		} {
			if wait := a.take(questions, step.rate); wait != step.want {
				t.Errorf("%+v: wait %v, want %v", step.rate, wait, step.want)
			}
		}
		time.Sleep(time.Minute)
		lower := Rate{Count: 60, Per: time.Minute, Burst: 2}
		for i, wait := range []bool{false, false, true} {
			if (a.take(questions, lower) > 0) != wait {
				t.Errorf("a lower burst does not count at once, at question %d", i)
			}
		}
		a.giveBack(questions)
		if a.take(questions, lower) != 0 || a.take(questions, lower) == 0 {
			t.Error("a question that was taken back is not there again, once")
		}
	})
}

// TestSpending compares with a list of all that was used: nothing of the last window is missing, what is before
// it is at most a part of it late, and waiting as long as is said helps.
func TestSpending(t *testing.T) {
	const window, part = 24 * time.Hour, time.Hour
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(5) {
			random := rand.New(rand.NewPCG(seed, 1))
			var s spending
			var all []spent
			sum := func(since time.Duration) (total int) {
				for _, p := range all {
					if time.Since(p.Last) < since {
						total += p.Tokens
					}
				}
				return total
			}
			for range 500 {
				n := random.IntN(100)
				s.within(window, time.Now())
				s.add(n, time.Now())
				all = append(all, spent{Last: time.Now(), Tokens: n})
				if s.total() < sum(window) || s.total() > sum(window+part) {
					t.Fatalf("%d of the last window, %d with the part before it, but the total is %d", sum(window), sum(window+part), s.total())
				}
				if len(s.Parts) > spendingParts+1 {
					t.Fatalf("%d parts", len(s.Parts))
				}
				if random.IntN(10) == 0 && s.total() > 0 {
					total, tokens := s.total(), 1+random.IntN(s.total())
					wait := s.until(tokens, time.Now())
					time.Sleep(wait - time.Nanosecond)
					if s.within(window, time.Now()); total-s.total() >= tokens {
						t.Fatalf("%d tokens are free before %v", tokens, wait)
					}
					time.Sleep(time.Nanosecond)
					if s.within(window, time.Now()); total-s.total() < tokens {
						t.Fatalf("%d tokens are not free after %v", tokens, wait)
					}
				}
				time.Sleep(time.Duration(random.Int64N(int64(2 * time.Hour))))
			}
		}
	})
}

// TestBudgetChanges holds that what was used counts in a window of another length, as far as it is within.
func TestBudgetChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(Payer{})
		day, hour := Budget{100, 24 * time.Hour}, Budget{100, time.Hour}
		if _, _, err := a.state.reserve(a.share(), day, 50, time.Now()); err != nil {
			t.Fatal(err)
		}
		a.state.settle(a.share(), a.state.reserved(), 100, time.Now())
		time.Sleep(30 * time.Minute)
		for _, step := range []struct {
			budget Budget
			want   time.Duration
		}{
			{day, 23*time.Hour + 30*time.Minute},
			{hour, 30 * time.Minute},
			{day, 23*time.Hour + 30*time.Minute},
			{Budget{101, time.Hour}, 0},
			{Budget{}, 0},
		} {
			if wait := a.short(step.budget, 1); wait != step.want {
				t.Errorf("%+v: wait %v, want %v", step.budget, wait, step.want)
			}
		}
	})
}

// BenchmarkMeter counts the pieces of an answer for a payer with a budget and for one without, alone and
// while many answers of the same payer run.
func BenchmarkMeter(b *testing.B) {
	as, ann := NewAccounts(), Networks{}.ClientOf("ann", netip.Addr{})
	for _, budget := range []Budget{{}, {1 << 50, time.Hour}} {
		b.Run(fmt.Sprintf("budget=%v/one", budget.Tokens > 0), func(b *testing.B) {
			var m Meter
			if err := m.Open(as, ann, Rate{}, budget, 1000); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				m.Add(len(" piece"))
			}
			m.Pay(nil)
		})
		b.Run(fmt.Sprintf("budget=%v/parallel", budget.Tokens > 0), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var m Meter
				_ = m.Open(as, ann, Rate{}, budget, 1000)
				for pb.Next() {
					m.Add(len(" piece"))
				}
				m.Pay(nil)
			})
		})
	}
}

// TestNetworks holds what counts as one anonymous client, and that a wider network has a higher limit of its own.
func TestNetworks(t *testing.T) {
	addr := netip.MustParseAddr
	wide := Networks{Prefix: 56, Wider: 40, Times: 2}
	for _, test := range []struct {
		name string
		a, b string
		same bool
	}{
		{"one /56", "2001:db8:0:100::1", "2001:db8:0:1ff::1", true},
		{"two", "2001:db8:0:100::1", "2001:db8:0:200::1", false},
		{"IPv4 neighbours", "192.0.2.1", "192.0.2.2", false},
	} {
		if same := wide.ClientOf("", addr(test.a)).Payer == wide.ClientOf("", addr(test.b)).Payer; same != test.same {
			t.Errorf("%s: counted together: %v, want %v", test.name, same, test.same)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		as, once := NewAccounts(), Rate{Count: 1, Per: time.Hour}
		for _, test := range []struct {
			addr    string
			refused bool
		}{
			{"2001:db8:0:100::1", false},
			{"2001:db8:0:100::2", true},
			{"2001:db8:0:200::1", false},
			{"2001:db8:0:300::1", true}, // the third of its /40
			{"2001:db9:0:300::1", false},
			{"192.0.2.1", false},
			{"192.0.2.2", false},
			{"192.0.2.3", false},
		} {
			c := wide.ClientOf("", addr(test.addr))
			if err := as.Count(c, once, Budget{}, 1); (err != nil) != test.refused {
				t.Errorf("%s: %v", test.addr, err)
			}
			if err := as.CountWrite(c, once); (err != nil) != test.refused {
				t.Errorf("%s writes: %v", test.addr, err)
			}
		}
		as.Uncount(wide.ClientOf("", addr("2001:db8:0:100::1")))
		if err := as.Count(wide.ClientOf("", addr("2001:db8:0:400::1")), once, Budget{}, 1); err != nil {
			t.Errorf("what was taken back counts in the wider network: %v", err)
		}
	})
}
