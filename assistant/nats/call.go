package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsio "github.com/nats-io/nats.go"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// callers are the calls of this node that wait for a reply.
type callers struct {
	node *node

	mu    sync.Mutex
	last  uint64 // number
	calls map[uint64]*call
}

// call is one of them.
type call struct {
	to    assistant.NodeID
	began time.Time
	asked bool   // whether the node is still there
	reply joined // under the callers' lock
	done  chan outcome
}

type outcome struct {
	reply []byte
	err   error
}

func newCallers(n *node) *callers { return &callers{node: n, calls: map[uint64]*call{}} }

// request is a message to a node: a part of a call, or about a link.
type request struct {
	From assistant.NodeID `json:"from"`
	Call uint64           `json:"call,omitzero"`
	part
	control
}

// reply is a part of the reply to a call.
type reply struct {
	part
	Fault fault `json:"fault,omitempty"`
}

// fault is why there is no reply.
type fault string

const (
	faultFailed     fault = "failed"     // it was served, and the member panicked
	faultBusy       fault = "busy"       // nothing was done
	faultIncomplete fault = "incomplete" // nothing was done: a part was missing
	faultVersion    fault = "version"    // nothing was done
)

func (f fault) err() error {
	if f == faultFailed {
		return errors.New("node failed to serve the call")
	}
	return fmt.Errorf("%w: %s", assistant.ErrNoNode, string(f))
}

func (c *callers) add(to assistant.NodeID) (number uint64, added *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	added = &call{to: to, began: time.Now(), done: make(chan outcome, 1)}
	c.calls[c.last] = added
	return c.last, added
}

func (c *callers) remove(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, number)
}

// call sends a request and waits for its reply.
func (c *callers) call(ctx context.Context, to assistant.NodeID, data []byte) ([]byte, error) {
	n := c.node
	number, pending := c.add(to)
	defer c.remove(number)
	err := split(data, int(n.limit.Load()), func(p part, data []byte) error {
		return n.publish(n.subjects.node(to), n.subjects.reply(number), request{From: n.me, Call: number, part: p}, data)
	})
	switch {
	case unsent(err): // and what was sent before is not complete
		return nil, assistant.ErrNoNode
	case err != nil:
		return nil, errors.New(n.broker.config.scrub(err))
	}
	select {
	case o := <-pending.done:
		if o.err == nil {
			n.links.heard(to)
		}
		return o.reply, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-n.ctx.Done():
		return nil, context.Cause(n.ctx)
	}
}

// receive takes a part of a reply, or that there is no such node.
func (c *callers) receive(number uint64, m *natsio.Msg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pending := c.calls[number]
	if pending == nil {
		return
	}
	switch {
	case noResponders(m) && pending.asked: // it was there before
		pending.end(outcome{err: errLeft})
		return
	case noResponders(m):
		pending.end(outcome{err: assistant.ErrNoNode})
		return
	}
	var head reply
	data, err := c.node.read(m, &head)
	switch {
	case err != nil:
		pending.end(outcome{err: err})
	case head.Fault != "":
		pending.end(outcome{err: head.Fault.err()})
	case !pending.reply.add(head.part, data):
		pending.end(outcome{err: errors.New("a part of the reply was lost")})
	case !head.More:
		pending.end(outcome{reply: pending.reply.data})
	}
}

// end tells the caller how it ended; only the first word counts.
func (c *call) end(o outcome) {
	select {
	case c.done <- o:
	default:
	}
}

// fail ends all calls.
func (c *callers) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pending := range c.calls {
		pending.end(outcome{err: err})
	}
}

var errLeft = errors.New("node has gone meanwhile")

// tick asks whether the nodes are still there whose replies take long. It reports whether there are some: the server
// may be gone, too.
func (c *callers) tick(now time.Time) (waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.node
	for number, pending := range c.calls {
		if now.Sub(pending.began) > probeAfter {
			waiting, pending.asked = true, true
			_ = n.publish(n.subjects.node(pending.to), n.subjects.reply(number), request{From: n.me}, nil)
		}
	}
	return waiting
}
