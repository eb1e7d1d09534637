package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// callTests are about Call and Serve.
var callTests = []brokerCase{
	{"Call", testCall},
	{"CallConcurrently", testCallConcurrently},
	{"CallWithMuch", testCallWithMuch},
	{"CallNoNode", testCallNoNode},
	{"CallEndsWithContext", testCallEndsWithContext},
	{"CallPanics", testCallPanics},
	{"CallSlow", testCallSlow},
}

// call has another node echo.
func (t *brokerTest) call(from, to *Node, request []byte) {
	t.Helper()
	reply, err := from.Call(t.patient(), to.ID, request)
	if want := echoed(from.ID, request); err != nil || !bytes.Equal(reply, want) {
		t.Errorf("got %d bytes %.50q, %v; want %d bytes %.50q", len(reply), reply, err, len(want), want)
	}
}

// testCall holds that request and reply arrive as they were, and with the caller's id.
func testCall(t *brokerTest) {
	a, b, c := t.open(), t.open(), t.open()
	for _, request := range []string{"hello", "", "\x00\xff\n\r\n\"'\\", `{"json":1}`} {
		t.call(a, b, []byte(request))
		t.call(b, a, []byte(request))
		t.call(c, a, []byte(request))
	}
	b.Reply = func(context.Context, assistant.NodeID, []byte) []byte { return nil }
	if reply, err := a.Call(t.patient(), b.ID, []byte("x")); err != nil || len(reply) != 0 {
		t.Errorf("an empty reply: got %q, %v", reply, err)
	}
}

// testCallConcurrently calls to and fro at once; the replies do not get mixed up.
func testCallConcurrently(t *brokerTest) {
	a, b := t.open(), t.open()
	var wg sync.WaitGroup
	for i := range 200 {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		wg.Go(func() { t.call(from, to, bytes.Repeat([]byte{byte(i)}, i)) })
	}
	wg.Wait()
}

// testCallWithMuch sends requests and replies of 1 MiB, several at once.
func testCallWithMuch(t *brokerTest) {
	a, b := t.open(), t.open()
	var wg sync.WaitGroup
	for i := range 4 {
		request := make([]byte, 1<<20+i)
		random := rand.NewChaCha8([32]byte{byte(i)})
		_, _ = random.Read(request)
		wg.Go(func() { t.call(a, b, request) })
	}
	wg.Wait()
}

// wantNoNode checks that a node is not reachable, which is known soon.
func (t *brokerTest) wantNoNode(what string, from *Node, to assistant.NodeID) {
	t.Helper()
	t.within("a call of "+what, func() {
		if reply, err := from.Call(t.patient(), to, []byte("x")); !errors.Is(err, assistant.ErrNoNode) {
			t.Errorf("%s was called: got %q, %v", what, reply, err)
		}
	})
	t.within("following "+what, func() {
		n := 0
		for b, err := range from.Follow(t.patient(), to, "conversation", assistant.Cursor{Epoch: "epoch"}) {
			if n++; n > 1 || !errors.Is(err, assistant.ErrNoNode) || b.Data != nil {
				t.Errorf("%s was followed: got %+v, %v", what, b, err)
			}
		}
		if n == 0 {
			t.Errorf("%s was followed: the end came without an error", what)
		}
	})
}

// testCallNoNode asks for nodes that are not there, before Open and after Close too.
func testCallNoNode(t *brokerTest) {
	a, b := t.open(), t.open()
	t.wantNoNode("a node that never was", a, newID(Cluster{}))
	t.wantNoNode("no node", a, 0)
	unopened := &Node{Broker: t.cluster.Broker()}
	t.wantNoNode("a node from one that is not open", unopened, b.ID)
	t.must(b.Close())
	t.wantNoNode("a node that has closed", a, b.ID)
	t.wantNoNode("a node from one that has closed", b, a.ID)
	if b.Up() || unopened.Up() {
		t.Error("a broker that is not open is up")
	}
}

// testCallEndsWithContext cancels calls that nobody answers.
func testCallEndsWithContext(t *brokerTest) {
	a, b := t.open(), t.open()
	entered, leave := make(chan struct{}), make(chan struct{})
	b.Reply = func(ctx context.Context, _ assistant.NodeID, request []byte) []byte {
		entered <- struct{}{}
		select {
		case <-leave:
		case <-ctx.Done():
		}
		return nil
	}
	errGone := errors.New("caller has gone")
	ctx, cancel := context.WithCancelCause(t.patient())
	ended := make(chan error, 1)
	go func() {
		_, err := a.Call(ctx, b.ID, []byte("x"))
		ended <- err
	}()
	<-entered
	cancel(errGone)
	t.within("the end of a call whose context ends", func() {
		if err := <-ended; !errors.Is(err, errGone) {
			t.Errorf("got %v", err)
		}
	})
	close(leave)
	b.Reply = echo
	t.call(a, b, []byte("after"))
	if _, err := a.Call(ctx, b.ID, []byte("x")); !errors.Is(err, errGone) {
		t.Errorf("a context that had ended before: got %v", err)
	}
}

// testCallPanics lets a node panic: it lives, and the caller does not believe that nothing was done.
func testCallPanics(t *brokerTest) {
	a, b := t.open(), t.open()
	b.Reply = func(context.Context, assistant.NodeID, []byte) []byte { panic("served") }
	if reply, err := a.Call(t.patient(), b.ID, []byte("x")); err == nil || errors.Is(err, assistant.ErrNoNode) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %q, %v", reply, err)
	}
	b.Reply = echo
	t.call(a, b, []byte("after"))
}

// testCallSlow holds that many calls that take long, longer than a node needs to be found missing, keep none
// from being served, and that each is carried out once, unless the broker repeats such calls.
func testCallSlow(t *brokerTest) {
	a, b := t.open(), t.open()
	var served atomic.Int32
	leave := make(chan struct{})
	b.Reply = func(ctx context.Context, from assistant.NodeID, request []byte) []byte {
		if served.Add(1); request[0] == 's' {
			select {
			case <-leave:
			case <-ctx.Done():
			}
		}
		return echoed(from, request)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { t.call(a, b, fmt.Appendf(nil, "slow %d", i)) })
	}
	Eventually(t, "all are being served", func() bool { return served.Load() == 20 })
	t.call(a, b, []byte("quick"))
	time.Sleep(t.options.Bound + t.options.Bound/8) // longer than the bound: the callers must not give up
	close(leave)
	wg.Wait()
	if n := served.Load(); n != 21 && !t.options.Repeats {
		t.Errorf("21 calls were carried out %d times", n)
	}
}
