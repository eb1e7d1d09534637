package assistant

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// Observer is told what happens, for metrics, traces and events.
//
// It is called where it happens, also with locks of the engine held: a method must return at once, call
// nothing of this package, and be safe for concurrent use. What is said in a conversation is not told.
type Observer interface {
	// Opened tells of a session that begins.
	Opened(p Peer)
	// Closed tells of a session's end, once for each Opened.
	Closed(p Peer, s SessionSummary)
	// Lagging tells of sessions that begin (1) or cease (-1) to lag: more events wait for them than are
	// written at once, so that pieces are merged.
	Lagging(change int)
	// Waiting tells of questions that begin (1) or cease (-1) to wait for another of their conversation.
	Waiting(change int)
	// Failed tells of each error that a client is told, once, however many clients read it.
	Failed(r Reason)
	// Answering tells of an answer that begins. What it returns is told the rest.
	Answering(a AnswerStart) AnswerObserver
	// Titled tells what a model used that was asked for a title, also in vain.
	Titled(s Source, u Usage)
}

// AnswerObserver is told how one answer goes on, by one goroutine at a time.
type AnswerObserver interface {
	// FirstPiece comes before the first Piece; after is how long the answer took until then.
	FirstPiece(after time.Duration)
	// Piece comes for each piece of text or reasoning.
	Piece()
	// FellBack tells that somebody else answers.
	FellBack(f Fallback)
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
	Reason       Reason // what clients were told of Err
	Usage        Usage
	Pieces       int
	FirstPiece   time.Duration // until the first piece; 0 = there was none
	Duration     time.Duration
}

// ProviderFault is the reason of an error that is a provider's fault; ok is false for any other.
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

// traffic counts while others read.
type traffic struct{ messages, bytes atomic.Int64 }

func (t *traffic) add(messages ...[]byte) {
	bytes := 0
	for _, m := range messages {
		bytes += len(m)
	}
	t.messages.Add(int64(len(messages)))
	t.bytes.Add(int64(bytes))
}

func (t *traffic) load() Traffic { return Traffic{int(t.messages.Load()), int(t.bytes.Load())} }

// CloseCause sorts why sessions end.
type CloseCause string

// The causes of ends.
const (
	CloseLeft      CloseCause = "left"      // the client closed in order
	CloseLost      CloseCause = "lost"      // the connection broke
	CloseTimeout   CloseCause = "timeout"   // the client answered no ping, or did not read
	CloseTooSlow   CloseCause = "too_slow"  // the client asked for more than it read
	CloseMalformed CloseCause = "malformed" // too many malformed frames
	CloseRefused   CloseCause = "refused"   // a message that must not be accepted: too big, binary, not UTF-8
	CloseDraining  CloseCause = "draining"  // the server stops
	CloseOperator  CloseCause = "operator"  // somebody closed it from outside
	CloseInternal  CloseCause = "internal"  // a fault of the server
)

// ReasonInvalid is what an [Observer] is told of validation errors, which name no reason on the wire.
const ReasonInvalid Reason = "invalid"

func closeCause(cause error) CloseCause {
	var timeout interface{ Timeout() bool }
	var coded interface{ CloseCode() int }
	switch code := closeCode(cause); {
	case errors.Is(cause, io.EOF):
		return CloseLeft
	case errors.Is(cause, errTooSlow):
		return CloseTooSlow
	case errors.Is(cause, errMalformed):
		return CloseMalformed
	case errors.Is(cause, errDisconnected):
		return CloseOperator
	case errors.As(cause, &coded):
		return CloseRefused
	case code == closeServiceRestart:
		return CloseDraining
	case isFaultOfOurs(cause):
		return CloseInternal
	case errors.As(cause, &timeout) && timeout.Timeout():
		return CloseTimeout
	default:
		return CloseLost
	}
}

// isFaultOfOurs tells what broke in the server from a connection that broke.
func isFaultOfOurs(cause error) bool {
	_, crash := errors.AsType[*panicError](cause)
	_, store := errors.AsType[*storageError](cause)
	return crash || store
}

// observe tells the observer of a step of the answer.
func (t *turn) observe(d Delta) {
	if d.Fallback != nil {
		t.observer.FellBack(*d.Fallback)
	}
	for _, text := range [...]string{d.Reasoning, d.Text} {
		if text == "" {
			continue
		}
		if t.pieces++; t.pieces == 1 {
			t.observer.FirstPiece(t.waited)
		}
		t.observer.Piece()
	}
}

// summary is what the observer and the log are told of an answer's end.
func (t *turn) summary(err error) AnswerSummary {
	s := AnswerSummary{Source: t.source, FinishReason: t.finish, Usage: *t.usage, Pieces: t.pieces, FirstPiece: t.waited, Duration: time.Since(t.started)}
	if t.finish == FinishError {
		s.Err, s.Reason = err, describeError(err).Reason
	}
	return s
}

// NoObserver is told and does nothing. Embed it to implement a part of [Observer].
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

type noAnswerObserver struct{}

func (noAnswerObserver) FirstPiece(time.Duration) {}
func (noAnswerObserver) Piece()                   {}
func (noAnswerObserver) FellBack(Fallback)        {}
func (noAnswerObserver) Ended(AnswerSummary)      {}

var (
	_ Observer       = NoObserver{}
	_ AnswerObserver = noAnswerObserver{}
)
