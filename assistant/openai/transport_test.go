package openai

import (
	"context"
	"net"
	"testing"
)

// TestReadSize checks that much is read at once from a service that sends fast.
func TestReadSize(t *testing.T) {
	good := func(w *reply) { w.Stream(w.piece("Hello"), w.finish(), w.done()) }
	serve(t, Config{}, good, func(t *testing.T, p *Provider, u *upstream) {
		conn := new(sizedConn)
		p.transport.DialContext = func(ctx context.Context, network, address string) (_ net.Conn, err error) {
			conn.Conn, err = u.dial(ctx, network, address)
			return conn, err
		}
		if a := ask(t.Context(), p); a.text != "Hello" {
			t.Fatal(a.err)
		}
		if conn.least < readSize {
			t.Errorf("a read was for %d bytes, want %d", conn.least, readSize)
		}
	})
}

// sizedConn keeps the size of the smallest buffer that it was to read into.
type sizedConn struct {
	net.Conn
	least int // 0 = there was no read
}

func (c *sizedConn) Read(p []byte) (int, error) {
	if c.least == 0 || len(p) < c.least {
		c.least = len(p)
	}
	return c.Conn.Read(p)
}
