package nats

import (
	"sync"
	"time"

	natsio "github.com/nats-io/nats.go"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// pace is the least time between announcements.
const pace = 10 * time.Millisecond

// announcer publishes standings, one for all that were announced of a conversation meanwhile, and hears those of others.
type announcer struct {
	node *node
	wake chan struct{}

	mu      sync.Mutex
	waiting map[string]assistant.Standing // by conversation
	lost    bool                          // others have missed some
}

func newAnnouncer(n *node) *announcer {
	return &announcer{node: n, wake: make(chan struct{}, 1), waiting: map[string]assistant.Standing{}}
}

// maxWaiting is how many conversations are announced one by one.
const maxWaiting = 10_000

func (a *announcer) add(s []assistant.Standing) {
	a.mu.Lock()
	for _, standing := range s {
		a.waiting[standing.ID] = standing.Over(a.waiting[standing.ID])
	}
	if len(a.waiting) > maxWaiting {
		clear(a.waiting)
		a.lost = true
	}
	a.mu.Unlock()
	a.kick()
}

// kick lets the loop look.
func (a *announcer) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *announcer) loop() {
	for {
		select {
		case <-a.node.ctx.Done():
			return
		case <-a.wake:
		}
		a.publish()
		select {
		case <-a.node.ctx.Done():
			return
		case <-time.After(pace):
		}
	}
}

// announcement is a message to all. Without standings it says that some may have been lost.
type announcement struct {
	From      assistant.NodeID `json:"from"`
	Standings []standing       `json:"standings,omitempty"`
}

// standing is an assistant.Standing.
type standing struct {
	Owner   string               `json:"o,omitempty"`
	ID      string               `json:"c"`
	Epoch   string               `json:"e,omitempty"`
	Seq     uint64               `json:"s,omitempty"`
	Holder  assistant.NodeID     `json:"h,omitempty"`
	Deleted bool                 `json:"d,omitempty"`
	Change  assistant.ChangeKind `json:"k,omitempty"`
}

func (a *announcer) take() (waiting map[string]assistant.Standing, lost bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	waiting, lost = a.waiting, a.lost
	a.waiting, a.lost = map[string]assistant.Standing{}, false
	return waiting, lost
}

// publish sends what waits. What cannot be sent is lost, and others learn that when they can be reached.
func (a *announcer) publish() {
	waiting, lost := a.take()
	n := a.node
	send := func(standings []standing) bool {
		return n.publish(n.subjects.all(), "", announcement{n.me, standings}, nil) == nil
	}
	if lost {
		lost = !send(nil)
	}
	limit := int(n.limit.Load())
	var batch []standing
	size := 0
	flush := func() {
		if len(batch) > 0 && !send(batch) {
			lost = true
		}
		batch, size = nil, 0
	}
	for _, s := range waiting {
		bytes := 6*(len(s.Owner)+len(s.ID)+len(s.Epoch)) + 100 // at most, with escapes
		if bytes > limit {
			lost = true
			continue
		}
		if size += bytes; size > limit {
			flush()
			size = bytes
		}
		batch = append(batch, standing{s.Owner, s.ID, s.Epoch, s.Seq, s.Holder, s.Deleted, s.Change})
	}
	if flush(); lost {
		a.mu.Lock()
		a.lost = true
		a.mu.Unlock()
		if n.usable() { // else it is kicked when it is
			a.kick()
		}
	}
}

// receive tells the member what others announce.
func (a *announcer) receive(m *natsio.Msg) {
	var head announcement
	if _, err := a.node.read(m, &head); err != nil || head.From == a.node.me {
		return
	}
	a.node.links.heard(head.From)
	var standings []assistant.Standing
	for _, s := range head.Standings {
		standings = append(standings, assistant.Standing{
			Owned: assistant.Owned{Owner: s.Owner, ID: s.ID}, Cursor: assistant.Cursor{Epoch: s.Epoch, Seq: s.Seq},
			Holder: s.Holder, Deleted: s.Deleted, Change: s.Change,
		})
	}
	a.node.member.Standings(head.From, standings)
}
