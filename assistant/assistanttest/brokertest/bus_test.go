package brokertest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

func TestBus(t *testing.T) {
	TestBroker(t, Options{}, func(*testing.T) Cluster { return Cluster{Broker: NewBus().Broker} })
}

func TestBusWithoutLogs(t *testing.T) {
	TestBroker(t, Options{NoLogs: true}, func(*testing.T) Cluster {
		bus := NewBus()
		bus.NoLogs = true
		return Cluster{Broker: bus.Broker}
	})
}

func BenchmarkBus(b *testing.B) {
	BenchmarkBroker(b, Options{}, func(*testing.B) Cluster { return Cluster{Broker: NewBus().Broker} })
}

// TestDisturb: by a seed, announcements are lost, come twice and come late, always the same ones.
func TestDisturb(t *testing.T) {
	play := func(t *testing.T, seed uint64) (seqs []uint64) {
		synctest.Test(t, func(t *testing.T) {
			bus := NewBus()
			a, b := OpenNode(t, bus.Broker(), 1), OpenNode(t, bus.Broker(), 2)
			bus.Disturb(seed, 0.3, time.Second)
			for seq := range uint64(200) {
				a.Announce(standing("conversation", seq))
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			for _, h := range b.heard {
				seqs = append(seqs, h.Seq)
			}
		})
		return seqs
	}
	first := play(t, 7)
	if !slices.Equal(first, play(t, 7)) || slices.Equal(first, play(t, 8)) {
		t.Error("the seed does not decide what happens")
	}
	kinds := slices.Compact(slices.Sorted(slices.Values(first)))
	if slices.IsSorted(first) || len(kinds) < 100 || len(kinds) > 180 || len(first)-len(kinds) < 20 {
		t.Errorf("of 200 announcements %d came, %d times, sorted: %v", len(kinds), len(first), slices.IsSorted(first))
	}
}

// TestCut: a node that is cut off is reached by nobody, and learns later that it may have missed something.
func TestCut(t *testing.T) {
	bus := NewBus()
	a, b := OpenNode(t, bus.Broker(), 1), OpenNode(t, bus.Broker(), 2)
	b.NewLog("conversation", 1)
	log := b.logs["conversation"]
	ended, read := make(chan error, 1), make(chan struct{}, 1)
	go func() {
		for _, err := range a.Follow(t.Context(), b.ID, "conversation", log.Start()) {
			if read <- struct{}{}; err != nil {
				ended <- err
				return
			}
		}
	}()
	<-read
	bus.Cut(b.ID, true)
	if err := <-ended; !errors.Is(err, assistant.ErrNoNode) {
		t.Errorf("following ended with %v", err)
	}
	for _, pair := range [][2]*Node{{a, b}, {b, a}} {
		if _, err := pair[0].Call(t.Context(), pair[1].ID, nil); !errors.Is(err, assistant.ErrNoNode) {
			t.Errorf("got %v", err)
		}
		pair[0].Announce(standing("lost", 1))
	}
	if b.Up() || !a.Up() {
		t.Error("the wrong node is cut off")
	}
	bus.Cut(b.ID, false)
	Eventually(t, "the node learns that it missed something", func() bool { _, lost := b.Last(""); return lost == 1 })
	if reply, err := a.Call(t.Context(), b.ID, []byte("x")); err != nil || string(reply) != fmt.Sprintf("%d x", a.ID) {
		t.Errorf("got %q, %v", reply, err)
	}
	if h, _ := b.Last("lost"); h.ID != "" {
		t.Error("the node heard what was announced while it was cut off")
	}
}
