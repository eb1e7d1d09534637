package harness

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Relay is a network between a browser and a server, which can fail.
type Relay struct {
	Addr string

	target string
	mu     sync.Mutex
	cut    bool
	conns  []net.Conn
	done   sync.WaitGroup
}

// NewRelay passes connections on to c.
func NewRelay(t testing.TB, c *Caddy) *Relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Addr: listener.Addr().String(), target: c.Addr}
	r.done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.join(conn)
		}
	})
	t.Cleanup(func() {
		listener.Close()
		r.Cut()
		r.done.Wait()
	})
	return r
}

// Cut drops all connections, and each new one.
func (r *Relay) Cut() { r.set(true) }

// Mend lets connections through again.
func (r *Relay) Mend() { r.set(false) }

func (r *Relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	if cut {
		for _, conn := range r.conns {
			conn.Close()
		}
		r.conns = nil
	}
}

func (r *Relay) join(client net.Conn) {
	server, err := net.Dial("tcp", r.target)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || r.cut {
		client.Close()
		if err == nil {
			server.Close()
		}
		return
	}
	r.conns = append(r.conns, client, server)
	r.done.Go(func() { pipe(client, server) })
	r.done.Go(func() { pipe(server, client) })
}

// pipe ends both when one ends.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	to.Close()
	from.Close()
}
