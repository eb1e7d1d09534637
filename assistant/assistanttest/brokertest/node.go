package brokertest

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Node is a broker, and what it serves.
type Node struct {
	assistant.Broker
	*Member

	ID assistant.NodeID
}

// NewNode returns a node whose broker is not open. An id of 0 stands for a random one.
func NewNode(b assistant.Broker, id assistant.NodeID) *Node {
	if id == 0 {
		id = randomID()
	}
	return &Node{b, NewMember(), id}
}

func randomID() assistant.NodeID { return assistant.NodeID(rand.Int64() | 1) }

// OpenNode is NewNode, and opens the broker until the test ends. It does not wait until the broker is up.
func OpenNode(t testing.TB, b assistant.Broker, id assistant.NodeID) *Node {
	t.Helper()
	n := NewNode(b, id)
	n.open(t)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func (n *Node) open(t testing.TB) {
	t.Helper()
	if err := n.Open(t.Context(), n.ID, n.Member); err != nil {
		t.Fatal(err)
	}
}

// Eventually waits for a condition, and fails the test when that takes too long.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v have passed, and it does not hold that %s", patience, what)
		}
	}
}

// Reading is what a follower has got of a log.
type Reading struct {
	At      assistant.Cursor // of the last event
	Text    string
	Batches int
}

// Read follows a log after a cursor until it ends or more, which may be nil, returns false. It checks that nothing is
// missing and nothing comes twice, and returns the error with which the log ended.
func (n *Node) Read(ctx context.Context, t testing.TB, holder assistant.NodeID, id string, after assistant.Cursor, more func(Reading) bool) (r Reading, err error) {
	t.Helper()
	r.At = after
	var text strings.Builder
	defer func() { r.Text = text.String() }()
	for b, err := range n.Follow(ctx, holder, id, after) {
		if err != nil {
			return r, err
		}
		events, err := b.Events()
		if err != nil {
			t.Errorf("events: %v", err)
		}
		if b.Epoch != r.At.Epoch || b.First != r.At.Seq+1 || b.Last < b.First {
			t.Errorf("after %+v came %q %d to %d", r.At, b.Epoch, b.First, b.Last)
		}
		r.At.Seq = b.Last
		r.Batches++
		text.WriteString(textOf(events))
		if more != nil && !more(r) {
			return r, nil
		}
	}
	return r, nil
}
