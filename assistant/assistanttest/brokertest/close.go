package brokertest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// closeTests are about Open and Close.
var closeTests = []brokerCase{
	{"OpenAgain", testOpenAgain},
	{"CloseEndsCalls", testCloseEndsCalls},
	{"CloseTwice", testCloseTwice},
}

// testOpenAgain opens a broker under another id, as a node does that was buried.
func testOpenAgain(t *brokerTest) {
	a, b := t.open(), t.open()
	for range 2 {
		old := b.ID
		t.call(a, b, []byte("before"))
		t.must(b.Close())
		t.reopen(b)
		t.call(a, b, []byte("there"))
		t.call(b, a, []byte("and back"))
		t.announced(a, b, standing("to the new node", uint64(b.ID)))
		t.announced(b, a, standing("from the new node", uint64(b.ID)))
		t.wantNoNode("the old node", a, old)
	}
}

// testCloseEndsCalls closes a node that serves and one that calls: what runs has ended when Close returns.
func testCloseEndsCalls(t *brokerTest) {
	a, b := t.open(), t.open()
	entered := make(chan struct{})
	var serving atomic.Int32
	serve := func(ctx context.Context, _ assistant.NodeID, _ []byte) []byte {
		serving.Add(1)
		defer serving.Add(-1)
		entered <- struct{}{}
		<-ctx.Done()
		return nil
	}
	a.Reply, b.Reply = serve, serve
	call := func(from, to *Node) <-chan error {
		ended := make(chan error, 1)
		go func() {
			_, err := from.Call(t.patient(), to.ID, []byte("x"))
			ended <- err
		}()
		<-entered
		return ended
	}
	ab, ba := call(a, b), call(b, a)
	t.within("Close", func() { t.must(b.Close()) })
	if n := serving.Load(); n != 1 {
		t.Errorf("%d calls are being served, want that of the other node", n)
	}
	t.within("the end of its own call", func() {
		if err := <-ba; err == nil || errors.Is(err, assistant.ErrNoNode) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call of the node that closed: got %v, want that the outcome is unknown", err)
		}
	})
	t.must(a.Close())
	if err := <-ab; errors.Is(err, assistant.ErrNoNode) {
		t.Errorf("a call that was being served: got %v", err)
	}
	if n := serving.Load(); n != 0 {
		t.Errorf("%d calls are still being served", n)
	}
}

// testCloseTwice closes what is closed, and what was never open.
func testCloseTwice(t *brokerTest) {
	a := t.open()
	t.must(a.Close())
	t.must(a.Close())
	t.must(t.cluster.Broker().Close())
}
