// Package ws carries whole JSON text messages over WebSocket (RFC 6455) with gorilla/websocket: the
// handshake through any chain of response writers, limits, deadlines, keep-alive and an orderly close.
//
// HTTP/1.1, HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220) share all of it: gorilla is given a net.Conn, and only
// how that comes from the request differs.
//
// It knows nothing of the messages' meaning and imports nothing of this project.
package ws

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Options are the limits of a connection. Zero values mean the defaults.
type Options struct {
	// MaxMessageSize is the largest message that is accepted, in bytes. A larger one closes the
	// connection with 1009. Default: 1 MiB.
	MaxMessageSize int64
	// PingInterval is how often an idle peer is pinged; silent for twice that, it is taken for gone.
	// Default: 25s.
	PingInterval time.Duration
	// WriteTimeout bounds one write, of 64 KiB at most. A peer that does not take it in time is dropped.
	// Default: 10s.
	WriteTimeout time.Duration
	// Origins are the origins ("https://example.com", with the port where it is not the default) whose
	// pages may connect; "*" allows all. Empty means the origin of the server itself. Requests without
	// an Origin header, which browsers do not make, are always allowed.
	Origins []string
	// Compression accepts permessage-deflate (RFC 7692) from clients that offer it. MaxMessageSize then
	// bounds what a message becomes, before it is in memory. Default: off, since it costs time and memory
	// and the pieces of an answer are too small to gain.
	Compression bool
}

// HandshakeError is a request that cannot be upgraded. Nothing but headers has been written.
type HandshakeError struct {
	Status int // the HTTP status that fits
	Err    error
}

func (e *HandshakeError) Error() string { return e.Err.Error() }
func (e *HandshakeError) Unwrap() error { return e.Err }

// IsUpgrade tells whether r asks for a WebSocket: by the Upgrade header of HTTP/1.1, or by the extended
// CONNECT of HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220).
func IsUpgrade(r *http.Request) bool {
	return websocket.IsWebSocketUpgrade(r) || isExtendedConnect(r)
}

// Upgrade answers the handshake of r and returns the open connection. Errors are [*HandshakeError].
//
// It works behind response writers that only have Unwrap, as Caddy's do: gorilla's own Upgrade asserts
// http.Hijacker and answers 500 there (caddyserver/caddy#7913). The answer goes through w, so that
// status and headers are seen by whatever wraps it.
//
// With HTTP/1.1 the connection is the Conn's own and the HTTP handler may return. With HTTP/2 and HTTP/3 it
// is a stream of the request's, and the handler must stay until Close and Recv have returned.
func Upgrade(w http.ResponseWriter, r *http.Request, o Options) (*Conn, error) {
	switch {
	case !IsUpgrade(r):
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
		}
		return nil, &HandshakeError{http.StatusUpgradeRequired, errors.New("this address speaks WebSocket only")}
	case !OriginAllowed(r, o.Origins):
		return nil, &HandshakeError{http.StatusForbidden, fmt.Errorf("origin %.100q is not allowed", r.Header.Get("Origin"))}
	}
	nc := &netConn{opening: upgrade{w}, timeout: o.writeTimeout()}
	if isExtendedConnect(r) {
		nc.opening = newStreamConn(w, r.Body)
		r = asUpgrade(r)
	}
	var refused error
	upgrader := websocket.Upgrader{
		ReadBufferSize:  512, // an idle connection keeps it; larger messages are read past it
		WriteBufferPool: &writeBuffers,
		CheckOrigin:     func(*http.Request) bool { return true }, // done above

		EnableCompression: o.Compression && offersDeflate(r),
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			w.Header().Set("Sec-Websocket-Version", "13") // RFC 6455 section 4.4
			refused = &HandshakeError{status, reason}
		},
	}
	conn, err := upgrader.Upgrade(hijacker{w.Header(), nc}, r, nil)
	switch {
	case refused != nil:
		return nil, refused
	case err != nil:
		return nil, &HandshakeError{http.StatusInternalServerError, err}
	}
	return newConn(conn, nc, o), nil
}

var writeBuffers sync.Pool

// OriginAllowed tells whether the Origin of r is one of allowed, or, when allowed is empty, the server's
// own. "null" and whatever is no origin is refused unless all are allowed (CWE-1385).
func OriginAllowed(r *http.Request, allowed []string) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	for _, a := range allowed {
		if a == "*" || (len(origins) == 1 && strings.EqualFold(a, origins[0])) {
			return true
		}
	}
	return len(origins) == 1 && len(allowed) == 0 && isOwnOrigin(r, origins[0])
}

// isOwnOrigin compares host and port as the browser gave them to both headers. Without TLS here the
// scheme says nothing, because a proxy in front may have ended TLS; with TLS it must be https.
func isOwnOrigin(r *http.Request, origin string) bool {
	scheme, host, _ := strings.Cut(origin, "://")
	secure := strings.EqualFold(scheme, "https")
	insecure := strings.EqualFold(scheme, "http") && r.TLS == nil
	return (secure || insecure) && host != "" && strings.EqualFold(host, r.Host)
}
