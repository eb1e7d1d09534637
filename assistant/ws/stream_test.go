package ws_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// protocols open a connection over each version of HTTP, between real servers and clients. use runs in the
// HTTP handler, which returns when it does.
var protocols = map[string]func(t testing.TB, o ws.Options, use func(*ws.Conn)) *peer{
	"HTTP/1.1": overHTTP1, "HTTP/2": overHTTP2, "HTTP/3": overHTTP3,
}

// everyProtocol runs a test over each of them.
func everyProtocol(t *testing.T, test func(t *testing.T, open func(o ws.Options, use func(*ws.Conn)) *peer)) {
	for name, open := range protocols {
		t.Run(name, func(t *testing.T) {
			test(t, func(o ws.Options, use func(*ws.Conn)) *peer { return open(t, o, use) })
		})
	}
}

// offer is the compression that browsers offer.
const offer = "permessage-deflate; client_max_window_bits"

func handle(o ws.Options, use func(*ws.Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := ws.Upgrade(wrapped(w), r, o)
		if refused, ok := errors.AsType[*ws.HandshakeError](err); ok {
			http.Error(w, refused.Error(), refused.Status)
			return
		}
		use(c)
	})
}

func overHTTP1(t testing.TB, o ws.Options, use func(*ws.Conn)) *peer {
	near, far := tcpPipe(t)
	serveConn(t, far, &http.Server{Handler: handle(o, use)})
	return connect(t, near, strings.TrimSuffix(handshake, "\r\n")+"Sec-WebSocket-Extensions: "+offer+"\r\n\r\n")
}

func overHTTP2(t testing.TB, o ws.Options, use func(*ws.Conn)) *peer {
	near, far := tcpPipe(t)
	server := &http.Server{Handler: handle(o, use), Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	serveConn(t, far, server)
	//nolint:staticcheck // http.Transport refuses a header named :protocol
	client, err := new(http2.Transport).NewClientConn(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	r := extendedConnect(t)
	r.Header[":protocol"] = []string{"websocket"}
	return connectStream(t, client, r)
}

func overHTTP3(t testing.TB, o ws.Options, use func(*ws.Conn)) *peer {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: handle(o, use), TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{certificate(t)}})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(conn)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
		_ = conn.Close()
	})
	client := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		QUICConfig:      &quic.Config{MaxIdleTimeout: time.Minute},
	}
	t.Cleanup(func() { _ = client.Close() })
	r := extendedConnect(t)
	r.URL.Host, r.Proto = conn.LocalAddr().String(), "websocket"
	return connectStream(t, client, r)
}

func extendedConnect(t testing.TB) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://example.com/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Extensions": {offer}}
	return r
}

// connectStream opens a stream. The peer's end is a pipe, which has deadlines like those of other peers.
func connectStream(t testing.TB, client http.RoundTripper, r *http.Request) *peer {
	near, far := net.Pipe()
	r.Body = io.NopCloser(far) // the client would close it before the answer is read to its end
	response, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(far, response.Body)
		_ = far.Close() // ends the request too, which Body.Close waits for
		_ = response.Body.Close()
	}()
	t.Cleanup(func() {
		_ = near.Close()
		<-copied
	})
	p := newPeer(t, near)
	p.response = response
	return p
}

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
}

