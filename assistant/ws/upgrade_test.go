package ws_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/gorilla/websocket"
)

func TestOriginAllowed(t *testing.T) {
	const tlsOnly, plain, either = "https", "http", ""
	for _, test := range []struct {
		name    string
		scheme  string // how the request came
		host    string
		origins []string
		allowed []string
		want    bool
	}{
		{"no browser", either, "example.com", nil, nil, true},
		{"no browser, with a list", either, "example.com", nil, []string{"https://a.example"}, true},

		// The server's own origin.
		{"same host", plain, "example.com", []string{"http://example.com"}, nil, true},
		{"same host, TLS ended by a proxy", plain, "example.com", []string{"https://example.com"}, nil, true},
		{"same host and TLS", tlsOnly, "example.com", []string{"https://example.com"}, nil, true},
		{"page without TLS, socket with", tlsOnly, "example.com", []string{"http://example.com"}, nil, false},
		{"same port", either, "example.com:8443", []string{"https://example.com:8443"}, nil, true},
		{"IPv6", either, "[::1]:8080", []string{"https://[::1]:8080"}, nil, true},
		{"case of host", either, "Example.COM", []string{"https://eXample.com"}, nil, true},
		{"case of scheme", either, "example.com", []string{"HTTPS://example.com"}, nil, true},
		{"other host", either, "example.com", []string{"https://evil.example"}, nil, false},
		{"other port", either, "example.com:8080", []string{"https://example.com:8081"}, nil, false},
		{"no port here", either, "example.com", []string{"https://example.com:8443"}, nil, false},
		{"no port there", either, "example.com:8443", []string{"https://example.com"}, nil, false},
		{"subdomain", either, "example.com", []string{"https://a.example.com"}, nil, false},
		{"parent", either, "a.example.com", []string{"https://example.com"}, nil, false},
		{"prefix", either, "example.com", []string{"https://example.com.evil.example"}, nil, false},
		{"suffix", either, "example.com", []string{"https://evilexample.com"}, nil, false},
		{"other scheme", either, "example.com", []string{"ftp://example.com"}, nil, false},
		{"extension", either, "example.com", []string{"chrome-extension://example.com"}, nil, false},
		{"file", either, "", []string{"file://"}, nil, false},
		{"no host", either, "", []string{"https://"}, nil, false},

		// What is no origin (RFC 6454 section 7).
		{"null", either, "example.com", []string{"null"}, nil, false},
		{"null, asked as such", either, "null", []string{"null"}, nil, false},
		{"empty", either, "example.com", []string{""}, nil, false},
		{"host only", either, "example.com", []string{"example.com"}, nil, false},
		{"no scheme", either, "example.com", []string{"//example.com"}, nil, false},
		{"opaque", either, "example.com", []string{"https:example.com"}, nil, false},
		{"user", either, "example.com", []string{"https://user@example.com"}, nil, false},
		{"user like a host", either, "example.com", []string{"https://example.com@evil.example"}, nil, false},
		{"path", either, "example.com", []string{"https://example.com/path"}, nil, false},
		{"slash", either, "example.com", []string{"https://example.com/"}, nil, false},
		{"query", either, "example.com", []string{"https://example.com?q"}, nil, false},
		{"empty query", either, "example.com", []string{"https://example.com?"}, nil, false},
		{"fragment", either, "example.com", []string{"https://example.com#f"}, nil, false},
		{"backslash", either, "example.com", []string{`https://evil.example\@example.com`}, nil, false},
		{"space", either, "example.com", []string{"https://example.com "}, nil, false},
		{"no URL", either, "example.com", []string{"https://%zz"}, nil, false},
		{"two in one", either, "example.com", []string{"https://example.com https://example.com"}, nil, false},
		{"two headers", either, "example.com", []string{"https://example.com", "https://example.com"}, nil, false},

		// A list.
		{"listed", either, "example.com", []string{"https://app.example"}, []string{"https://a.example", "https://app.example"}, true},
		{"listed, case", either, "example.com", []string{"https://App.Example"}, []string{"https://app.eXample"}, true},
		{"listed with port", either, "example.com", []string{"https://app.example:8443"}, []string{"https://app.example:8443"}, true},
		{"other port than listed", either, "example.com", []string{"https://app.example:8444"}, []string{"https://app.example:8443"}, false},
		{"other scheme than listed", either, "example.com", []string{"http://app.example"}, []string{"https://app.example"}, false},
		{"a list replaces the own origin", either, "example.com", []string{"https://example.com"}, []string{"https://app.example"}, false},
		{"listed twice, sent twice", either, "example.com", []string{"https://app.example", "https://app.example"}, []string{"https://app.example"}, false},
		{"null is not listed", either, "example.com", []string{"null"}, []string{"https://app.example"}, false},
		{"null may be listed", either, "example.com", []string{"null"}, []string{"null"}, true},
		{"star", either, "example.com", []string{"https://evil.example"}, []string{"*"}, true},
		{"star among others", either, "example.com", []string{"null"}, []string{"https://app.example", "*"}, true},
		{"star and several headers", either, "example.com", []string{"a", "b"}, []string{"*"}, true},
		{"star is no pattern", either, "example.com", []string{"https://a.example.com"}, []string{"https://*.example.com"}, false},
		{"star from a client", either, "example.com", []string{"*"}, []string{"https://app.example"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, scheme := range []string{"http", "https"} {
				if test.scheme != either && test.scheme != scheme {
					continue
				}
				r := &http.Request{Host: test.host, Header: http.Header{}}
				if test.origins != nil {
					r.Header["Origin"] = test.origins
				}
				if scheme == "https" {
					r.TLS = &tls.ConnectionState{}
				}
				if got := ws.OriginAllowed(r, test.allowed); got != test.want {
					t.Errorf("by %s: got %v, want %v", scheme, got, test.want)
				}
			}
		})
	}
}

