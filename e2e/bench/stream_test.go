package bench

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// load is what the clients of a streaming scenario do: sockets that all receive an answer at once.
type load struct {
	sockets   int
	followers int           // sockets that follow the same answer; 0 is 1
	every     time.Duration // between two pieces of an answer; 0: as fast as they are read
	warm      time.Duration // from when all answers have begun until the window
	window    time.Duration
}

// plan is the answer to ask for: one that outlasts the window, or one of a fixed size after the other.
func (l load) plan() plan {
	if l.every == 0 {
		return plan{pieces: 10_000}
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
)

// measure runs the load on a server.
func (l load) measure(t testing.TB, s *server) sample {
	clients := l.open(t, s)
	defer func() {
		for _, c := range clients {
			drop(c.Raw)
		}
	}()
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
	before := used(t, s.pid)
	opened := time.Now()
	w.open.Store(true)
	time.Sleep(l.window)
	w.open.Store(false)
	after, took := used(t, s.pid), time.Since(opened)
	w.over.Store(true)
	ended.Wait()
	return l.sample(clients, before, after, took)
}

// open opens the sockets, and lets them follow stored conversations where the server keeps any.
func (l load) open(t testing.TB, s *server) []*client {
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
		t.Fatalf("open sockets: %v", err)
	}
	return clients
}

// converse takes answers until the window is over, and asks for them where it is told to. It calls begun when the
// first one has begun, or will not.
func (l load) converse(c *client, w *window, asks bool, begun func()) error {
	defer begun()
	p := l.plan()
	for {
		if asks {
			if err := c.ask(p); err != nil {
				return err
			}
		}
		c.first = begun
		if err := c.receive(p, w); err != nil {
			return err
		}
		if l.every > 0 || w.over.Load() {
			return nil
		}
	}
}

// sample is what the clients have received and the server has used in a window.
func (l load) sample(clients []*client, before, after usage, took time.Duration) sample {
	pieces := 0
	var latencies []uint32
	for _, c := range clients {
		pieces += c.pieces
		latencies = append(latencies, c.latencies...)
	}
	user, system := after.since(before)
	micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / float64(pieces) }
	s := sample{
		cpu: micros(user + system), userCPU: micros(user), systemCPU: micros(system),
		throughput: float64(pieces) / took.Seconds() / 1000,
		resident:   float64(after.resident) / 1e6,
	}
	if len(latencies) > 0 {
		slices.Sort(latencies)
		s[p50], s[p99] = percentile(latencies, 50), percentile(latencies, 99)
	}
	return s
}

// percentile is that of sorted microseconds, in milliseconds.
func percentile(sorted []uint32, n int) float64 { return float64(sorted[(len(sorted)-1)*n/100]) / 1000 }

// inParallel calls f for each number below n, some of them at once, and returns an error if there is one.
func inParallel(n int, f func(i int) error) error {
	const workers = 64
	var first error
	var mu sync.Mutex
	next := make(chan int)
	var done sync.WaitGroup
	for range min(n, workers) {
		done.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	done.Wait()
	return first
}

// Names of the rows that others are compared with, or left out.
const (
	floorRow = "floor"
	proxyRow = "reverse_proxy"
	nodeRow  = "node"
)

// paced lets many sockets receive answers at a steady pace.
func paced(gorilla string, l load) scenario {
	with := func(start func(testing.TB) *server) func(testing.TB) sample {
		return func(t testing.TB) sample { return l.measure(t, start(t)) }
	}
	return scenario{
		name:  "paced",
		about: fmt.Sprintf("%d sockets, a piece every %v to each", l.sockets, l.every),
		columns: []column{
			{cpu, "%.1f", []string{floorRow, proxyRow}},
			{userCPU, "%.1f", nil}, {systemCPU, "%.1f", nil},
			{p50, "%.2f", nil}, {p99, "%.2f", []string{floorRow}},
			{throughput, "%.2f", nil}, {resident, "%.0f", nil},
		},
		rows: []row{
			{floorRow, with(startFloor)},
			{proxyRow, with(startProxy)},
			{"ours", with(startOurs)},
			{"ours stored", with(startKept)},
			{"ours TLS", with(func(t testing.TB) *server { return startSecure(t, openSecure) })},
			{"ours h2", with(func(t testing.TB) *server { return startSecure(t, openStream) })},
			{"gorilla+sdk", with(func(t testing.TB) *server { return startGorilla(t, gorilla) })},
			{nodeRow, with(startNode)},
		},
	}
}
