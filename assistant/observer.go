package assistant

import (
	"errors"
	"time"
)

// Observer follows what happens, for metrics, traces and events.
//
// Its methods are called where it happens, also with locks of the engine held: a method must return at once,
// call nothing of the engine, and be safe for concurrent use. No method receives what is said in a
// conversation.
type Observer interface {
	// Opened reports a session that begins.
	Opened(p Peer)
	// Closed reports a session's end, once for each Opened.
	Closed(p Peer, s SessionSummary)
	// Lagging reports sessions that begin (1) or cease (-1) to lag: more events wait for them than are
	// written at once, so that pieces are merged.
	Lagging(change int)
	// Waiting reports questions that begin (1) or cease (-1) to wait for another of their conversation.
	Waiting(change int)
	// Failed reports each error that a client gets, once, however many clients read it.
	Failed(r Reason)
	// Answering reports an answer that begins. What it returns follows the rest.
	Answering(a AnswerStart) AnswerObserver
	// Titled reports the tokens spent on asking for a title, even if none came.
	Titled(s Source, u Usage)
	// Uploaded reports a file that was uploaded, of so many bytes as they came, or why it was refused.
	Uploaded(refused Reason, bytes int)
	// Stored reports a call of the store: the method in snake case, such as delete_before, how long it took, and
	// its error. An error may be an answer of the store, such as ErrNotFound.
	Stored(operation string, took time.Duration, err error)
	// Clustered reports, each second, how this node stands among those that share its store.
	Clustered(s NodeState)
	// Buried reports that this node was taken for dead, and that its answers were interrupted.
	Buried()
	// LimitsShared reports whether limits are counted in the store, for all nodes and beyond a restart, as they are to be.
	// Otherwise the store is away, and this node counts alone.
	LimitsShared(shared bool)
}

// NodeState is how a node stands among those that share its store.
type NodeState struct {
	Node   NodeID        // 0 where the store is not shared
	Others int           // other nodes that live
	Lease  time.Duration // until this node may be buried, if it does not renew its lease
	Broker string        // its name; "" = none
	Up     bool          // the broker reaches other nodes
	// Held are conversations that this node writes to, Mirrored those that another one does and this one shows, and
	// Lent those that this one does and others show.
	Held, Mirrored, Lent int
}

// AnswerObserver follows one answer. One goroutine at a time calls it.
type AnswerObserver interface {
	// FirstPiece comes before the first Piece; after is how long the answer took until then.
	FirstPiece(after time.Duration)
	// Piece comes for each piece of text or reasoning.
	Piece()
	// FellBack reports that another provider answers.
	FellBack(f Fallback)
	// Called reports a call of a tool that has ended.
	Called(c CallSummary)
	// Ended is the last call. It always comes.
	Ended(s AnswerSummary)
}

// AnswerStart is what is known of an answer when it begins.
type AnswerStart struct {
	Peer           Peer   // who asked; of several, the last
	ConversationID string // "" = the connection's own
	MessageID      string
	Source         Source
}

// AnswerSummary is what is known of an answer when it has ended.
type AnswerSummary struct {
	Source       Source // who answered in the end
	FinishReason FinishReason
	Err          error  // the fault, for operators; nil unless FinishReason is error
	Reason       Reason // what clients learned of Err
	Usage        Usage
	Pieces       int
	Steps        int           // how often the model was asked
	Calls        int           // of tools
	FirstPiece   time.Duration // until the first piece; 0 = there was none
	Duration     time.Duration
}

// CallSummary is what is known of a call of a tool when it has ended.
type CallSummary struct {
	Tool     string // its name; "" = the model named one that there is not
	ID       string // within the answer
	State    CallState
	Duration time.Duration // 0 = it was not made
}

// ProviderFault returns the reason of an error that is a provider's fault; ok is false for any other.
func ProviderFault(err error) (r Reason, ok bool) {
	fault, ok := errors.AsType[*ProviderError](err)
	if !ok {
		return "", false
	}
	return fault.Reason, true
}

// SessionSummary is what is known of a session when it has ended.
type SessionSummary struct {
	Cause     CloseCause
	Err       error // the cause in full, for operators
	CloseCode int   // of RFC 6455; the client sees it where the connection still works
	Duration  time.Duration
	Received  Traffic
	Sent      Traffic
}

// Traffic counts one direction of a session.
type Traffic struct {
	Messages int
	Bytes    int // of text, without framing
}

// CloseCause sorts why sessions end.
type CloseCause string

// The causes of ends.
const (
	CloseLeft      CloseCause = "left"      // the client closed the connection
	CloseLost      CloseCause = "lost"      // the connection broke
	CloseTimeout   CloseCause = "timeout"   // the client answered no ping, or did not read
	CloseTooSlow   CloseCause = "too_slow"  // the client asked for more than it read
	CloseMalformed CloseCause = "malformed" // too many malformed frames
	CloseRefused   CloseCause = "refused"   // a message that must not be accepted: too big, too slow, not UTF-8
	CloseDraining  CloseCause = "draining"  // the server stops
	CloseOperator  CloseCause = "operator"  // an operator closed it
	CloseInternal  CloseCause = "internal"  // a fault of the server
)

// ReasonInvalid stands for validation errors, which name no reason on the wire, in [Observer].
const ReasonInvalid Reason = "invalid"

// NoObserver does nothing. Embed it to implement a part of [Observer].
type NoObserver struct{}

// Opened does nothing.
func (NoObserver) Opened(Peer) {}

// Closed does nothing.
func (NoObserver) Closed(Peer, SessionSummary) {}

// Lagging does nothing.
func (NoObserver) Lagging(int) {}

// Waiting does nothing.
func (NoObserver) Waiting(int) {}

// Failed does nothing.
func (NoObserver) Failed(Reason) {}

// Answering returns an observer that does nothing.
func (NoObserver) Answering(AnswerStart) AnswerObserver { return noAnswerObserver{} }

// Titled does nothing.
func (NoObserver) Titled(Source, Usage) {}

// Uploaded does nothing.
func (NoObserver) Uploaded(Reason, int) {}

// Stored does nothing.
func (NoObserver) Stored(string, time.Duration, error) {}

// Clustered does nothing.
func (NoObserver) Clustered(NodeState) {}

// Buried does nothing.
func (NoObserver) Buried() {}

// LimitsShared does nothing.
func (NoObserver) LimitsShared(bool) {}

type noAnswerObserver struct{}

func (noAnswerObserver) FirstPiece(time.Duration) {}
func (noAnswerObserver) Piece()                   {}
func (noAnswerObserver) FellBack(Fallback)        {}
func (noAnswerObserver) Called(CallSummary)       {}
func (noAnswerObserver) Ended(AnswerSummary)      {}

var (
	_ Observer       = NoObserver{}
	_ AnswerObserver = noAnswerObserver{}
)
