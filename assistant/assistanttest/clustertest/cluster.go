// Package clustertest is an [assistant.Cluster] in memory, for tests of what uses one: its nodes die and are buried when
// the test says so.
package clustertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// Database is what the nodes share.
type Database struct {
	store assistant.Files

	mu    sync.Mutex
	next  assistant.NodeID
	nodes map[assistant.NodeID]*Node
	logs  map[string]*log
}

// log is what the database has of a conversation besides its messages.
type log struct {
	owner  string
	holder assistant.NodeID
	fence  int64
	at     assistant.Cursor
	events []assistant.Event // of this epoch
	times  []time.Time       // when each was stored
}

// NewDatabase returns a database without nodes and conversations.
func NewDatabase() *Database {
	return &Database{store: memory.Open(memory.Config{}), nodes: map[assistant.NodeID]*Node{}, logs: map[string]*log{}}
}

// Node is an open store. Each call of its takes its turn.
type Node struct {
	assistant.Files // reads and what needs no claim
	db              *Database

	// under the database's lock
	id       assistant.NodeID
	isFrozen bool // calls return an error, and the lease runs out
	draining bool
	claims   int
	until    time.Time
}

// errAway is what calls of a node return that is frozen.
var errAway = errors.New("database is away")

// Open returns one more node.
func (db *Database) Open() *Node {
	n := &Node{Files: db.store, db: db}
	db.mu.Lock()
	defer db.mu.Unlock()
	n.joinLocked()
	return n
}

func (n *Node) joinLocked() {
	n.db.next++
	n.id = n.db.next
	n.db.nodes[n.id] = n
}

// Freeze cuts a node from the database, or lets it back. Its lease runs out meanwhile.
func (n *Node) Freeze(frozen bool) {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	n.isFrozen = frozen
	if !frozen && n.db.nodes[n.id] != n {
		n.joinLocked()
	}
}

// Bury takes everything from a node. One that lives joins again at once.
func (db *Database) Bury(n *Node) {
	db.mu.Lock()
	defer db.mu.Unlock()
	dead := n.id
	delete(db.nodes, dead)
	for id, l := range db.logs {
		if l.holder == dead {
			db.freeLocked(id, l)
		}
	}
	if !n.isFrozen {
		n.joinLocked()
	}
}

// freeLocked gives a log a new epoch. An answer that was streaming is interrupted, which is the epoch's first event.
func (db *Database) freeLocked(id string, l *log) {
	l.holder, l.at, l.events, l.times = 0, assistant.Cursor{Epoch: assistant.NewID()}, nil, nil
	l.fence++
	messages, _, err := db.store.Messages(context.Background(), l.owner, id, "", 1)
	if err != nil || len(messages) == 0 || messages[0].Status != assistant.StatusStreaming {
		return
	}
	m := messages[0]
	m.Status, m.FinishReason = assistant.StatusInterrupted, assistant.FinishInterrupted
	now := time.Now().UTC()
	if err := db.store.Finish(context.Background(), assistant.Claim{Owned: assistant.Owned{Owner: l.owner, ID: id}}, assistant.Ending{At: now, Messages: []assistant.Message{m}}); err != nil {
		panic(err)
	}
	l.at.Seq = 1
	l.events = []assistant.Event{{Seq: 1, Kind: assistant.KindCompleted, Run: m.ID, Body: assistant.Completed{FinishReason: m.FinishReason, At: now}}}
	l.times = []time.Time{now}
}

// Node implements [assistant.Cluster], as do the methods below.
func (n *Node) Node() assistant.NodeID {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	return n.id
}

// leaseTime is short, so that little is shown after a Freeze.
const leaseTime = 100 * time.Millisecond

// Lease renews the lease while the node is not frozen.
func (n *Node) Lease() (until time.Time, others int) {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	if !n.isFrozen {
		n.until = time.Now().Add(leaseTime)
	}
	others = len(n.db.nodes)
	if n.db.nodes[n.id] == n {
		others--
	}
	return n.until, others
}

// Claims returns how many claims the node has taken.
func (n *Node) Claims() int {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	return n.claims
}

// Nodes returns those that live.
func (n *Node) Nodes(context.Context) (nodes []assistant.Node, err error) {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	for id, other := range n.db.nodes {
		nodes = append(nodes, assistant.Node{ID: id, Name: "test", Draining: other.draining})
	}
	slices.SortFunc(nodes, func(a, b assistant.Node) int { return int(a.ID - b.ID) })
	return nodes, nil
}

// SetDraining lets the node take no more claims.
func (n *Node) SetDraining(_ context.Context, draining bool) error {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	n.draining = draining
	return nil
}

// logLocked returns the log of a conversation that is in the database.
func (n *Node) logLocked(owner, id string) (*log, error) {
	if n.isFrozen {
		return nil, errAway
	}
	if _, err := n.db.store.Conversation(context.Background(), owner, id); err != nil {
		delete(n.db.logs, id)
		return nil, err
	}
	l := n.db.logs[id]
	if l == nil {
		l = &log{owner: owner, at: assistant.Cursor{Epoch: assistant.NewID()}}
		n.db.logs[id] = l
	}
	return l, nil
}