func TestIsUpgrade(t *testing.T) {
	for _, test := range []struct {
		name, method, proto string
		header              http.Header
		want                bool
	}{
		{"browser", "GET", "HTTP/1.1", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, true},
		{"Firefox", "GET", "HTTP/1.1", http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}}, true},
		{"case and lists", "GET", "HTTP/1.1", http.Header{"Connection": {"keep-alive", "uPGRADE"}, "Upgrade": {"h2c, WebSocket"}}, true},
		{"plain", "GET", "HTTP/1.1", http.Header{}, false},
		{"no connection header", "GET", "HTTP/1.1", http.Header{"Upgrade": {"websocket"}}, false},
		{"HTTP/1.0", "GET", "HTTP/1.0", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, false},
		{"other upgrade", "GET", "HTTP/1.1", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"h2c"}}, false},
		{"HTTP/2", "CONNECT", "HTTP/2.0", http.Header{":protocol": {"websocket"}}, true},
		{"HTTP/3", "CONNECT", "websocket", http.Header{}, true},
		{"CONNECT to a proxy", "CONNECT", "HTTP/1.1", http.Header{}, false},
		{"other extended CONNECT", "CONNECT", "HTTP/2.0", http.Header{":protocol": {"connect-udp"}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{Method: test.method, Proto: test.proto, Header: test.header}
			r.ProtoMajor, r.ProtoMinor, _ = http.ParseHTTPVersion(test.proto)
			if got := ws.IsUpgrade(r); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestUpgradeRefuses shows the refusals: each has a fitting status, and only headers were set.
func TestUpgradeRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		status int
		header http.Header
		err    string
	}{
		{
			"plain GET", func(r *http.Request) { r.Header = http.Header{} }, http.StatusUpgradeRequired,
			http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, "this address speaks WebSocket only",
		},
		{
			// RFC 9110 section 7.8: the Upgrade header of such a request is ignored.
			"HTTP/1.0", func(r *http.Request) { r.ProtoMinor, r.Proto = 0, "HTTP/1.0" }, http.StatusUpgradeRequired,
			http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, "this address speaks WebSocket only",
		},
		{
			// RFC 9113 section 8.2.2 forbids connection headers in HTTP/2.
			"plain GET by HTTP/2", func(r *http.Request) { r.Header, r.ProtoMajor, r.Proto = http.Header{}, 2, "HTTP/2.0" },
			http.StatusUpgradeRequired, http.Header{}, "this address speaks WebSocket only",
		},
		{
			"foreign page", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, http.StatusForbidden,
			http.Header{}, `origin "https://evil.example" is not allowed`,
		},
		{
			"foreign page with a long name", func(r *http.Request) { r.Header.Set("Origin", "https://"+strings.Repeat("x", 5000)) }, http.StatusForbidden,
			http.Header{}, `origin "https://` + strings.Repeat("x", 92) + `" is not allowed`,
		},
		{
			"foreign page by HTTP/2", func(r *http.Request) {
				r.Method, r.ProtoMajor, r.Proto = http.MethodConnect, 2, "HTTP/2.0"
				r.Header = http.Header{":protocol": {"websocket"}, "Origin": {"https://evil.example"}}
			}, http.StatusForbidden, http.Header{}, `origin "https://evil.example" is not allowed`,
		},
		{
			"old version by HTTP/2", func(r *http.Request) {
				r.Method, r.ProtoMajor, r.Proto = http.MethodConnect, 2, "HTTP/2.0"
				r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"8"}}
			}, http.StatusBadRequest, http.Header{"Sec-Websocket-Version": {"13"}}, "unsupported version",
		},
		{
			"foreign page by HTTP/3", func(r *http.Request) {
				r.Method, r.ProtoMajor, r.Proto = http.MethodConnect, 3, "websocket"
				r.Header = http.Header{"Origin": {"null"}}
			}, http.StatusForbidden, http.Header{}, `origin "null" is not allowed`,
		},
		{
			"POST", func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed,
			http.Header{"Sec-Websocket-Version": {"13"}}, "method is not GET",
		},
		{
			// RFC 6455 section 4.4: the answer names the supported version.
			"old version", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, http.StatusBadRequest,
			http.Header{"Sec-Websocket-Version": {"13"}}, "unsupported version",
		},
		{
			"no version", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }, http.StatusBadRequest,
			http.Header{"Sec-Websocket-Version": {"13"}}, "unsupported version",
		},
		{
			"no key", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, http.StatusBadRequest,
			http.Header{"Sec-Websocket-Version": {"13"}}, "Sec-WebSocket-Key",
		},
		{
			"short key", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "c2hvcnQ=") }, http.StatusBadRequest,
			http.Header{"Sec-Websocket-Version": {"13"}}, "Sec-WebSocket-Key",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := handshakeRequest(t)
			test.change(r)
			c, err := ws.Upgrade(w, r, ws.Options{})
			refused, ok := errors.AsType[*ws.HandshakeError](err)
			if !ok || c != nil {
				t.Fatalf("got %v, %v", c, err)
			}
			if refused.Status != test.status || !strings.Contains(err.Error(), test.err) || refused.Unwrap() == nil {
				t.Errorf("got %d %q; want %d %q", refused.Status, err, test.status, test.err)
			}
			if !equalHeaders(w.Header(), test.header) {
				t.Errorf("headers %v, want %v", w.Header(), test.header)
			}
			if w.Flushed || w.Body.Len() > 0 || w.Code != 200 {
				t.Errorf("answered %d %q", w.Code, w.Body)
			}
		})
	}
}

