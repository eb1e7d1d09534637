package ws

import (
	"cmp"
	"compress/flate"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// closeTimeout is how long Close waits for the peer: enough for several round trips around the world, and
// half of the time that a stopping server has left.
var closeTimeout = 500 * time.Millisecond

func (o Options) maxMessageSize() int64       { return cmp.Or(o.MaxMessageSize, 1<<20) }
func (o Options) pingInterval() time.Duration { return cmp.Or(o.PingInterval, 25*time.Second) }
func (o Options) writeTimeout() time.Duration { return cmp.Or(o.WriteTimeout, 10*time.Second) }

// Conn is an open WebSocket connection. One goroutine may call Recv while another calls Send. Close may be
// called at any time from any goroutine, and ends both. Conn sends and answers pings by itself.
type Conn struct {
	ws        *websocket.Conn
	net       *netConn
	maxSize   int64
	pinger    *time.Timer
	sending   lock // held by Send, so that a close frame comes after its messages
	receiving lock // held by Recv, and by Close when it waits for the peer's answer
	closeOnce sync.Once
	agreed    atomic.Bool // the peer has answered the close frame

	taken uint32      // whole messages that Recv has read; held with receiving
	late  atomic.Bool // a message took too long
}

// CloseError describes a message that must not be accepted. The caller closes the connection with its code.
type CloseError struct {
	Code   int // RFC 6455 section 7.4.1
	Reason string
}

func (e *CloseError) Error() string { return e.Reason }

// CloseCode returns the code to close with.
func (e *CloseError) CloseCode() int { return e.Code }

// BinaryError says that a binary message came. It is the only error of Recv that is not permanent.
type BinaryError struct{}

func (BinaryError) Error() string { return "binary messages are not supported" }

// Malformed marks the error as one of a single message.
func (BinaryError) Malformed() {}

var (
	errLate    = &CloseError{websocket.ClosePolicyViolation, "message took too long to arrive"}
	errClose   = &CloseError{websocket.CloseProtocolError, "close frame with half a code"}
	errNotUTF8 = &CloseError{websocket.CloseInvalidFramePayloadData, "text message is not valid UTF-8"}
	errTooBig  = &CloseError{websocket.CloseMessageTooBig, "message is too big"}
	errDeflate = &CloseError{websocket.CloseInvalidFramePayloadData, "message is not valid deflate data"}
)

func newConn(conn *websocket.Conn, nc *netConn, o Options) *Conn {
	c := &Conn{ws: conn, net: nc, maxSize: o.maxMessageSize()}
	// Recv bounds messages. This bounds their size on the wire, which empty deflate blocks could inflate.
	conn.SetReadLimit(2*c.maxSize + 1<<10)
	conn.SetCloseHandler(c.answerClose)
	interval := o.pingInterval() // capturing o would keep all of it in memory
	c.pinger = time.AfterFunc(math.MaxInt64, func() { c.ping(interval) })
	c.pinger.Reset(interval) // only now, so that ping finds the field set
	return c
}

// ping runs on the timer's goroutine, which gorilla allows concurrently with Send, and waits for a Send that
// is under way. Any byte from the peer counts as its answer.
func (c *Conn) ping(interval time.Duration) {
	if c.net.silence() >= 2*interval {
		c.net.giveUp()
		return
	}
	// No deadline: the write it waits for has one.
	if c.ws.WriteControl(websocket.PingMessage, nil, time.Time{}) != nil {
		c.net.giveUp()
		return
	}
	c.pinger.Reset(min(interval, 2*interval-c.net.silence()))
}

// answerClose answers the peer's close frame with its code.
func (c *Conn) answerClose(code int, _ string) error {
	if c.net.halfCode {
		return errClose // RFC 6455 section 5.5.1; gorilla takes it for none
	}
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
	return nil
}

// Recv returns the next text message. A binary one is a [BinaryError], after which Recv goes on with the next.
// Other errors are permanent: a [*CloseError] for a message that must not be accepted, io.EOF when the peer
// closed normally, any other error when the connection broke.
func (c *Conn) Recv() ([]byte, error) {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	data, err := c.recv()
	if (err == nil || errors.Is(err, BinaryError{})) && c.net.closing.Load() != 0 {
		return nil, net.ErrClosed // messages that arrive after Close are discarded
	}
	return data, err
}

func (c *Conn) recv() ([]byte, error) {
	kind, r, err := c.ws.NextReader()
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		return nil, errTooBig
	case websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived):
		return nil, io.EOF
	case err != nil:
		return nil, err
	}
	arriving := c.hurry()
	data, err := io.ReadAll(io.LimitReader(r, c.maxSize+1)) // inflated, if compressed
	arriving.Stop()
	switch {
	case c.late.Load():
		return nil, errLate
	case errors.Is(err, websocket.ErrReadLimit):
		return nil, errTooBig
	case notDeflate(err):
		return nil, errDeflate
	case err != nil:
		return nil, err
	case int64(len(data)) > c.maxSize:
		return nil, errTooBig
	}
	c.taken++
	switch {
	case kind == websocket.BinaryMessage:
		return nil, BinaryError{}
	case !utf8.Valid(data): // gorilla does not check
		return nil, errNotUTF8
	}
	return data, nil
}

