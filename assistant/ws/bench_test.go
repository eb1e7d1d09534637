package ws_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// BenchmarkSend sends so many frames of an answer at once, over the loopback interface.
func BenchmarkSend(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			near, far := tcpPipe(b)
			conns := serve(b, far, &http.Server{}, ws.Options{}, nil)
			p := connect(b, near, handshake)
			c := <-conns
			go func() { _, _ = io.Copy(io.Discard, p) }()
			messages := slices.Repeat([][]byte{[]byte(`{"action":"streaming","payload":{"content":" piece"}}`)}, n)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Send(messages...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/frame")
			_ = p.Conn.Close()
			_ = c.Close(1000, "")
		})
	}
}
