package ws_test

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// TestAwait checks that Await answers pings and takes pongs by itself, and returns only when Recv has something to do.
func TestAwait(t *testing.T) {
	large := strings.Repeat("p", 30) // more than Await has room for
	for _, test := range []struct {
		name    string
		send    []byte
		pongs   []string // what Await answers
		returns bool
		next    string // what Recv returns, where Await has returned
	}{
		{"nothing", nil, nil, false, ""},
		{"pongs", frames(frame(fin|pong, ""), frame(fin|pong, "unasked")), nil, false, ""},
		{"pings", frames(frame(fin|ping, ""), frame(fin|pong, ""), frame(fin|ping, "one")), []string{"pong", "pong one"}, false, ""},
		{"message", frame(fin|text, "hello"), nil, true, "hello"},
		{"ping, then message", frames(frame(fin|ping, "p"), frame(fin|text, "hello")), []string{"pong p"}, true, "hello"},
		{"half a header", []byte{fin | text}, nil, true, ""},
		{"half a pong", frame(fin|pong, "unasked")[:7], nil, true, ""},
		{"large ping", frame(fin|ping, large), nil, true, ""},
		{"two messages", frames(frame(fin|text, "one"), frame(fin|text, "two")), nil, true, "one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := open(t, ws.Options{})
				got := collect(p, false)
				var returned atomic.Bool
				var wg sync.WaitGroup
				wg.Go(func() {
					c.Await()
					returned.Store(true)
				})
				wg.Go(func() { _, _ = p.Write(test.send) }) // until it is read, or cut off
				synctest.Wait()
				if returned.Load() != test.returns {
					t.Errorf("returned: %v, want %v", returned.Load(), test.returns)
				}
				if test.next != "" {
					if data, err := c.Recv(); string(data) != test.next || err != nil {
						t.Errorf("got %q, %v", data, err)
					}
				}
				if test.name == "two messages" {
					c.Await() // does not wait
					if data, err := c.Recv(); string(data) != "two" || err != nil {
						t.Errorf("got %q, %v", data, err)
					}
				}
				_ = p.Conn.Close()
				wg.Wait()
				_ = c.Close(1000, "")
				if got := <-got; !slices.Equal(slices.DeleteFunc(got, isEnd), test.pongs) {
					t.Errorf("peer got %q, want %q", got, test.pongs)
				}
			})
		})
	}
}

// isEnd recognizes what a peer gets that has closed its connection.
func isEnd(frame string) bool { return !strings.HasPrefix(frame, "pong") }

// TestIdleMemory holds what an open HTTP/1.1 connection costs in memory that waits for a message, after it has had some.
func TestIdleMemory(t *testing.T) {
	const n = 500
	bound := int64(5500) // bytes each
	if underRace() {
		bound = 7500
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	idle := make(chan *ws.Conn)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := ws.Upgrade(w, r, ws.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		wg.Go(func() { awaits(c, idle) })
	})}
	wg.Go(func() { _ = server.Serve(l) })
	before := memory()
	var conns []*ws.Conn
	var clients []net.Conn
	for range n {
		client, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, client)
		connectHere(t, client)
		for _, send := range [][]byte{frame(fin|text, "one"), frame(fin|ping, ""), frame(fin|pong, ""), frame(fin|text, strings.Repeat("two", 1000))} {
			if _, err := client.Write(send); err != nil {
				t.Fatal(err)
			}
		}
		conns = append(conns, <-idle)
	}
	each := int64(memory()-before) / n
	t.Logf("%d bytes each", each)
	if each > bound {
		t.Errorf("an idle connection costs %d bytes, want at most %d", each, bound)
	}
	for i, c := range conns {
		_ = clients[i].Close()
		_ = c.Close(1000, "")
	}
	_ = server.Close()
	wg.Wait()
	runtime.KeepAlive(clients)
}

// underRace reports whether the race detector is on, which needs larger stacks.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// awaits reads messages on other goroutines, and says when two have come.
func awaits(c *ws.Conn, idle chan<- *ws.Conn) {
	errs := make(chan error)
	for got := 1; ; got++ {
		c.Await()
		go func() {
			_, err := c.Recv()
			errs <- err
		}()
		if <-errs != nil {
			return
		}
		if got == 2 {
			go func() { idle <- c }()
		}
	}
}

// connectHere sends the handshake, and reads the answer without a buffer that stays.
func connectHere(t *testing.T, client net.Conn) {
	t.Helper()
	if _, err := io.WriteString(client, handshake); err != nil {
		t.Fatal(err)
	}
	var answer []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(answer), "\r\n\r\n"); answer = append(answer, one...) {
		if _, err := client.Read(one); err != nil {
			t.Fatal(err)
		}
	}
}
