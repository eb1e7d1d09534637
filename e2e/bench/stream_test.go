package bench

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// load is what the clients of a streaming scenario do: sockets that all receive an answer at once.
type load struct {
	sockets   int
	followers int           // sockets that follow the same answer; 0 is 1
	every     time.Duration // between two pieces of an answer that outlasts the window
	pieces    int           // of each answer, one after the other, as fast as they are read; where every is 0
	warm      time.Duration // from when all answers have begun until the window
	window    time.Duration
}

// plan is the answer to ask for.
func (l load) plan() plan {
	if l.every == 0 {
		return plan{pieces: l.pieces}
	}
	begin := time.Second + time.Duration(l.sockets)*time.Millisecond // until all have begun
	return plan{int((begin + l.warm + l.window) / l.every), l.every}
}

// Columns of the streaming scenarios.
const (
	cpu        = "CPU µs/piece"
	userCPU    = "user"
	systemCPU  = "system"
	p50        = "p50 ms"
	p99        = "p99 ms"
	throughput = "k pieces/s"
	resident   = "resident MB"

	// What must not be what is measured: the time of the rig itself, and how many cores programs had that do not belong
	// to it.
	upstreamCPU = "upstream"
	clientCPU   = "client"
	strangers   = "strangers' cores"
)

// run runs the load on a server.
func (l load) run(t *testing.T, s *server) sample {
	clients := l.open(t, s)
	defer dropAll(clients)
	w := &window{ages: l.every > 0}
	var began, ended sync.WaitGroup
	for i, c := range clients {
		began.Add(1)
		ended.Go(func() {
			asks := i%max(l.followers, 1) == 0
			if err := l.converse(c, w, asks, sync.OnceFunc(began.Done)); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	began.Wait()
	time.Sleep(l.warm)
	before := look(t, s)
	w.open.Store(true)
	if !s.profile(t, "profile", fmt.Sprint("?seconds=", l.window.Seconds())) { // which takes as long
		time.Sleep(l.window)
	}
	w.open.Store(false)
	after := look(t, s)
	w.over.Store(true)
	if l.every == 0 {
		dropAll(clients) // there would be no end
	}
	ended.Wait()
	return sampleOf(clients, before, after)
}

// moment is what the three processes and the machine have used at a time.
type moment struct {
	time                     time.Time
	server, upstream, client usage
	machine                  time.Duration
}

func look(t *testing.T, s *server) moment {
	return moment{time.Now(), used(t, s.pid), used(t, s.upstream.pid), used(t, os.Getpid()), busy(t)}
}

// open opens the sockets, and lets them follow stored conversations where the server keeps any.
func (l load) open(t *testing.T, s *server) []*client {
	clients := make([]*client, l.sockets)
	followers := max(l.followers, 1)
	err := inParallel(l.sockets/followers, func(user int) (err error) {
		topic := ""
		for i := user * followers; i < (user+1)*followers; i++ {
			if clients[i], err = s.openClient(user); err != nil {
				return err
			}
			if s.keeps && topic == "" {
				topic, err = clients[i].create()
			}
			if err == nil && s.keeps {
				err = clients[i].follow(topic)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		dropAll(clients)
		t.Fatalf("open sockets: %v", err)
	}
	return clients
}

// converse takes an answer to its end, or, where nothing paces them, answers until the window is over. It asks for them
// where it is told to, and calls begun when the first one has begun, or will not.
func (l load) converse(c *client, w *window, asks bool, begun func()) error {
	defer begun()
	p := l.plan()
	for {
		if asks {
			if err := c.ask(p); err != nil && !w.over.Load() {
				return err
			}
		}
		c.first = begun
		err := c.receive(p, w)
		switch {
		case l.every == 0 && w.over.Load():
			return nil
		case l.every > 0 || err != nil:
			return err
		}
	}
}

// sampleOf is what the clients have received and the processes have used between two moments.
func sampleOf(clients []*client, before, after moment) sample {
	pieces := 0
	var latencies []uint32
	for _, c := range clients {
		pieces += c.pieces
		latencies = append(latencies, c.latencies...)
	}
	each := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / float64(pieces) }
	took := after.time.Sub(before.time)
	server, upstream, client := after.server.since(before.server), after.upstream.since(before.upstream), after.client.since(before.client)
	s := sample{
		cpu: each(server.total()), userCPU: each(server.user), systemCPU: each(server.system), resident: float64(after.server.resident) / 1e6,
		upstreamCPU: each(upstream.total()), clientCPU: each(client.total()),
		strangers:  (after.machine - before.machine - server.total() - upstream.total() - client.total()).Seconds() / took.Seconds(),
		throughput: float64(pieces) / took.Seconds() / 1000,
	}
	if len(latencies) > 0 {
		slices.Sort(latencies)
		s[p50], s[p99] = percentile(latencies, 50), percentile(latencies, 99)
	}
	return s
}

// percentile is that of sorted microseconds, in milliseconds.
func percentile(sorted []uint32, n int) float64 { return float64(sorted[(len(sorted)-1)*n/100]) / 1000 }

// inParallel calls f for each number below n, some of them at once. After an error it begins no more, and returns it.
func inParallel(n int, f func(i int) error) error {
	const workers = 64
	next := make(chan int)
	failed := make(chan error, workers)
	var done sync.WaitGroup
	for range min(n, workers) {
		done.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
	for i := 0; i < n && err == nil; i++ {
		select {
		case next <- i:
		case err = <-failed:
		}
	}
	close(next)
	done.Wait()
	select {
	case err = <-failed:
	default:
	}
	return err
}