const (
	// arrivalTime is how long a message may take from its first frame to its last.
	arrivalTime = time.Minute
	// arrivalRate is the bytes a second that a client must send for a message that would take longer.
	arrivalRate = 20_000
)

// hurry gives the message that has begun its time, until the timer is stopped. It may arrive in fragments, and pings
// between them do not show that it will ever end.
func (c *Conn) hurry() *time.Timer {
	limit := max(arrivalTime, time.Duration(c.maxSize/arrivalRate)*time.Second)
	return time.AfterFunc(limit, func() {
		c.late.Store(true)
		c.net.giveUp()
	})
}

// notDeflate reports whether err is a fault in compressed data. An early end of the connection is not one:
// gorilla reports it as a close error.
func notDeflate(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Send writes text messages, in one system call for each 64 KiB. Errors are permanent.
func (c *Conn) Send(messages ...[]byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.net.cork()
	err := c.write(messages)
	return errors.Join(err, c.net.flush())
}

// write writes messages to the corked connection.
func (c *Conn) write(messages [][]byte) (err error) {
	for i := 0; i < len(messages) && err == nil; i++ {
		c.ws.EnableWriteCompression(len(messages[i]) >= minDeflated)
		err = c.ws.WriteMessage(websocket.TextMessage, messages[i])
	}
	return err
}

// CanTry reports whether TrySend can do more than nothing: over TCP without TLS, on Unix. It never changes.
func (c *Conn) CanTry() bool { return c.net.raw != nil }

// TrySend is Send as far as that needs no wait, neither for the peer nor for another Send. If something is left, rest is
// not nil and must be called, which waits; until then no other Send goes on, and the messages must not change. Errors
// are permanent.
func (c *Conn) TrySend(messages ...[]byte) (rest func() error, err error) {
	if !c.sending.TryLock() {
		return func() error { return c.Send(messages...) }, nil
	}
	if !c.net.tryCork() {
		c.sending.Unlock()
		return func() error { return c.Send(messages...) }, nil
	}
	err = c.write(messages)
	left, failed := c.net.tryFlush()
	if left == nil {
		c.sending.Unlock()
		return nil, errors.Join(err, failed)
	}
	return func() error {
		defer c.sending.Unlock()
		return errors.Join(err, left())
	}, nil
}

// Close sends a close frame, gives the peer half a second to answer and closes the connection. Where the peer has reset
// the connection, it only closes. Further calls wait for the first one and do nothing.
func (c *Conn) Close(code int, reason string) error {
	var err error
	c.closeOnce.Do(func() {
		c.pinger.Stop()
		if !c.net.isReset.Load() {
			err = c.sayGoodbye(websocket.FormatCloseMessage(code, reason))
		}
		err = errors.Join(err, c.net.hangUp())
	})
	return err
}

// sayGoodbye sends a close frame, and waits for the peer's.
func (c *Conn) sayGoodbye(message []byte) error {
	deadline := time.Now().Add(closeTimeout)
	c.net.expire(deadline)
	c.sending.Lock() // the deadline also ends a Send that waits for its peer
	err := c.ws.WriteControl(websocket.CloseMessage, message, deadline)
	c.sending.Unlock()
	if err == nil || errors.Is(err, websocket.ErrCloseSent) {
		c.net.endWriting()
		c.agreed.Store(c.answered())
		if !c.agreed.Load() {
			c.net.drain()
		}
	}
	return err
}

// Agreed reports whether Close has ended with the peer's own close frame. A peer that did not send one may be gone,
// or may not read.
func (c *Conn) Agreed() bool { return c.agreed.Load() }

// answered reads until the peer answers the close frame or breaks off, and reports whether it answered, now
// or earlier. Nothing follows an answer, so the connection can be closed at once (RFC 6455 section 7.1.1).
func (c *Conn) answered() bool {
	c.receiving.Lock() // Recv ends with the next message, or by the deadline
	defer c.receiving.Unlock()
	for {
		_, _, err := c.ws.NextReader()
		if answer, ok := errors.AsType[*websocket.CloseError](err); ok {
			return answer.Code != websocket.CloseAbnormalClosure // gorilla's code for a broken connection
		}
		if err != nil {
			return false
		}
	}
}
