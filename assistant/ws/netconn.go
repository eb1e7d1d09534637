package ws

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// hijacker is the http.ResponseWriter that gorilla upgrades. It is only ever asked to Hijack.
type hijacker struct {
	header http.Header
	nc     *netConn
}

func (h hijacker) Header() http.Header       { return h.header }
func (h hijacker) Write([]byte) (int, error) { return 0, http.ErrHijacked }
func (h hijacker) WriteHeader(int)           {}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	none := bytes.NewReader(nil)
	return h.nc, bufio.NewReadWriter(bufio.NewReaderSize(none, 16), bufio.NewWriterSize(h.nc, 16)), nil
}

// netConn is the net.Conn under gorilla. Its first write is gorilla's answer to the handshake, which
// is replayed on the real response writer; from then on it is the hijacked connection.
//
// Between cork and flush, writes are gathered, so that several frames cost one system call.
type netConn struct {
	net.Conn                     // nil until the handshake is answered
	w        http.ResponseWriter // nil afterwards
	idle     time.Duration       // how long a read may wait
	timeout  time.Duration       // how long a write may take
	early    []byte              // what the client sent together with its handshake
	closing  atomic.Int64        // Unix nanoseconds after which nothing may wait any longer; 0 = open

	mu      lock // held during writes
	corked  bool
	pending *bytes.Buffer // what was written since cork
	broken  error         // of the first write that failed: half a frame may be out, so nothing may follow
}

// lock is a mutex, but a goroutine that waits for it is durably blocked in the eyes of testing/synctest: a
// write may take long.
type lock chan struct{}

func newLock() lock    { return make(lock, 1) }
func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }

var corkBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const (
	// maxPooled is the largest buffer that is kept for the next write.
	maxPooled = 64 << 10
	// maxWrite is what one system call takes.
	maxWrite = 64 << 10
)

func (c *netConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.w != nil:
		return len(p), c.switchProtocols(p)
	case c.corked:
		return c.pending.Write(p)
	}
	return len(p), c.writeLocked(p)
}

// writeLocked gives every maxWrite bytes the full timeout, so that a slow peer gets large messages too.
func (c *netConn) writeLocked(p []byte) error {
	for len(p) > 0 && c.broken == nil {
		n := min(len(p), maxWrite)
		if c.broken = c.limit(c.Conn.SetWriteDeadline, c.timeout); c.broken == nil {
			_, c.broken = c.Conn.Write(p[:n])
		}
		p = p[n:]
	}
	return c.broken
}

// switchProtocols sends gorilla's answer through the response writer and takes the connection over.
func (c *netConn) switchProtocols(answer []byte) error {
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		return fmt.Errorf("read handshake answer: %w", err)
	}
	_ = res.Body.Close()
	maps.Copy(c.w.Header(), res.Header)
	c.w.WriteHeader(res.StatusCode)
	conn, rw, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return fmt.Errorf("take over the connection: %w", err)
	}
	c.w, c.Conn = nil, conn
	if n := rw.Reader.Buffered(); n > 0 {
		c.early = make([]byte, n)
		_, _ = io.ReadFull(rw.Reader, c.early)
	}
	return rw.Flush()
}

// Read waits for at most the idle time. Once the connection closes, what still comes is drain's.
func (c *netConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	if err := c.limit(c.Conn.SetReadDeadline, c.idle); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if c.closing.Load() != 0 {
		return 0, net.ErrClosed
	}
	return n, err
}

// limit sets a deadline in d from now, or the end of closing. It looks at closing last and expire sets it
// first, so that of the two the end of closing stays.
func (c *netConn) limit(set func(time.Time) error, d time.Duration) error {
	err := set(time.Now().Add(d))
	if ns := c.closing.Load(); ns != 0 {
		err = set(time.Unix(0, ns))
	}
	return err
}

// SetDeadline and the others are called by gorilla. Reads and writes set their own deadlines: a write here
// may wait for an earlier one, whose deadline must stay.
func (c *netConn) SetDeadline(time.Time) error      { return nil }
func (c *netConn) SetReadDeadline(time.Time) error  { return nil }
func (c *netConn) SetWriteDeadline(time.Time) error { return nil }

// Close is called by gorilla when the handshake could not be answered.
func (c *netConn) Close() error {
	if c.Conn == nil {
		return nil
	}
	return c.Conn.Close()
}

func (c *netConn) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked, c.pending = true, corkBuffers.Get().(*bytes.Buffer)
}

func (c *netConn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	pending := c.pending
	c.corked, c.pending = false, nil
	err := c.writeLocked(pending.Bytes())
	if pending.Cap() <= maxPooled {
		pending.Reset()
		corkBuffers.Put(pending)
	}
	return err
}

// expire ends every wait, also those under way, at the given time.
func (c *netConn) expire(at time.Time) {
	c.closing.Store(at.UnixNano())
	_ = c.Conn.SetDeadline(at)
}

// drain tells the peer that nothing more comes and reads until it has gone too, so that the close
// frame is not lost to a reset when the peer is still sending.
func (c *netConn) drain() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, c.Conn)
}
