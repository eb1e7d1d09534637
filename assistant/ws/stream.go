package ws

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// isExtendedConnect reports whether r opens a WebSocket on a stream: over HTTP/2 (RFC 8441, where Go keeps the
// protocol among the headers) or HTTP/3 (RFC 9220, where quic-go puts it in place of the version).
func isExtendedConnect(r *http.Request) bool {
	return r.Method == http.MethodConnect && (r.Header.Get(":protocol") == "websocket" || r.Proto == "websocket")
}

// asUpgrade returns the extended CONNECT r as the HTTP/1.1 request that gorilla knows. The key matters only
// for the answer's Sec-WebSocket-Accept, which a stream does not have.
func asUpgrade(r *http.Request) *http.Request {
	r = r.WithContext(r.Context()) // a copy
	r.Method, r.Header = http.MethodGet, r.Header.Clone()
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
	return r
}

// streamConn is the stream of an extended CONNECT as a net.Conn. It reads the request's body and writes the
// response's. It is open as long as the HTTP handler runs.
type streamConn struct {
	w     http.ResponseWriter
	ctrl  *http.ResponseController // of w
	body  io.ReadCloser
	inner *http.ResponseController // of the writer that w wraps

	mu    sync.Mutex
	abort *time.Timer
	done  bool // the handler may return: the writers must no longer be used
}

func newStreamConn(w http.ResponseWriter, body io.ReadCloser) *streamConn {
	s := &streamConn{w: w, ctrl: http.NewResponseController(w), body: body}
	for layer := range layers(w) {
		s.inner = http.NewResponseController(layer) // the last one stays
	}
	return s
}

// ready returns an error when the writer cannot set the deadlines that a stream needs.
func (s *streamConn) ready() error {
	if err := errors.Join(s.ctrl.SetReadDeadline(time.Time{}), s.ctrl.SetWriteDeadline(time.Time{})); err != nil {
		return fmt.Errorf("set deadlines: %w", err)
	}
	return nil
}

// accept answers the extended CONNECT as gorilla answered the upgrade, without the headers that only HTTP/1.1
// has (RFC 8441 section 5).
func (s *streamConn) accept(headers iter.Seq2[string, string]) (net.Conn, []byte, error) {
	for name, value := range headers {
		if !slices.Contains([]string{"Connection", "Upgrade", "Sec-WebSocket-Accept"}, name) {
			s.w.Header().Set(name, value)
		}
	}
	s.w.WriteHeader(http.StatusOK)
	return s, nil, s.ctrl.Flush()
}

func (s *streamConn) Read(p []byte) (int, error) { return s.body.Read(p) }

// Write clears its deadline afterwards: on HTTP/2 the deadline is a timer that ends the stream even when
// nothing is being written.
func (s *streamConn) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.ctrl.Flush()
	}
	if err == nil {
		err = s.ctrl.SetWriteDeadline(time.Time{})
	}
	return n, err
}

func (s *streamConn) SetWriteDeadline(t time.Time) error { return s.ctrl.SetWriteDeadline(t) }

// SetReadDeadline may be called at any time, even after Close.
func (s *streamConn) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return net.ErrClosed
	}
	return s.ctrl.SetReadDeadline(t)
}

// abortGrace is the time that a write of the close frame, which has the same deadline, gets to end by itself.
const abortGrace = 50 * time.Millisecond

// SetDeadline also ends reads and writes under way. It is called once, before Close.
func (s *streamConn) SetDeadline(t time.Time) error {
	s.mu.Lock()
	s.abort = time.AfterFunc(time.Until(t)+abortGrace, s.abortWrite)
	s.mu.Unlock()
	return s.ctrl.SetReadDeadline(t)
}

// abortWrite ends a write under way. Only the server's own writer allows this concurrently: wrappers such as
// Caddy's set deadlines without a lock. They may also override this deadline, so it is set again until Close.
func (s *streamConn) abortWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		_ = s.inner.SetWriteDeadline(time.Unix(1, 0))
		s.abort.Reset(abortGrace)
	}
}

// Close ends reading. The server ends the stream when the handler returns, after all written data.
func (s *streamConn) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	if s.abort != nil {
		s.abort.Stop()
	}
	return s.body.Close()
}

// LocalAddr and RemoteAddr are never called.
func (s *streamConn) LocalAddr() net.Addr  { return nil }
func (s *streamConn) RemoteAddr() net.Addr { return nil }

var (
	_ net.Conn = (*streamConn)(nil)
	_ opening  = (*streamConn)(nil)
)
