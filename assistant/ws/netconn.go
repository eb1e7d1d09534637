package ws

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// opening turns a request into a connection.
type opening interface {
	// ready returns what prevents the connection, before anything is written.
	ready() error
	// accept sends gorilla's answer to the handshake, which has these headers. It returns the connection, and the
	// data that the client sent together with its request.
	accept(headers iter.Seq2[string, string]) (conn net.Conn, early []byte, err error)
}

// hijacker is the http.ResponseWriter that gorilla upgrades. Only Hijack and Header are used.
type hijacker struct {
	header http.Header
	nc     *netConn
}

func (h hijacker) Header() http.Header       { return h.header }
func (h hijacker) Write([]byte) (int, error) { return 0, http.ErrHijacked }
func (h hijacker) WriteHeader(int)           {}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := h.nc.opening.ready(); err != nil {
		return nil, nil, err
	}
	return h.nc, bufio.NewReadWriter(nothing, bufio.NewWriterSize(h.nc, answerSize)), nil
}

// nothing is read from before gorilla's answer. Gorilla only looks at how much it has.
var nothing = bufio.NewReaderSize(bytes.NewReader(nil), 16)

// answerSize is enough for gorilla's answer.
const answerSize = 256

// upgrade takes over the connection of an HTTP/1.1 request.
type upgrade struct{ w http.ResponseWriter }

// ready searches for an http.Hijacker as an http.ResponseController would.
func (u upgrade) ready() error {
	for layer := range layers(u.w) {
		if _, ok := layer.(http.Hijacker); ok {
			return nil
		}
	}
	return fmt.Errorf("take over the connection: %w", http.ErrNotSupported)
}

func (u upgrade) accept(headers iter.Seq2[string, string]) (net.Conn, []byte, error) {
	for name, value := range headers {
		u.w.Header().Set(name, value)
	}
	u.w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(u.w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over the connection: %w", err)
	}
	var early []byte
	if n := rw.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		_, _ = io.ReadFull(rw.Reader, early)
	}
	return conn, early, rw.Flush()
}

// layers yields w and the writers that it wraps, down to the server's own.
func layers(w http.ResponseWriter) iter.Seq[http.ResponseWriter] {
	return func(yield func(http.ResponseWriter) bool) {
		for yield(w) {
			wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
			if !ok {
				return
			}
			w = wrapper.Unwrap()
		}
	}
}

// netConn is the net.Conn under gorilla. Its first write is gorilla's answer to the handshake, which is
// replayed on the real response writer. From then on it is the hijacked connection, or the stream.
//
// Between cork and flush, writes are buffered, so that several frames cost one system call.
type netConn struct {
	net.Conn                 // nil until the handshake is answered
	raw      syscall.RawConn // of it, for writes that do not wait; nil = there are none
	opening  opening         // nil afterwards
	timeout  time.Duration   // how long a write may take
	early    []byte          // read already, but not by Read: sent together with the handshake, or of first
	first    [32]byte        // what await has read
	failed   error           // of await, for the next Read
	silent   atomic.Int64    // since when a read waits for the peer, see now; 0 = none does
	isReset  atomic.Bool     // by the peer
	closing  atomic.Int64    // Unix nanoseconds after which nothing may wait; 0 = open
	headers                  // the reader's

	mu      lock          // held during writes
	limit   int64         // the last deadline of a write, see now; 0 = there was none
	pending *bytes.Buffer // data written since cork; nil = not corked
	broken  error         // of the first write that failed: half a frame may be out, so nothing may follow
}

// lock is a FIFO mutex, so that Close waits for at most one of many Sends. A goroutine that waits for it is
// durably blocked in the sense of testing/synctest, since a write may take long. A lock is smaller than a
// channel, which matters for idle connections.
type lock struct {
	mu     sync.Mutex
	isHeld bool
	queue  *turn // of those that wait; nil = nobody
}

// turn is one place in a queue.
type turn struct {
	come chan struct{} // closed when it has come
	next *turn
}

func (l *lock) Lock() {
	l.mu.Lock()
	if !l.isHeld {
		l.isHeld = true
		l.mu.Unlock()
		return
	}
	last := &l.queue
	for *last != nil {
		last = &(*last).next
	}
	t := &turn{come: make(chan struct{})}
	*last = t
	l.mu.Unlock()
	<-t.come
}

// TryLock is Lock where that needs no wait.
func (l *lock) TryLock() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isHeld {
		return false
	}
	l.isHeld = true
	return true
}

func (l *lock) Unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue == nil {
		l.isHeld = false
		return
	}
	close(l.queue.come)
	l.queue = l.queue.next
}

var corkBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const (
	// maxPooled is the largest buffer that is kept for the next write.
	maxPooled = 64 << 10
	// maxWrite is the most that one system call writes.
	maxWrite = 64 << 10
	// waited is the duration from which on a write shows that the peer does not keep up.
	waited = time.Second
)

func (c *netConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.opening != nil:
		return len(p), c.switchProtocols(p)
	case c.pending != nil:
		return c.pending.Write(p)
	}
	return len(p), c.writeLocked(p)
}

// writeLocked gives every maxWrite bytes the full timeout, so that a slow peer can receive large messages.
// Data that the peer takes after a wait counts as a sign of life, because no ping can be sent meanwhile.
func (c *netConn) writeLocked(p []byte) error {
	start := time.Now()
	for len(p) > 0 && c.broken == nil {
		n := min(len(p), maxWrite)
		if c.broken = c.limitWrite(); c.broken == nil {
			_, c.broken = c.Conn.Write(p[:n])
		}
		p = p[n:]
		if c.broken == nil && time.Since(start) >= waited {
			c.heard()
		}
	}
	return c.broken
}

