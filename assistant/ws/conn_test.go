package ws_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/gorilla/websocket"
)

// collect reads what the server sends until it hangs up, and answers pings if asked to. It sends everything
// to the channel.
func collect(p *peer, pongs bool) <-chan []string {
	done := make(chan []string, 1)
	go func() {
		var got []string
		for {
			next := p.next()
			if p.err != nil {
				if p.err != io.EOF {
					got = append(got, next)
				}
				done <- got
				return
			}
			got = append(got, next)
			if next == "ping" && pongs {
				p.write(frame(fin|pong, ""))
			}
		}
	}()
	return done
}

// TestSendIsOneWrite checks that the messages of one Send cost one system call for each 64 KiB, and that
// their frames are whole and in order.
func TestSendIsOneWrite(t *testing.T) {
	for _, test := range []struct {
		name     string
		messages []string
		writes   int64
	}{
		{"one", []string{"hello"}, 1},
		{"several", []string{"one", "", "three", "κόσμε"}, 1},
		{"as many as a batch has", slices.Repeat([]string{`{"action":"streaming","payload":{"content":" a"}}`}, 256), 1},
		{"larger than a buffer", []string{"a", strings.Repeat("b", 50_000), "c", strings.Repeat("d", 10_000)}, 1},
		{"very large", []string{"a", strings.Repeat("b", 200_000), "c", strings.Repeat("d", 70_000)}, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p, counting := openCounted(t, ws.Options{})
				before := counting.writes.Load()
				got := collect(p, false)
				var messages [][]byte
				var want []string
				for _, m := range test.messages {
					messages = append(messages, []byte(m))
					want = append(want, strings.TrimSpace("text "+m))
				}
				if err := c.Send(messages...); err != nil {
					t.Error(err)
				}
				if n := counting.writes.Load() - before; n != test.writes {
					t.Errorf("%d writes, want %d", n, test.writes)
				}
				_ = c.Close(1000, "")
				if got := <-got; !slices.Equal(got, append(want, "close 1000")) {
					t.Errorf("peer got %d frames, want %d and the end, in order", len(got), len(want))
				}
			})
		})
	}
}

// TestSendNothing shows that a Send of no messages does nothing.
func TestSendNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, counting := openCounted(t, ws.Options{})
		before := counting.writes.Load()
		if err := c.Send(); err != nil || counting.writes.Load() != before {
			t.Errorf("got %v and %d writes", err, counting.writes.Load()-before)
		}
		_ = c.Close(1000, "")
	})
}

// TestSendKeepsMessages shows that Send neither changes nor retains its arguments.
func TestSendKeepsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := open(t, ws.Options{})
		got := collect(p, false)
		small, large := []byte("small"), []byte(strings.Repeat("x", 100_000))
		for range 3 {
			if err := c.Send(small, large); err != nil {
				t.Fatal(err)
			}
			if string(small) != "small" || string(large) != strings.Repeat("x", 100_000) {
				t.Fatal("messages were changed")
			}
		}
		copy(small, "SMALL")
		_ = c.Close(1000, "")
		want := slices.Repeat([]string{"text small", "text " + strings.Repeat("x", 100_000)}, 3)
		if got := <-got; !slices.Equal(got, append(want, "close 1000")) {
			t.Errorf("peer got %d frames", len(got))
		}
	})
}

// TestDefaultLimit shows the default of MaxMessageSize.
func TestDefaultLimit(t *testing.T) {
	for size, want := range map[int]string{1 << 20: "", 1<<20 + 1: "message is too big"} {
		synctest.Test(t, func(t *testing.T) {
			c, p := open(t, ws.Options{})
			go func() { _, _ = p.Write(frame(fin|text, strings.Repeat("x", size))) }()
			data, err := c.Recv()
			if (err == nil) != (want == "") || err != nil && err.Error() != want || err == nil && len(data) != size {
				t.Errorf("%d bytes: got %d bytes, %v", size, len(data), err)
			}
			_ = p.Conn.Close()
			_ = c.Close(1000, "")
		})
	}
}

// TestPing checks that an idle connection whose peer answers stays open, with one ping in each interval.
func TestPing(t *testing.T) {
	for _, o := range []ws.Options{{}, {PingInterval: 3 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			interval := 25 * time.Second
			if o.PingInterval > 0 {
				interval = o.PingInterval
			}
			c, p := open(t, o)
			got := collect(p, true)
			ended := make(chan error, 1)
			go func() {
				_, err := recv(c)
				ended <- err
			}()
			time.Sleep(100*interval + interval/2)
			select {
			case err := <-ended:
				t.Fatalf("the connection ended: %v", err)
			default:
			}
			p.write(frame(fin|closing, closePayload(1000, "")))
			if err := <-ended; err != io.EOF {
				t.Errorf("got %v", err)
			}
			_ = c.Close(1000, "")
			if got := <-got; !slices.Equal(got, append(slices.Repeat([]string{"ping"}, 100), "close 1000")) {
				t.Errorf("peer got %q", got)
			}
			time.Sleep(10 * interval) // and nothing after the end: synctest would see a goroutine that waits
		})
	}
}

