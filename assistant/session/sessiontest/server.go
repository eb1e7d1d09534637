// Package sessiontest tests sessions from outside.
//
//   - [Serve] runs an assistant behind a real HTTP server and real gorilla code over in-memory pipes, so
//     that a whole conversation fits into a testing/synctest bubble.
//   - [Transcript] plays a file of client frames and compares what the server sent; -update rewrites it.
package sessiontest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/gorilla/websocket"
)

// Server is an assistant behind an HTTP server whose connections are pipes.
type Server struct {
	t        *testing.T
	hub      *conversation.Hub
	listener *listener
}

// Serve starts a server for the sessions of a. The query of a request names its user and conversation.
// Everything ends with the test, or with [Server.Close].
func Serve(t *testing.T, hub *conversation.Hub, a *conversation.Assistant, o ws.Options) *Server {
	t.Helper()
	s := &Server{t: t, hub: hub, listener: &listener{conns: make(chan net.Conn), done: make(chan struct{})}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := ws.Upgrade(w, r, o)
		if refused, ok := errors.AsType[*ws.HandshakeError](err); ok {
			http.Error(w, refused.Error(), refused.Status)
			return
		}
		query := r.URL.Query()
		peer := assistant.Peer{User: query.Get("user"), Conversation: query.Get("conversation")}
		hub.Go(func() { _ = session.Serve(a, conn, peer) })
	})}
	go func() { _ = server.Serve(s.listener) }()
	t.Cleanup(func() {
		s.Close()
		_ = server.Close()
	})
	return s
}

// drainTimeout is what Close gives to running answers.
const drainTimeout = 4 * time.Second

// Close ends all sessions, as a server that stops does, and waits for them.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := s.hub.Close(ctx); err != nil {
		s.t.Errorf("close hub: %v", err)
	}
}

// Dial opens a session; query is "user=ann&conversation=…" or empty.
func (s *Server) Dial(query string) *Client {
	s.t.Helper()
	near, far := net.Pipe()
	s.listener.conns <- far
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return near, nil }}
	conn, _, err := dialer.Dial("ws://assistant.test/?"+query, nil)
	if err != nil {
		s.t.Fatalf("dial: %v", err)
	}
	c := &Client{t: s.t, conn: conn}
	go c.read()
	return c
}

// Client is one socket. What it receives is gathered until asked for.
type Client struct {
	t    *testing.T
	conn *websocket.Conn

	mu       sync.Mutex
	received []string
}

func (c *Client) read() {
	for {
		_, data, err := c.conn.ReadMessage()
		c.mu.Lock()
		if err != nil {
			c.received = append(c.received, closing(err))
			c.mu.Unlock()
			_ = c.conn.Close()
			return
		}
		c.received = append(c.received, string(data))
		c.mu.Unlock()
	}
}

func closing(err error) string {
	if ce, ok := errors.AsType[*websocket.CloseError](err); ok {
		return fmt.Sprintf("close %d %s", ce.Code, ce.Text)
	}
	return "connection lost"
}

// Received returns what has come since the last call: frames, and at the end "close <code> <reason>".
func (c *Client) Received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.received = nil }()
	return c.received
}

// Send sends a text message.
func (c *Client) Send(text string) { c.write(websocket.TextMessage, []byte(text)) }

// SendBinary sends the bytes that digits spell as a binary message.
func (c *Client) SendBinary(digits string) { c.write(websocket.BinaryMessage, c.decode(digits)) }

// SendHex sends the bytes that digits spell as a text message.
func (c *Client) SendHex(digits string) { c.write(websocket.TextMessage, c.decode(digits)) }

func (c *Client) decode(digits string) []byte {
	data, err := hex.DecodeString(digits)
	if err != nil {
		c.t.Fatalf("decode %q: %v", digits, err)
	}
	return data
}

func (c *Client) write(kind int, data []byte) {
	if err := c.conn.WriteMessage(kind, data); err != nil {
		c.t.Logf("client write: %v", err) // what the server does about it shows in what it sends
	}
}

// Leave closes in order; Vanish cuts the connection.
func (c *Client) Leave() {
	c.write(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
}

// Vanish cuts the connection without a word.
func (c *Client) Vanish() { _ = c.conn.Close() }

// listener accepts the far ends of pipes.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
