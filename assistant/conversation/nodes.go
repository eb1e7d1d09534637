package conversation

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.uber.org/zap"
)

const (
	// lookEvery is how often a node asks the store about conversations that another node holds and this one shows, and
	// checkEvery about all that are open.
	lookEvery  = time.Second
	checkEvery = 15 * time.Second
	// trimEvery is how often events that are old are removed from the store.
	trimEvery = time.Minute
	// presenceFor is how long a node counts as one on which a conversation is open; it says so three times as often.
	presenceFor = time.Minute
	// maxStandings is how many standings are asked for at once.
	maxStandings = 1000
	trimRows     = 5000
)

// nodes is the hub's place among the nodes that share its store.
type nodes struct {
	connect func() (assistant.Broker, error) // set by Connect

	operate atomic.Pointer[func(context.Context, []byte) []byte] // set by OnOperation

	held, mirrored atomic.Int32 // conversations, see [assistant.NodeState]

	isShared atomic.Bool                      // the store is, and open
	broker   atomic.Pointer[assistant.Broker] // nil while there is none
	me       assistant.NodeID                 // as the broker knows this node; of attend
	mourned  assistant.NodeID                 // the node for which the claims of the one before were given up; of attend
	looking  atomic.Bool                      // everything is being looked at
}

// Connect makes the hub one of the nodes that share its store, if that is an [assistant.Cluster]. connect is called once
// the store is open, and makes the broker through which the hub reaches the others; the hub closes it.
func (h *Hub) Connect(connect func() (assistant.Broker, error)) {
	h.nodes.connect = connect
	h.Go(h.attend)
}

// isClustered reports whether other processes may use the store.
func (h *Hub) isClustered() bool { return h.nodes.isShared.Load() }

// node returns who this hub is among the nodes; 0 where it is alone.
func (h *Hub) node() assistant.NodeID { return h.store.Node() }

// othersLive reports whether there are other nodes.
func (h *Hub) othersLive() bool {
	_, others := h.store.Lease()
	return others > 0
}

// attend keeps the hub a node of its cluster until it is closed. It ends at once where the store is not shared.
func (h *Hub) attend() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	defer h.disconnect()
	var checked, trimmed time.Time
	wasAlone := true
	for {
		err := h.join()
		if errors.Is(err, errOneNode) {
			return
		}
		if err != nil {
			h.log.Warn("not connected to other nodes", zap.Error(err))
		}
		now := time.Now()
		isDue := now.Sub(checked) >= checkEvery
		if isDue {
			checked = now
		}
		isAlone := !h.othersLive()
		if wasAlone && !isAlone {
			h.releaseIdle()
		}
		wasAlone = isAlone
		h.look(isDue)
		h.observer().Clustered(h.State())
		if now.Sub(trimmed) >= trimEvery {
			trimmed = now
			h.trimEvents(now)
		}
		select {
		case <-ticker.C:
		case <-h.ctx.Done():
			return
		}
	}
}

// errOneNode says that the store is not shared.
var errOneNode = errors.New("store has one node")

// join opens the broker, and again after this node has become another.
func (h *Hub) join() error {
	cluster, err := h.store.Cluster(h.ctx)
	if err != nil {
		return err
	}
	if cluster == nil {
		return errOneNode
	}
	n := &h.nodes
	n.isShared.Store(true)
	me := cluster.Node()
	if n.me == me {
		return nil
	}
	if n.me != 0 && n.mourned != me {
		n.mourned = me
		h.log.Error("this node was taken for dead; its answers were interrupted", zap.Int64("node", int64(n.me)), zap.Int64("new_node", int64(me)))
		h.observer().Buried()
		h.loseAll(me)
		h.releaseIdle()
	}
	broker := h.connection()
	if broker != nil {
		err = broker.Close()
	} else if broker, err = n.connect(); err == nil {
		n.broker.Store(&broker)
	}
	if err == nil {
		err = broker.Open(h.ctx, me, member{h})
	}
	if err == nil {
		n.me = me
	}
	return err
}