func equalHeaders(a, b http.Header) bool {
	for key := range b {
		if !slices.Equal(a[key], b[key]) {
			return false
		}
	}
	return len(a) == len(b)
}

func handshakeRequest(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://example.com/chat", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	return r
}

// TestUpgradeUnable shows that writers which cannot be hijacked, or have no deadlines, cause an error, and
// that nothing is written that a log would take for a response.
func TestUpgradeUnable(t *testing.T) {
	stream := handshakeRequest(t)
	stream.Method, stream.ProtoMajor, stream.Proto = http.MethodConnect, 3, "websocket"
	for want, r := range map[string]*http.Request{
		"take over the connection: feature not supported": handshakeRequest(t),
		"set deadlines: feature not supported":            stream,
	} {
		w := httptest.NewRecorder()
		log := &recording{onlyUnwrap: onlyUnwrap{w}}
		c, err := ws.Upgrade(log, r, ws.Options{})
		refused, ok := errors.AsType[*ws.HandshakeError](err)
		if !ok || c != nil || refused.Status != http.StatusInternalServerError || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, %v; want %s", c, err, want)
		}
		if log.status != 0 || w.Flushed || w.Body.Len() > 0 {
			t.Errorf("answered %d %q", log.status, w.Body)
		}
	}
}

// onlyUnwrap is a response writer like Caddy's: it embeds the interface, so it has only Unwrap in addition.
type onlyUnwrap struct{ http.ResponseWriter }

func (w onlyUnwrap) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// recording wraps a response writer as an access log or a metric does.
type recording struct {
	onlyUnwrap
	status int
}

func (w *recording) WriteHeader(status int) {
	w.status = status
	w.onlyUnwrap.WriteHeader(status)
}