// Claim takes a conversation.
func (n *Node) Claim(_ context.Context, owner, id string) (assistant.Claim, assistant.Cursor, error) {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	l, err := n.logLocked(owner, id)
	switch {
	case err != nil:
		return assistant.Claim{}, assistant.Cursor{}, err
	case l.holder != 0:
		return assistant.Claim{}, assistant.Cursor{}, &assistant.HeldError{Holder: l.holder}
	case n.draining:
		return assistant.Claim{}, assistant.Cursor{}, errors.New("node is draining")
	}
	l.holder = n.id
	l.fence++
	n.claims++
	return assistant.Claim{Owned: assistant.Owned{Owner: owner, ID: id}, Node: n.id, Fence: l.fence}, l.at, nil
}

// write calls f if the claim is good, and adds the events if that returns no error.
func (n *Node) write(c assistant.Claim, events []assistant.Event, f func() error) error {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	l, err := n.logLocked(c.Owner, c.ID)
	if err != nil {
		return err
	}
	if l.holder != c.Node || l.fence != c.Fence {
		return assistant.ErrLost
	}
	if len(events) > 0 && events[0].Seq > l.at.Seq+1 {
		return errors.New("events are missing")
	}
	if err := f(); err != nil {
		return err
	}
	for _, e := range events {
		if replaced, ok := e.Body.(assistant.Replaced); ok {
			e.Body = assistant.Replaced{From: replaced.From}
		}
		if e.Seq > l.at.Seq {
			l.events, l.times = append(l.events, e), append(l.times, time.Now())
			l.at.Seq = e.Seq
		}
	}
	return nil
}

// Begin stores the start of a turn.
func (n *Node) Begin(ctx context.Context, c assistant.Claim, b assistant.Beginning) error {
	return n.write(c, b.Events, func() error { return n.Files.Begin(ctx, c, b) })
}

// Extend stores more of an answer.
func (n *Node) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	return n.write(c, e.Events, func() error { return n.Files.Extend(ctx, c, e) })
}

// Finish stores final messages.
func (n *Node) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	return n.write(c, e.Events, func() error { return n.Files.Finish(ctx, c, e) })
}

// Release gives a claim back.
func (n *Node) Release(_ context.Context, c assistant.Claim, seq uint64, events []assistant.Event) error {
	return n.write(c, events, func() error {
		l := n.db.logs[c.ID]
		l.holder = 0
		if len(events) == 0 {
			l.at.Seq = seq
		}
		return nil
	})
}

// State returns what a view begins with.
func (n *Node) State(ctx context.Context, owner, id string, limit int) (s assistant.State, err error) {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	l, err := n.logLocked(owner, id)
	if err != nil {
		return s, err
	}
	s.Cursor, s.Holder = l.at, l.holder
	if s.Conversation, err = n.Conversation(ctx, owner, id); err == nil {
		s.Messages, s.More, err = n.Messages(ctx, owner, id, "", limit)
	}
	if last := len(s.Messages) - 1; last >= 0 && s.Messages[last].Status == assistant.StatusStreaming {
		s.Running, s.Messages = &s.Messages[last], s.Messages[:last]
	}
	return s, err
}

// Standings returns where conversations are.
func (n *Node) Standings(_ context.Context, ids []string) (standings []assistant.Standing, err error) {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	for _, id := range ids {
		s := assistant.Standing{Owned: assistant.Owned{ID: id}, Deleted: true}
		if l := n.db.logs[id]; l != nil {
			s.Owner = l.owner
			if l, err := n.logLocked(l.owner, id); err == nil {
				s = assistant.Standing{Owned: assistant.Owned{Owner: l.owner, ID: id}, Cursor: l.at, Holder: l.holder}
			} else if errors.Is(err, errAway) {
				return nil, err
			}
		}
		standings = append(standings, s)
	}
	return standings, nil
}

// Events returns what is stored of a log, two events in a batch.
func (n *Node) Events(_ context.Context, owner, id string, after assistant.Cursor, limit int) (batches []assistant.Batch, err error) {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	l, err := n.logLocked(owner, id)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(l.events, func(e assistant.Event) bool { return e.Seq > after.Seq })
	if after.Epoch != l.at.Epoch || i >= 0 && l.events[i].Seq != after.Seq+1 || i < 0 && after.Seq < l.at.Seq {
		return nil, assistant.ErrGone
	}
	if i < 0 {
		return nil, nil
	}
	for part := range slices.Chunk(l.events[i:], 2) {
		b, err := assistant.NewBatch(l.at.Epoch, part)
		if err != nil || len(batches) == limit {
			return batches, err
		}
		batches = append(batches, b)
	}
	return batches, nil
}

// Trim removes events. It has no limit.
func (n *Node) Trim(_ context.Context, before time.Time, _ int) (int, error) {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	rows := 0
	for _, l := range n.db.logs {
		for l.holder == 0 && len(l.events) > 0 && l.times[0].Before(before) {
			l.events, l.times = l.events[1:], l.times[1:]
			rows++
		}
	}
	return rows, nil
}

// Close takes the node out.
func (n *Node) Close() error {
	n.db.mu.Lock()
	defer n.db.mu.Unlock()
	delete(n.db.nodes, n.id)
	return nil
}

var _ assistant.Cluster = (*Node)(nil)