func (h *Hub) disconnect() {
	if b := h.nodes.broker.Swap(nil); b != nil {
		_ = (*b).Close()
	}
}

// connection returns the broker; nil while there is none.
func (h *Hub) connection() assistant.Broker {
	if b := h.nodes.broker.Load(); b != nil {
		return *b
	}
	return nil
}

// loseAll ends the answers that this node was giving: they belong to nobody any more.
func (h *Hub) loseAll(me assistant.NodeID) {
	h.mu.Lock()
	answering := maps.Clone(h.answering)
	h.mu.Unlock()
	for t, c := range answering {
		if c.isHeldBefore(me) {
			t.cancel(assistant.ErrLost)
		}
	}
}

// isHeldBefore reports whether the claim is of this node before it became me.
func (c *Conversation) isHeldBefore(me assistant.NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held && c.heldAs != me
}

// look asks the store about conversations that are open: all, or those that another node holds.
func (h *Hub) look(all bool) {
	if !h.othersLive() && !all {
		return
	}
	var ids []string
	byID := make(map[string]*Conversation)
	for _, c := range h.conversations() {
		if c.isToBeLookedAt(all) {
			ids, byID[c.id] = append(ids, c.id), c
		}
	}
	for page := range slices.Chunk(ids, maxStandings) {
		standings, err := h.store.Standings(h.ctx, page)
		if err != nil {
			return // the next look will tell
		}
		for _, s := range standings {
			if c := byID[s.ID]; c != nil {
				c.looked(s)
			}
		}
	}
}

// releaseIdle gives back the claims that linger: another node may want them, or this one ends.
func (h *Hub) releaseIdle() {
	for _, c := range h.conversations() {
		c.releaseIdle()
	}
}

func (c *Conversation) isToBeLookedAt(all bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isRead.Load() && !c.deleted && (c.mirror.runs || all && c.opened > 0)
}

func (c *Conversation) looked(s assistant.Standing) {
	c.mu.Lock()
	c.mirror.checked = time.Now()
	isHere := c.held
	c.mu.Unlock()
	if !isHere || s.Deleted {
		s.Owner = c.owner
		c.heard(s)
		c.presence(true)
	}
}

func (h *Hub) trimEvents(now time.Time) {
	before := now.Add(-h.Using().resumeWindow())
	for {
		n, err := h.store.Trim(h.ctx, before, trimRows)
		if err != nil || n < trimRows {
			return
		}
	}
}

// announce tells other nodes where a conversation is.
func (h *Hub) announce(s assistant.Standing) {
	if b := h.connection(); b != nil && h.othersLive() {
		b.Announce(s)
	}
}

// follow yields what another node shows of a conversation.
func (h *Hub) follow(ctx context.Context, holder assistant.NodeID, id string, after assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	if b := h.connection(); b != nil {
		return b.Follow(ctx, holder, id, after)
	}
	return func(yield func(assistant.Batch, error) bool) { yield(assistant.Batch{}, assistant.ErrNoNode) }
}

// member is the hub as its broker sees it.
type member struct{ *Hub }

// Standings implements [assistant.Member].
func (m member) Standings(_ assistant.NodeID, standings []assistant.Standing) {
	if len(standings) == 0 {
		if m.nodes.looking.CompareAndSwap(false, true) {
			m.Go(func() {
				defer m.nodes.looking.Store(false)
				m.look(true)
			})
		}
		return
	}
	for _, s := range standings {
		if s.Change != "" && m.lists.IsFollowed(s.Owner) {
			m.Go(func() { m.listed(s) })
		}
		if c := m.used(s.ID); c != nil && c.owner == s.Owner {
			c.heard(s)
		}
	}
}

// listed shows the followers of a user's list what another node has changed.
func (h *Hub) listed(s assistant.Standing) {
	info := assistant.Conversation{ID: s.ID}
	if s.Change != assistant.ChangeDeleted {
		var err error
		if info, err = h.store.Conversation(h.ctx, s.Owner, s.ID); err != nil {
			return
		}
	}
	h.lists.Publish(s.Owner, assistant.Change{Kind: s.Change, Conversation: info})
}
