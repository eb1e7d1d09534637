package harness

import (
	"net"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// Nats is a NATS server in the test's process (nats-server v2.15.3, of November 2026), which can be taken away and
// come back. It has one user, whom it can forbid everything.
type Nats struct {
	Addr string // host and port

	options *server.Options
	server  *server.Server
}

const natsUser, natsPassword = "node", "of-tests"

// StartNats runs a server until the test ends.
func StartNats(t testing.TB) *Nats {
	t.Helper()
	n := &Nats{Addr: FreeAddr(t)}
	host, port, _ := net.SplitHostPort(n.Addr)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	n.options = &server.Options{
		Host: host, Port: number, NoLog: true, NoSigs: true,
		Users: []*server.User{{Username: natsUser, Password: natsPassword}},
	}
	n.Start(t)
	t.Cleanup(n.Stop)
	return n
}

// Start runs the server and returns when it accepts connections.
func (n *Nats) Start(t testing.TB) {
	t.Helper()
	options := n.options.Clone() // a server keeps and changes its own
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	n.server = s
	if !s.ReadyForConnections(Patience) {
		t.Fatal("the NATS server does not accept connections")
	}
}

// Stop ends the server and all its connections.
func (n *Nats) Stop() {
	n.server.Shutdown()
	n.server.WaitForShutdown()
}

// Forbid lets its user neither publish nor subscribe any more, or, with false, lets it again. The server reloads its
// options, which keeps connections.
func (n *Nats) Forbid(t testing.TB, forbidden bool) {
	t.Helper()
	options := n.options.Clone()
	user := *options.Users[0]
	if user.Permissions = nil; forbidden {
		all := &server.SubjectPermission{Deny: []string{">"}}
		user.Permissions = &server.Permissions{Publish: all, Subscribe: all}
	}
	options.Users = []*server.User{&user}
	if err := n.server.ReloadOptions(options); err != nil {
		t.Fatalf("reload the NATS server's options: %v", err)
	}
}

// Running tells whether it has not been stopped.
func (n *Nats) Running() bool { return n.server.Running() }

// Messages returns how many messages clients have sent it since it started.
func (n *Nats) Messages(t testing.TB) int64 {
	t.Helper()
	v, err := n.server.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.InMsgs
}

// URL is where a client connects that reaches the server at addr.
func (n *Nats) URL(addr string) string {
	return "nats://" + natsUser + ":" + natsPassword + "@" + addr
}
