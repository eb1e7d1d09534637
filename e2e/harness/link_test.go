package harness

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// echo runs a server that sends back what it gets.
func echo(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	return listener.Addr().String()
}

// exchange sends a line and returns what comes back within a moment.
func exchange(t *testing.T, conn net.Conn, wait time.Duration) (string, error) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func dialLink(t *testing.T, l *Link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestLink(t *testing.T) {
	l := NewLink(t, echo(t))
	conn := dialLink(t, l)
	if got, err := exchange(t, conn, Patience); got != "hello\n" {
		t.Fatalf("a sound link passes on %q, %v", got, err)
	}

	l.Cut(t)
	for name, conn := range map[string]net.Conn{"old": conn, "new": dialLink(t, l)} {
		if _, err := exchange(t, conn, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("over a cut link a %s connection has the error %v, want silence", name, err)
		}
	}
	l.Mend(t)
	if got, err := exchange(t, dialLink(t, l), Patience); got != "hello\n" {
		t.Errorf("a mended link passes on %q, %v", got, err)
	}

	l.Refuse()
	if conn, err := net.Dial("tcp", l.Addr); err == nil {
		conn.Close()
		t.Error("a link that refuses accepts a connection")
	}
	l.Mend(t)
	const slow = 200 * time.Millisecond
	l.Slow(t, slow, 0)
	began := time.Now()
	if got, err := exchange(t, dialLink(t, l), Patience); got != "hello\n" || time.Since(began) < slow {
		t.Errorf("a slow link passes on %q, %v after %v", got, err, time.Since(began))
	}
	l.Mend(t)
	l.Mend(t) // nothing is wrong
}

// natsClient speaks NATS's protocol by hand.
type natsClient struct {
	t *testing.T
	net.Conn
	lines *bufio.Scanner
}

func dialNats(t *testing.T, n *Nats) natsClient {
	t.Helper()
	conn, err := net.Dial("tcp", n.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	c := natsClient{t, conn, bufio.NewScanner(conn)}
	c.say(`CONNECT {"verbose":false,"user":"` + natsUser + `","pass":"` + natsPassword + `"}` + "\r\nPING\r\n")
	c.until("PONG")
	return c
}

func (c natsClient) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// until returns the next line that begins like that.
func (c natsClient) until(prefix string) {
	c.t.Helper()
	for c.lines.Scan() {
		if strings.HasPrefix(c.lines.Text(), prefix) {
			return
		}
	}
	c.t.Fatalf("no %s: %v", prefix, c.lines.Err())
}

func TestNats(t *testing.T) {
	n := StartNats(t)
	c := dialNats(t, n)
	c.say("SUB news 1\r\nPUB news 2\r\nhi\r\n")
	c.until("MSG news 1 2")
	if got := n.Messages(t); got != 1 {
		t.Errorf("it counts %d messages", got)
	}
	n.Forbid(t, true)
	c = dialNats(t, n)
	c.say("PUB news 2\r\nhi\r\n")
	c.until("-ERR 'Permissions Violation for Publish")
	n.Forbid(t, false)
	c = dialNats(t, n)
	c.say("SUB news 1\r\nPUB news 2\r\nhi\r\n")
	c.until("MSG news 1 2")

	n.Stop()
	if n.Running() {
		t.Error("it runs after its stop")
	}
	if conn, err := net.Dial("tcp", n.Addr); err == nil {
		conn.Close()
		t.Error("it accepts connections after its stop")
	}
	n.Start(t)
	dialNats(t, n)
}

func TestQuestion(t *testing.T) {
	q := Question{"q1", 20, 5 * time.Millisecond}
	if got, err := ParseQuestion(q.String()); err != nil || got != q {
		t.Errorf("%q is read as %+v, %v", q, got, err)
	}
	if _, err := ParseQuestion("Name the conversation."); err == nil {
		t.Error("any text is a question")
	}
}
