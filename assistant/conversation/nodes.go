package conversation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
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

// The kinds of requests.
const (
	requestAsk      = "ask"
	requestStop     = "stop"
	requestRename   = "rename"
	requestRefused  = "refused"  // a question that had been accepted
	requestAnswered = "answered" // or it was answered before
	requestPresence = "presence" // the conversation is open on that node
	requestAbsence  = "absence"  // and not any more
	requestOperate  = "operate"  // what an operator wants of every node
)

// request is what one node asks of another. Each may be carried out twice, and is then the same as once.
type request struct {
	Kind         string               `json:"kind"`
	Owner        string               `json:"owner,omitempty"`
	Conversation string               `json:"conversation,omitempty"`
	Run          string               `json:"run,omitempty"`
	From         assistant.RequestKey `json:"from,omitzero"`
	Title        string               `json:"title,omitempty"`
	Was          *string              `json:"was,omitempty"`
	Question     *question            `json:"question,omitempty"`
	Failed       *assistant.Failed    `json:"failed,omitempty"`
	Operation    json.RawMessage      `json:"operation,omitempty"`
}

// The outcomes of requests.
const (
	outcomeAccepted = "accepted"
	outcomeJoined   = "joined" // the question is being answered, or was, as Run
	outcomeRefused  = "refused"
	outcomeNotHeld  = "not_held" // the node does not hold the conversation: nothing was done
	outcomeFailed   = "failed"   // something broke: nothing is known
)

// reply is what came of a request.
type reply struct {
	Outcome      string                  `json:"outcome"`
	Run          string                  `json:"run,omitempty"`
	Queued       bool                    `json:"queued,omitempty"`
	IsStale      bool                    `json:"is_stale,omitempty"`
	Failed       assistant.Failed        `json:"failed,omitzero"`
	Conversation *assistant.Conversation `json:"conversation,omitempty"`
	Operation    json.RawMessage         `json:"operation,omitempty"`
}

// refusal is the reply that carries an error.
func refusal(err error) reply {
	switch {
	case errors.Is(err, assistant.ErrStale):
		return reply{Outcome: outcomeRefused, IsStale: true}
	case assistant.IsRefusal(err):
		return reply{Outcome: outcomeRefused, Failed: assistant.Describe(err)}
	}
	return reply{Outcome: outcomeFailed}
}

// refusal is the error that a reply carries.
func (r reply) refusal() error {
	if r.IsStale {
		return assistant.ErrStale
	}
	return &assistant.RefusalError{Reason: r.Failed.Reason, RetryAfter: r.Failed.RetryAfter}
}

