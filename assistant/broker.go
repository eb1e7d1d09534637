package assistant

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Broker carries between the nodes of a [Cluster] what a store is too slow for. Whatever it carries may be lost, come
// twice or come late, but never changed: the store has all of it. A Broker is safe for concurrent use.
// assistanttest/brokertest.TestBroker checks the contract.
type Broker interface {
	// Name names it in metrics and logs.
	Name() string
	// Open makes this node reachable as me. It returns at once where the way is down: it is retried in the background.
	// Open may be called again after Close, with another me.
	Open(ctx context.Context, me NodeID, m Member) error
	// Announce tells every other node where conversations are. It never blocks. A later standing of a conversation
	// may replace one that waits, and any may be lost.
	Announce(s ...Standing)
	// Call has a node serve a request and returns its reply. [ErrNoNode] says that nothing was done; after any other
	// error that is unknown. A broker may repeat a call of which it hears nothing. It ends with ctx.
	Call(ctx context.Context, to NodeID, request []byte) (reply []byte, err error)
	// Follow yields what a node's log has after a cursor, as it comes: in order, nothing missing, nothing twice. It
	// ends without error when the node has released the conversation and all was yielded, with [ErrGone] where the
	// node's log has not all of it, and with [ErrNoNode] where the node is not reachable, or this broker carries no
	// logs. Where ctx ends first, its cause is yielded. Leaving the loop ends it on both sides.
	Follow(ctx context.Context, holder NodeID, id string, after Cursor) iter.Seq2[Batch, error]
	// Up reports whether the broker can reach other nodes now.
	Up() bool
	// Close makes this node unreachable and ends what runs.
	Close() error
}

// Member is the node that a [Broker] serves. Its methods are called by the broker's goroutines, concurrently.
type Member interface {
	// Standings takes what another node announces. It returns soon. An empty list means that announcements may have
	// been lost.
	Standings(from NodeID, s []Standing)
	// Serve carries out another node's request. The same one may come twice.
	Serve(ctx context.Context, from NodeID, request []byte) (reply []byte)
	// Events yields the log of a conversation that this node holds, as [Broker.Follow] does.
	Events(ctx context.Context, id string, after Cursor) iter.Seq2[Batch, error]
}

// WithFallback returns a Broker that uses first and, where that does not reach a node, second. Announcements go both ways,
// and so do calls whose reply takes longer than a second: first may not have noticed yet that it reaches nobody.
func WithFallback(first, second Broker) Broker { return fallback{first, second} }

type fallback struct{ first, second Broker }

func (f fallback) Name() string { return f.first.Name() }
func (f fallback) Up() bool     { return f.first.Up() }

func (f fallback) Open(ctx context.Context, me NodeID, m Member) error {
	if err := f.first.Open(ctx, me, m); err != nil {
		return err
	}
	if err := f.second.Open(ctx, me, m); err != nil {
		return errors.Join(err, f.first.Close())
	}
	return nil
}

func (f fallback) Announce(s ...Standing) {
	f.first.Announce(s...)
	f.second.Announce(s...)
}

// replyPatience is how long a call waits for its reply before it goes the other way, too.
const replyPatience = time.Second

func (f fallback) Call(ctx context.Context, to NodeID, request []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		reply []byte
		err   error
	}
	outcomes := make(chan outcome, 2)
	call := func(b Broker) {
		reply, err := b.Call(ctx, to, request)
		outcomes <- outcome{reply, err}
	}
	go call(f.first)
	timer := time.NewTimer(replyPatience)
	defer timer.Stop()
	select {
	case o := <-outcomes:
		if errors.Is(o.err, ErrNoNode) {
			return f.second.Call(ctx, to, request)
		}
		return o.reply, o.err
	case <-timer.C:
	}
	go call(f.second)
	o := <-outcomes
	if o.err == nil {
		return o.reply, nil
	}
	other := <-outcomes
	if other.err == nil || errors.Is(o.err, ErrNoNode) {
		return other.reply, other.err
	}
	return nil, o.err
}

func (f fallback) Follow(ctx context.Context, holder NodeID, id string, after Cursor) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		lost := false
		for b, err := range f.first.Follow(ctx, holder, id, after) {
			if lost = errors.Is(err, ErrNoNode); lost {
				break
			}
			if after.Seq = b.Last; !yield(b, err) || err != nil {
				return
			}
		}
		if lost {
			f.second.Follow(ctx, holder, id, after)(yield)
		}
	}
}

func (f fallback) Close() error { return errors.Join(f.first.Close(), f.second.Close()) }
