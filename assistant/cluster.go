package assistant

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What a [Cluster] and a [Broker] return besides what breaks.
var (
	// ErrLost says that a claim is no longer the conversation's: nothing was written.
	ErrLost = errors.New("claim is lost")
	// ErrGone says that events after a cursor are not there any more, or that the cursor is of another epoch.
	ErrGone = errors.New("events are gone")
	// ErrNoNode says that a node cannot be reached this way, and that nothing was done.
	ErrNoNode = errors.New("node is not reachable")
)

// NodeID names one open store among those that share a database. It is random, new for each start, and never 0, which
// stands for none.
type NodeID int64

// Node is a process that lives, as operators see it.
type Node struct {
	ID       NodeID    `json:"id"`
	Name     string    `json:"name"` // its host's
	JoinedAt time.Time `json:"joined_at"`
	Draining bool      `json:"draining,omitempty"`
}

// Claim names the conversation that is written to and, in a [Cluster], who alone may do so: the claim is good until
// it is released or lost. Elsewhere a conversation has one process, and Node and Fence are 0.
type Claim struct {
	Owned
	Node  NodeID
	Fence int64 // grows with each claim of the conversation
}

// HeldError says that another node has the claim of a conversation.
type HeldError struct{ Holder NodeID }

func (e *HeldError) Error() string { return fmt.Sprintf("conversation is held by node %d", e.Holder) }

// Standing is where a conversation is.
type Standing struct {
	Owned
	Cursor         // of its last event that is stored
	Holder  NodeID // who has its claim; 0 = nobody
	Deleted bool   // it is not in the store
	// Change is what followers of the owner's list are to be told; "" = nothing.
	Change ChangeKind
}

// Over returns what one announcement says for two of a conversation: what before says of the list stays where s says
// nothing of it, and where the conversation is stays where s, without an Epoch, says nothing of that.
func (s Standing) Over(before Standing) Standing {
	if s.Change == "" {
		s.Change = before.Change
	}
	if s.Epoch == "" && !s.Deleted {
		s.Cursor, s.Holder, s.Deleted = before.Cursor, before.Holder, before.Deleted
	}
	return s
}

// State is what the view of a conversation begins with, all of one moment.
type State struct {
	Conversation Conversation
	// Cursor is the place in the log that all of this is of.
	Cursor Cursor
	Holder NodeID // who has the claim; 0 = nobody
	// Messages are the last ones, oldest first, without the answer that is streaming; More reports whether older ones
	// exist.
	Messages []Message
	More     bool
	// Running is the answer that is streaming, with what is stored of it; nil = there is none.
	Running *Message
}

// Cluster is a [Store] that several processes share. Each open store is one of its nodes, from its opening to Close.
//
// A node has a lease, which it renews all the time. A conversation that is busy has a claim. What a holder writes
// names its claim, and is not written unless that still is the conversation's: Begin, Extend, Finish and Release
// return [ErrLost] then. A node whose lease has run out is buried by another: each of its claims is lost, the log of
// that conversation has a new epoch that begins at 0, and an answer that was streaming is interrupted with what Extend
// had stored; its KindCompleted is the new epoch's first event. There is no other way to take over.
//
// Begin, Extend and Finish store the events that they are given together with the messages, so that a State is
// complete at any time. Events stay for a while after a conversation is released.
type Cluster interface {
	Store
	// Node returns who this store is now. It is another node after it was buried.
	Node() NodeID
	// Lease returns until when this node is sure not to be buried, by this process's monotonic clock, and how many
	// other nodes live.
	Lease() (until time.Time, others int)
	// Nodes returns all nodes that live, oldest first.
	Nodes(ctx context.Context) ([]Node, error)
	// SetDraining lets a node take no more claims, and says so in Nodes, or undoes that.
	SetDraining(ctx context.Context, draining bool) error

	// Claim takes a conversation that no one holds, and returns where its log is: the next event has the number
	// after Cursor.Seq. Where another node has it, the error is a [*HeldError].
	Claim(ctx context.Context, owner, id string) (Claim, Cursor, error)
	// Release gives a claim back. Events are those that are not stored yet, up to seq, the log's last number. Where a
	// call whose outcome was unknown has stored more, the log begins anew as after a burial, and the error is ErrLost.
	Release(ctx context.Context, c Claim, seq uint64, events []Event) error
	// State returns what a view begins with, and at most limit messages.
	State(ctx context.Context, owner, id string, limit int) (State, error)
	// Standings returns where conversations are, in any order; those that are not in the store are Deleted.
	Standings(ctx context.Context, ids []string) ([]Standing, error)
	// Events returns what is stored of a log after a cursor, in order, at most limit batches. It returns [ErrGone]
	// where the first of it is not there.
	Events(ctx context.Context, owner, id string, after Cursor, limit int) ([]Batch, error)
	// Trim removes at most limit stored events that are older than before and belong to no answer that is streaming.
	// It returns how many rows there were.
	Trim(ctx context.Context, before time.Time, limit int) (int, error)
}
