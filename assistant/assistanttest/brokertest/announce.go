package brokertest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// announceTests are about Announce and Standings.
var announceTests = []brokerCase{
	{"Announce", testAnnounce},
	{"AnnounceLastWord", testAnnounceLastWord},
	{"AnnounceChange", testAnnounceChange},
	{"AnnounceMany", testAnnounceMany},
	{"AnnounceNeverBlocks", testAnnounceNeverBlocks},
	{"AnnounceToPanicking", testAnnounceToPanicking},
}

// standing is one of conversation id, with its log at seq.
func standing(id string, seq uint64) assistant.Standing {
	return assistant.Standing{
		Owned:  assistant.Owned{Owner: "ann", ID: id},
		Cursor: assistant.Cursor{Epoch: "epoch", Seq: seq}, Holder: 7,
	}
}

// testAnnounce holds that an announcement reaches all others as it was, and not its own node.
func testAnnounce(t *brokerTest) {
	a, b, c := t.open(), t.open(), t.open()
	for i, s := range []assistant.Standing{
		standing("plain", 1),
		{Owned: assistant.Owned{Owner: "", ID: "anonymous"}},
		{Owned: assistant.Owned{Owner: "Žofie \"\\\n<&>\U0001F600", ID: "odd"}, Cursor: assistant.Cursor{Epoch: "e", Seq: 1 << 63}, Holder: -1 << 63},
		{Owned: assistant.Owned{Owner: "ann", ID: "deleted"}, Deleted: true, Change: assistant.ChangeDeleted},
		{Owned: assistant.Owned{Owner: strings.Repeat("x", 1024), ID: "long"}, Change: assistant.ChangeUpdated},
	} {
		from, to := a, []*Node{b, c}
		if i%2 == 1 {
			from, to = b, []*Node{a, c}
		}
		for _, n := range to {
			t.announced(from, n, s)
		}
		if got, _ := from.Last(s.ID); got.From != 0 {
			t.Errorf("a node was told what it had announced: %+v", got)
		}
	}
}

// announced announces a standing until another node has heard it. Any announcement may be lost, but not all.
func (t *brokerTest) announced(from, to *Node, s assistant.Standing) {
	t.Helper()
	_, lost := to.Last(s.ID)
	from.Announce(s)
	Eventually(t, fmt.Sprintf("%q was announced", s.ID), func() bool {
		got, nowLost := to.Last(s.ID)
		return got == (Heard{from.ID, s}) || nowLost > lost
	})
}

// testAnnounceLastWord holds that of many standings of a conversation the last one is heard last.
func testAnnounceLastWord(t *brokerTest) {
	a, b := t.open(), t.open()
	const last = 500
	var ids []string
	for i := range 10 {
		ids = append(ids, fmt.Sprintf("conversation %d", i))
	}
	for seq := range uint64(last) {
		for _, id := range ids {
			a.Announce(standing(id, seq))
		}
		if seq%100 == 0 { // some are heard one by one
			t.announced(a, b, standing("between", seq))
		}
	}
	_, lost := b.Last("")
	for _, id := range ids {
		a.Announce(standing(id, last))
	}
	t.announced(a, b, standing("after", 1))
	for _, id := range ids {
		Eventually(t, "the last word is heard last", func() bool {
			got, nowLost := b.Last(id)
			return got.Seq == last || nowLost > lost
		})
	}
}

// testAnnounceChange holds that what is said of the list is not replaced by what is said of the log, nor the other way.
func testAnnounceChange(t *brokerTest) {
	a, b := t.open(), t.open()
	_, lost := b.Last("")
	for i := range 100 {
		s := standing(fmt.Sprintf("conversation %d", i), 1)
		created := assistant.Standing{Owned: s.Owned, Change: assistant.ChangeCreated}
		if i%2 == 0 {
			a.Announce(created)
			a.Announce(s)
		} else {
			a.Announce(s, created)
		}
	}
	for i := range 100 {
		Eventually(t, "both were announced", func() bool {
			change, at, now := b.said(fmt.Sprintf("conversation %d", i))
			return change == assistant.ChangeCreated && at.Seq == 1 || now > lost
		})
	}
}

// testAnnounceMany announces more at once than a message holds: all of it is heard, or that some may have been lost.
func testAnnounceMany(t *brokerTest) {
	a, b := t.open(), t.open()
	var many []assistant.Standing
	for i := range 3000 {
		s := standing(fmt.Sprintf("conversation %d", i), 1)
		s.Owner = strings.Repeat("o", 200)
		many = append(many, s)
	}
	_, lost := b.Last("")
	a.Announce(many...)
	Eventually(t, "all are heard", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		heard := map[string]bool{}
		for _, h := range b.heard {
			heard[h.ID] = true
		}
		return b.lost > lost || !slices.ContainsFunc(many, func(s assistant.Standing) bool { return !heard[s.ID] })
	})
}

// testAnnounceNeverBlocks announces while others do not take what they are told, before Open and after Close.
func testAnnounceNeverBlocks(t *brokerTest) {
	a, b := t.open(), t.open()
	closed := t.cluster.Broker()
	release := b.Hold()
	defer release()
	start := time.Now()
	for i := range uint64(20_000) {
		a.Announce(standing("conversation", i))
		closed.Announce(standing("conversation", i))
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("20,000 announcements took %v", took)
	}
	release()
	t.announced(a, b, standing("after", 1))
	t.must(a.Close())
	a.Announce(standing("conversation", 1))
}

// testAnnounceToPanicking lets a node that panicked hear what is announced later.
func testAnnounceToPanicking(t *brokerTest) {
	a, b := t.open(), t.open()
	b.panic(true)
	Eventually(t, "the other panics", func() bool {
		a.Announce(standing("during", 1))
		return b.panic(true) > 0
	})
	b.panic(false)
	t.announced(a, b, standing("after", 1))
}
