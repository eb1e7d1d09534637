package bench

import (
	"fmt"
	"testing"
	"time"
)

// Names of the rows that others are compared with, or left out.
const (
	floorRow   = "floor"
	proxyRow   = "reverse_proxy"
	oursRow    = "ours"
	gorillaRow = "gorilla+sdk"
	nodeRow    = "node"
)

// streaming are rows for all servers that stream answers.
func streaming(gorilla string, measure func(*testing.T, func(*testing.T) *server) sample) []row {
	of := func(name string, start func(*testing.T) *server) row {
		return row{name, func(t *testing.T) sample { return measure(t, start) }}
	}
	return []row{
		of(floorRow, startFloor),
		of(proxyRow, startProxy),
		of(oursRow, startOurs),
		of("ours stored", startKept),
		of("ours TLS", func(t *testing.T) *server { return startSecure(t, openSecure) }),
		of("ours h2", func(t *testing.T) *server { return startSecure(t, openStream) }),
		of(gorillaRow, func(t *testing.T) *server { return startGorilla(t, gorilla) }),
		of(nodeRow, startNode),
	}
}

// measure starts a server and runs the load on it.
func (l load) measure(t *testing.T, start func(*testing.T) *server) sample { return l.run(t, start(t)) }

// paced lets many sockets receive answers at a steady pace.
func paced(gorilla string, l load) scenario {
	return scenario{
		name:  "paced",
		about: fmt.Sprintf("%d sockets, a piece every %v to each", l.sockets, l.every),
		columns: []column{
			{cpu, "%.1f", []string{floorRow, proxyRow}},
			{userCPU, "%.1f", nil}, {systemCPU, "%.1f", nil},
			{p50, "%.2f", nil}, {p99, "%.2f", []string{floorRow}},
			{throughput, "%.2f", nil}, {resident, "%.0f", nil}, {upstreamCPU, "%.1f", nil}, {clientCPU, "%.1f", nil}, {strangers, "%.2f", nil},
		},
		rows: streaming(gorilla, l.measure),
	}
}

// flat lets many sockets receive answers as fast as they can.
func flat(gorilla string, l load) scenario {
	return scenario{
		name:  "flat",
		about: fmt.Sprintf("%d sockets, answers of %d pieces that nothing paces", l.sockets, l.pieces),
		columns: []column{
			{throughput, "%.1f", []string{floorRow, gorillaRow, nodeRow}},
			{cpu, "%.2f", nil}, {userCPU, "%.2f", nil}, {systemCPU, "%.2f", nil}, {resident, "%.0f", nil},
			{upstreamCPU, "%.2f", nil}, {clientCPU, "%.2f", nil}, {strangers, "%.2f", nil},
		},
		rows: streaming(gorilla, l.measure),
	}
}

// growth lets more and more sockets share about as many pieces a second.
func growth(gorilla string, sockets []int, total int, l load) scenario {
	const most = "most/fewest"
	size := func(n int) string { return fmt.Sprintf("%d sockets", n) }
	columns := make([]column, len(sockets))
	for i, n := range sockets {
		columns[i] = column{size(n), "%.1f", []string{floorRow}}
	}
	return scenario{
		name:    "growth",
		about:   fmt.Sprintf("CPU µs/piece of %d pieces/s", total),
		columns: append(columns, column{most, "%.2f", nil}),
		rows: streaming(gorilla, func(t *testing.T, start func(*testing.T) *server) sample {
			s := sample{}
			for _, n := range sockets {
				l.sockets, l.every = n, time.Second*time.Duration(n)/time.Duration(total)
				t.Run(size(n), func(t *testing.T) { s[size(n)] = l.measure(t, start)[cpu] })
			}
			s[most] = s[size(sockets[len(sockets)-1])] / s[size(sockets[0])]
			return s
		}),
	}
}

// followers lets as many sockets follow answers of their own, or one answer ten of them.
func followers(l load) scenario {
	const one, ten = "ours stored, 1 follower", "ours stored, 10 followers"
	with := func(followers int) func(*testing.T) sample {
		return func(t *testing.T) sample {
			l.followers = followers
			return l.measure(t, startKept)
		}
	}
	return scenario{
		name:  "followers",
		about: fmt.Sprintf("%d sockets, a piece every %v to each, which is counted for each follower", l.sockets, l.every),
		columns: []column{
			{cpu, "%.1f", []string{one}}, {userCPU, "%.1f", nil}, {systemCPU, "%.1f", nil}, {p50, "%.2f", nil}, {p99, "%.2f", nil}, {throughput, "%.2f", nil},
		},
		rows: []row{{one, with(1)}, {ten, with(10)}},
	}
}
