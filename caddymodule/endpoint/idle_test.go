package endpoint

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestIdleMemory holds what an idle socket by HTTP/1.1 costs in memory, with metrics and access log: heap and stacks, the
// client's end included. So nothing of its request can have stayed. It also bounds the allocations of opening one.
func TestIdleMemory(t *testing.T) {
	s := caddytest.NewSite(t)
	s.Options = "metrics"
	s.MustLoad("log\n" + caddytest.Handler("model m", "name "+caddytest.Fresh()+"\nwrite_rate 100000/1m"))
	kinds := []struct {
		name        string
		use         func(net.Conn)
		bound, race int // bytes each; the race detector needs larger stacks
	}{
		{"new", func(net.Conn) {}, 7000, 9500},
		{"after a request", func(c net.Conn) {
			request(t, c, `{"action":"ping"}`, `"pong"`)
		}, 7000, 9500},
		{"with a followed conversation", func(c net.Conn) {
			created := request(t, c, `{"action":"create_conversation"}`, `"created_at"`)
			_, id, _ := strings.Cut(created, `"conversation_id":"`)
			request(t, c, fmt.Sprintf(`{"action":"subscribe","topic":"conversation:%s"}`, id[:36]), `"snapshot"`)
		}, 10500, 13000},
	}
	var conns []net.Conn
	open := func(n int, use func(net.Conn)) {
		for range n {
			c := dialRaw(t, s.Port, fmt.Sprintf("user=u%d", len(conns)))
			use(c)
			conns = append(conns, c)
		}
	}
	for _, kind := range kinds { // what the first ones allocate for all
		open(20, kind.use)
	}
	const n = 400
	for _, kind := range kinds {
		before := inUse()
		open(n, kind.use)
		each := (inUse() - before) / n
		t.Logf("%s: %d bytes each", kind.name, each)
		bound := kind.bound
		if underRace() {
			bound = kind.race
		}
		if each > bound {
			t.Errorf("an idle socket, %s, costs %d bytes, want at most %d", kind.name, each, bound)
		}
	}
	const most = 410 // allocations, most of them net/http's and Caddy's
	if each := allocations(func() { open(n, func(net.Conn) {}) }) / n; each > most {
		t.Errorf("to open a socket takes %d allocations, want at most %d", each, most)
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

func allocations(do func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return int(after.Mallocs - before.Mallocs)
}

// TestUnrecorded checks that Caddy's recorders are passed over, and that other response writers are not.
func TestUnrecorded(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	recorded := func(w http.ResponseWriter) http.ResponseWriter { return caddyhttp.NewResponseRecorder(w, nil, nil) }
	server := &hijacked{ResponseWriter: httptest.NewRecorder(), conn: near}
	other := &hijacked{ResponseWriter: server, conn: far}
	for name, test := range map[string]struct {
		w    http.ResponseWriter
		want net.Conn
	}{
		"server":                {server, near},
		"recorders":             {recorded(recorded(server)), near},
		"a wrapper of no kind":  {recorded(&caddyhttp.ResponseWriterWrapper{ResponseWriter: recorded(server)}), near},
		"another's recorder":    {recorded(other), far},
		"recorders of no other": {recorded(httptest.NewRecorder()), nil},
		"nothing":               {httptest.NewRecorder(), nil},
	} {
		conn, _, err := http.NewResponseController(unrecorded(test.w)).Hijack()
		if conn != test.want || (err == nil) != (test.want != nil) {
			t.Errorf("%s: got %v, %v", name, conn, err)
		}
	}
}

// hijacked is a response writer that hands over a connection.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
}

func (h *hijacked) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// inUse returns the bytes of heap and stacks in use, after garbage collections.
func inUse() int {
	var m runtime.MemStats
	for range 3 {
		runtime.GC() // also what pools keep
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// underRace reports whether the race detector is on.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// dialRaw opens a socket without any buffer on the client's side. The request has headers as browsers send them.
func dialRaw(t *testing.T, port int, query string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(c, "GET /ws/?%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: %s\r\nAccept-Language: en\r\n\r\n", query, port, strings.Repeat("Mozilla ", 16))
	if err != nil {
		t.Fatal(err)
	}
	readUntil(t, c, "\r\n\r\n")
	return c
}

// request sends a message of at most 125 bytes, masked with zeros, and reads until the answer has that text. It returns
// all that was read.
func request(t *testing.T, c net.Conn, message, until string) string {
	t.Helper()
	if _, err := c.Write(append([]byte{0x81, 0x80 | byte(len(message)), 0, 0, 0, 0}, message...)); err != nil {
		t.Fatal(err)
	}
	var text string
	for !strings.Contains(text, until) {
		text += readFrame(t, c)
	}
	return text
}

// readFrame reads one frame, of at most 64 KiB.
func readFrame(t *testing.T, c net.Conn) string {
	t.Helper()
	head := make([]byte, 2, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	size := int(head[1])
	if size == 126 {
		if _, err := io.ReadFull(c, head[2:4]); err != nil {
			t.Fatal(err)
		}
		size = int(binary.BigEndian.Uint16(head[2:4]))
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c, payload); err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

// readUntil reads byte by byte, and no further.
func readUntil(t *testing.T, c net.Conn, end string) {
	t.Helper()
	var text []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(text), end); text = append(text, one...) {
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatal(err)
		}
	}
}
