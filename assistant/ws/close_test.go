package ws_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/gorilla/websocket"
)

// closeTimeout is how long Close may wait for its peer.
const closeTimeout = 500 * time.Millisecond

// TestCloseIsBounded checks that Close takes at most half a second, whatever the peer does and whatever else
// is under way, and that it ends Recv and Send.
func TestCloseIsBounded(t *testing.T) {
	for _, test := range []struct {
		name string
		peer func(p *peer)    // what the peer does
		busy func(c *ws.Conn) // what else uses the connection
		want time.Duration
	}{
		{"peer leaves when told", leaves, nil, 0},
		{"peer leaves without a word", func(p *peer) { _ = p.Conn.Close() }, nil, 0},
		{"peer reads and stays", func(p *peer) { collect(p, true) }, nil, closeTimeout},
		{"peer does not read", nil, nil, closeTimeout},
		{"peer answers and stays", func(p *peer) {
			p.next()
			p.write(frame(fin|closing, closePayload(1001, "")))
		}, nil, 0},
		{"peer sends on and on", func(p *peer) {
			collect(p, false)
			flood(p, frame(fin|text, strings.Repeat("x", 1000)))
		}, nil, closeTimeout},
		{"peer sends and does not read", func(p *peer) {
			flood(p, frame(fin|text, strings.Repeat("x", 1000)))
		}, nil, closeTimeout},
		{"peer sends pings and does not read", func(p *peer) {
			flood(p, frame(fin|ping, ""))
		}, nil, closeTimeout},
		{"peer does not read, during Send", nil, func(c *ws.Conn) { _ = c.Send([]byte("never read")) }, closeTimeout},
		{"peer does not read, during many Sends", nil, func(c *ws.Conn) {
			for c.Send([]byte("never read")) == nil {
			}
		}, closeTimeout},
		{"peer sends pings and does not read, during Send", func(p *peer) {
			p.write(frame(fin|ping, ""))
		}, func(c *ws.Conn) { _ = c.Send([]byte("never read")) }, closeTimeout},
		{"after Send has failed", func(p *peer) { time.Sleep(20 * time.Second) }, func(c *ws.Conn) {
			_ = c.Send([]byte("never read"))
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := open(t, ws.Options{PingInterval: time.Hour})
				var wg, peers sync.WaitGroup
				defer peers.Wait()
				wg.Go(func() { _, _ = recv(c) })
				if test.busy != nil {
					wg.Go(func() { test.busy(c) })
					synctest.Wait()
				}
				if test.peer != nil {
					peers.Go(func() { test.peer(p) })
				}
				if test.want == 0 && test.busy != nil {
					time.Sleep(20 * time.Second)
				}
				synctest.Wait()
				start := time.Now()
				_ = c.Close(1001, "going away")
				if got := time.Since(start); got != test.want {
					t.Errorf("took %v, want %v", got, test.want)
				}
				wg.Wait() // Recv and Send have ended too
				if got := time.Since(start); got > closeTimeout {
					t.Errorf("all ended after %v", got)
				}
				if err := c.Send([]byte("late")); err == nil {
					t.Error("Send after Close succeeded")
				}
			})
		})
	}
}

func leaves(p *peer) {
	for p.err == nil {
		if strings.HasPrefix(p.next(), "close") {
			p.write(frame(fin|closing, closePayload(1001, "")))
			_ = p.Conn.Close()
			return
		}
	}
}

// flood sends a thousand messages a second until the connection is gone.
func flood(p *peer, message []byte) {
	for {
		if _, err := p.Write(message); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestCloseTellsWhy shows the close frame that the peer sees.
func TestCloseTellsWhy(t *testing.T) {
	for _, test := range []struct {
		code   int
		reason string
		want   string
	}{
		{1000, "", "close 1000"},
		{1012, "server is stopping", "close 1012 server is stopping"},
		{1008, strings.Repeat("r", 123), "close 1008 " + strings.Repeat("r", 123)},
		{4401, "κόσμε", "close 4401 κόσμε"},
		{websocket.CloseNoStatusReceived, "", "close"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, p := open(t, ws.Options{})
			got := collect(p, false)
			if err := c.Close(test.code, test.reason); err != nil {
				t.Errorf("close: %v", err)
			}
			if got := <-got; !slices.Equal(got, []string{test.want}) {
				t.Errorf("peer got %q, want %q", got, test.want)
			}
		})
	}
}

// TestCloseTwice shows that the first Close counts, and that others wait for its end.
func TestCloseTwice(t *testing.T) {
	near, far := tcpPipe(t)
	conns := serve(t, far, &http.Server{}, ws.Options{}, nil)
	p := connect(t, near, handshake)
	c := <-conns
	var wg sync.WaitGroup
	var mu sync.Mutex
	var codes []string
	for i := range 8 {
		wg.Go(func() {
			if err := c.Close(4000+i, ""); err == nil {
				mu.Lock()
				defer mu.Unlock()
				codes = append(codes, fmt.Sprint("close ", 4000+i))
			}
			if _, err := far.Write([]byte{0}); err == nil {
				t.Error("Close has returned, but the connection is open")
			}
		})
	}
	got := p.next()
	_ = p.Conn.Close()
	wg.Wait()
	if len(codes) != 8 || !slices.Contains(codes, got) {
		t.Errorf("peer got %q; closed without error: %q", got, codes)
	}
	if err := c.Close(1000, ""); err != nil {
		t.Error(err)
	}
}

// TestCloseDuringTraffic closes a busy connection at random moments. The peer must get whole messages in
// order, then the close frame, then the end, and Recv must return only messages that were sent.
func TestCloseDuringTraffic(t *testing.T) {
	ws.SetCloseTimeout(t, time.Minute)
	for i := range 60 {
		near, far := tcpPipe(t)
		conns := serve(t, far, &http.Server{}, ws.Options{}, nil)
		p := connect(t, near, handshake)
		c := <-conns
		ready := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := 0; ; n += 2 {
				if n == i%40*2 {
					close(ready)
				}
				if c.Send(fmt.Append(nil, n), fmt.Append(nil, n+1)) != nil {
					return
				}
			}
		})
		var received []string
		wg.Go(func() { received, _ = recv(c) })
		wg.Go(func() {
			for n := 0; ; n++ {
				if _, err := p.Write(frame(fin|text, fmt.Sprintf("%d %s", n, strings.Repeat("x", n%700)))); err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			<-ready
			_ = c.Close(1001, "")
		})
		if n, got := readNumbers(p); got != "close 1001" {
			t.Fatalf("round %d: after %d messages the peer got %q", i, n, got)
		}
		if got := p.next(); p.err != io.EOF {
			t.Fatalf("round %d: after the close frame came %q", i, got)
		}
		_ = p.Conn.Close()
		wg.Wait()
		for n, data := range received {
			if want := fmt.Sprintf("%d %s", n, strings.Repeat("x", n%700)); data != want {
				t.Fatalf("round %d: received %q as number %d", i, data, n)
			}
		}
	}
}

