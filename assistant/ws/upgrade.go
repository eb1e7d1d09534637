// Package ws carries whole JSON text messages over WebSocket (RFC 6455) with gorilla/websocket: the
// handshake through any chain of response writers, limits, deadlines, keep-alive and an orderly close.
//
// HTTP/1.1, HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220) share all of it: gorilla works on a net.Conn, and only
// the way from the request to that net.Conn differs.
//
// The package does not interpret messages and imports nothing of this project.
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
	// PingInterval is how often an idle peer is pinged. A peer that is silent for twice as long is
	// considered gone. Default: 25s.
	PingInterval time.Duration
	// WriteTimeout bounds one write of at most 64 KiB. A peer that does not take it in time is dropped.
	// Default: 10s.
	WriteTimeout time.Duration
	// Origins are the origins ("https://example.com", with the port if it is not the default) whose pages
	// may connect; "*" allows all. Empty means the origin of the server itself. Requests without an Origin
	// header are always allowed; browsers do not send such requests.
	Origins []string
	// Compression accepts permessage-deflate (RFC 7692) from clients that offer it. MaxMessageSize then
	// bounds the inflated message, before it is in memory. Default: off, since compression costs time and
	// memory, and the pieces of an answer are too small to gain.
	Compression bool
}

// HandshakeError describes a request that cannot be upgraded. Only headers have been set; the caller writes
// the response.
type HandshakeError struct {
	Status int // the HTTP status to answer with
	Err    error
}

func (e *HandshakeError) Error() string { return e.Err.Error() }
func (e *HandshakeError) Unwrap() error { return e.Err }

// IsUpgrade reports whether r asks for a WebSocket: by the Upgrade header of HTTP/1.1, or by the extended
// CONNECT of HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220). HTTP/1.0 has no upgrades (RFC 9110 section 7.8).
func IsUpgrade(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) && websocket.IsWebSocketUpgrade(r) || isExtendedConnect(r)
}

// Upgrade answers the handshake of r and returns the open connection. Errors are [*HandshakeError].
//
// It works behind response writers that only have Unwrap, like Caddy's: gorilla's own Upgrade asserts
// http.Hijacker and answers 500 there (caddyserver/caddy#7913). The answer goes through w, so that all
// wrapping writers see its status and headers.
//
// With HTTP/1.1 the Conn owns the connection and the HTTP handler may return. With HTTP/2 and HTTP/3 the
// connection is the request's stream, and the handler must not return before Close and Recv have.
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
		ReadBufferSize:  128, // kept by idle connections; larger reads bypass it
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

// OriginAllowed reports whether the Origin of r is one of allowed or, when allowed is empty, the server's
// own. "null" and values that are no origin are refused unless "*" allows all (CWE-1385).
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

// isOwnOrigin reports whether origin has the host and port of r's Host header. Without TLS the scheme may be
// either, because a proxy in front may have terminated TLS; with TLS it must be https.
func isOwnOrigin(r *http.Request, origin string) bool {
	scheme, host, _ := strings.Cut(origin, "://")
	secure := strings.EqualFold(scheme, "https")
	insecure := strings.EqualFold(scheme, "http") && r.TLS == nil
	return (secure || insecure) && host != "" && strings.EqualFold(host, r.Host)
}
