package nats

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	natsio "github.com/nats-io/nats.go"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// links are the ways by which this node follows logs, one to each node that holds some.
type links struct {
	node *node

	mu     sync.Mutex
	last   uint64 // number of a link or feed
	links  map[assistant.NodeID]*link
	silent map[assistant.NodeID]time.Time // nodes that gave no sign of life, and when that was found
}

// link is the way to one node. Its fields are under the links' lock.
type link struct {
	holder assistant.NodeID
	number uint64
	feeds  map[uint64]*feed // at least one
	heard  time.Time        // when the holder gave a sign of life

	sent  uint64 // messages to the holder
	got   uint64 // messages from it
	beats int
	rest  joined // of a message that comes in parts
}

func newLinks(n *node) *links {
	return &links{node: n, links: map[assistant.NodeID]*link{}, silent: map[assistant.NodeID]time.Time{}}
}

func (l *links) nextLocked() uint64 {
	l.last++
	return l.last
}

// toLocked returns the link to a node.
func (l *links) toLocked(holder assistant.NodeID) *link {
	k := l.links[holder]
	if k == nil {
		k = &link{holder: holder, number: l.nextLocked(), feeds: map[uint64]*feed{}, heard: time.Now()}
		l.links[holder] = k
	}
	return k
}

// sendLocked tells the holder something. What cannot be sent is found missing by its number.
func (l *links) sendLocked(k *link, c control) {
	k.sent++
	c.Link, c.Count = k.number, k.sent
	n := l.node
	_ = n.publish(n.subjects.node(k.holder), n.subjects.link(k.number), request{From: n.me, control: c}, nil)
}

// resetLocked begins the link anew: each log is asked for after the last event that is here. The holder answers at once,
// if it can.
func (l *links) resetLocked(k *link) {
	if latest := time.Now().Add(resetPatience - silence); k.heard.After(latest) {
		k.heard = latest
	}
	k.number, k.sent, k.got, k.rest = l.nextLocked(), 0, 0, joined{}
	var asks []ask
	for _, f := range k.feeds {
		if !f.parked {
			asks = append(asks, f.askLocked())
		}
	}
	for some := range slices.Chunk(asks, maxAsks) {
		l.sendLocked(k, control{Op: opFollow, Feeds: some})
	}
}

func (l *links) resetAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.silent)
	for _, k := range l.links {
		l.resetLocked(k)
	}
}

// endLocked ends a link and its feeds: the node is not reachable. It is told, in case that it is.
func (l *links) endLocked(k *link) {
	l.sendLocked(k, control{Op: opBye})
	delete(l.links, k.holder)
	for _, f := range k.feeds {
		f.endLocked(assistant.ErrNoNode)
	}
	clear(k.feeds)
}

func (l *links) endAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range slices.Collect(maps.Values(l.links)) {
		l.endLocked(k)
	}
}

// missing ends the link of a number, whose node is not there.
func (l *links) missing(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.links {
		if k.number == number {
			l.endLocked(k)
			return
		}
	}
}

// tick gives a sign of life on each link, and ends those on which there is none.
func (l *links) tick(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.silent, func(_ assistant.NodeID, since time.Time) bool { return now.Sub(since) > silentFor })
	for _, k := range slices.Collect(maps.Values(l.links)) {
		if now.Sub(k.heard) > silence {
			l.endLocked(k)
			l.silent[k.holder] = now
			continue
		}
		if k.beats++; k.beats%2 == 0 { // by which it also finds out whether something was lost before
			l.sendLocked(k, control{Op: opKeep})
		}
	}
}

// heard takes a sign of life of a node.
func (l *links) heard(from assistant.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.silent, from)
}

// areSilent reports whether a link has been silent for so long that the server may be gone.
func (l *links) areSilent(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.links {
		if now.Sub(k.heard) > beat+beat/2 {
			return true
		}
	}
	return false
}

var errPacket = errors.New("frames do not fit their data")

// receive takes a message of a node that holds logs.
func (l *links) receive(m *natsio.Msg) {
	var head packet
	data, err := l.node.read(m, &head)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.links[head.From]
	if k == nil || k.number != head.Link {
		return // a link that has ended
	}
	k.heard = time.Now()
	k.got++
	switch {
	case head.State == stateClosed:
		l.endLocked(k)
	case head.State == stateBroken, head.Count != k.got, !k.rest.add(head.part, data):
		l.resetLocked(k)
	case !head.More:
		data, k.rest = k.rest.data, joined{}
		if err := l.takeLocked(k, head.Frames, data); err != nil {
			l.node.trouble("message was not understood", err)
			l.endLocked(k)
		}
	}
}

// takeLocked gives each feed what is for it.
func (l *links) takeLocked(k *link, frames []frame, data []byte) error {
	for _, fr := range frames {
		if fr.Size < 0 || fr.Size > len(data) {
			return errPacket
		}
		mine := data[:fr.Size:fr.Size]
		data = data[fr.Size:]
		switch f := k.feeds[fr.Feed]; {
		case f == nil, f.parked: // it was left
		case fr.End != "":
			delete(k.feeds, fr.Feed)
			f.endLocked(fr.End.err())
			l.emptyLocked(k)
		default:
			l.addLocked(f, assistant.Batch{Epoch: f.at.Epoch, First: fr.First, Last: fr.Last, Data: mine})
		}
	}
	if len(data) > 0 {
		return errPacket
	}
	return nil
}

// emptyLocked ends a link without feeds.
func (l *links) emptyLocked(k *link) {
	if len(k.feeds) == 0 && l.links[k.holder] == k {
		l.sendLocked(k, control{Op: opBye})
		delete(l.links, k.holder)
	}
}