// limitWrite sets the deadline of the next write. To TCP the last one may do, which leaves it at least nine tenths of its
// time. It reads closing last and expire sets it first, so that of the two deadlines that of closing remains.
func (c *netConn) limitWrite() (err error) {
	if at := now() + int64(c.timeout); c.raw == nil || c.limit == 0 || at-c.limit > int64(c.timeout/10) {
		c.limit = at
		err = c.Conn.SetWriteDeadline(time.Now().Add(c.timeout))
	}
	if ns := c.closing.Load(); ns != 0 {
		err = c.Conn.SetWriteDeadline(time.Unix(0, ns))
	}
	return err
}

// switchProtocols sends gorilla's answer through the response writer and takes over the connection.
func (c *netConn) switchProtocols(answer []byte) (err error) {
	c.Conn, c.early, err = c.opening.accept(headersOf(string(answer)))
	if c.opening = nil; err == nil {
		c.raw = rawOf(c.Conn)
	}
	return err
}

// headersOf yields the headers of an HTTP message's head, each of which stands in one line.
func headersOf(head string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for line := range strings.SplitSeq(head, "\r\n") {
			if name, value, ok := strings.Cut(line, ": "); ok && !yield(name, value) {
				return
			}
		}
	}
}

// Read waits until data arrives or the peer is considered gone, see [netConn.silence].
func (c *netConn) Read(p []byte) (n int, err error) {
	switch {
	case len(c.early) > 0:
		n = copy(p, c.early)
		c.early = c.early[n:]
	case c.failed != nil:
		return 0, c.failed
	default:
		n, err = c.wait(p)
	}
	c.follow(p[:n])
	return n, err
}

// wait reads from the connection.
func (c *netConn) wait(p []byte) (int, error) {
	c.silent.Store(now())
	n, err := c.Conn.Read(p)
	c.silent.Store(0)
	if errors.Is(err, syscall.ECONNRESET) {
		c.isReset.Store(true)
	}
	return n, err
}

// heard records a sign of life while a read waits.
func (c *netConn) heard() {
	if since := c.silent.Load(); since != 0 {
		c.silent.CompareAndSwap(since, now())
	}
}

// silence returns how long the current read has waited for the peer, 0 when none waits.
func (c *netConn) silence() time.Duration {
	since := c.silent.Load()
	if since == 0 {
		return 0
	}
	return time.Duration(now() - since)
}

var started = time.Now()

// now returns a monotonic time in nanoseconds, unaffected by changes of the machine's clock.
func now() int64 { return int64(time.Since(started)) }

// giveUp ends the current read with a timeout.
func (c *netConn) giveUp() {
	if c.closing.Load() == 0 {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// SetDeadline and the others are called by gorilla. Reads and writes set their own deadlines: a write here
// may wait for an earlier one, whose deadline must stay.
func (c *netConn) SetDeadline(time.Time) error      { return nil }
func (c *netConn) SetReadDeadline(time.Time) error  { return nil }
func (c *netConn) SetWriteDeadline(time.Time) error { return nil }

// Close closes the connection. Gorilla calls it when the handshake could not be answered.
func (c *netConn) Close() error {
	if c.Conn == nil {
		return nil
	}
	return c.Conn.Close()
}

func (c *netConn) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = corkBuffers.Get().(*bytes.Buffer)
}

func (c *netConn) flush() error {
	c.mu.Lock()
	return c.flushLocked()
}

// flushLocked writes what is pending, and unlocks mu.
func (c *netConn) flushLocked() error {
	defer c.mu.Unlock()
	pending := c.pending
	c.pending = nil
	err := c.writeLocked(pending.Bytes())
	if pending.Cap() <= maxPooled {
		pending.Reset()
		corkBuffers.Put(pending)
	}
	return err
}

// tryCork is cork; false where that needs a wait.
func (c *netConn) tryCork() bool {
	if c.raw == nil || !c.mu.TryLock() {
		return false
	}
	defer c.mu.Unlock()
	c.pending = corkBuffers.Get().(*bytes.Buffer)
	return true
}

// tryFlush is flush as far as that needs no wait. If something is left, rest is not nil and must be called; until then
// nothing else is written.
func (c *netConn) tryFlush() (rest func() error, err error) {
	if !c.mu.TryLock() {
		return c.flush, nil
	}
	if c.broken = cmp.Or(c.broken, c.limitWrite()); c.broken == nil {
		var n int
		n, c.broken = tryWrite(c.raw, c.pending.Bytes())
		c.pending.Next(n)
	}
	if c.broken == nil && c.pending.Len() > 0 {
		return c.flushLocked, nil
	}
	return nil, c.flushLocked()
}

// expire ends every wait at the given time, including those under way.
func (c *netConn) expire(at time.Time) {
	c.closing.Store(at.UnixNano())
	_ = c.Conn.SetDeadline(at)
}

// endWriting closes the sending half, where the connection has halves.
func (c *netConn) endWriting() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// drain reads until the peer has gone too, so that a reset does not destroy the close frame while the peer is
// still sending. A stream needs none of this: it loses nothing when it ends.
func (c *netConn) drain() {
	if _, ok := c.Conn.(*streamConn); !ok {
		_, _ = io.Copy(io.Discard, c.Conn)
	}
}

// hangUp closes the connection. Nothing is written to it afterwards, not even by a ping that is just due. The
// HTTP handler may then return, after which a stream's response writer must not be used.
func (c *netConn) hangUp() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = cmp.Or(c.broken, net.ErrClosed)
	return c.Conn.Close()
}
