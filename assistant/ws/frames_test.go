package ws_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// wireCases are data that a peer may put on the wire and the replies that must come back, grouped like the
// sections of the Autobahn test suite. The server under test echoes every message and closes with the code
// of its error. Only the codes of close frames are compared.
var wireCases = []wireCase{
	// 1: framing.
	{"empty text", frame(fin|text, ""), []string{"text"}},
	{"text of 125 bytes", frame(fin|text, strings.Repeat("a", 125)), []string{"text 125×a"}},
	{"text of 126 bytes", frame(fin|text, strings.Repeat("a", 126)), []string{"text 126×a"}},
	{"text of 65,535 bytes", frame(fin|text, strings.Repeat("a", 65535)), []string{"text 65535×a"}},
	{"text of 65,536 bytes", frame(fin|text, strings.Repeat("a", 65536)), []string{"text 65536×a"}},
	{"several in one segment", frames(frame(fin|text, "one"), frame(fin|text, "two")), []string{"text one", "text two"}},
	{"binary", frame(fin|binaryMessage, "\x00\xff"), []string{"text binary"}},
	{"empty binary", frame(fin|binaryMessage, ""), []string{"text binary"}},
	{"binary in fragments", frames(frame(binaryMessage, "a"), frame(fin|continuation, "b")), []string{"text binary"}},
	{"binary, then text", frames(frame(fin|binaryMessage, "a"), frame(fin|text, "b")), []string{"text binary", "text b"}},

	// 2: ping and pong.
	{"ping", frame(fin|ping, ""), []string{"pong"}},
	{"ping with payload", frame(fin|ping, "\x00\xff\x80 payload"), []string{"pong \x00\xff\x80 payload"}},
	{"ping of 125 bytes", frame(fin|ping, strings.Repeat("p", 125)), []string{"pong 125×p"}},
	{"ping of 126 bytes", frame(fin|ping, strings.Repeat("p", 126)), []string{"close 1002"}},
	{"pong unasked", frames(frame(fin|pong, "unasked"), frame(fin|text, "next")), []string{"text next"}},
	{"pong of 126 bytes", frame(fin|pong, strings.Repeat("p", 126)), []string{"close 1002"}},
	{"ten pings", slices.Repeat(frame(fin|ping, "p"), 10), slices.Repeat([]string{"pong p"}, 10)},

	// 3: reserved bits.
	{"RSV1 without compression", frame(fin|rsv1|text, "a"), []string{"close 1002"}},
	{"RSV2", frame(fin|rsv2|text, "a"), []string{"close 1002"}},
	{"RSV3", frame(fin|rsv3|text, "a"), []string{"close 1002"}},
	{"RSV3 after a message", frames(frame(fin|text, "one"), frame(fin|rsv3|text, "two")), []string{"text one", "close 1002"}},
	{"RSV on ping", frame(fin|rsv1|ping, ""), []string{"close 1002"}},
	{"RSV on continuation", frames(frame(text, "a"), frame(fin|rsv2|continuation, "b")), []string{"close 1002"}},

	// 4: reserved opcodes.
	{"opcode 3", frame(fin|3, ""), []string{"close 1002"}},
	{"opcode 7", frame(fin|7, "a"), []string{"close 1002"}},
	{"opcode 11", frame(fin|11, ""), []string{"close 1002"}},
	{"opcode 15", frame(fin|15, "a"), []string{"close 1002"}},
	{"unmasked", append(header(fin|text, 1, 0), 'a'), []string{"close 1002"}},
	{"unmasked ping", header(fin|ping, 0, 0), []string{"close 1002"}},

	// 5: fragments.
	{"fragments", frames(frame(text, "one "), frame(continuation, "two "), frame(fin|continuation, "three")), []string{"text one two three"}},
	{"empty fragments", frames(frame(text, ""), frame(continuation, ""), frame(fin|continuation, "")), []string{"text"}},
	{"ping between fragments", frames(frame(text, "one "), frame(fin|ping, "p"), frame(fin|continuation, "two")), []string{"pong p", "text one two"}},
	{"close between fragments", frames(frame(text, "one "), frame(fin|closing, closePayload(1000, ""))), []string{"close 1000"}},
	{"fragmented ping", frames(frame(ping, "p"), frame(fin|continuation, "p")), []string{"close 1002"}},
	{"fragmented close", frames(frame(closing, closePayload(1000, "")), frame(fin|continuation, "")), []string{"close 1002"}},
	{"continuation of nothing", frame(fin|continuation, "a"), []string{"close 1002"}},
	{"continuation of nothing, open", frame(continuation, "a"), []string{"close 1002"}},
	{"continuation after the end", frames(frame(fin|text, "one"), frame(fin|continuation, "two")), []string{"text one", "close 1002"}},
	{"text within fragments", frames(frame(text, "one"), frame(fin|text, "two")), []string{"close 1002"}},

	// 6: UTF-8.
	{"UTF-8", frame(fin|text, "κόσμε\x00\U0010FFFF\uFFFF"), []string{"text κόσμε\x00\U0010FFFF\uFFFF"}},
	{"UTF-8 split between fragments", frames(frame(text, "\xce"), frame(continuation, "\xba\xcf"), frame(fin|continuation, "\x8c")), []string{"text κό"}},
	{"no UTF-8", frame(fin|text, "a\xffb"), []string{"close 1007"}},
	{"UTF-8 cut off", frame(fin|text, "a\xce"), []string{"close 1007"}},
	{"UTF-8 cut off by fragments", frames(frame(text, "\xce"), frame(fin|continuation, "a")), []string{"close 1007"}},
	{"overlong", frame(fin|text, "\xc0\xaf"), []string{"close 1007"}},
	{"surrogate", frame(fin|text, "\xed\xa0\x80"), []string{"close 1007"}},
	{"beyond Unicode", frame(fin|text, "\xf4\x90\x80\x80"), []string{"close 1007"}},

	// 7: close.
	{"close", frame(fin|closing, ""), []string{"close"}},
	{"close 1000", frame(fin|closing, closePayload(1000, "")), []string{"close 1000"}},
	{"close with the longest reason", frame(fin|closing, closePayload(1001, strings.Repeat("r", 123))), []string{"close 1001"}},
	{"close with too long a reason", frame(fin|closing, closePayload(1001, strings.Repeat("r", 124))), []string{"close 1002"}},
	{"close with a reason that is no UTF-8", frame(fin|closing, closePayload(1000, "\xff")), []string{"close 1002"}},
	{"text after close", frames(frame(fin|closing, closePayload(1000, "")), frame(fin|text, "late")), []string{"close 1000"}},
	{"ping after close", frames(frame(fin|closing, closePayload(1000, "")), frame(fin|ping, "late")), []string{"close 1000"}},
	{"close twice", frames(frame(fin|closing, closePayload(1000, "")), frame(fin|closing, closePayload(1001, ""))), []string{"close 1000"}},
	// Section 5.5.1 forbids a body of one byte.
	{"close with half a code", frame(fin|closing, "\x03"), []string{"close 1002"}},
	{"close with half a code after messages", frames(frame(fin|text, strings.Repeat("a", 126)), frame(fin|text, strings.Repeat("a", 65536)), frame(fin|ping, ""), frame(fin|closing, "\x03")),
		[]string{"text 126×a", "text 65536×a", "pong", "close 1002"}},

	// 9: limits. The tests' limit is 65,536 bytes.
	{"one byte too many", frame(fin|text, strings.Repeat("a", 65537)), []string{"close 1009"}},
	{"as many in fragments", frames(frame(text, strings.Repeat("a", 65535)), frame(continuation, ""), frame(fin|continuation, "a")), []string{"text 65536×a"}},
	{"one too many in fragments", frames(frame(text, strings.Repeat("a", 32768)), frame(continuation, strings.Repeat("a", 32768)), frame(continuation, "a")), []string{"close 1009"}},
	{"binary of too many", frame(fin|binaryMessage, strings.Repeat("a", 65537)), []string{"close 1009"}},
	{"far too many", frame(fin|text, strings.Repeat("a", 1<<20)), []string{"close 1009"}},
	{"announced too many, sent enough", append(header(fin|text, 1<<40, 0x80), make([]byte, 65536+5)...), []string{"close 1009"}},
	{"too many and no UTF-8", frame(fin|text, strings.Repeat("\xff", 65537)), []string{"close 1009"}},
	// Section 5.2 forbids lengths of 64 bits.
	{"negative length", []byte{fin | text, 0x80 | 127, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, []string{"close 1009"}},
}

func init() {
	for _, code := range []int{1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999} {
		name, want := fmt.Sprintf("close %d", code), fmt.Sprintf("close %d", code)
		wireCases = append(wireCases, wireCase{name, frame(fin|closing, closePayload(code, "bye")), []string{want}})
	}
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		name := fmt.Sprintf("close %d, which must not be sent", code)
		wireCases = append(wireCases, wireCase{name, frame(fin|closing, closePayload(code, "")), []string{"close 1002"}})
	}
}