// TestSilentPeer checks that a peer is dropped when it is silent for two intervals or does not take a ping
// within WriteTimeout, and that any byte counts as a sign of life.
func TestSilentPeer(t *testing.T) {
	const interval = 20 * time.Second
	for _, test := range []struct {
		name  string
		reads bool
		send  []byte // one byte each 30 seconds
		want  time.Duration
	}{
		{"reads", true, nil, 40 * time.Second},
		{"does not read", false, nil, 30 * time.Second},
		{"sends slow pongs", true, frames(frame(fin|pong, ""), frame(fin|pong, "")), 11*30*time.Second + 40*time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := open(t, ws.Options{PingInterval: interval})
				start := time.Now()
				if test.reads {
					collect(p, false)
				}
				go func() {
					for _, b := range test.send {
						p.write([]byte{b})
						time.Sleep(30 * time.Second)
					}
				}()
				_, err := recv(c)
				var timeout net.Error
				if !asError(err, &timeout) || !timeout.Timeout() {
					t.Errorf("got %v", err)
				}
				if got := time.Since(start); got != test.want {
					t.Errorf("dropped after %v, want %v", got, test.want)
				}
				_ = c.Close(closeCode(err), "")
			})
		})
	}
}

// TestSlowMessage checks that a message has a minute from its first frame to its last, whatever comes in between,
// and a larger one more where the limit allows it.
func TestSlowMessage(t *testing.T) {
	for _, test := range []struct {
		limit int64
		takes time.Duration
		whole bool
	}{
		{0, 59 * time.Second, true}, {0, 61 * time.Second, false},
		{100 << 20, 5241 * time.Second, true}, {100 << 20, 5243 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, p := open(t, ws.Options{MaxMessageSize: test.limit})
			collect(p, false)
			var peer sync.WaitGroup
			for range 2 { // the time begins anew for each message
				peer.Go(func() {
					_, _ = p.Write(frame(text, "a"))
					for i := range test.takes / time.Second {
						time.Sleep(time.Second)
						if i%10 == 0 {
							_, _ = p.Write(frames(frame(continuation, ""), frame(fin|ping, "")))
						}
					}
					_, _ = p.Write(frame(fin|continuation, "b"))
				})
				start := time.Now()
				data, err := c.Recv()
				if test.whole {
					if string(data) != "ab" || err != nil {
						t.Fatalf("got %q, %v", data, err)
					}
					continue
				}
				if closeCode(err) != 1008 || time.Since(start) != test.takes-time.Second {
					t.Errorf("got %v after %v", err, time.Since(start))
				}
				break
			}
			_ = c.Close(1000, "")
			peer.Wait()
		})
	}
}

// TestWriteTimeout checks that WriteTimeout ends a Send that the peer does not take, and that nothing follows
// half a message.
func TestWriteTimeout(t *testing.T) {
	for _, o := range []ws.Options{{}, {WriteTimeout: 2 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			want := 10 * time.Second
			if o.WriteTimeout > 0 {
				want = o.WriteTimeout
			}
			c, p := open(t, o)
			go func() { _, _ = recv(c) }()
			start := time.Now()
			go func() { _, _ = io.ReadFull(p.Conn, make([]byte, 50)) }()
			err := c.Send([]byte(strings.Repeat("x", 100)), []byte("next"))
			var timeout net.Error
			if !asError(err, &timeout) || !timeout.Timeout() || time.Since(start) != want {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
			rest := make(chan []byte, 1)
			go func() {
				b, _ := io.ReadAll(p.Conn)
				rest <- b
			}()
			if err := c.Send([]byte("more")); err == nil {
				t.Error("the error is permanent, but then Send succeeded")
			}
			_ = c.Close(1011, "")
			if got := <-rest; len(got) > 0 {
				t.Errorf("after half a message came %q", got)
			}
		})
	}
}

