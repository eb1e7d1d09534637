package ws_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

// TestMain runs the tests in a process that has HTTP/2's extended CONNECT enabled from its start.
func TestMain(m *testing.M) {
	const on = "http2xconnect=1"
	if !strings.Contains(os.Getenv("GODEBUG"), on) {
		again := exec.CommandContext(context.Background(), os.Args[0], os.Args[1:]...)
		again.Env = append(os.Environ(), "GODEBUG="+on)
		again.Stdout, again.Stderr = os.Stdout, os.Stderr
		if again.Run() != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// handshake is what a browser sends.
const handshake = "GET /chat HTTP/1.1\r\n" +
	"Host: example.com\r\n" +
	"Connection: keep-alive, Upgrade\r\n" +
	"Upgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"\r\n"

// peer is the client's end of a connection, below any WebSocket library.
type peer struct {
	net.Conn
	*bufio.Reader
	t        testing.TB
	response *http.Response // to the handshake
	err      error          // why next read nothing more
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	return &peer{Conn: conn, Reader: bufio.NewReader(conn), t: t}
}

func (p *peer) Read(b []byte) (int, error) { return p.Reader.Read(b) }

// open connects over a pipe through a real HTTP server. It returns both ends, open.
func open(t *testing.T, o ws.Options) (*ws.Conn, *peer) {
	t.Helper()
	conn, p, _ := openCounted(t, o)
	return conn, p
}

// openCounted counts what the server writes to its net.Conn.
func openCounted(t *testing.T, o ws.Options) (*ws.Conn, *peer, *countingConn) {
	t.Helper()
	near, far := net.Pipe()
	counting := &countingConn{Conn: far}
	conns := serve(t, counting, &http.Server{}, o, nil)
	p := connect(t, near, handshake)
	if p.response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake was answered %s", p.response.Status)
	}
	return <-conns, p, counting
}

// serve lets server upgrade one connection. The open connection is sent to the channel, or nil.
func serve(t testing.TB, conn net.Conn, server *http.Server, o ws.Options, wrap func(http.ResponseWriter) http.ResponseWriter) <-chan *ws.Conn {
	t.Helper()
	conns := make(chan *ws.Conn, 1)
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wrap != nil {
			w = wrap(w)
		}
		c, err := ws.Upgrade(w, r, o)
		if refused, ok := errors.AsType[*ws.HandshakeError](err); ok {
			http.Error(w, refused.Error(), refused.Status)
		}
		conns <- c
	})
	serveConn(t, conn, server)
	return conns
}

// serveConn lets server serve one connection until the test ends.
func serveConn(t testing.TB, conn net.Conn, server *http.Server) {
	t.Helper()
	l := &listener{conn: conn, closed: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = conn.Close()
		_ = server.Close()
		wg.Wait()
	})
}

// connect sends a request and reads the answer's head.
func connect(t testing.TB, conn net.Conn, request string) *peer {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	p := newPeer(t, conn)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.response, err = http.ReadResponse(p.Reader, nil); err != nil {
		t.Fatal(err)
	}
	_ = p.response.Body.Close()
	return p
}

// listener accepts one connection.
type listener struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// countingConn counts writes.
type countingConn struct {
	net.Conn
	writes atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// Bits and opcodes of a frame's first byte (RFC 6455 section 5.2).
const (
	fin                = 0x80
	rsv1, rsv2, rsv3   = 0x40, 0x20, 0x10
	continuation, text = 0x0, 0x1
	binaryMessage      = 0x2
	closing, ping      = 0x8, 0x9
	pong               = 0xA
)

// frame encodes a frame as a client does: masked.
func frame(first byte, payload string) []byte {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := append(header(first, len(payload), 0x80), key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

func header(first byte, length int, mask byte) []byte {
	switch {
	case length <= 125:
		return []byte{first, mask | byte(length)}
	case length <= 0xFFFF:
		return binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(length))
	default:
		return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, uint64(length))
	}
}

// frames joins frames to one write.
func frames(all ...[]byte) []byte {
	var b []byte
	for _, f := range all {
		b = append(b, f...)
	}
	return b
}

// closePayload is the body of a close frame.
func closePayload(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

func (p *peer) write(data []byte) {
	p.t.Helper()
	if _, err := p.Write(data); err != nil {
		p.t.Errorf("peer writes: %v", err)
	}
}

// next reads a message or control frame from the server and returns it as text: "text hello",
// "close 1000 bye", "ping", and "deflated hello" for a compressed message. At the end it returns the error's
// text and sets err.
func (p *peer) next() string {
	head, payload := p.frame()
	for p.err == nil && head[0]&fin == 0 {
		next, more := p.frame()
		if next[0]&^fin != continuation {
			return fmt.Sprintf("odd frame %x after %x", next, head)
		}
		head[0] |= next[0] & fin
		payload = append(payload, more...)
	}
	switch {
	case p.err != nil && len(payload) == 0:
		return p.err.Error()
	case p.err != nil:
		return "within a frame: " + p.err.Error()
	}
	return describe(head, payload)
}

func (p *peer) frame() (head, payload []byte) {
	head = p.read(2)
	if p.err != nil {
		return head, nil
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(p.read(2)))
	case 127:
		length = binary.BigEndian.Uint64(p.read(8))
	}
	return head, p.read(length)
}

func (p *peer) read(n uint64) []byte {
	b := make([]byte, n)
	if p.err == nil {
		_, p.err = io.ReadFull(p, b)
	}
	return b
}

func describe(head, payload []byte) string {
	names := map[byte]string{continuation: "continuation", text: "text", binaryMessage: "binary", closing: "close", ping: "ping", pong: "pong"}
	name := names[head[0]&0xf]
	if head[0] == fin|rsv1|text {
		return strings.TrimSpace("deflated " + inflate(payload))
	}
	if head[0]&0xf0 != fin || head[1]&0x80 != 0 || name == "" {
		return fmt.Sprintf("odd frame %x", head)
	}
	if name == "close" && len(payload) >= 2 {
		return strings.TrimSpace(fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(payload), payload[2:]))
	}
	return strings.TrimSpace(name + " " + string(payload))
}

// recv calls Await and Recv until that fails, and returns the messages and the error.
func recv(c *ws.Conn) (messages []string, err error) {
	for {
		c.Await()
		data, err := c.Recv()
		if err != nil {
			return messages, err
		}
		messages = append(messages, string(data))
	}
}

// closeCode returns the code that the owner of a connection closes with after Recv failed.
func closeCode(err error) int {
	var coded interface{ CloseCode() int }
	switch {
	case errors.As(err, &coded):
		return coded.CloseCode()
	case errors.Is(err, io.EOF):
		return websocket.CloseNormalClosure
	}
	return websocket.CloseInternalServerErr
}

// asError is errors.As.
func asError(err error, target any) bool { return err != nil && errors.As(err, target) }
