package session_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// answerPieces is the length of an answer of the benchmark, about a page.
const answerPieces = 1000

// discarded is a Conn that asks so many times, each time when the last answer has ended, and throws all away.
type discarded struct {
	asks  int
	ended chan struct{} // holds one
}

const benchQuestion = `{"action":"assistant_message","payload":"go on","ref":"q"}`

func (c *discarded) Recv() ([]byte, error) {
	<-c.ended
	if c.asks--; c.asks < 0 {
		return nil, io.EOF
	}
	return []byte(benchQuestion), nil
}

func (c *discarded) Send(messages ...[]byte) error {
	if isEnd(messages[len(messages)-1]) {
		c.ended <- struct{}{}
	}
	return nil
}

func (c *discarded) Close(int, string) error { return nil }

// isEnd recognizes complete_streaming.
func isEnd(message []byte) bool { return len(message) > 12 && message[11] == 'c' }

// babbles answers with as many pieces as it can at once.
func babbles(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
	for range answerPieces {
		yield(assistant.Delta{Text: " piece"})
	}
	yield(finished)
	return nil
}

// BenchmarkAnswers streams b.N pieces in all to so many sessions at once, as fast as it goes: through the
// engine alone, and through WebSockets over pipes as well.
func BenchmarkAnswers(b *testing.B) {
	for _, sessions := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("engine/%d", sessions), func(b *testing.B) {
			s, asks := newServer(b, model(babbles)), b.N/sessions/answerPieces+1
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range sessions {
				c := &discarded{asks, make(chan struct{}, 1)}
				c.ended <- struct{}{}
				wg.Go(func() { _ = session.Serve(s.Assistant, c, assistant.Peer{}) })
			}
			wg.Wait()
			perSecond(b, asks*sessions)
		})
		b.Run(fmt.Sprintf("websocket/%d", sessions), func(b *testing.B) {
			s, asks := newServer(b, model(babbles)), b.N/sessions/answerPieces+1
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if conn, err := ws.Upgrade(w, r, ws.Options{}); err == nil {
					s.hub.Go(func() { _ = session.Serve(s.Assistant, conn, assistant.Peer{}) })
				}
			})
			clients := make([]*client, sessions)
			for i := range clients {
				clients[i] = upgraded(b, handler)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, c := range clients {
				wg.Go(func() {
					for range asks {
						readAnswer(b, c)
					}
					_ = c.Close()
				})
			}
			wg.Wait()
			perSecond(b, asks*sessions)
		})
	}
}

func perSecond(b *testing.B, answers int) {
	b.Helper()
	b.ReportMetric(float64(answers*answerPieces)/b.Elapsed().Seconds(), "pieces/s")
}

// pipeListener accepts one end of a pipe.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (pipeListener) Close() error   { return nil }
func (pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// client is the client's end of an open WebSocket.
type client struct {
	net.Conn
	*bufio.Reader
}

func upgraded(b *testing.B, handler http.Handler) *client {
	b.Helper()
	near, far := net.Pipe()
	l := make(pipeListener, 1)
	l <- far
	close(l)
	go func() { _ = (&http.Server{Handler: handler}).Serve(l) }()
	_, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		b.Fatal(err)
	}
	c := &client{near, bufio.NewReaderSize(near, 64<<10)}
	if _, err := http.ReadResponse(c.Reader, nil); err != nil {
		b.Fatal(err)
	}
	return c
}

// readAnswer asks, and reads to the end of the answer.
func readAnswer(b *testing.B, c *client) {
	b.Helper()
	ask := append([]byte{0x81, 0x80 | byte(len(benchQuestion)), 0, 0, 0, 0}, benchQuestion...) // masked with zeros
	if _, err := c.Conn.Write(ask); err != nil {
		b.Error(err)
	}
	for end := false; !end; {
		head, err := c.Peek(4)
		if err != nil {
			b.Error(err)
			return
		}
		size, length := 2, int(head[1])
		if length == 126 {
			size, length = 4, int(head[2])<<8|int(head[3])
		}
		message, err := c.Peek(size + min(length, 20))
		if err != nil {
			b.Error(err)
			return
		}
		end = isEnd(message[size:])
		_, _ = c.Discard(size + length)
	}
}

