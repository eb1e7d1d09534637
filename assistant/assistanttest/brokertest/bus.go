package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Bus connects the nodes of a process. Until [Bus.Disturb] and [Bus.Cut] it loses nothing and adds no time. It may be
// used in a bubble of testing/synctest.
type Bus struct {
	// NoLogs lets Follow always return assistant.ErrNoNode, as a broker does that carries no logs. It is set before
	// the bus is used.
	NoLogs bool

	mu     sync.Mutex
	nodes  map[assistant.NodeID]*busNode
	cut    map[assistant.NodeID]bool
	random *rand.Rand // nil = announcements arrive
	p      float64
	delay  time.Duration
}

// NewBus returns a bus without nodes.
func NewBus() *Bus {
	return &Bus{nodes: map[assistant.NodeID]*busNode{}, cut: map[assistant.NodeID]bool{}}
}

// Broker returns the broker of one more node, which is not open.
func (b *Bus) Broker() assistant.Broker { return &busBroker{bus: b} }

// Disturb lets each announcement be lost with probability p from now on, come twice with probability p, and come late
// with probability p, by up to delay: later ones overtake it. The seed decides which. A p of 0 ends that.
func (b *Bus) Disturb(seed uint64, p float64, delay time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.random, b.p, b.delay = rand.New(rand.NewPCG(seed, 0)), p, delay
}

// Cut makes a node unreachable for all others, or reachable again. It learns then that announcements may have been
// lost.
func (b *Bus) Cut(id assistant.NodeID, cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.cut[id]
	b.cut[id] = cut
	n := b.nodes[id]
	switch {
	case n == nil || was == cut:
	case cut:
		n.unplug(errCut)
	default:
		n.plug()
		n.deliver(delivery{})
	}
}

var errCut = errors.New("connection was cut")

// reach returns two nodes, if one can reach the other.
func (b *Bus) reach(from *busNode, to assistant.NodeID) (*busNode, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	target := b.nodes[to]
	return target, from != nil && target != nil && b.nodes[from.id] == from && !b.cut[from.id] && !b.cut[to]
}

// busBroker is an assistant.Broker.
type busBroker struct {
	bus *Bus

	mu   sync.Mutex
	node *busNode // nil = not open
}

// busNode is a broker from Open to Close.
type busNode struct {
	id     assistant.NodeID
	member assistant.Member
	ctx    context.Context // ends with Close
	end    context.CancelCauseFunc

	// under the bus's lock
	line   context.Context // ends when the node is cut off or closed
	unplug context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
	queue  []delivery
	queued chan struct{}
}

// delivery is an announcement on its way; without standings some may have been lost.
type delivery struct {
	from      assistant.NodeID
	standings []assistant.Standing
}

// Name implements assistant.Broker.
func (b *busBroker) Name() string { return "bus" }

// Open implements assistant.Broker.
func (b *busBroker) Open(_ context.Context, me assistant.NodeID, m assistant.Member) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bus.mu.Lock()
	defer b.bus.mu.Unlock()
	switch {
	case b.node != nil:
		return errors.New("broker is open")
	case b.bus.nodes[me] != nil:
		return fmt.Errorf("node %d is open", me)
	}
	n := &busNode{id: me, member: m, queued: make(chan struct{}, 1)}
	n.ctx, n.end = context.WithCancelCause(context.Background())
	n.plug()
	if b.bus.cut[me] {
		n.unplug(errCut)
	}
	n.start(n.deliverLoop)
	b.node, b.bus.nodes[me] = n, n
	return nil
}

// plug connects a node; the bus is locked.
func (n *busNode) plug() { n.line, n.unplug = context.WithCancelCause(n.ctx) }

// current returns the node that is open, or nil.
func (b *busBroker) current() *busNode {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.node
}

// start runs f, for whose end Close waits. It returns false when the node is closed.
func (n *busNode) start(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.work.Go(f)
	}
	return !n.closed
}

func (n *busNode) deliver(d delivery) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queue = append(n.queue, d)
	select {
	case n.queued <- struct{}{}:
	default:
	}
}

func (n *busNode) deliverLoop() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.queued:
		}
		n.mu.Lock()
		queue := n.queue
		n.queue = nil
		n.mu.Unlock()
		for _, d := range queue {
			n.tell(d)
		}
	}
}

func (n *busNode) tell(d delivery) {
	defer func() { _ = recover() }() // a broker goes on when its member panics
	n.member.Standings(d.from, d.standings)
}

// Announce implements assistant.Broker.
func (b *busBroker) Announce(s ...assistant.Standing) {
	from := b.current()
	if from == nil || len(s) == 0 {
		return
	}
	b.bus.mu.Lock()
	defer b.bus.mu.Unlock()
	if b.bus.cut[from.id] {
		return
	}
	for _, to := range b.bus.others(from.id) {
		for _, late := range b.bus.fate() {
			d := delivery{from.id, slices.Clone(s)}
			if late == 0 {
				to.deliver(d)
				continue
			}
			to.start(func() {
				select {
				case <-time.After(late):
					to.deliver(d)
				case <-to.ctx.Done():
				}
			})
		}
	}
}

