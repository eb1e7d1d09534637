package harness

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// First bytes of a frame (RFC 6455 section 5.2): the flags FIN and RSV1, and the opcodes.
const (
	Fin  = 0x80
	Rsv1 = 0x40

	OpContinuation = 0x0
	OpText         = 0x1
	OpBinary       = 0x2
	OpClose        = 0x8
	OpPing         = 0x9
	OpPong         = 0xA
)

// Raw is a connection whose every byte is the test's: for clients that break rules, and for many of them.
// It returns errors, so that any goroutine may use it.
type Raw struct {
	net.Conn
	Reader *bufio.Reader
}

// Connect opens a connection to the site.
func Connect(c *Caddy) (*Raw, error) {
	conn, err := net.DialTimeout("tcp", c.Addr, Patience)
	if err != nil {
		return nil, err
	}
	return &Raw{conn, bufio.NewReaderSize(conn, 1<<10)}, conn.SetDeadline(time.Now().Add(Patience))
}

// Request is the start of a handshake, up to where more header fields may come.
func Request(c *Caddy, path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + c.Addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
}

// DialRaw opens a socket. The path may have a query; fields are more lines of the header.
func DialRaw(c *Caddy, path string, fields ...string) (*Raw, error) {
	r, err := Connect(c)
	if err != nil {
		return nil, err
	}
	fields = append(fields, "", "") // ends the last line, and the header
	status, err := r.Answer(Request(c, path) + strings.Join(fields, "\r\n"))
	if err == nil && status != http.StatusSwitchingProtocols {
		err = fmt.Errorf("no socket: status %d", status)
	}
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// Answer sends a request as it is and returns the status of the answer.
func (r *Raw) Answer(request string) (status int, err error) {
	if _, err := io.WriteString(r, request); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(r.Reader, nil)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// AppendFrame appends a frame as a client sends it. Its mask is zero, which leaves the payload as it is.
func AppendFrame(dst []byte, first byte, payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, first, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, 0x80|127), uint64(n))
	}
	return append(append(dst, 0, 0, 0, 0), payload...)
}

// Frame sends one frame.
func (r *Raw) Frame(first byte, payload []byte) error {
	_, err := r.Write(AppendFrame(nil, first, payload))
	return err
}

// Say sends a text message.
func (r *Raw) Say(text string) error { return r.Frame(Fin|OpText, []byte(text)) }

// Next returns the next frame of the server, pings included.
func (r *Raw) Next() (opcode byte, payload []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r.Reader, head[:2]); err != nil {
		return 0, nil, err
	}
	opcode = head[0] & 0x0f
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(r.Reader, head[:2])
		n = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, err = io.ReadFull(r.Reader, head[:8])
		n = binary.BigEndian.Uint64(head[:8])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r.Reader, payload)
	return opcode, payload, err
}

// Message is a text message of the server.
type Message struct {
	Action  string
	Payload json.RawMessage
	Ref     string
	Topic   string
	Seq     uint64
}

// Receive returns the next text message, read. It answers pings; a close frame is a [ClosedError].
func (r *Raw) Receive() (m Message, err error) {
	text, err := r.Text()
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	return m, err
}

// Text returns the next text message as it is. It answers pings; a close frame is a [ClosedError].
func (r *Raw) Text() (text []byte, err error) {
	for {
		opcode, payload, err := r.Next()
		switch {
		case err != nil:
			return nil, err
		case opcode == OpPing:
			if err := r.Frame(Fin|OpPong, payload); err != nil {
				return nil, err
			}
		case opcode == OpClose && len(payload) >= 2:
			return nil, ClosedError(binary.BigEndian.Uint16(payload))
		case opcode == OpText:
			return payload, nil
		}
	}
}

// ClosedError is the code of a close frame.
type ClosedError uint16

func (c ClosedError) Error() string { return fmt.Sprintf("closed with %d", uint16(c)) }

// Reset drops the connection with a TCP reset instead of an end.
func (r *Raw) Reset() {
	_ = r.Conn.(*net.TCPConn).SetLinger(0)
	_ = r.Close()
}