// TestNothingAfterClose checks that messages which arrive after the close frame was sent are discarded: Close
// reads them to the end, and Recv returns none of them.
func TestNothingAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := open(t, ws.Options{})
		var wg sync.WaitGroup
		var received []string
		wg.Go(func() { received, _ = recv(c) })
		p.write(frame(fin|text, "before"))
		half := frame(fin|text, "half of it is late")
		p.write(half[:8])
		synctest.Wait()
		wg.Go(func() { _ = c.Close(1001, "") })
		if got := p.next(); got != "close 1001" {
			t.Errorf("peer got %q", got)
		}
		p.write(half[8:])
		for range 20 {
			p.write(frame(fin|text, "late"))
		}
		_ = p.Conn.Close()
		wg.Wait()
		if !slices.Equal(received, []string{"before"}) {
			t.Errorf("received %q", received)
		}
	})
}

// readNumbers reads the numbered messages of the test. It returns how many there were and what came next.
func readNumbers(p *peer) (n int, next string) {
	for {
		switch got := p.next(); got {
		case "ping":
		case fmt.Sprint("text ", n):
			n++
		default:
			return n, got
		}
	}
}

// lateDeadline is a connection on which Close overtakes a call that sets a deadline.
type lateDeadline struct {
	net.Conn
	arm      chan struct{} // closed: the next SetReadDeadline or SetWriteDeadline waits
	overtake chan struct{} // closed by SetDeadline
	once     sync.Once
}

func (c *lateDeadline) SetDeadline(t time.Time) error {
	defer c.once.Do(func() {
		select {
		case <-c.arm:
			close(c.overtake)
		default:
		}
	})
	return c.Conn.SetDeadline(t)
}

func (c *lateDeadline) wait() {
	select {
	case <-c.arm:
		<-c.overtake
	default:
	}
}

func (c *lateDeadline) SetReadDeadline(t time.Time) error {
	c.wait()
	return c.Conn.SetReadDeadline(t)
}

func (c *lateDeadline) SetWriteDeadline(t time.Time) error {
	c.wait()
	return c.Conn.SetWriteDeadline(t)
}

// TestCloseOvertakesDeadline checks that Close is bounded even when Recv or Send is just about to set its
// own, later deadline.
func TestCloseOvertakesDeadline(t *testing.T) {
	for name, use := range map[string]func(c *ws.Conn, p *peer){
		"Send": func(c *ws.Conn, _ *peer) { _ = c.Send([]byte("never read")) },
		"Recv": func(c *ws.Conn, p *peer) {
			collect(p, false) // so that Close waits for the peer to leave
			_, _ = c.Recv()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				late := &lateDeadline{Conn: far, arm: make(chan struct{}), overtake: make(chan struct{})}
				conns := serve(t, late, &http.Server{}, ws.Options{}, nil)
				p := connect(t, near, handshake)
				c := <-conns
				late.once = sync.Once{} // the HTTP server has used it
				close(late.arm)
				var wg sync.WaitGroup
				wg.Go(func() { use(c, p) })
				synctest.Wait()
				start := time.Now()
				_ = c.Close(1001, "")
				wg.Wait()
				if got := time.Since(start); got > closeTimeout {
					t.Errorf("took %v", got)
				}
			})
		})
	}
}

// TestCloseAfterReset checks that Close sends nothing to a peer that has reset the connection.
func TestCloseAfterReset(t *testing.T) {
	near, far := tcpPipe(t)
	counting := &countingConn{Conn: far}
	conns := serve(t, counting, &http.Server{}, ws.Options{}, nil)
	_ = connect(t, near, handshake)
	c := <-conns
	before := counting.writes.Load()
	if err := near.(*net.TCPConn).SetLinger(0); err != nil { // so that closing resets
		t.Fatal(err)
	}
	_ = near.Close()
	if _, err := recv(c); err == nil {
		t.Error("the connection goes on")
	}
	_ = c.Close(1011, "")
	if n := counting.writes.Load() - before; n != 0 || c.Agreed() {
		t.Errorf("%d writes, agreed: %v", n, c.Agreed())
	}
	if err := c.Send([]byte("late")); err == nil {
		t.Error("Send after Close succeeded")
	}
}
