package bench

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

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
