package bench

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// server is a process under test.
type server struct {
	addr  string
	pid   int
	open  func(addr, path string) (*harness.Raw, error) // opens a WebSocket; nil where clients speak HTTP
	keeps bool                                          // conversations are stored, and followed
	caddy *harness.Caddy                                // nil where it is none
}

func startFloor(t *testing.T) *server {
	t.Helper()
	_, upstream := startUpstream(t)
	addr, pid := startRole(t, "floor", "UPSTREAM="+upstream)
	return &server{addr: addr, pid: pid}
}

// startFloorSockets is startFloor for clients that only want sockets.
func startFloorSockets(t *testing.T) *server {
	t.Helper()
	s := startFloor(t)
	s.open = openSocket
	return s
}

// startProxy runs the Caddy under test with nothing but Caddy's own reverse proxy.
func startProxy(t *testing.T) *server {
	t.Helper()
	_, upstream := startUpstream(t)
	return ofCaddy(harness.Start(t, metered(harness.Site("reverse_proxy "+upstream))), nil)
}

// startOurs runs the assistant. Its log and its limits are the default ones.
func startOurs(t *testing.T) *server {
	t.Helper()
	return ofCaddy(harness.Start(t, metered(harness.Site(assistant(t, sqlite)))), openSocket)
}

// startKept is startOurs for clients whose conversations are stored.
func startKept(t *testing.T) *server {
	t.Helper()
	s := startOurs(t)
	s.keeps = true
	return s
}

// startShared is startKept with conversations in PostgreSQL.
func startShared(t *testing.T, postgres *harness.Postgres) *server {
	t.Helper()
	s := ofCaddy(harness.Start(t, metered(harness.Site(assistant(t, "postgres "+postgres.DSN)))), openSocket)
	s.keeps = true
	return s
}

// startSecure is startOurs by HTTPS.
func startSecure(t *testing.T, open func(addr, path string) (*harness.Raw, error)) *server {
	t.Helper()
	file := harness.Certificate(t)
	site := "https://{$SITE} {\nbind 127.0.0.1\ntls " + file + " " + file + "\n" + assistant(t, sqlite) + "}\n"
	return ofCaddy(harness.Start(t, metered(site), "GODEBUG=http2xconnect=1"), open)
}

const sqlite = "sqlite {$HOME}/chat.db"

func assistant(t *testing.T, store string) string {
	t.Helper()
	baseURL, _ := startUpstream(t)
	return fmt.Sprintf("assistant %s* {\nstore %s\nuser {query.user}\nprovider openai {\nbase_url %s\n}\n}\n", harness.AssistantPath, store, baseURL)
}

// buildGorilla builds the Caddy of the folder gorilla.
func buildGorilla(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "gorilla")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./gorilla")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build gorilla: %v\n%s", err, out)
	}
	return binary
}

func startGorilla(t *testing.T, binary string) *server {
	t.Helper()
	baseURL, _ := startUpstream(t)
	return ofCaddy(harness.StartBinary(t, binary, metered(harness.Site("gorilla_chat "+baseURL))), openSocket)
}

// startNode runs the server of the folder node. Node and its packages must be there: make deps.
func startNode(t *testing.T) *server {
	t.Helper()
	baseURL, _ := startUpstream(t)
	cmd := exec.Command("node", "server.mjs")
	cmd.Dir = "node"
	cmd.Env = append(cmd.Environ(), "UPSTREAM="+baseURL)
	addr, pid := startListening(t, cmd)
	return &server{addr: addr, pid: pid, open: openSocket}
}

// metered is a Caddyfile with Caddy's own metrics on too.
func metered(site string) string { return "{\nmetrics\n}\n" + site }

func ofCaddy(c *harness.Caddy, open func(addr, path string) (*harness.Raw, error)) *server {
	return &server{addr: c.Addr, pid: c.Pid(), open: open, caddy: c}
}

// openSocket opens a WebSocket by HTTP/1.1.
func openSocket(addr, path string) (*harness.Raw, error) {
	raw, err := connect(addr)
	if err != nil {
		return nil, err
	}
	return upgrade(raw, addr, path)
}

// openSecure is openSocket by HTTPS.
func openSecure(addr, path string) (*harness.Raw, error) {
	raw, err := connect(addr)
	if err != nil {
		return nil, err
	}
	raw.Conn = tls.Client(raw.Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	raw.Reader.Reset(raw.Conn)
	return upgrade(raw, addr, path)
}

// connect opens a TCP connection, which must be done with before limit.
func connect(addr string) (*harness.Raw, error) {
	raw, err := harness.Connect(&harness.Caddy{Addr: addr})
	if err != nil {
		return nil, err
	}
	raw.Reader = bufio.NewReaderSize(raw.Conn, 8<<10)
	return raw, raw.SetDeadline(time.Now().Add(limit))
}

// limit bounds one measurement: no client waits longer for anything.
const limit = 3 * time.Minute

func upgrade(raw *harness.Raw, addr, path string) (*harness.Raw, error) {
	status, err := raw.Answer(harness.Request(&harness.Caddy{Addr: addr}, path) + "\r\n")
	if err == nil && status != http.StatusSwitchingProtocols {
		err = fmt.Errorf("no socket: status %d", status)
	}
	if err != nil {
		drop(raw)
		return nil, err
	}
	return raw, nil
}

// drop ends a connection by a reset, which leaves no port occupied.
func drop(raw *harness.Raw) {
	conn := raw.Conn
	switch c := conn.(type) {
	case *tls.Conn:
		conn = c.NetConn()
	case stream:
		conn = c.Conn
	}
	(&harness.Raw{Conn: conn}).Reset()
}

// openStream opens a WebSocket by HTTP/2 (RFC 8441), on a connection of its own.
func openStream(addr, path string) (*harness.Raw, error) {
	raw, err := connect(addr)
	if err != nil {
		return nil, err
	}
	s, err := openExtended(raw, "https://"+addr+path)
	if err != nil {
		drop(raw)
		return nil, err
	}
	return &harness.Raw{Conn: s, Reader: bufio.NewReaderSize(s, 8<<10)}, nil
}

func openExtended(raw *harness.Raw, url string) (stream, error) {
	secure := tls.Client(raw.Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	//nolint:staticcheck // http.Transport refuses a header named :protocol
	conn, err := new(http2.Transport).NewClientConn(secure)
	if err != nil {
		return stream{}, err
	}
	received, sent := io.Pipe()
	request, err := http.NewRequest(http.MethodConnect, url, received)
	if err != nil {
		return stream{}, err
	}
	request.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}
	response, err := conn.RoundTrip(request)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New("no socket: " + response.Status)
	}
	if err != nil {
		return stream{}, err
	}
	return stream{raw.Conn, response.Body, sent}, nil
}

// stream is one of HTTP/2 as a connection: that which it is on, but for reading and writing.
type stream struct {
	net.Conn
	received io.Reader
	sent     io.Writer
}

func (s stream) Read(p []byte) (int, error)  { return s.received.Read(p) }
func (s stream) Write(p []byte) (int, error) { return s.sent.Write(p) }
