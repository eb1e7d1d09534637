package ws_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// BenchmarkSend sends a number of an answer's frames at once, over the loopback interface.
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

// BenchmarkRoundTrip sends a small message and gets it back, over each version of HTTP.
func BenchmarkRoundTrip(b *testing.B) {
	for _, name := range []string{"HTTP/1.1", "HTTP/2", "HTTP/3"} {
		b.Run(name, func(b *testing.B) {
			p := protocols[name](b, ws.Options{}, echoAll)
			message := frame(fin|text, `{"action":"ping"}`)
			b.ReportAllocs()
			for b.Loop() {
				p.write(message)
				if p.next(); p.err != nil {
					b.Fatal(p.err)
				}
			}
			_ = p.Conn.Close()
		})
	}
}

// BenchmarkIdle reports the cost of an open HTTP/1.1 connection that only waits for a message.
func BenchmarkIdle(b *testing.B) {
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	conns := make(chan *ws.Conn)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := ws.Upgrade(w, r, ws.Options{})
		if err != nil {
			b.Error(err)
		}
		conns <- c
	})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	const n = 1000
	var open []*ws.Conn
	var clients []net.Conn
	for b.Loop() {
		before := memory()
		for range n {
			client, err := new(net.Dialer).DialContext(b.Context(), "tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.WriteString(client, handshake); err != nil {
				b.Fatal(err)
			}
			c := <-conns
			wg.Go(func() { _, _ = c.Recv() })
			open, clients = append(open, c), append(clients, client)
		}
		b.ReportMetric(float64(memory()-before)/n, "B/conn")
		for i, c := range open {
			_ = clients[i].Close()
			_ = c.Close(1000, "")
		}
		open, clients = nil, nil
	}
	_ = server.Close()
	wg.Wait()
}

// memory returns the bytes in use, stacks included, after a garbage collection.
func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
