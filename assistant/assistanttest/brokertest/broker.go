// Package brokertest is the contract suite of every assistant.Broker, and a broker for the tests of what uses one.
//
//   - [TestBroker] checks the whole contract, [BenchmarkBroker] measures what a broker adds.
//   - [Bus] connects nodes within a process. It can lose, double and delay announcements, and cut a node off.
//   - [Node] is a broker with a [Member] that serves logs and keeps what it is told, for further tests of a broker.
package brokertest

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Options say what a broker is like.
type Options struct {
	// NoLogs says that Follow always is [assistant.ErrNoNode].
	NoLogs bool
	// Repeats says that a call of which nothing is heard for long may be carried out twice.
	Repeats bool
	// Bound is how long Call and Follow may take to return [assistant.ErrNoNode]. Default: 1s
	Bound time.Duration
	// Ignore are goroutines that belong to the cluster, not to a broker.
	Ignore []goleak.Option
}

// Cluster is where nodes find each other.
type Cluster struct {
	// Broker returns the broker of one more node, not open, or fails the test.
	Broker func() assistant.Broker
	// ID returns an id that a broker of this cluster may be opened under, another one each time. Default: random
	ID func() assistant.NodeID
}

// TestBroker checks the whole contract of [assistant.Broker]. Each call of open makes a new cluster, or fails the
// test. The suite closes the brokers; whatever a broker has started must have ended then.
func TestBroker(t *testing.T, options Options, open func(t *testing.T) Cluster) {
	t.Helper()
	options.Bound = cmp.Or(options.Bound, time.Second)
	tests := slices.Concat(announceTests, callTests, closeTests)
	if options.NoLogs {
		tests = append(tests, brokerCase{"NoLogs", testNoLogs})
	} else {
		tests = slices.Concat(tests, followTests)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cluster := open(t)
			ignore := append(slices.Clip(options.Ignore), goleak.IgnoreCurrent())
			c := &brokerTest{T: t, options: options, cluster: cluster}
			defer func() {
				c.closeAll()
				goleak.VerifyNone(t, ignore...)
			}()
			test.run(c)
		})
	}
}

// brokerCase is a test of one sentence or two of the contract.
type brokerCase struct {
	name string
	run  func(*brokerTest)
}

// brokerTest is a cluster under test.
type brokerTest struct {
	*testing.T

	options Options
	cluster Cluster
	nodes   []*Node
}

// open adds a node to the cluster.
func (t *brokerTest) open() *Node {
	t.Helper()
	n := NewNode(t.cluster.Broker(), 0)
	t.reopen(n)
	t.nodes = append(t.nodes, n)
	return n
}

// reopen opens a broker under an id that is new.
func (t *brokerTest) reopen(n *Node) {
	t.Helper()
	n.ID = newID(t.cluster)
	n.open(t)
	Eventually(t, "the broker is up", n.Up)
}

func newID(c Cluster) assistant.NodeID {
	if c.ID != nil {
		return c.ID()
	}
	return randomID()
}

func (t *brokerTest) closeAll() {
	for _, n := range t.nodes {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func (t *brokerTest) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what a broker does soon.
const patience = 20 * time.Second

// patient returns a context that ends the test's own waiting.
func (t *brokerTest) patient() context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// within checks that f takes no longer than the options' bound, with some patience for a busy machine.
func (t *brokerTest) within(what string, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > t.options.Bound+time.Second {
		t.Errorf("%s took %v, and may take %v", what, took, t.options.Bound)
	}
}
