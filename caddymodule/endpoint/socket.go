package endpoint

import (
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"
)

// serve runs the session in a goroutine that the hub waits for, and calls release after it. With HTTP/2 and HTTP/3
// the connection is a stream that ends with the request: serve then returns after the session. If the hub has begun
// to stop, serve closes the connection and returns false without calling release.
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
	server, _ := r.Context().Value(http3.ServerContextKey).(*http3.Server)
	end := func() {
		defer ended()
		defer silent.note(conn, server)
		defer h.hub.giveBack()
		defer release()
		_ = conn.Close(1011, "") // if Serve panics: a stream must not outlive its request
	}
	s := session.New(h.assistant, conn, peer) // with all that it needs of r, which must not stay in memory
	served := h.hub.Go(func() {
		defer end()
		_ = s.Serve()
	})
	if !served {
		h.hub.giveBack()
		return refuseSocket(conn, ended)
	}
	return true
}

// silent are the HTTP/3 servers with a socket whose client did not answer when the process was about to exit. Such a
// client keeps its connection open, and the server would wait for it for ever.
var silent silentServers

type silentServers struct{ servers sync.Map } // *http3.Server to nothing

// note takes the server of a connection that has ended; nil = it was none of HTTP/3.
func (s *silentServers) note(conn *ws.Conn, server *http3.Server) {
	if server != nil && caddy.Exiting() && !conn.Agreed() {
		s.servers.Store(server, nil)
	}
}

// close ends all connections of the servers; HTTP/3 in Go cannot end a single one. Other requests by HTTP/3 to the same
// address are cut with them. Nothing is closed where all clients have answered.
func (s *silentServers) close() {
	for server := range s.servers.Range {
		go func() { _ = server.(*http3.Server).Close() }() // waits for the handlers of those requests
	}
}

// refuseSocket closes a connection that is not served.
func refuseSocket(conn *ws.Conn, ended func()) bool {
	defer ended()
	_ = conn.Close(1012, "server is stopping")
	return false
}

// unrecorded returns w as a response writer that hands over the connection past Caddy's recorders. Those of the access
// log and of the metrics would count the connection's bytes, which nobody reads once the handler has returned, and would
// keep the whole request and net/http's buffers in memory for as long as the connection is open.
func unrecorded(w http.ResponseWriter) http.ResponseWriter {
	for layer := w; ; {
		if h, ok := layer.(http.Hijacker); ok && reflect.TypeOf(layer) != recorderType {
			return handOver{w, h}
		}
		wrapper, ok := layer.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		layer = wrapper.Unwrap()
	}
}

var recorderType = reflect.TypeOf(caddyhttp.NewResponseRecorder(nil, nil, nil))

// handOver is a response writer with another Hijack.
type handOver struct {
	http.ResponseWriter
	http.Hijacker
}

func (h handOver) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// forever is longer than any connection lives.
const forever = 10 * 365 * 24 * time.Hour

// liftIdleTimeouts disables the server's read_body_idle and write_idle for r, a minute each by default: on HTTP/2
// and HTTP/3 they would close a socket whose client is silent. Pings and write_timeout find lost clients instead.
// Call restore to enable them again.
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
	// overHTTP2 reports whether extended CONNECT is on. golang.org/x/net/http2 decides it when the process
	// starts, so a module cannot turn it on (golang/go#53208).
	overHTTP2 = strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1")
	logOnce   sync.Once
)

// logHTTP2 logs once whether browsers can use HTTP/2.
func logHTTP2(log *zap.Logger) {
	logOnce.Do(func() {
		log.Info("WebSocket over HTTP/2 needs GODEBUG=http2xconnect=1 when Caddy starts", zap.Bool("on", overHTTP2))
	})
}
