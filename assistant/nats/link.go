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

	mu    sync.Mutex
	last  uint64 // number of a link or feed
	links map[assistant.NodeID]*link
}

// link is the way to one node. Its fields are under the links' lock.
type link struct {
	holder assistant.NodeID
	number uint64
	feeds  map[uint64]*feed // at least one
	heard  time.Time        // when the holder gave a sign of life

	sent  uint64    // messages to the holder
	sents [2]uint64 // how many there were one and two beats ago
	beats int
	got   uint64 // messages from the holder
	rest  joined // of a message that comes in parts
}

// control is what a follower tells the node that holds logs. The messages of a link are numbered from 1 on.
type control struct {
	Op    op     `json:"op,omitempty"`
	Link  uint64 `json:"link,omitzero"`
	Count uint64 `json:"n,omitzero"`
	Feed  uint64 `json:"feed,omitzero"`
	ID    string `json:"id,omitempty"`
	Epoch string `json:"epoch,omitempty"`
	After uint64 `json:"after,omitzero"`
}

type op string

const (
	opFollow op = "follow" // send the log ID after a place, as Feed
	opLeave  op = "leave"  // end Feed
	opKeep   op = "keep"   // a sign of life
	opBye    op = "bye"    // end the link
)

// packet is a message of a link from the node that holds logs, numbered from 1 on: frames and, below them, what is in
// them. Only the last part of a packet has frames.
type packet struct {
	From   assistant.NodeID `json:"from"`
	Link   uint64           `json:"link"`
	Count  uint64           `json:"n"`
	Heard  uint64           `json:"heard"`           // messages of the follower
	State  state            `json:"state,omitempty"` // of the link
	Frames []frame          `json:"frames,omitempty"`
	part
}

type state string

const (
	stateBroken state = "broken" // something was lost: begin a new one
	stateClosed state = "closed" // the node is closed
)

// frame is a batch of a log, or its end.
type frame struct {
	Feed  uint64 `json:"f"`
	First uint64 `json:"a,omitzero"`
	Last  uint64 `json:"z,omitzero"`
	Size  int    `json:"s,omitzero"` // bytes of the batch
	End   ending `json:"e,omitempty"`
}

type ending string

const (
	endReleased ending = "released"
	endGone     ending = "gone"
	endFailed   ending = "failed"
)

func (e ending) err() error {
	switch e {
	case endReleased:
		return nil
	case endGone:
		return assistant.ErrGone
	default:
		return assistant.ErrNoNode
	}
}

func newLinks(n *node) *links { return &links{node: n, links: map[assistant.NodeID]*link{}} }

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
	k.number, k.sent, k.sents, k.beats, k.got, k.rest = l.nextLocked(), 0, [2]uint64{}, 0, 0, joined{}
	for _, f := range k.feeds {
		if !f.parked {
			l.askLocked(k, f)
		}
	}
}

func (l *links) resetAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	for _, k := range slices.Collect(maps.Values(l.links)) {
		if now.Sub(k.heard) > silence {
			l.endLocked(k)
			continue
		}
		if k.beats++; k.beats%2 == 0 {
			k.sents = [2]uint64{k.sent, k.sents[0]}
			l.sendLocked(k, control{Op: opKeep})
		}
	}
}

// silent reports whether a link has been silent for so long that the server may be gone.
func (l *links) silent(now time.Time) bool {
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
	case head.State == stateBroken, head.Count != k.got, head.Heard < k.sents[1], !k.rest.add(head.part, data):
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
