//go:build unix

package ws

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// rawOf returns the connection for writes that do not wait; nil where it has none, as with TLS.
func rawOf(conn net.Conn) syscall.RawConn {
	socket, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// try is a write that does not wait.
type try struct {
	p   []byte
	n   int // bytes that were written
	err error
	do  func(fd uintptr) bool
}

var tries = sync.Pool{New: func() any {
	t := new(try)
	t.do = t.write
	return t
}}

// write always returns true: nobody waits for a place in the socket's buffer.
func (t *try) write(fd uintptr) bool {
	for t.n < len(t.p) && t.err == nil {
		n, err := writeOnce(fd, t.p[t.n:])
		switch {
		case err == nil:
			t.n += n
		case errors.Is(err, syscall.EINTR):
		default:
			t.err = err
		}
	}
	return true
}

// tryWrite writes as much of p as it can without a wait.
func tryWrite(raw syscall.RawConn, p []byte) (n int, err error) {
	t := tries.Get().(*try)
	t.p, t.n, t.err = p, 0, nil
	err = raw.Write(t.do)
	n, err = t.n, errors.Join(err, t.err)
	t.p, t.err = nil, nil
	tries.Put(t)
	if errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	return n, err
}