type wireCase struct {
	name string
	send []byte
	want []string
}

func TestWire(t *testing.T) {
	for _, test := range wireCases {
		for mode, echo := range echoes {
			t.Run(test.name+mode, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, p := open(t, ws.Options{MaxMessageSize: 65536})
					go echo(c)
					go func() { _, _ = p.Write(test.send) }() // the server may hang up before it has read all
					if got := answers(p, len(test.want)); !slices.Equal(got, test.want) {
						t.Errorf("got %q, want %q", got, test.want)
					}
				})
			})
		}
	}
}

// echoes are two ways to send every message back. They differ in nothing that a peer sees.
var echoes = map[string]func(*ws.Conn){
	"": echoAll,
	", awaited": func(c *ws.Conn) {
		for ok := true; ok; ok = echoOne(c) {
			c.Await()
		}
	},
}

// TestWireByteByByte plays the same cases one byte at a time.
func TestWireByteByByte(t *testing.T) {
	for _, test := range wireCases {
		if len(test.send) > 300 {
			continue
		}
		for mode, echo := range echoes {
			t.Run(test.name+mode, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, p := open(t, ws.Options{MaxMessageSize: 65536})
					go echo(c)
					go func() {
						for i := range test.send {
							if _, err := p.Write(test.send[i : i+1]); err != nil {
								return
							}
						}
					}()
					if got := answers(p, len(test.want)); !slices.Equal(got, test.want) {
						t.Errorf("got %q, want %q", got, test.want)
					}
				})
			})
		}
	}
}

