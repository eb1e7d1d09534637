package brokertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// BenchmarkBroker measures what a broker adds between two nodes: the time from a call to its reply, from an
// announcement to where it is heard, and from an event to its follower on the other node, which is p50 and p99; and how
// many pieces a second 50 logs carry, and what it takes to follow 10,000 logs at once.
func BenchmarkBroker(b *testing.B, options Options, open func(b *testing.B) Cluster) {
	b.Helper()
	pair := func(b *testing.B) (holder, other *Node) {
		b.Helper()
		cluster := open(b)
		return openFor(b, cluster), openFor(b, cluster)
	}
	for _, size := range []int{100, 1 << 20} {
		b.Run(fmt.Sprintf("Call/%d", size), func(b *testing.B) {
			to, from := pair(b)
			request := bytes.Repeat([]byte("x"), size)
			took := timed(b, func(int) {
				if _, err := from.Call(b.Context(), to.ID, request); err != nil {
					b.Fatal(err)
				}
			})
			report(b, took)
		})
	}
	b.Run("Announce", func(b *testing.B) { benchmarkAnnounce(b, pair) })
	if options.NoLogs {
		return
	}
	b.Run("Follow", func(b *testing.B) { benchmarkFollow(b, pair) })
	b.Run("FollowPieces", func(b *testing.B) { benchmarkPieces(b, pair) })
	b.Run("Follow10000", func(b *testing.B) { benchmarkFollowMany(b, pair) })
}

func openFor(b *testing.B, cluster Cluster) *Node {
	b.Helper()
	n := OpenNode(b, cluster.Broker(), newID(cluster))
	Eventually(b, "the broker is up", n.Up)
	return n
}

// timed runs f as often as the benchmark says, and returns how long it took each time.
func timed(b *testing.B, f func(i int)) (took []time.Duration) {
	b.Helper()
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		f(i)
		took = append(took, time.Since(start))
	}
	return took
}

// report reports the times at the middle and at the end.
func report(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
}

func benchmarkAnnounce(b *testing.B, pair func(*testing.B) (*Node, *Node)) {
	b.Helper()
	to, from := pair(b)
	var took []time.Duration
	for i := uint64(1); b.Loop(); i++ {
		time.Sleep(50 * time.Millisecond) // a broker may keep a pace
		_, lost := to.Last("")
		start := time.Now()
		from.Announce(standing("conversation", i))
		Eventually(b, "it is heard", func() bool { h, now := to.Last("conversation"); return h.Seq == i || now > lost })
		took = append(took, time.Since(start))
	}
	report(b, took)
}

// arrivals is a follower that says which number it has read.
func arrivals(ctx context.Context, b *testing.B, n *Node, holder assistant.NodeID, id string, after assistant.Cursor) <-chan uint64 {
	b.Helper()
	read := make(chan uint64, 1000)
	go func() {
		defer close(read)
		for batch, err := range n.Follow(ctx, holder, id, after) {
			if err != nil {
				if ctx.Err() == nil {
					b.Errorf("follow: %v", err)
				}
				return
			}
			read <- batch.Last
		}
	}()
	return read
}

func benchmarkFollow(b *testing.B, pair func(*testing.B) (*Node, *Node)) {
	b.Helper()
	holder, other := pair(b)
	l := holder.NewLog("conversation", 1)
	read := arrivals(b.Context(), b, other, holder.ID, "conversation", l.Start())
	<-read
	report(b, timed(b, func(int) {
		l.Append(" piece")
		<-read
	}))
	l.Release()
	for range read {
	}
}

// benchmarkPieces appends pieces to 50 logs as fast as it can, and waits until all are read.
func benchmarkPieces(b *testing.B, pair func(*testing.B) (*Node, *Node)) {
	b.Helper()
	const logs = 50
	holder, other := pair(b)
	var followers sync.WaitGroup
	var all []*Log
	for i := range logs {
		l := holder.NewLog(fmt.Sprint(i), 0)
		all = append(all, l)
	}
	for i, l := range all {
		read := arrivals(b.Context(), b, other, holder.ID, fmt.Sprint(i), l.Start())
		followers.Go(func() {
			for range read {
			}
		})
	}
	Eventually(b, "all follow", func() bool { return holder.Followers() == logs })
	start, n := time.Now(), 0
	for ; b.Loop(); n++ {
		all[n%logs].Append(" piece")
		if n%100_000 == 0 {
			for _, l := range all { // memory is not what is measured
				l.forget()
			}
		}
	}
	for _, l := range all {
		l.Release()
	}
	followers.Wait()
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "pieces/s")
}

// benchmarkFollowMany follows 10,000 logs, an event each, and leaves.
func benchmarkFollowMany(b *testing.B, pair func(*testing.B) (*Node, *Node)) {
	b.Helper()
	const logs = 10_000
	holder, other := pair(b)
	var all []*Log
	for i := range logs {
		all = append(all, holder.NewLog(fmt.Sprint(i), 1))
	}
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		var reads []<-chan uint64
		for i, l := range all {
			reads = append(reads, arrivals(ctx, b, other, holder.ID, fmt.Sprint(i), l.Start()))
		}
		for _, read := range reads {
			<-read
		}
		cancel()
		Eventually(b, "nobody follows any more", func() bool { return holder.Followers() == 0 })
	}
}
