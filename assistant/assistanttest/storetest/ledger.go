package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestLedger checks the whole contract of [assistant.Ledger]. Each call of place makes an empty place, of which so many
// stores may be open at once.
func TestLedger(t *testing.T, nodes int, place func(t *testing.T) Place) {
	t.Helper()
	for _, test := range accountTests {
		t.Run(test.name, func(t *testing.T) {
			p := place(t)
			a := accountTest{T: t, place: p}
			for range nodes {
				a.nodes = append(a.nodes, a.open())
			}
			test.run(a)
			a.close()
		})
	}
}

var accountTests = []struct {
	name string
	run  func(accountTest)
}{
	{"Change", testAccountChange},
	{"Refusal", testAccountRefusal},
	{"Payers", testAccountPayers},
	{"Together", testAccountTogether},
	{"Time", testAccountTime},
	{"Context", testAccountContext},
	{"Forget", testAccountForget},
	{"Reopen", testAccountReopen},
}

// accountTest is stores that share a place.
type accountTest struct {
	*testing.T

	place Place
	nodes []assistant.Ledger
}

func (t accountTest) open() assistant.Ledger {
	t.Helper()
	ledger, ok := t.place(t.T).(assistant.Ledger)
	if !ok {
		t.Fatal("the store is no ledger")
	}
	return ledger
}

func (t accountTest) close() {
	t.Helper()
	for _, node := range t.nodes {
		t.must(node.Close())
	}
}

func (t accountTest) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put keeps a state of a payer; nil is none.
func (t accountTest) put(node assistant.Ledger, payer string, state []byte) {
	t.Helper()
	t.must(node.Account(t.Context(), payer, func([]byte, time.Time) ([]byte, error) { return state, nil }))
}

var errLook = errors.New("only looks")

// holds checks what is kept of a payer, as each node has it.
func (t accountTest) holds(payer string, want []byte) {
	t.Helper()
	for i, node := range t.nodes {
		var got []byte
		err := node.Account(t.Context(), payer, func(state []byte, _ time.Time) ([]byte, error) {
			got = bytes.Clone(state)
			return nil, errLook
		})
		if !errors.Is(err, errLook) {
			t.Fatalf("node %d: got error %v", i, err)
		}
		if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Fatalf("node %d has %q of %q, want %q", i, got, payer, want)
		}
	}
}

// testAccountChange: what was returned is there the next time, as it was; nil is not.
func testAccountChange(t accountTest) {
	t.holds("ann", nil)
	for i, state := range []string{`{"a": 1}`, ``, `{"ü": "\u0000", "b":[1,2 ]}`, `no JSON '; --`, string(bytes.Repeat([]byte("x"), 100_000)), `{}`} {
		node := t.nodes[i%len(t.nodes)]
		t.put(node, "ann", []byte(state))
		t.holds("ann", []byte(state))
		t.put(node, "ann", []byte(state)) // the same again
		t.holds("ann", []byte(state))
	}
	for range 2 {
		t.put(t.nodes[0], "ann", nil)
		t.holds("ann", nil)
	}
	t.put(t.nodes[0], "ann", []byte("again"))
	t.holds("ann", []byte("again"))
}

// testAccountRefusal: an error of the change is returned, and nothing is changed.
func testAccountRefusal(t accountTest) {
	for _, state := range [][]byte{nil, []byte("kept")} {
		t.put(t.nodes[0], "ann", state)
		err := t.nodes[0].Account(t.Context(), "ann", func([]byte, time.Time) ([]byte, error) { return []byte("changed"), errDoomed })
		if !errors.Is(err, errDoomed) {
			t.Errorf("got error %v", err)
		}
		t.holds("ann", state)
	}
}

// testAccountPayers: each payer has an account of its own, also those that look alike.
func testAccountPayers(t accountTest) {
	payers := []string{"ann", "Ann", "ann ", " ann", "an", "a%n", "ä", "a\u0308", "", "\x01192.0.2.1/32", "192.0.2.1/32", "\x01\"a\\xff\"", "'; --", string(bytes.Repeat([]byte("n"), 1024))}
	for _, p := range payers {
		t.put(t.nodes[0], p, []byte("of "+p))
	}
	for _, p := range payers {
		t.holds(p, []byte("of "+p))
	}
	t.put(t.nodes[0], "ann", nil)
	t.holds("ann", nil)
	t.holds("Ann", []byte("of Ann"))
}