// echoAll sends every message back, and closes with the code of Recv's error.
func echoAll(c *ws.Conn) {
	for echoOne(c) {
	}
}

func echoOne(c *ws.Conn) (ok bool) {
	data, err := c.Recv()
	switch _, isBinary := errors.AsType[ws.BinaryError](err); {
	case isBinary:
		data = []byte("binary")
	case err != nil:
		_ = c.Close(closeCode(err), "")
		return false
	}
	_ = c.Send(data)
	return true
}

// answers reads what the server sends: n frames, and any more until two seconds of silence. After a close
// frame only the end may come.
func answers(p *peer, n int) []string {
	var got []string
	for {
		if len(got) == n {
			_ = p.SetReadDeadline(time.Now().Add(2 * time.Second))
		}
		next := p.next()
		if p.err == io.EOF || errors.Is(p.err, os.ErrDeadlineExceeded) {
			_ = p.Conn.Close()
			return got
		}
		got = append(got, short(next))
		if p.err != nil {
			return got
		}
	}
}

// short replaces a repeated letter by its count, and drops the reason of a close frame.
func short(frame string) string {
	name, payload, _ := strings.Cut(frame, " ")
	if name == "close" {
		code, _, _ := strings.Cut(payload, " ")
		return strings.TrimSpace(name + " " + code)
	}
	if len(payload) > 20 && strings.Count(payload, payload[:1]) == len(payload) {
		return fmt.Sprintf("%s %d×%s", name, len(payload), payload[:1])
	}
	return frame
}

// TestRecvEnd shows Recv's error for each way in which a peer leaves.
func TestRecvEnd(t *testing.T) {
	for _, test := range []struct {
		name  string
		send  []byte
		order bool
	}{
		{"close 1000", frame(fin|closing, closePayload(1000, "")), true},
		{"close 1001", frame(fin|closing, closePayload(1001, "tab closed")), true},
		{"close without a code", frame(fin|closing, ""), true},
		{"close 1011", frame(fin|closing, closePayload(1011, "")), false},
		{"close 4000", frame(fin|closing, closePayload(4000, "")), false},
		{"cut off", nil, false},
		{"cut off after a message", frame(fin|text, "one"), false},
		{"cut off in a header", []byte{fin | text}, false},
		{"cut off in a payload", frame(fin|text, "hello")[:8], false},
		{"cut off between fragments", frame(text, "hello"), false},
		{"protocol error", frame(fin|3, ""), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := open(t, ws.Options{})
				go func() { _, _ = io.Copy(io.Discard, p) }()
				go func() {
					p.write(test.send)
					synctest.Wait()
					_ = p.Conn.Close()
				}()
				_, err := recv(c)
				if err == nil || errors.Is(err, io.EOF) != test.order {
					t.Errorf("got %v; in order: %v", err, test.order)
				}
				if _, again := c.Recv(); again == nil || errors.Is(again, io.EOF) != test.order {
					t.Errorf("the error is permanent, but then came %v", again)
				}
				_ = c.Close(closeCode(err), "")
			})
		})
	}
}