// others returns the nodes that hear what a node announces, in an order that is always the same.
func (b *Bus) others(from assistant.NodeID) (others []*busNode) {
	for id, n := range b.nodes {
		if id != from && !b.cut[id] {
			others = append(others, n)
		}
	}
	slices.SortFunc(others, func(x, y *busNode) int { return int(min(max(x.id-y.id, -1), 1)) })
	return others
}

// fate returns how late an announcement comes, each time that it does.
func (b *Bus) fate() []time.Duration {
	if b.random == nil || b.p == 0 {
		return []time.Duration{0}
	}
	var fate []time.Duration
	if b.random.Float64() >= b.p {
		fate = append(fate, 0)
	}
	if b.random.Float64() < b.p {
		fate = append(fate, fate...)
	}
	for i := range fate {
		if b.random.Float64() < b.p {
			fate[i] = time.Duration(b.random.Float64() * float64(b.delay))
		}
	}
	return fate
}

// connection returns a context for what goes on between two nodes: it ends when one of them is cut off or closes.
func (b *Bus) connection(ctx context.Context, from, to *busNode) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	var stops []func() bool
	for _, line := range []context.Context{from.line, to.line} {
		stops = append(stops, context.AfterFunc(line, func() { cancel(context.Cause(line)) }))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// Call implements assistant.Broker. When a node is cut off or closes, the outcome is unknown.
func (b *busBroker) Call(ctx context.Context, to assistant.NodeID, request []byte) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	from := b.current()
	target, ok := b.bus.reach(from, to)
	if !ok {
		return nil, assistant.ErrNoNode
	}
	ctx, release := b.bus.connection(ctx, from, target)
	defer release()
	type result struct {
		reply []byte
		err   error
	}
	served := make(chan result, 1)
	request = bytes.Clone(request)
	if !target.start(func() {
		r := result{err: errors.New("call panicked")}
		defer func() {
			_ = recover() // the caller learns it
			served <- r
		}()
		r = result{reply: bytes.Clone(target.member.Serve(target.ctx, from.id, request))}
	}) {
		return nil, assistant.ErrNoNode
	}
	select {
	case r := <-served:
		return r.reply, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Follow implements assistant.Broker.
func (b *busBroker) Follow(ctx context.Context, holder assistant.NodeID, id string, after assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	return func(yield func(assistant.Batch, error) bool) {
		from := b.current()
		target, ok := b.bus.reach(from, holder)
		if !ok || b.bus.NoLogs {
			yield(assistant.Batch{}, assistant.ErrNoNode)
			return
		}
		ctx, release := b.bus.connection(ctx, from, target)
		defer release()
		items := make(chan item)
		if !target.start(func() { target.send(ctx, items, id, after) }) {
			yield(assistant.Batch{}, assistant.ErrNoNode)
			return
		}
		for {
			var next item
			select {
			case next = <-items:
			case <-ctx.Done():
				next.err = context.Cause(ctx)
			}
			if errors.Is(next.err, errCut) || errors.Is(next.err, errClosed) {
				next.err = assistant.ErrNoNode
			}
			if next.end || !yield(next.batch, next.err) || next.err != nil {
				return
			}
		}
	}
}

var errClosed = errors.New("node has closed")

// item is what an iterator of Events yields, or its end.
type item struct {
	batch assistant.Batch
	err   error
	end   bool
}

// send sends what Events yields.
func (n *busNode) send(ctx context.Context, items chan<- item, id string, after assistant.Cursor) {
	put := func(next item) bool {
		select {
		case items <- next:
			return true
		case <-ctx.Done():
			return false
		}
	}
	last := item{err: assistant.ErrNoNode} // after a panic
	defer func() {
		_ = recover() // the follower learns it
		put(last)
	}()
	for batch, err := range n.member.Events(ctx, id, after) {
		if batch.Data = bytes.Clone(batch.Data); !put(item{batch: batch, err: err}) || err != nil {
			return
		}
	}
	last = item{end: true}
}

// Up implements assistant.Broker.
func (b *busBroker) Up() bool {
	n := b.current()
	_, ok := b.bus.reach(n, idOf(n))
	return ok
}

func idOf(n *busNode) assistant.NodeID {
	if n == nil {
		return 0
	}
	return n.id
}

// Close implements assistant.Broker.
func (b *busBroker) Close() error {
	b.mu.Lock()
	n := b.node
	b.node = nil
	b.mu.Unlock()
	if n == nil {
		return nil
	}
	b.bus.mu.Lock()
	delete(b.bus.nodes, n.id)
	b.bus.mu.Unlock()
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.end(errClosed)
	n.work.Wait()
	return nil
}

var _ assistant.Broker = (*busBroker)(nil)
