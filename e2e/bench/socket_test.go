package bench

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Columns of the scenarios of sockets.
const (
	perSocket  = "resident KB/socket"
	connects   = "connects/s"
	perConnect = "CPU µs/connect"
	slowest    = "max ms"
)

// settle is the time that servers get to notice what clients have done, and to come to rest.
const settle = 2 * time.Second

// idle opens many sockets that then do nothing.
func idle(gorilla string, sockets int) scenario {
	with := func(start func(*testing.T) *server, prepare func(*client) error) func(*testing.T) sample {
		return func(t *testing.T) sample { return measureIdle(t, start(t), sockets, prepare) }
	}
	nothing := func(*client) error { return nil }
	return scenario{
		name:    "idle",
		about:   fmt.Sprintf("%d sockets that do nothing", sockets),
		columns: []column{{perSocket, "%.1f", []string{floorRow, gorillaRow}}},
		rows: []row{
			{floorRow, with(startFloorSockets, nothing)},
			{gorillaRow, with(func(t *testing.T) *server { return startGorilla(t, gorilla) }, nothing)},
			{oursRow, with(startOurs, nothing)},
			{"ours, following an empty conversation", with(startKept, createAndFollow)},
			{"ours, following an answered conversation", with(startKept, func(c *client) error {
				if err := createAndFollow(c); err != nil {
					return err
				}
				return c.turn(plan{pieces: 20})
			})},
			{nodeRow, with(startNode, nothing)},
		},
	}
}

func createAndFollow(c *client) error {
	topic, err := c.create()
	if err == nil {
		err = c.follow(topic)
	}
	return err
}

func measureIdle(t *testing.T, s *server, sockets int, prepare func(*client) error) sample {
	allowFiles(t, sockets)
	clients := make([]*client, sockets)
	open := func(user int) (err error) {
		if clients[user], err = s.openClient(user); err != nil {
			return err
		}
		return prepare(clients[user])
	}
	warm := min(sockets, 500)
	if err := inParallel(warm, open); err != nil {
		t.Fatal(err)
	}
	dropAll(clients[:warm])
	time.Sleep(settle)
	before := used(t, s.pid)
	var idling sync.WaitGroup
	defer idling.Wait()
	defer dropAll(clients)
	var lost atomic.Int64
	err := inParallel(sockets, func(user int) error {
		err := open(user)
		if err == nil {
			idling.Go(func() {
				clients[user].idle()
				lost.Add(1)
			})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(settle)
	after := used(t, s.pid)
	if n := lost.Load(); n > 0 {
		t.Errorf("%d sockets were closed", n)
	}
	return sample{perSocket: float64(after.resident-before.resident) / float64(sockets) / 1000}
}

// idle answers pings until the socket is closed.
func (c *client) idle() {
	for {
		if _, err := c.Text(); err != nil {
			return
		}
	}
}

func dropAll(clients []*client) {
	for _, c := range clients {
		if c != nil {
			drop(c.Raw)
		}
	}
}

// allowFiles raises the limit of open files, for servers that are started from now on too.
func allowFiles(t *testing.T, sockets int) {
	t.Helper()
	need := uint64(sockets) + 2000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur, limit.Max = max(limit.Cur, need), max(limit.Max, need)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("%d sockets need as many open files, see ulimit -n: %v", sockets, err)
	}
}

// connecting opens and drops sockets, as many as it can.
func connecting(gorilla string, warm, window time.Duration) scenario {
	with := func(start func(*testing.T) *server) func(*testing.T) sample {
		return func(t *testing.T) sample { return measureConnects(t, start(t), warm, window) }
	}
	return scenario{
		name:    "connect",
		about:   "64 clients that open a socket and drop it, one after the other",
		columns: []column{{connects, "%.0f", []string{floorRow, gorillaRow}}, {perConnect, "%.0f", []string{floorRow, gorillaRow}}},
		rows: []row{
			{floorRow, with(startFloorSockets)},
			{gorillaRow, with(func(t *testing.T) *server { return startGorilla(t, gorilla) })},
			{oursRow, with(startOurs)},
			{nodeRow, with(startNode)},
		},
	}
}

func measureConnects(t *testing.T, s *server, warm, window time.Duration) sample {
	var opened atomic.Int64
	var isOver atomic.Bool
	var workers sync.WaitGroup
	for user := range 64 {
		workers.Go(func() {
			for !isOver.Load() {
				c, err := s.openClient(user)
				if err != nil {
					t.Errorf("open socket: %v", err)
					return
				}
				drop(c.Raw)
				opened.Add(1)
			}
		})
	}
	time.Sleep(warm)
	before, began, from := used(t, s.pid), time.Now(), opened.Load()
	time.Sleep(window)
	after, took, n := used(t, s.pid), time.Since(began), float64(opened.Load()-from)
	isOver.Store(true)
	workers.Wait()
	user, system := after.since(before)
	return sample{connects: n / took.Seconds(), perConnect: float64((user + system).Microseconds()) / n}
}

// storm lets all clients come back at once after the server was started anew.
func storm(sockets int) scenario {
	with := func(conversations int) func(*testing.T) sample {
		return func(t *testing.T) sample { return measureStorm(t, sockets, conversations) }
	}
	return scenario{
		name:  "storm",
		about: fmt.Sprintf("%d sockets that are opened at once, and their first snapshots", sockets),
		columns: []column{
			{p50, "%.0f", nil}, {p99, "%.0f", nil}, {slowest, "%.0f", nil}, {perConnect, "%.0f", nil},
		},
		rows: []row{
			{"ours, only opened", with(0)},
			{"ours, all follow one conversation", with(1)},
			{"ours, each follows its own", with(sockets)},
		},
	}
}

func measureStorm(t *testing.T, sockets, conversations int) sample {
	allowFiles(t, sockets)
	s := startKept(t)
	topics := conversationsOf(t, s, conversations)
	s.caddy.Stop(t)
	s.caddy.Again(t)
	s.pid = s.caddy.Pid()

	clients := make([]*client, sockets)
	defer dropAll(clients)
	times := make([]uint32, sockets)
	begin := make(chan struct{})
	var all sync.WaitGroup
	var began time.Time
	for i := range clients {
		all.Go(func() {
			<-begin
			topic, user := "", 0
			if conversations > 0 {
				user = i % conversations
				topic = topics[user]
			}
			var err error
			if clients[i], err = s.openClient(user); err == nil && topic != "" {
				err = clients[i].follow(topic)
			}
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			times[i] = uint32(time.Since(began).Microseconds())
		})
	}
	before := used(t, s.pid)
	began = time.Now()
	close(begin)
	all.Wait()
	user, system := used(t, s.pid).since(before)
	slices.Sort(times)
	return sample{
		p50: percentile(times, 50), p99: percentile(times, 99), slowest: percentile(times, 100),
		perConnect: float64((user + system).Microseconds()) / float64(sockets),
	}
}

// conversationsOf creates conversations with a question and an answer each, every one of another user.
func conversationsOf(t *testing.T, s *server, n int) []string {
	t.Helper()
	topics := make([]string, n)
	err := inParallel(n, func(user int) error {
		c, err := s.openClient(user)
		if err != nil {
			return err
		}
		defer drop(c.Raw)
		if err := createAndFollow(c); err != nil {
			return err
		}
		topics[user] = c.topic
		return c.turn(plan{pieces: 20})
	})
	if err != nil {
		t.Fatalf("make conversations: %v", err)
	}
	return topics
}
