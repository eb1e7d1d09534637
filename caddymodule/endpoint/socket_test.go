package endpoint

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/gorilla/websocket"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// TestMain runs the tests in a process that has had HTTP/2's extended CONNECT on from its start.
func TestMain(m *testing.M) {
	if overHTTP2 {
		os.Exit(m.Run())
	}
	again := exec.CommandContext(context.Background(), os.Args[0], os.Args[1:]...)
	again.Env = append(os.Environ(), "GODEBUG=http2xconnect=1")
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	if again.Run() != nil {
		os.Exit(1)
	}
}

// clients send the extended CONNECT of HTTP/2 and HTTP/3.
var clients = map[string]func(*testing.T, *http.Request) (*http.Response, error){
	"HTTP/2": func(t *testing.T, r *http.Request) (*http.Response, error) {
		//nolint:staticcheck // http.Transport refuses a header named :protocol
		c := &http2.Transport{TLSClientConfig: anyCertificate()}
		t.Cleanup(c.CloseIdleConnections) //nolint:staticcheck // as above
		r.Header[":protocol"] = []string{"websocket"}
		return c.RoundTrip(r) //nolint:staticcheck // as above
	},
	"HTTP/3": func(t *testing.T, r *http.Request) (*http.Response, error) {
		c := &http3.Transport{TLSClientConfig: anyCertificate()}
		t.Cleanup(func() { _ = c.Close() })
		r.Proto = "websocket"
		return c.RoundTrip(r)
	},
}

func anyCertificate() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}
}

// mustLoadTLS makes Caddy serve these handlers by HTTP/1.1, HTTP/2 and HTTP/3.
func mustLoadTLS(s *caddytest.Site, handlers string) {
	s.T.Helper()
	if s.Certificate == "" {
		s.Certificate = writeCertificate(s.T)
	}
	handlers = fmt.Sprintf("bind 127.0.0.1\ntls %s %[1]s\n%s", s.Certificate, handlers)
	if err := s.LoadSite(fmt.Sprintf("https://localhost:%d", s.Port), handlers); err != nil {
		s.T.Fatal(err)
	}
}

// writeCertificate makes a file with a certificate for localhost and its key.
func writeCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/localhost.pem"
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// dialBy opens a socket by a version of HTTP.
func dialBy(s *caddytest.Site, protocol, query string, header http.Header) (*caddytest.Socket, *http.Response, error) {
	s.T.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", s.Port)
	dialer := &websocket.Dialer{TLSClientConfig: anyCertificate(), NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}}
	if client, ok := clients[protocol]; ok {
		dialer.NetDialTLSContext = func(context.Context, string, string) (net.Conn, error) {
			return openStream(s.T, address, func(r *http.Request) (*http.Response, error) { return client(s.T, r) }), nil
		}
	}
	conn, res, err := dialer.DialContext(s.T.Context(), fmt.Sprintf("wss://localhost:%d/ws/?%s", s.Port, query), header)
	if err != nil {
		return nil, res, err
	}
	s.T.Cleanup(func() { _ = conn.Close() })
	return &caddytest.Socket{T: s.T, Conn: conn}, res, nil
}

// openStream returns a connection on which gorilla's client can speak HTTP/1.1: its upgrade is made an extended
// CONNECT, what follows are the stream's bytes.
func openStream(t *testing.T, address string, connect func(*http.Request) (*http.Response, error)) net.Conn {
	near, far := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { _ = far.Close() }()
		if err := bridge(t.Context(), address, connect, far); err != nil {
			t.Errorf("bridge: %v", err)
		}
	})
	t.Cleanup(func() {
		_ = near.Close()
		wg.Wait()
	})
	return near
}

