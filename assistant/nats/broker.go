// Package nats carries between nodes by core NATS: announcements, calls, and the logs of conversations as they grow.
// Nothing is kept by the server, and JetStream is not needed.
//
// Subjects, below a prefix that the nodes of a cluster share:
//
//	<prefix>.all          announcements; every node subscribes
//	<prefix>.node.<id>    calls of a node, and who follows its logs
//	<prefix>.feed.<id>    the logs that a node follows: published by the nodes that hold them
//	_INBOX_<prefix>.<id>  replies
//
// A node needs the permission to publish and to subscribe to <prefix>.> and _INBOX_<prefix>.>
//
// A message is a line of JSON and, below it, data as it is: a request, a reply or batches. Each has the header
// Caddy-Assistant with the version of all this; a message of another version is not read, and its sender finds the
// node not reachable. What is larger than a message comes in several.
//
// Between a node that follows logs and one that holds them there is one link, with a number. What goes over it is
// numbered in both directions. Where a number is missing, the follower begins a new link and asks for each log again,
// after the last event that it has: nothing else is repeated, and nothing is kept for that but the log itself.
package nats

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	natsio "github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	openPatience  = time.Second      // how long Open waits for the server
	grace         = time.Second      // how long feeds wait for a connection that was lost
	beat          = time.Second      // between signs of life on a link
	silence       = 2 * time.Second  // without one the node that holds a log is not reachable
	resetPatience = time.Second      // how long a link that begins anew may give none
	abandoned     = 10 * time.Second // without one the node that follows logs has gone
	probeAfter    = time.Second      // without a reply it is asked whether the other is there
	silentFor     = 10 * time.Second // a node that gave no sign of life counts as not reachable, unless one comes
	deniedFor     = 10 * time.Second // until a server that does not permit what is needed is asked again
)

// Broker is an assistant.Broker over NATS.
//
// A node that has no connection to the server is found at once. Follow finds one that hangs, or a server that is silent,
// within 3 seconds, and a network that loses what goes one way within 13. It returns at once for the next 10 seconds then,
// unless the node gives a sign of life. A call waits for its context, unless its node
// or the connection goes meanwhile.
type Broker struct {
	config  Config
	options []natsio.Option
	log     *zap.Logger

	mu   sync.Mutex
	node *node // nil = not open
}

// New returns a broker that is not open. It reads the files that the configuration names; nothing is connected. No
// error contains a secret. The logger may be nil.
func New(config Config, log *zap.Logger) (*Broker, error) {
	if log == nil {
		log = zap.NewNop()
	}
	options, err := config.options()
	if err != nil {
		return nil, err
	}
	return &Broker{config: config, options: options, log: log}, nil
}

// Name implements assistant.Broker.
func (b *Broker) Name() string { return "nats" }

// Open implements assistant.Broker. Where the server does not answer, it returns within a second.
func (b *Broker) Open(ctx context.Context, me assistant.NodeID, m assistant.Member) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.node != nil {
		return errors.New("broker is open")
	}
	if host := b.config.plain(); host != "" {
		b.log.Warn("texts of users go to the NATS server without TLS; use tls://", zap.String("host", host))
	}
	b.node = newNode(b, me, m)
	select {
	case <-b.node.tried:
	case <-time.After(openPatience):
	case <-ctx.Done():
	}
	return nil
}

// current returns the node that is open, or nil.
func (b *Broker) current() *node {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.node
}

// reachable returns the node that is open and connected, or nil.
func (b *Broker) reachable() *node {
	if n := b.current(); n != nil && n.usable() {
		return n
	}
	return nil
}

// Announce implements assistant.Broker.
func (b *Broker) Announce(s ...assistant.Standing) {
	if n := b.current(); n != nil && len(s) > 0 {
		n.announcer.add(s)
	}
}

// Call implements assistant.Broker.
func (b *Broker) Call(ctx context.Context, to assistant.NodeID, request []byte) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	n := b.reachable()
	if n == nil {
		return nil, assistant.ErrNoNode
	}
	reply, err := n.callers.call(ctx, to, request)
	if err != nil {
		err = fmt.Errorf("call node %d: %w", to, err)
	}
	return reply, err
}

// Follow implements assistant.Broker.
func (b *Broker) Follow(ctx context.Context, holder assistant.NodeID, id string, after assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	return func(yield func(assistant.Batch, error) bool) {
		switch n := b.reachable(); {
		case ctx.Err() != nil:
			yield(assistant.Batch{}, context.Cause(ctx))
		case n == nil:
			yield(assistant.Batch{}, assistant.ErrNoNode)
		default:
			n.links.follow(ctx, holder, id, after, yield)
		}
	}
}

// Up implements assistant.Broker.
func (b *Broker) Up() bool { return b.reachable() != nil }

// Close implements assistant.Broker.
func (b *Broker) Close() error {
	b.mu.Lock()
	n := b.node
	b.node = nil
	b.mu.Unlock()
	if n != nil {
		n.close()
	}
	return nil
}

var _ assistant.Broker = (*Broker)(nil)
