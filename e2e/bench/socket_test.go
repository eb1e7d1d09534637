package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
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
			{"following an empty conversation", with(startKept, createAndFollow)},
			{"following an answered conversation", with(startKept, func(c *client) error {
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
	s.profile(t, "heap", "?gc=1")
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
	return sample{connects: n / took.Seconds(), perConnect: float64(after.since(before).total().Microseconds()) / n}
}
