package endpoint

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// serve runs the session in a goroutine of the hub's, which waits for it, and then calls release. A connection
// of HTTP/1.1 is the session's own; on HTTP/2 and HTTP/3 it is a stream that ends with the request, so that
// serve stays. It returns false when the hub has begun to stop since: the connection is closed, and release not
// called.
func (h *Handler) serve(conn *ws.Conn, peer assistant.Peer, r *http.Request, release func()) bool {
	ended := func() {}
	if r.ProtoMajor > 1 {
		done := make(chan struct{})
		ended = func() { close(done) }
		defer func() { <-done }()
	}
	if !h.hub.acquire() {
		return refuseSocket(conn, ended)
	}
	served := h.hub.Go(func() {
		defer ended()
		defer func() { go h.hub.release() }() // the last one waits for this goroutine
		defer release()
		defer func() { _ = conn.Close(1011, "") }() // should Serve panic: a stream must not outlive its request
		_ = h.assistant.Serve(conn, peer)
	})
	if !served {
		h.hub.release()
		return refuseSocket(conn, ended)
	}
	return true
}

// refuseSocket closes a connection that nobody serves.
func refuseSocket(conn *ws.Conn, ended func()) bool {
	defer ended()
	_ = conn.Close(1012, "server is stopping")
	return false
}

// forever is longer than any connection lives.
const forever = 10 * 365 * 24 * time.Hour

// liftIdleTimeouts lifts the server's read_body_idle and write_idle from r, a minute each by default: on
// HTTP/2 and HTTP/3 they would end a socket whose client has nothing to say. Pings and write_timeout find out
// who is gone. What it returns puts them back.
func liftIdleTimeouts(r *http.Request) (restore func()) {
	reader, writer := caddyhttp.IdleTimeoutsFromContext(r.Context())
	if r.ProtoMajor == 1 || reader == nil && writer == nil {
		return func() {}
	}
	var undo []func()
	if reader != nil {
		undo = append(undo, reader.Override(forever, 0))
	}
	if writer != nil {
		undo = append(undo, writer.Override(forever, 0, 0))
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}

var (
	// overHTTP2 is whether the process has extended CONNECT on, which golang.org/x/net/http2 decides when it
	// is initialized: a module cannot (golang/go#53208).
	overHTTP2 = strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1")
	tellOnce  sync.Once
)

// tellHTTP2 logs once what browsers will use.
func tellHTTP2(log *zap.Logger) {
	tellOnce.Do(func() {
		log.Info("WebSocket over HTTP/2 is on when Caddy starts with GODEBUG=http2xconnect=1", zap.Bool("on", overHTTP2))
	})
}
