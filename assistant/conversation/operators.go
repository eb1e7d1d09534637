package conversation

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Answer is a running answer, as operators see it.
type Answer struct {
	ID           string    `json:"message_id"`
	Conversation string    `json:"conversation_id,omitempty"` // absent for a socket's own
	User         string    `json:"user"`                      // "" = anonymous
	Provider     string    `json:"provider"`
	Model        string    `json:"model"`
	Since        time.Time `json:"since"`
	Waiting      int       `json:"waiting"` // questions behind it
}

// Activity is what a Hub is doing.
type Activity struct {
	State   State `json:"state"`
	Sockets int   `json:"sockets"` // mouths that are attached
	Answers int   `json:"answers"`
}

// State says whether a Hub takes sockets and questions.
type State string

// The states.
const (
	StateServing  State = "serving"
	StateDraining State = "draining" // nothing new; answers are running
	StateDrained  State = "drained"  // and sockets are closed
)

// InUse counts the stored conversations in memory: those that are open, that have an answer running, and that are
// kept for clients that come back.
func (h *Hub) InUse() int {
	h.inUseMu.Lock()
	defer h.inUseMu.Unlock()
	return len(h.inUse)
}

// Activity counts what is alive.
func (h *Hub) Activity() Activity {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := Activity{StateServing, len(h.mouths), len(h.answering)}
	switch {
	case h.draining != nil && h.draining.over:
		a.State = StateDrained
	case h.draining != nil:
		a.State = StateDraining
	}
	return a
}

// Answers lists at most limit running answers, in the order of their ids, that come after that id. keep
// chooses by the user; nil keeps all.
func (h *Hub) Answers(after string, limit int, keep func(user string) bool) []Answer {
	h.mu.Lock()
	running := maps.Clone(h.answering)
	h.mu.Unlock()
	answers := []Answer{}
	for t, c := range running {
		if t.id > after && (keep == nil || keep(c.owner)) {
			answers = append(answers, c.describe(t))
		}
	}
	slices.SortFunc(answers, func(a, b Answer) int { return cmp.Compare(a.ID, b.ID) })
	return answers[:min(limit, len(answers))]
}

// WaitingCall is a call of a tool that waits, as operators see it.
type WaitingCall struct {
	Conversation string               `json:"conversation_id"`
	User         string               `json:"user"` // "" = anonymous
	MessageID    string               `json:"message_id"`
	CallID       string               `json:"call_id"`
	Tool         string               `json:"tool"`
	WaitingFor   assistant.WaitingFor `json:"waiting_for"`
	ExpiresAt    time.Time            `json:"expires_at"`
}

// WaitingCalls lists the calls of tools that wait in stored conversations, of all nodes: those of at most limit
// conversations, in any order.
func (h *Hub) WaitingCalls(ctx context.Context, limit int) ([]WaitingCall, error) {
	calls := []WaitingCall{}
	waiting, err := h.store.Waiting(ctx, time.Now().Add(time.Minute), limit) // clocks of nodes differ
	for _, w := range waiting {
		messages, _, fault := h.store.Messages(ctx, w.Owner, w.ID, "", 1)
		switch {
		case errors.Is(fault, assistant.ErrNotFound):
			continue // it is gone since
		case fault != nil:
			return calls, fault
		}
		for _, m := range messages {
			for _, c := range m.Parts.Calls(assistant.CallWaiting) {
				calls = append(calls, WaitingCall{w.ID, w.Owner, m.ID, c.CallID, c.Name, c.WaitingFor, c.ExpiresAt})
			}
		}
	}
	return calls, err
}

func (c *Conversation) describe(t *turn) Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Answer{t.id, c.id, c.owner, t.source.Provider, t.source.Model, t.started, len(c.pending)}
}

// OpenAnswer opens the conversation in which the answer of that id runs, of any owner: it is for operators. ended is
// closed after the answer's last event. ok is false where no such answer runs. Close must be called once.
func (h *Hub) OpenAnswer(id string) (c *Conversation, ended <-chan struct{}, ok bool) {
	t, c := h.answeringIn(id)
	if c == nil {
		return nil, nil, false
	}
	c.open()
	return c, t.done, true
}

// StopAnswer stops a running answer as its clients can. It returns false when there is none of that id.
func (h *Hub) StopAnswer(id string) (stopped bool) {
	_, c := h.answeringIn(id)
	if c == nil {
		return false
	}
	_, err := c.stop(assistant.Stop{Run: id})
	return err == nil
}

// answeringIn returns the running answer and its conversation; nil where there is none.
func (h *Hub) answeringIn(id string) (*turn, *Conversation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t, c := range h.answering {
		if t.id == id {
			return t, c
		}
	}
	return nil, nil
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
