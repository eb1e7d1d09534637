//go:build unix

package ws_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// openTCP connects over TCP.
func openTCP(t *testing.T, o ws.Options) (*ws.Conn, *peer) {
	t.Helper()
	near, far := tcpPipe(t)
	conns := serve(t, far, &http.Server{}, o, nil)
	p := connect(t, near, handshake)
	return <-conns, p
}

// TestTrySend holds that TrySend never waits, not for a peer that does not read, and that with rest and other Sends, and
// pings, the peer gets every message once and in order.
func TestTrySend(t *testing.T) {
	c, p := openTCP(t, ws.Options{PingInterval: time.Millisecond})
	if !c.CanTry() {
		t.Fatal("it cannot try over TCP")
	}
	var rest func() error
	var want []string
	for i := 0; rest == nil; i++ {
		if i == 10_000 {
			t.Fatal("the socket takes everything")
		}
		messages := [][]byte{[]byte(fmt.Sprint(i)), []byte(strings.Repeat("x", 50_000))}
		var err error
		if rest, err = c.TrySend(messages...); err != nil {
			t.Fatal(err)
		}
		want = append(want, "text "+string(messages[0]), "text "+string(messages[1]))
	}
	busy, err := c.TrySend([]byte("third")) // while something is left
	if err != nil || busy == nil {
		t.Fatalf("a try during another: %v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, rest := range []func() error{rest, busy} {
			if err := rest(); err != nil {
				t.Error(err)
			}
		}
		if rest, err := c.TrySend([]byte("last")); err != nil {
			t.Error(err)
		} else if rest != nil {
			if err := rest(); err != nil {
				t.Error(err)
			}
		}
	})
	var got []string
	for p.err == nil && !slices.Contains(got, "text last") {
		if next := p.next(); next != "ping" {
			got = append(got, next)
		}
	}
	wg.Wait()
	if want = append(want, "text third", "text last"); !slices.Equal(got, want) {
		t.Errorf("the peer got %d messages, want %d, in order", len(got), len(want))
	}
	_ = c.Close(1000, "")
}

// TestTrySendAfterEnd holds that a try on a closed connection fails, and that what is left of one fails at Close: it does
// not wait for ever.
func TestTrySendAfterEnd(t *testing.T) {
	c, p := openTCP(t, ws.Options{})
	var rest func() error
	for rest == nil {
		var err error
		if rest, err = c.TrySend([]byte(strings.Repeat("x", 60_000))); err != nil {
			t.Fatal(err)
		}
	}
	failed := make(chan error)
	go func() { failed <- rest() }()
	_ = c.Close(1000, "")
	if <-failed == nil {
		t.Error("what was left was sent to nobody")
	}
	if rest, err := c.TrySend([]byte("late")); err == nil && (rest == nil || rest() == nil) {
		t.Error("TrySend after Close succeeded")
	}
	_ = p.Conn.Close()
}

// TestTryDeadline holds that a connection on which nothing was sent for longer than the write timeout still takes a try.
func TestTryDeadline(t *testing.T) {
	const timeout = 20 * time.Millisecond
	c, p := openTCP(t, ws.Options{WriteTimeout: timeout, PingInterval: time.Hour})
	for i := range 3 {
		text := fmt.Sprint(i)
		if rest, err := c.TrySend([]byte(text)); err != nil || rest != nil {
			t.Fatalf("try %d: %v", i, err)
		}
		if got := p.next(); got != "text "+text {
			t.Fatalf("the peer got %q", got)
		}
		<-time.After(3 * timeout) // the deadline of a write is past
	}
	_ = c.Close(1000, "")
}