// TestSlowPeer checks that WriteTimeout does not bound a large message: a peer that reads slowly still gets
// all of it.
func TestSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := open(t, ws.Options{})
		const size, frame = 1 << 20, 1<<20 + 10 // with the header
		sent := make(chan error, 1)
		go func() { sent <- c.Send([]byte(strings.Repeat("x", size))) }()
		got := 0
		for got < frame {
			n, err := io.ReadFull(p, make([]byte, min(8<<10, frame-got)))
			if err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
			got += n
			time.Sleep(time.Second) // the bubble's: 8 KiB a second
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		_ = p.Conn.Close()
		_ = c.Close(1000, "")
	})
}

// TestSilentDuringSend checks that a peer which reads slowly and sends nothing is not considered gone during a
// Send, however long it takes: pings wait for the Send. Afterwards the peer has the usual time.
func TestSilentDuringSend(t *testing.T) {
	const interval = 3 * time.Second
	synctest.Test(t, func(t *testing.T) {
		c, p := open(t, ws.Options{PingInterval: interval})
		ended := make(chan time.Time, 1)
		go func() {
			_, _ = recv(c)
			ended <- time.Now()
		}()
		sending := make(chan error, 1)
		go func() { sending <- c.Send([]byte(strings.Repeat("x", 1<<20))) }()
		for left := 1<<20 + 10; left > 0; left -= 16 << 10 {
			_, _ = io.ReadFull(p, make([]byte, min(16<<10, left)))
			time.Sleep(time.Second) // the bubble's
		}
		if err := <-sending; err != nil {
			t.Errorf("send: %v", err)
		}
		sent := time.Now()
		collect(p, false)
		if end := <-ended; end.Sub(sent) < interval || end.Sub(sent) > 3*interval {
			t.Errorf("dropped %v after the message was taken", end.Sub(sent))
		}
		_ = c.Close(1011, "")
	})
}

// TestPongWaits checks that the answer to a peer's ping waits for a Send under way without shortening its
// deadline: gorilla gives a pong one second, Send has ten.
func TestPongWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := open(t, ws.Options{})
		go func() { _, _ = recv(c) }()
		sent := make(chan error, 1)
		go func() { sent <- c.Send([]byte("slow")) }()
		synctest.Wait()
		p.write(frame(fin|ping, "p"))
		time.Sleep(8 * time.Second) // the peer is slow to read
		if got := p.next(); got != "text slow" {
			t.Errorf("peer got %q", got)
		}
		if err := <-sent; err != nil {
			t.Errorf("send: %v", err)
		}
		if got := p.next(); got != "pong p" {
			t.Errorf("peer got %q", got)
		}
		got := collect(p, false)
		if err := c.Send([]byte("next")); err != nil {
			t.Errorf("send: %v", err)
		}
		_ = c.Close(1000, "")
		if got := <-got; !slices.Equal(got, []string{"text next", "close 1000"}) {
			t.Errorf("peer got %q", got)
		}
	})
}

// TestDuplex sends and receives at once, with pings in both directions. With -race it shows that one
// goroutine may call Recv while another calls Send.
func TestDuplex(t *testing.T) {
	const n = 300
	synctest.Test(t, func(t *testing.T) {
		c, p := open(t, ws.Options{PingInterval: time.Millisecond})
		start := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			<-start
			for i := range n {
				if err := c.Send(fmt.Append(nil, 2*i), fmt.Append(nil, 2*i+1)); err != nil {
					t.Error(err)
				}
				time.Sleep(50 * time.Microsecond)
			}
		})
		wg.Go(func() {
			<-start
			for i := range n {
				p.write(frames(frame(fin|text, fmt.Sprint(i)), frame(fin|ping, "p")))
				time.Sleep(50 * time.Microsecond)
			}
		})
		var received []string
		wg.Go(func() { received, _ = recv(c) })
		close(start)
		var texts, pongs, pings int
		for texts < 2*n || pongs < n {
			switch got := p.next(); got {
			case "ping":
				pings++
			case "pong p":
				pongs++
			case fmt.Sprint("text ", texts):
				texts++
			default:
				t.Fatalf("peer got %q after %d messages and %d pongs", got, texts, pongs)
			}
		}
		if pings < 10 {
			t.Errorf("%d pings in %d milliseconds", pings, n*50/1000)
		}
		_ = p.Conn.Close()
		_ = c.Close(websocket.CloseNormalClosure, "")
		wg.Wait()
		for i, data := range received {
			if data != fmt.Sprint(i) {
				t.Fatalf("received %q, want %d", data, i)
			}
		}
		if len(received) != n {
			t.Errorf("received %d messages", len(received))
		}
	})
}

// tcpPipe is a connection over the loopback interface, with the kernel's buffers and half-close.
func tcpPipe(t testing.TB) (near, far net.Conn) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var d net.Dialer
	near, err = d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}
