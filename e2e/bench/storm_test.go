package bench

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

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
	spent := used(t, s.pid).since(before).total()
	slices.Sort(times)
	return sample{
		p50: percentile(times, 50), p99: percentile(times, 99), slowest: percentile(times, 100),
		perConnect: float64(spent.Microseconds()) / float64(sockets),
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