func bridge(ctx context.Context, address string, connect func(*http.Request) (*http.Response, error), far net.Conn) error {
	from := bufio.NewReader(far)
	upgrade, err := http.ReadRequest(from)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodConnect, "https://"+address+upgrade.RequestURI, io.NopCloser(from))
	if err != nil {
		return err
	}
	r.Host, r.Header = upgrade.Host, upgrade.Header.Clone()
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		r.Header.Del(name)
	}
	res, err := connect(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	defer func() { _ = far.Close() }() // first: it ends the request
	if res.StatusCode != http.StatusOK {
		_, err = fmt.Fprintf(far, "HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n", res.StatusCode)
		return err
	}
	sum := sha1.Sum([]byte(upgrade.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = fmt.Fprintf(far, "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	if err == nil {
		_, _ = io.Copy(far, res.Body)
	}
	return err
}

// every are the versions of HTTP that a socket can come by.
var every = []string{"HTTP/1.1", "HTTP/2", "HTTP/3"}

// TestOneConversationByEveryProtocol follows one conversation from three sockets, one for each version of HTTP,
// while Caddy is reloaded: each gets every piece, under the same number.
func TestOneConversationByEveryProtocol(t *testing.T) {
	s := caddytest.NewSite(t)
	config := caddytest.Handler("model m\n pieces 200", "drain_timeout 1s")
	mustLoadTLS(s, config)
	topic := ""
	sockets := make([]*caddytest.Socket, len(every))
	for i, protocol := range every {
		c, _, err := dialBy(s, protocol, "user=ann", nil)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		if topic == "" {
			topic = c.CreateConversation()
		}
		c.Send(`{"action":"subscribe","topic":%q}`, topic)
		c.Until("snapshot")
		sockets[i] = c
	}
	sockets[1].Send(`{"action":"assistant_message","payload":"count","topic":%q}`, topic)
	pieces := make([][]string, len(every))
	var streaming, done sync.WaitGroup
	streaming.Add(len(every))
	for i, c := range sockets {
		done.Go(func() {
			pieces[i] = append(pieces[i], show(c.Until("streaming")))
			streaming.Done()
			for f, err := c.Next(); f.Action != "complete_streaming"; f, err = c.Next() {
				if err != nil {
					t.Errorf("%s: %v", every[i], err)
					return
				}
				pieces[i] = append(pieces[i], show(f))
			}
		})
	}
	streaming.Wait()
	for range 3 {
		mustLoadTLS(s, config)
	}
	done.Wait()
	for i, protocol := range every {
		if len(pieces[i]) != 201 || !slices.Equal(pieces[i], pieces[0]) {
			t.Errorf("%s: got %d pieces, %q", protocol, len(pieces[i]), pieces[i])
		}
	}
	mustLoadTLS(s, "respond gone")
	for i, protocol := range every {
		sockets[i].Until("notice")
		if _, err := sockets[i].Next(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
			t.Errorf("%s: closed with %v", protocol, err)
		}
	}
}

func show(f caddytest.Frame) string { return fmt.Sprintf("%d %s %s", f.Seq, f.Action, f.Payload) }

// TestIdleSockets holds that the server's idle timeouts do not end a socket whose client has nothing to say,
// nor one to which nothing is said.
func TestIdleSockets(t *testing.T) {
	s := caddytest.NewSite(t)
	s.Options = "servers {\n timeouts {\n read_body_idle 100ms\n write_idle 100ms\n}\n}"
	mustLoadTLS(s, caddytest.Handler("model m\n pieces 100", "ping_interval 1h"))
	for _, protocol := range every {
		t.Run(protocol, func(t *testing.T) {
			c, _, err := dialBy(s, protocol, "user=ann", nil)
			if err != nil {
				t.Fatal(err)
			}
			// The answer takes five times the timeout, without a word from the client.
			c.Send(`{"action":"assistant_message","payload":"count","ref":"1"}`)
			if _, text, _, err := c.Answer(); err != nil || text != (&caddytest.Counting{Name: "m", Pieces: 100}).Want("") {
				t.Errorf("%v after %q", err, text)
			}
			// During another's, this one has neither sent nor got anything.
			other, _, err := dialBy(s, protocol, "user=bob", nil)
			if err != nil {
				t.Fatal(err)
			}
			other.Send(`{"action":"assistant_message","payload":"count","ref":"1"}`)
			other.Until("complete_streaming")
			c.Send(`{"action":"ping"}`)
			c.Until("pong")
		})
	}
}

// TestRefusedByEveryProtocol holds that origins, users and owners are looked at before a stream is opened too.
func TestRefusedByEveryProtocol(t *testing.T) {
	s := caddytest.NewSite(t)
	mustLoadTLS(s, caddytest.Handler("pieces 1", ""))
	for _, protocol := range every {
		for _, test := range []struct {
			query, origin string
			status        int
		}{
			{"", "https://evil.example", http.StatusForbidden},
			{"", fmt.Sprintf("http://localhost:%d", s.Port), http.StatusForbidden},
			{"user=ann%0aeve", "", http.StatusBadRequest},
			{"user=%ff", "", http.StatusBadRequest},
			{"user=" + strings.Repeat("a", maxUser+1), "", http.StatusBadRequest},
			{"user=" + strings.Repeat("a", maxUser), "", http.StatusOK},
			{"user=%C3%A4nn/e%20%2F%25", "", http.StatusOK},
			{"user=ann&conversation=00000000-0000-4000-8000-000000000000", "", http.StatusNotFound},
			{"", fmt.Sprintf("https://localhost:%d", s.Port), http.StatusOK},
		} {
			header := http.Header{}
			if test.origin != "" {
				header.Set("Origin", test.origin)
			}
			_, res, err := dialBy(s, protocol, test.query, header)
			if (err == nil) != (test.status == http.StatusOK) || res == nil || err != nil && res.StatusCode != test.status {
				t.Errorf("%s, %s %s: got %v, %v, want %d", protocol, test.query, test.origin, res, err, test.status)
			}
		}
	}
}

// TestCompression negotiates compression where it is on.
func TestCompression(t *testing.T) {
	for word, want := range map[string]bool{"off": false, "on": true} {
		t.Run(word, func(t *testing.T) {
			s := caddytest.NewSite(t)
			s.MustLoad(caddytest.Handler("pieces 1", "compression "+word))
			dialer := &websocket.Dialer{EnableCompression: true}
			conn, res, err := dialer.Dial(fmt.Sprintf("ws://127.0.0.1:%d/ws/?user=ann", s.Port), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if got := strings.HasPrefix(res.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate"); got != want {
				t.Errorf("negotiated is %v", got)
			}
			c := &caddytest.Socket{T: t, Conn: conn}
			c.Send(`{"action":%q}`, strings.Repeat("ping", 1000))
			if f := c.Until("error"); !strings.Contains(string(f.Payload), "union_tag_invalid") {
				t.Errorf("got %s", f.Payload)
			}
		})
	}
}
