package nats

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// relays send the logs of this node to those that follow them: one relay for each such node.
type relays struct {
	node *node

	mu     sync.Mutex
	relays map[assistant.NodeID]*relay
}

// relay is the far end of a link.
//
//	followLoop, one for each log ──item──► loop: one message for all that has come meanwhile
//
// A log has at most one batch on its way: while the relay is busy, the member's iterator waits, and then yields more at
// once. So the log is the only buffer.
type relay struct {
	node   *node
	to     assistant.NodeID
	link   uint64
	ctx    context.Context
	cancel context.CancelFunc
	read   context.Context // of followLoops; ends when the link is broken, too
	stop   context.CancelFunc
	wake   chan struct{}

	// loop's
	sent uint64

	mu     sync.Mutex
	heard  uint64    // messages of the follower
	at     time.Time // of the last one
	broken bool      // one is missing
	beat   bool      // something is to be sent
	feeds  map[uint64]context.CancelFunc
	items  []item
}

// item is something for a follower, and what is to be called when it is sent.
type item struct {
	frame
	data []byte
	sent func()
}

func newRelays(n *node) *relays { return &relays{node: n, relays: map[assistant.NodeID]*relay{}} }

// receive takes what a follower says. Calls come one after the other.
func (r *relays) receive(from assistant.NodeID, c control) {
	r.mu.Lock()
	defer r.mu.Unlock()
	y := r.relays[from]
	switch {
	case y == nil || c.Link > y.link:
		if y != nil {
			y.cancel()
		}
		y = r.node.newRelay(from, c.Link)
		r.relays[from] = y
	case c.Link < y.link:
		return // of a link that has ended
	}
	if c.Op == opBye {
		y.cancel()
		delete(r.relays, from)
		return
	}
	y.receive(c)
}

// tick ends relays whose follower gives no sign of life.
func (r *relays) tick(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for to, y := range r.relays {
		if y.silent(now) {
			y.cancel()
			delete(r.relays, to)
		}
	}
}

// kick lets all relays send something, by which followers find out what they have missed.
func (r *relays) kick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, y := range r.relays {
		y.mu.Lock()
		y.beat = true
		y.mu.Unlock()
		y.kick()
	}
}

func (n *node) newRelay(to assistant.NodeID, link uint64) *relay {
	y := &relay{node: n, to: to, link: link, wake: make(chan struct{}, 1), at: time.Now(), beat: true, feeds: map[uint64]context.CancelFunc{}}
	y.ctx, y.cancel = context.WithCancel(n.ctx)
	y.read, y.stop = context.WithCancel(y.ctx)
	y.kick()
	n.work.Go(y.loop)
	return y
}

func (y *relay) receive(c control) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.heard++
	y.at = time.Now()
	if c.Count != y.heard || y.broken { // something was lost
		y.breakLocked()
		return
	}
	for _, a := range c.Feeds {
		switch c.Op {
		case opFollow:
			y.beginLocked(a)
		case opLeave:
			if cancel := y.feeds[a.Feed]; cancel != nil {
				cancel()
				delete(y.feeds, a.Feed)
			}
		}
	}
}

// beginLocked begins a feed.
func (y *relay) beginLocked(a ask) {
	ctx, cancel := context.WithCancel(y.read)
	y.feeds[a.Feed] = cancel
	y.node.work.Go(func() {
		defer cancel()
		y.followLoop(ctx, a.Feed, a.ID, assistant.Cursor{Epoch: a.Epoch, Seq: a.After})
	})
}

func (y *relay) silent(now time.Time) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return now.Sub(y.at) > abandoned
}

// breakLocked ends all feeds, and says so until the follower begins anew.
func (y *relay) breakLocked() {
	y.broken = true
	y.stop()
	y.kick()
}

func (y *relay) kick() {
	select {
	case y.wake <- struct{}{}:
	default:
	}
}

// followLoop reads a log until it ends.
func (y *relay) followLoop(ctx context.Context, feed uint64, id string, after assistant.Cursor) {
	end := endFailed // after a panic
	defer func() {
		if v := recover(); v != nil {
			y.node.log.Error("reading a log panicked", zap.String("conversation", id), zap.Any("panic", v), zap.Stack("stack"))
		}
		y.put(ctx, item{frame: frame{Feed: feed, End: end}, sent: func() {}})
	}()
	free := make(chan struct{}, 1)
	for b, err := range y.node.member.Events(ctx, id, after) {
		switch {
		case errors.Is(err, assistant.ErrGone), err == nil && b.Epoch != after.Epoch:
			end = endGone
			return
		case err != nil:
			return
		}
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		y.put(ctx, item{frame{Feed: feed, First: b.First, Last: b.Last, Size: len(b.Data)}, b.Data, func() { <-free }})
	}
	end = endReleased
}

// put lets the relay send something, unless its feed was left.
func (y *relay) put(ctx context.Context, i item) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if ctx.Err() != nil {
		i.sent()
		return
	}
	if i.End != "" {
		delete(y.feeds, i.Feed)
	}
	y.items = append(y.items, i)
	y.kick()
}

// loop sends what has come, and a sign of life where nothing comes.
func (y *relay) loop() {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-y.ctx.Done():
			if y.node.ctx.Err() != nil {
				y.pass(false)
				y.send(packet{State: stateClosed}, nil)
			}
			return
		case <-y.wake:
			y.pass(false)
		case <-ticker.C:
			y.pass(true)
		}
	}
}

// pass sends all that has come since the last one. A beat is a message in any case.
func (y *relay) pass(beat bool) {
	y.mu.Lock()
	items, broken := y.items, y.broken
	beat = beat || y.beat
	y.items, y.beat = nil, false
	y.mu.Unlock()
	if broken {
		y.send(packet{State: stateBroken}, nil)
		return
	}
	limit := int(y.node.limit.Load())
	for ; beat || len(items) > 0; beat = false {
		var frames []frame
		var data []byte
		for len(items) > 0 && len(data) < limit && len(frames) < max(limit/maxFrame, 1) {
			frames, data = append(frames, items[0].frame), append(data, items[0].data...)
			items[0].sent()
			items = items[1:]
		}
		_ = split(data, limit, func(p part, data []byte) error {
			head := packet{part: p}
			if !p.More {
				head.Frames = frames
			}
			y.send(head, data)
			return nil
		})
	}
}

// maxFrame is what a frame takes in JSON at most, in bytes, and more.
const maxFrame = 256

// send sends a message. One that is not sent is found missing by its number.
func (y *relay) send(head packet, data []byte) {
	y.sent++
	head.From, head.Link, head.Count = y.node.me, y.link, y.sent
	_ = y.node.publish(y.node.subjects.feed(y.to), "", head, data)
}