// testAccountTogether: changes of one payer come one after the other, on all nodes, and each counts once.
func testAccountTogether(t accountTest) {
	const callers, times = 12, 25
	var wg sync.WaitGroup
	for i := range callers {
		node := t.nodes[i%len(t.nodes)]
		wg.Go(func() {
			for n := range times {
				payer := "shared"
				if n%5 == 0 {
					payer = fmt.Sprint("own of ", i)
				}
				if err := node.Account(t.Context(), payer, countOne); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.holds("shared", []byte(strconv.Itoa(callers*times*4/5)))
	for i := range callers {
		t.holds(fmt.Sprint("own of ", i), []byte(strconv.Itoa(times/5)))
	}
}

// countOne is a change that counts its calls, for those that were made.
func countOne(state []byte, _ time.Time) ([]byte, error) {
	if state == nil {
		return []byte("1"), nil
	}
	n, err := strconv.Atoi(string(state))
	return []byte(strconv.Itoa(n + 1)), err
}

// testAccountTime: the time is in UTC, and does not go back from one change to the next, whatever node makes it.
func testAccountTime(t accountTest) {
	var last time.Time
	for n := range 20 {
		t.must(t.nodes[n%len(t.nodes)].Account(t.Context(), "ann", func(_ []byte, now time.Time) ([]byte, error) {
			if now.Location() != time.UTC || now.Before(last) || time.Since(now).Abs() > time.Minute {
				t.Errorf("it is %v after %v, and %v here", now, last, time.Now())
			}
			last = now
			return []byte("x"), nil
		}))
	}
}

// testAccountContext: a call whose context ends returns, and has made the change or not.
func testAccountContext(t accountTest) {
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errDoomed)
	if err := t.nodes[0].Account(ended, "ann", countOne); !errors.Is(err, errDoomed) {
		t.Errorf("got error %v", err)
	}
	t.holds("ann", nil)
	made, failed := 0, 0
	for n := range 200 {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(n)*20*time.Microsecond, errDoomed)
		switch err := t.nodes[0].Account(ctx, "ann", countOne); {
		case err == nil:
			made++
		case errors.Is(err, errDoomed):
			failed++
		default:
			t.Errorf("got error %v", err)
		}
		cancel()
	}
	var got int
	t.must(t.nodes[0].Account(t.Context(), "ann", func(state []byte, _ time.Time) (_ []byte, err error) {
		if state != nil {
			got, err = strconv.Atoi(string(state))
		}
		return state, err
	}))
	if got < made || got > made+failed {
		t.Errorf("%d changes were made of which %d have succeeded, and %d have failed", got, made, failed)
	}
}

// testAccountForget: those that were not changed for so long go, so many at once.
func testAccountForget(t accountTest) {
	old := time.Now()
	forget := func(idle time.Duration, limit, want int) {
		t.Helper()
		if idle == 0 {
			idle = time.Since(old)
		}
		if n, err := t.nodes[0].ForgetAccounts(t.Context(), idle, limit); err != nil || n != want {
			t.Fatalf("forgot %d, want %d: %v", n, want, err)
		}
	}
	forget(0, 10, 0)
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		t.put(t.nodes[0], name, []byte("x"))
	}
	old = time.Now().Add(time.Millisecond)
	time.Sleep(500 * time.Millisecond) // it has to be older than what comes next, by more than the next calls take
	t.put(t.nodes[0], "a", []byte("x"))
	t.put(t.nodes[0], "f", []byte("y"))
	forget(time.Hour, 10, 0)
	forget(0, 0, 0)
	forget(0, 3, 3)
	forget(0, 3, 1)
	forget(0, 3, 0)
	t.holds("a", []byte("x"))
	t.holds("f", []byte("y"))
	if slices.ContainsFunc(names[1:], func(name string) bool { return t.has(name) }) {
		t.Error("something old is still there")
	}
}

func (t accountTest) has(payer string) (found bool) {
	t.must(t.nodes[0].Account(t.Context(), payer, func(state []byte, _ time.Time) ([]byte, error) {
		found = state != nil
		return state, nil
	}))
	return found
}

// testAccountReopen: what is kept outlives the store.
func testAccountReopen(t accountTest) {
	t.put(t.nodes[0], "ann", []byte("kept"))
	t.put(t.nodes[0], "bob", []byte("gone"))
	t.put(t.nodes[0], "bob", nil)
	for i := range t.nodes {
		t.must(t.nodes[i].Close())
	}
	for i := range t.nodes {
		t.nodes[i] = t.open()
	}
	t.holds("ann", []byte("kept"))
	t.holds("bob", nil)
}