// call has another node carry out a request. It returns an error where that did not reply.
func (h *Hub) call(ctx context.Context, to assistant.NodeID, r request) (reply, error) {
	b := h.connection()
	if b == nil {
		return reply{}, assistant.ErrNoNode
	}
	data, err := json.Marshal(r)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := b.Call(ctx, to, data)
	if err != nil {
		return reply{}, err
	}
	var got reply
	if err := json.Unmarshal(answer, &got); err != nil {
		return reply{}, fmt.Errorf("reply of node %d: %w", to, err)
	}
	if got.Outcome == outcomeFailed {
		return got, errors.New("the other node has failed")
	}
	return got, nil
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

// Serve implements [assistant.Member].
func (m member) Serve(ctx context.Context, from assistant.NodeID, data []byte) []byte {
	var r request
	answer := reply{Outcome: outcomeFailed}
	if err := json.Unmarshal(data, &r); err == nil {
		answer = m.serve(ctx, from, r)
	}
	reply, _ := json.Marshal(answer) // plain values
	return reply
}

func (h *Hub) serve(ctx context.Context, from assistant.NodeID, r request) reply {
	if r.Kind == requestOperate {
		return h.operateHere(ctx, r.Operation)
	}
	c := h.used(r.Conversation)
	if c == nil || c.owner != r.Owner {
		return reply{Outcome: outcomeNotHeld}
	}
	c.open()
	defer c.Close()
	switch r.Kind {
	case requestAsk:
		if r.Question != nil {
			c.present(from)
			return c.serveAsk(from, r.Question)
		}
	case requestStop:
		if _, err := c.stopHere(assistant.Stop{Run: r.Run, From: r.From}); err != nil {
			return reply{Outcome: outcomeNotHeld}
		}
		return reply{Outcome: outcomeAccepted}
	case requestRename:
		if !c.holds() {
			return reply{Outcome: outcomeNotHeld}
		}
		info, err := c.rename(ctx, assistant.Rename{From: r.From, Title: r.Title}, r.Was)
		if err != nil {
			return refusal(err)
		}
		return reply{Outcome: outcomeAccepted, Conversation: &info}
	case requestRefused:
		if r.Failed != nil {
			outcome := error(&assistant.RefusalError{Reason: r.Failed.Reason, RetryAfter: r.Failed.RetryAfter})
			if r.Failed.Reason == assistant.ReasonDraining {
				outcome = errMoved
			}
			c.decided(r.Run, outcome)
		}
		return reply{Outcome: outcomeAccepted}
	case requestAnswered:
		c.decided(r.Run, assistant.ErrDuplicate)
		return reply{Outcome: outcomeAccepted}
	case requestPresence:
		c.present(from)
		return reply{Outcome: outcomeAccepted}
	case requestAbsence:
		c.absent(from)
		return reply{Outcome: outcomeAccepted}
	}
	return reply{Outcome: outcomeFailed}
}

// Events implements [assistant.Member].
func (m member) Events(ctx context.Context, id string, after assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	return func(yield func(assistant.Batch, error) bool) {
		c := m.used(id)
		if c == nil {
			yield(assistant.Batch{}, assistant.ErrNoNode)
			return
		}
		c.yieldEvents(ctx, after, yield)
	}
}

// maxBatchEvents is how many events are handed to another node at once.
const maxBatchEvents = 1024

// yieldEvents yields the log after a cursor as long as this node holds the conversation.
func (c *Conversation) yieldEvents(ctx context.Context, after assistant.Cursor, yield func(assistant.Batch, error) bool) {
	wake := make(chan struct{}, 1)
	log, epoch, leave := c.lendLog(wake)
	defer leave()
	if epoch != after.Epoch {
		yield(assistant.Batch{}, assistant.ErrGone)
		return
	}
	for {
		isHeld := c.holds() // before the log is read: what comes after is the next holder's
		events, err := recorder.Tail(log, after.Seq)
		if err != nil {
			yield(assistant.Batch{}, assistant.ErrGone)
			return
		}
		for part := range slices.Chunk(events, maxBatchEvents) {
			b, err := assistant.NewBatch(epoch, part)
			if after.Seq = b.Last; !yield(b, err) || err != nil {
				return
			}
		}
		switch {
		case len(events) > 0:
			continue
		case !isHeld:
			return
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// lendLog returns the log for another node; wake is woken when there is more, or the conversation was given back.
func (c *Conversation) lendLog(wake chan struct{}) (log *stream.Log[assistant.Event], epoch string, leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	log = c.view.Log
	unwatch := log.Watch(func() { stream.Wake(wake) })
	c.feeds[wake] = struct{}{}
	return log, c.view.Epoch, func() {
		unwatch()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.feeds, wake)
	}
}

// OnOperation sets what carries out the operations that other nodes ask for by [Hub.Operate]. Both its argument and its
// result are JSON.
func (h *Hub) OnOperation(serve func(ctx context.Context, operation []byte) []byte) {
	h.nodes.operate.Store(&serve)
}

func (h *Hub) operateHere(ctx context.Context, operation []byte) reply {
	serve := h.nodes.operate.Load()
	if serve == nil {
		return reply{Outcome: outcomeFailed}
	}
	return reply{Outcome: outcomeAccepted, Operation: (*serve)(ctx, operation)}
}

// Operated is what another node has returned for an operation.
type Operated struct {
	Node   assistant.Node
	Result []byte // JSON
	Err    error  // why there is no result
}

// Operate has every other node carry out an operation, at once, and returns what came of it.
func (h *Hub) Operate(ctx context.Context, operation []byte) ([]Operated, error) {
	nodes, err := h.store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	me := h.node()
	nodes = slices.DeleteFunc(nodes, func(n assistant.Node) bool { return n.ID == me })
	results := make([]Operated, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			r, err := h.call(ctx, n.ID, request{Kind: requestOperate, Operation: operation})
			results[i] = Operated{n, r.Operation, err}
		})
	}
	wg.Wait()
	return results, nil
}

// Nodes returns all nodes that live, oldest first; none where the store is not shared.
func (h *Hub) Nodes(ctx context.Context) ([]assistant.Node, error) { return h.store.Nodes(ctx) }

// Node returns this node's id; 0 where the store is not shared.
func (h *Hub) Node() assistant.NodeID { return h.node() }

// State returns how this node stands among those that share its store.
func (h *Hub) State() assistant.NodeState {
	s := assistant.NodeState{Node: h.node()}
	if s.Node == 0 {
		return s
	}
	until, others := h.store.Lease()
	s.Others, s.Lease = others, time.Until(until)
	if b := h.connection(); b != nil {
		s.Broker, s.Up = b.Name(), b.Up()
	}
	n := &h.nodes
	s.Held, s.Mirrored = int(n.held.Load()), int(n.mirrored.Load())
	if others == 0 {
		return s
	}
	for _, c := range h.conversations() {
		if c.isLent() {
			s.Lent++
		}
	}
	return s
}
