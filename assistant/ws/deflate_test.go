package ws_test

import (
	"bytes"
	"compress/flate"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// deflate compresses a message as specified in RFC 7692 section 7.2.1.
func deflate(s string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(w, s)
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// inflate is its reverse.
func inflate(data []byte) string {
	const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
	s, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(data), strings.NewReader(tail))))
	if err != nil {
		return err.Error()
	}
	return string(s)
}

// emptyBlock is a deflate block without content.
const emptyBlock = "\x00\x00\x00\xff\xff"

// deflateCases are data that a peer may put on the wire after agreeing on compression. The limit is 65,536
// bytes. The forms of "Hello" are from RFC 7692 section 7.2.3.
var deflateCases = []wireCase{
	{"one block", frame(fin|rsv1|text, "\xf2\x48\xcd\xc9\xc9\x07\x00"), []string{"text Hello"}},
	{"fragments", frames(frame(rsv1|text, "\xf2\x48\xcd"), frame(fin|continuation, "\xc9\xc9\x07\x00")), []string{"text Hello"}},
	{"ping between fragments", frames(frame(rsv1|text, "\xf2\x48\xcd"), frame(fin|ping, "p"), frame(fin|continuation, "\xc9\xc9\x07\x00")), []string{"pong p", "text Hello"}},
	{"no compression", frame(fin|rsv1|text, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), []string{"text Hello"}},
	{"final block", frame(fin|rsv1|text, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []string{"text Hello"}},
	{"two blocks", frame(fin|rsv1|text, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), []string{"text Hello"}},
	{"empty", frame(fin|rsv1|text, "\x00"), []string{"text"}},
	{"not compressed", frame(fin|text, "Hello"), []string{"text Hello"}},
	{"both kinds", frames(frame(fin|rsv1|text, deflate("one")), frame(fin|text, "two"), frame(fin|rsv1|text, deflate("three"))), []string{"text one", "text two", "text three"}},
	{"large enough to answer compressed", frame(fin|rsv1|text, deflate(strings.Repeat("a", 5000))), []string{"deflated 5000×a"}},
	{"as large as is allowed", frame(fin|rsv1|text, deflate(strings.Repeat("a", 65536))), []string{"deflated 65536×a"}},
	{"one byte too many", frame(fin|rsv1|text, deflate(strings.Repeat("a", 65537))), []string{"close 1009"}},
	{"bomb", frame(fin|rsv1|text, deflate(strings.Repeat("a", 4<<20))), []string{"close 1009"}},
	{"bomb in fragments", frames(frame(rsv1|text, deflate(strings.Repeat("a", 40000))+"\x00\x00\xff\xff"), frame(fin|continuation, deflate(strings.Repeat("a", 40000)))), []string{"close 1009"}},
	{"much of nothing", frame(fin|rsv1|text, strings.Repeat(emptyBlock, 20000)+"\x00"), []string{"text"}},
	{"too much of nothing", frame(fin|rsv1|text, strings.Repeat(emptyBlock, 30000)), []string{"close 1009"}},
	{"too much of nothing in fragments", frames(frame(rsv1|text, ""), slices.Repeat(frame(continuation, strings.Repeat(emptyBlock, 200)), 200)), []string{"close 1009"}},
	{"no deflate data", frame(fin|rsv1|text, "Hello"), []string{"close 1007"}},
	{"cut off", frame(fin|rsv1|text, deflate(strings.Repeat("Hello, world. ", 20))[:9]), []string{"close 1007"}},
	// The client has agreed to keep no context from one message to the next.
	{"refers to the message before", frames(frame(fin|rsv1|text, "\xf2\x48\xcd\xc9\xc9\x07\x00"), frame(fin|rsv1|text, "\xf2\x00\x11\x00\x00")), []string{"text Hello", "close 1007"}},
	{"no UTF-8", frame(fin|rsv1|text, deflate("a\xff")), []string{"close 1007"}},
	{"binary", frame(fin|rsv1|binaryMessage, deflate("a")), []string{"text binary"}},
	{"RSV2", frame(fin|rsv1|rsv2|text, deflate("a")), []string{"close 1002"}},
	// Section 6.1 allows the bit on the first frame of a message only; gorilla ignores it elsewhere.
	{"RSV1 on ping", frame(fin|rsv1|ping, "p"), []string{"pong p"}},
	{"RSV1 on continuation", frames(frame(rsv1|text, "\xf2\x48\xcd"), frame(fin|rsv1|continuation, "\xc9\xc9\x07\x00")), []string{"text Hello"}},
}

func TestDeflate(t *testing.T) {
	everyProtocol(t, func(t *testing.T, open func(ws.Options, func(*ws.Conn)) *peer) {
		for _, test := range deflateCases {
			t.Run(test.name, func(t *testing.T) {
				p := open(ws.Options{MaxMessageSize: 65536, Compression: true}, echoAll)
				go func() { _, _ = p.Write(test.send) }()
				if got := conversation(p, len(test.want)); !slices.Equal(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		}
	})
}

// TestOffers shows which offers of compression are accepted. One that asks the server for a smaller window
// must be declined by a server that has none (RFC 7692 section 7.1.2.1).
func TestOffers(t *testing.T) {
	const accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, test := range []struct {
		offer string
		off   bool
		want  string
	}{
		{offer: "", want: ""},
		{offer: "permessage-deflate", want: accepted},
		{offer: "permessage-deflate", off: true, want: ""},
		{offer: "permessage-deflate; client_max_window_bits", want: accepted},
		{offer: "permessage-deflate; client_max_window_bits=10; client_no_context_takeover", want: accepted},
		{offer: "permessage-deflate;server_no_context_takeover", want: accepted},
		{offer: "permessage-deflate; server_max_window_bits=10", want: ""},
		{offer: "permessage-deflate; server_max_window_bits=10, permessage-deflate", want: accepted},
		{offer: "permessage-deflate; of_the_future", want: ""},
		{offer: "permessage-bzip2, x-webkit-deflate-frame", want: ""},
	} {
		near, far := tcpPipe(t)
		conns := serve(t, far, &http.Server{}, ws.Options{Compression: !test.off}, nil)
		p := connect(t, near, strings.TrimSuffix(handshake, "\r\n")+"Sec-WebSocket-Extensions: "+test.offer+"\r\n\r\n")
		if got := p.response.Header.Get("Sec-Websocket-Extensions"); got != test.want {
			t.Errorf("%q was answered %q, want %q", test.offer, got, test.want)
		}
		_ = near.Close()
		_ = (<-conns).Close(1000, "")
	}
}

// TestBombStaysSmall checks that a message which inflates to a thousand times its size takes no more memory
// than a message of the largest allowed size.
func TestBombStaysSmall(t *testing.T) {
	const limit, size = 64 << 10, 128 << 20
	bomb := frame(fin|rsv1|text, deflate(strings.Repeat("a", size)))
	everyProtocol(t, func(t *testing.T, open func(ws.Options, func(*ws.Conn)) *peer) {
		var before, after runtime.MemStats
		received := make(chan error, 1)
		p := open(ws.Options{MaxMessageSize: limit, Compression: true}, func(c *ws.Conn) {
			runtime.ReadMemStats(&before)
			_, err := c.Recv()
			runtime.ReadMemStats(&after)
			received <- err
			_ = c.Close(closeCode(err), "")
		})
		go func() { _, _ = p.Write(bomb) }()
		if err := <-received; closeCode(err) != 1009 {
			t.Errorf("got %v", err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%d bytes of wire, which become %d, took %d bytes of memory", len(bomb), size, n)
		}
		_ = p.Conn.Close()
	})
}