func wrapped(w http.ResponseWriter) http.ResponseWriter {
	return onlyUnwrap{onlyUnwrap{onlyUnwrap{w}}}
}

func TestUpgradeThroughWrappers(t *testing.T) {
	near, far := net.Pipe()
	conns := serve(t, far, &http.Server{}, ws.Options{}, wrapped)
	p := connect(t, near, handshake)
	if p.response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answered %s", p.response.Status)
	}
	echo(t, <-conns, p)
}

// TestGorillaNeedsHijacker documents why Upgrade is not simply gorilla's. When this test fails, it can be.
func TestGorillaNeedsHijacker(t *testing.T) {
	near, far := net.Pipe()
	server := &http.Server{}
	serve(t, far, server, ws.Options{}, nil)
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		if c, err := u.Upgrade(wrapped(w), r, nil); err == nil {
			_ = c.Close()
		}
	})
	if p := connect(t, near, handshake); p.response.StatusCode != http.StatusInternalServerError {
		t.Errorf("gorilla answered %s", p.response.Status)
	}
}

// TestUpgradeIsSeen shows that wrappers of the response writer see the answer's status, and that headers set
// earlier reach the client.
func TestUpgradeIsSeen(t *testing.T) {
	near, far := net.Pipe()
	var log *recording
	conns := serve(t, far, &http.Server{}, ws.Options{}, func(w http.ResponseWriter) http.ResponseWriter {
		w.Header().Set("X-Request-Id", "17")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		log = &recording{onlyUnwrap: onlyUnwrap{w}}
		return onlyUnwrap{log}
	})
	p := connect(t, near, handshake)
	echo(t, <-conns, p)
	if log.status != http.StatusSwitchingProtocols {
		t.Errorf("the log saw status %d", log.status)
	}
	h := p.response.Header
	if h.Get("X-Request-Id") != "17" || !slices.Equal(h["Set-Cookie"], []string{"a=1", "b=2"}) {
		t.Errorf("headers that were set before did not arrive: %v", h)
	}
	// The accept key is the example of RFC 6455 section 1.3.
	if h.Get("Upgrade") != "websocket" || h.Get("Connection") != "Upgrade" || h.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("headers of the handshake: %v", h)
	}
	for _, key := range []string{"Content-Length", "Transfer-Encoding", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol"} {
		if h.Values(key) != nil {
			t.Errorf("%s: %q", key, h.Values(key))
		}
	}
}

// TestEarlyData shows that frames sent together with the handshake are read, whole or in part.
func TestEarlyData(t *testing.T) {
	early := frames(frame(text|fin, "one"), frame(text|fin, strings.Repeat("two", 400)), frame(text|fin, "three"))
	for _, n := range []int{0, 1, 8, 9, 20, 1000, len(early)} {
		near, far := net.Pipe()
		conns := serve(t, far, &http.Server{}, ws.Options{}, wrapped)
		p := connect(t, near, handshake+string(early[:n]))
		go func() {
			p.write(early[n:])
			_ = near.Close()
		}()
		c := <-conns
		got, _ := recv(c)
		if want := []string{"one", strings.Repeat("two", 400), "three"}; !slices.Equal(got, want) {
			t.Errorf("with %d early bytes: got %q", n, got)
		}
		_ = c.Close(1000, "")
	}
}

// TestServerTimeouts shows that the HTTP server's deadlines end with the handshake.
func TestServerTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		server := &http.Server{ReadTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: time.Second}
		conns := serve(t, far, server, ws.Options{}, nil)
		p := connect(t, near, handshake)
		c := <-conns
		time.Sleep(20 * time.Second)
		echo(t, c, p)
	})
}

// echo shows that a connection works in both directions, and closes it.
func echo(t *testing.T, c *ws.Conn, p *peer) {
	t.Helper()
	go p.write(frame(text|fin, "hello"))
	data, err := c.Recv()
	if err != nil || string(data) != "hello" {
		t.Fatalf("received %q, %v", data, err)
	}
	sent := make(chan error, 1)
	go func() { sent <- c.Send([]byte("world")) }()
	if got := p.next(); got != "text world" {
		t.Errorf("peer got %q", got)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	go func() { _, _ = io.Copy(io.Discard, p); _ = p.Conn.Close() }()
	_ = p.Conn.Close()
	_ = c.Close(websocket.CloseNormalClosure, "")
}
