package termchat

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	dialTimeout  = 15 * time.Second
	writeTimeout = 10 * time.Second
	// pingInterval is how often an idle connection is checked; one that is silent for silence is lost.
	pingInterval = 30 * time.Second
	silence      = 75 * time.Second
)

// frame is what the server sends.
type frame struct {
	Action  string          `json:"action"`
	Topic   string          `json:"topic"`
	Ref     string          `json:"ref"`
	Seq     uint64          `json:"seq"`
	Payload json.RawMessage `json:"payload"`
}

// request is what the client sends.
type request struct {
	Action  string `json:"action"`
	Topic   string `json:"topic,omitempty"`
	Ref     string `json:"ref,omitempty"`
	Payload any    `json:"payload"`
}

// received is a frame or, at last, why there are no more.
type received struct {
	frame
	err error
}

// link is one connection. One goroutine uses it; another reads.
type link struct {
	conn   *websocket.Conn
	frames chan received // bounded, never closed
	gone   chan struct{} // closed by close
	reader sync.WaitGroup
}

// dialError is a handshake that the server refused.
type dialError struct{ status int }

func (e *dialError) Error() string {
	switch e.status {
	case http.StatusUnauthorized:
		return "the server requires authentication (401): use --user or --header"
	case http.StatusForbidden:
		return "the server refuses the connection (403)"
	case http.StatusNotFound:
		return "there is no assistant at this URL, or you have no such conversation (404)"
	case http.StatusServiceUnavailable:
		return "the server accepts no connections at the moment (503)"
	}
	return fmt.Sprintf("no WebSocket at this URL: the server answers %d %s", e.status, http.StatusText(e.status))
}

// fatal tells whether trying again is in vain.
func (e *dialError) fatal() bool { return e.status < 500 }

func dial(ctx context.Context, url string, header http.Header, config *tls.Config) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config}
	conn, res, err := dialer.DialContext(ctx, url, header)
	if err != nil && res != nil {
		_ = res.Body.Close()
		return nil, &dialError{res.StatusCode}
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	l := &link{conn: conn, frames: make(chan received, 64), gone: make(chan struct{})}
	conn.SetPongHandler(func(string) error { return l.alive() })
	l.reader.Go(l.read)
	return l, nil
}

// alive puts off the time when the connection is taken for lost.
func (l *link) alive() error { return l.conn.SetReadDeadline(time.Now().Add(silence)) }

func (l *link) read() {
	for {
		_ = l.alive()
		var r received
		_, data, err := l.conn.ReadMessage()
		if err == nil {
			err = json.Unmarshal(data, &r.frame)
		}
		r.err = err
		select {
		case l.frames <- r:
		case <-l.gone:
			return
		}
		if err != nil {
			return
		}
	}
}

// send writes a request. Where that fails the reader tells.
func (l *link) send(r request) {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // all payloads are of our own types
	}
	_ = l.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if l.conn.WriteMessage(websocket.TextMessage, data) != nil {
		_ = l.conn.Close()
	}
}

func (l *link) ping() {
	_ = l.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
}

// close says goodbye and waits for the reader.
func (l *link) close() {
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = l.conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
	_ = l.conn.Close()
	close(l.gone)
	l.reader.Wait()
}