// pinging is a Conn that pings, each time when it was answered.
type pinging struct {
	pings    int
	answered chan struct{}
}

func (c *pinging) Recv() ([]byte, error) {
	<-c.answered
	if c.pings--; c.pings < 0 {
		return nil, io.EOF
	}
	return []byte(`{"action":"ping"}`), nil
}

func (c *pinging) Send(...[]byte) error {
	c.answered <- struct{}{}
	return nil
}

func (c *pinging) Close(int, string) error { return nil }

// BenchmarkPing is what a session costs that wakes up for one answer.
func BenchmarkPing(b *testing.B) {
	s := newServer(b, model(babbles))
	c := &pinging{b.N, make(chan struct{}, 1)}
	c.answered <- struct{}{}
	b.ReportAllocs()
	b.ResetTimer()
	_ = session.Serve(s.Assistant, c, assistant.Peer{})
}

// BenchmarkPaced streams b.N pieces to a session one by one: the next comes when the last has been written, as with a
// model whose pieces come slower than they are written. What a piece costs from the provider to Send is measured.
func BenchmarkPaced(b *testing.B) {
	c := &paced{written: make(chan struct{}, 1), done: make(chan struct{})}
	s := newServer(b, model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
		<-c.written // streaming_start
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			yield(assistant.Delta{Text: " piece"})
			<-c.written
		}
		b.StopTimer()
		yield(finished)
		return nil
	}))
	_ = session.Serve(s.Assistant, c, assistant.Peer{})
}

// paced asks once, and leaves when the answer has ended.
type paced struct {
	asked   bool
	written chan struct{}
	done    chan struct{}
}

func (c *paced) Recv() ([]byte, error) {
	if !c.asked {
		c.asked = true
		return []byte(`{"action":"assistant_message","payload":"x","ref":"1"}`), nil
	}
	<-c.done
	return nil, io.EOF
}

func (c *paced) Send(messages ...[]byte) error {
	if bytes.Contains(messages[len(messages)-1], []byte("complete_streaming")) {
		close(c.done)
		return nil
	}
	c.written <- struct{}{}
	return nil
}

func (c *paced) Close(int, string) error { return nil }

// BenchmarkFollowers streams b.N pieces of one answer to so many followers of a stored conversation, one by one: the
// next comes when all have written the last.
func BenchmarkFollowers(b *testing.B) {
	for _, followers := range []int{1, 2, 10} {
		b.Run(fmt.Sprint(followers), func(b *testing.B) {
			written := make(chan struct{}, followers)
			s := newServer(b, model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					yield(assistant.Delta{Text: " piece"})
					for range followers {
						<-written
					}
				}
				b.StopTimer()
				yield(finished)
				return nil
			}))
			created := must(s.hub.Create(b.Context(), "ann", ""))
			var wg sync.WaitGroup
			for range followers {
				c := &follows{id: created.ID, subscribed: make(chan struct{}), written: written, done: make(chan struct{})}
				wg.Go(func() { _ = session.Serve(s.Assistant, c, assistant.Peer{User: "ann"}) })
				<-c.subscribed
			}
			c := must(s.hub.Open("ann", created.ID))
			must(c.Do(b.Context(), assistant.Ask{Asker: assistant.Asker{Peer: assistant.Peer{User: "ann"}}, Text: "x"}))
			wg.Wait()
			c.Close()
		})
	}
}

// follows subscribes, and leaves when an answer has ended.
type follows struct {
	id               string
	asked            bool
	subscribed, done chan struct{}
	written          chan struct{}
}

func (c *follows) Recv() ([]byte, error) {
	if !c.asked {
		c.asked = true
		return fmt.Appendf(nil, `{"action":"subscribe","topic":"conversation:%s"}`, c.id), nil
	}
	<-c.done
	return nil, io.EOF
}

func (c *follows) Send(messages ...[]byte) error {
	for _, m := range messages {
		switch {
		case bytes.HasPrefix(m, []byte(`{"action":"snapshot"`)):
			close(c.subscribed)
		case bytes.HasPrefix(m, []byte(`{"action":"streaming",`)):
			c.written <- struct{}{}
		case bytes.HasPrefix(m, []byte(`{"action":"complete_streaming"`)):
			close(c.done)
		}
	}
	return nil
}

func (c *follows) Close(int, string) error { return nil }