// TestWireOverEveryProtocol plays the wire cases over each protocol.
func TestWireOverEveryProtocol(t *testing.T) {
	everyProtocol(t, func(t *testing.T, open func(ws.Options, func(*ws.Conn)) *peer) {
		for _, test := range wireCases {
			t.Run(test.name, func(t *testing.T) {
				p := open(ws.Options{MaxMessageSize: 65536}, echoAll)
				go func() { _, _ = p.Write(test.send) }() // the server may hang up before it has read all
				got := conversation(p, len(test.want))
				if !slices.Equal(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		}
	})
}

// conversation reads n frames, sends a ping, and reads everything that comes before its answer. It answers a
// close frame, after which only the end may come.
func conversation(p *peer, n int) (got []string) {
	const last = "the last"
	for {
		if len(got) == n && !strings.HasPrefix(got[n-1], "close") {
			_, _ = p.Write(frame(fin|ping, last))
		}
		next := p.next()
		if next == "pong "+last || p.err == io.EOF {
			_ = p.Conn.Close()
			return got
		}
		got = append(got, short(next))
		if p.err != nil {
			return got
		}
		if strings.HasPrefix(next, "close") {
			go func() { _, _ = p.Write(frame(fin|closing, closePayload(1000, ""))) }()
		}
	}
}

// TestHandshake shows the answer of each protocol.
func TestHandshake(t *testing.T) {
	everyProtocol(t, func(t *testing.T, open func(ws.Options, func(*ws.Conn)) *peer) {
		p := open(ws.Options{}, func(c *ws.Conn) { _ = c.Close(1000, "") })
		status, accept := http.StatusOK, ""
		if p.response.ProtoMajor == 1 {
			status, accept = http.StatusSwitchingProtocols, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
		}
		h := p.response.Header
		if p.response.StatusCode != status || h.Get("Sec-Websocket-Accept") != accept || (h.Get("Upgrade") == "") != (accept == "") || h.Get("Sec-Websocket-Extensions") != "" {
			t.Errorf("answered %s with %v", p.response.Status, h)
		}
		if got := p.next(); got != "close 1000" {
			t.Errorf("got %q", got)
		}
	})
}

// TestLargeMessages sends and receives more than any window or buffer on the way.
func TestLargeMessages(t *testing.T) {
	const size = 3 << 20
	everyProtocol(t, func(t *testing.T, open func(ws.Options, func(*ws.Conn)) *peer) {
		p := open(ws.Options{MaxMessageSize: size}, echoAll)
		want := strings.Repeat("x", size)
		go func() { _, _ = p.Write(frame(fin|text, want)) }()
		if got := p.next(); got != "text "+want {
			t.Errorf("got %d bytes, %v", len(got), p.err)
		}
		_ = p.Conn.Close()
	})
}

// TestHandlerReturns checks that Close ends whatever the peer does. An orderly peer gets the code and answers
// it. A silent peer is not waited for long. A peer that does not read is cut off, however long a write may
// take. A peer that breaks off ends Recv.
func TestHandlerReturns(t *testing.T) {
	for _, test := range []struct {
		name string
		use  func(c *ws.Conn)
		peer func(p *peer)
	}{
		{"peer answers", func(c *ws.Conn) { _ = c.Close(1012, "") }, func(p *peer) {
			if got := p.next(); got != "close 1012" {
				p.t.Errorf("got %q", got)
			}
			p.write(frame(fin|closing, closePayload(1012, "")))
			if got := p.next(); p.err != io.EOF {
				p.t.Errorf("after the close frame came %q", got)
			}
		}},
		{"peer is silent", func(c *ws.Conn) { _ = c.Close(1012, "") }, nil},
		{"peer is silent, during Recv", func(c *ws.Conn) {
			received := make(chan error)
			go func() {
				_, err := c.Recv()
				received <- err
			}()
			_ = c.Close(1012, "")
			if <-received == nil {
				t.Error("received a message")
			}
		}, nil},
		{"peer does not read", func(c *ws.Conn) {
			sent := make(chan error)
			go func() { sent <- c.Send([]byte(strings.Repeat("x", 64<<20))) }()
			_, _ = c.Recv() // the peer has begun to read
			_ = c.Close(1012, "")
			<-sent
		}, func(p *peer) {
			p.read(10)
			p.write(frame(fin|text, "enough"))
		}},
		{"peer breaks off", func(c *ws.Conn) {
			_, err := recv(c)
			_ = c.Close(closeCode(err), "")
		}, func(p *peer) { _ = p.Conn.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			everyProtocol(t, func(t *testing.T, open func(ws.Options, func(*ws.Conn)) *peer) {
				done := make(chan struct{})
				p := open(ws.Options{WriteTimeout: time.Hour}, func(c *ws.Conn) {
					defer close(done)
					test.use(c)
				})
				if test.peer != nil {
					test.peer(p)
				}
				<-done
			})
		})
	}
}

// TestIdle checks that a connection stays open when nothing is written for longer than WriteTimeout.
func TestIdle(t *testing.T) {
	everyProtocol(t, func(t *testing.T, open func(ws.Options, func(*ws.Conn)) *peer) {
		p := open(ws.Options{WriteTimeout: 300 * time.Millisecond, PingInterval: 400 * time.Millisecond}, echoAll)
		for range 2 {
			if got := p.next(); got != "ping" {
				t.Fatalf("got %q", got)
			}
			p.write(frame(fin|pong, ""))
		}
		p.write(frame(fin|text, "hello"))
		if got := p.next(); got != "text hello" {
			t.Errorf("got %q", got)
		}
		_ = p.Conn.Close()
	})
}

// TestGone drops a peer that does not answer pings, and one that does not take what is written, over each protocol.
func TestGone(t *testing.T) {
	for name, test := range map[string]struct {
		o    ws.Options
		send int
	}{
		"no pong":       {ws.Options{PingInterval: 50 * time.Millisecond, WriteTimeout: time.Hour}, 0},
		"does not read": {ws.Options{PingInterval: time.Hour, WriteTimeout: 50 * time.Millisecond}, 64 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			everyProtocol(t, func(t *testing.T, open func(ws.Options, func(*ws.Conn)) *peer) {
				done := make(chan struct{})
				open(test.o, func(c *ws.Conn) {
					defer close(done)
					if test.send > 0 {
						if c.Send([]byte(strings.Repeat("x", test.send))) == nil {
							t.Error("the message was taken")
						}
					} else if _, err := c.Recv(); err == nil {
						t.Error("received a message")
					}
					if _ = c.Close(1011, ""); c.Agreed() {
						t.Error("the peer answered")
					}
				})
				<-done
			})
		})
	}
}

// TestNothingAfterHandler closes while pings are constantly due. No ping may touch a response writer whose
// handler has returned: it would panic on the timer's goroutine.
func TestNothingAfterHandler(t *testing.T) {
	everyProtocol(t, func(t *testing.T, open func(ws.Options, func(*ws.Conn)) *peer) {
		for range 20 {
			p := open(ws.Options{PingInterval: 50 * time.Microsecond}, func(c *ws.Conn) {
				_, _ = c.Recv() // which ends when pings are not answered in time
				_ = c.Close(1011, "")
			})
			for p.err == nil {
				p.next()
			}
			_ = p.Conn.Close()
		}
	})
}
