package assistant

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"go.uber.org/zap"
)

const (
	// outboxSize is how many direct answers may wait for the writer. When it is full the reader waits,
	// and with it the client that asks faster than it reads.
	outboxSize = 64
	// maxMalformed frames within malformedWindow end a session.
	maxMalformed    = 20
	malformedWindow = time.Minute
)

// Why the session ended, besides what Conn returns.
var (
	errMalformed = errors.New("too many malformed frames")
	errTooSlow   = errors.New("client is too slow for its conversation")
)

// Session is one connection: a reader that dispatches, and a writer that follows conversations.
//
//	Serve ── readLoop ── receive ── Dispatch ── admit ── on… ─► conversation, outbox
//	wake ─── writeLoop ─ collect ◄─ outbox, subscription
type Session struct {
	// fixed
	assistant *Assistant
	conn      Conn
	peer      Peer
	ctx       context.Context // ends with the session; its cause is why
	cancel    context.CancelCauseFunc
	closed    chan struct{} // closed when conn is
	own       *subscription // the connection's own conversation

	// the reader's
	malformed []time.Time // when malformed frames came, within malformedWindow

	// crossing from the reader to the writer
	outbox chan wire.Frame // bounded, never closed
	signal chan struct{}   // holds one: something may have to be written

	mu      sync.Mutex
	writing bool              // there is a writer
	refs    map[string]string // answers that this session asked for or stopped → ref of that request

	// the writer's
	streaming int // followed answers that are under way
}

// subscription is a conversation that the session follows.
type subscription struct {
	conversation *conversation
	cursor       uint64 // number of the last event written; the writer's
}

func newSession(a *Assistant, conn Conn, peer Peer) *Session {
	s := &Session{
		assistant: a, conn: conn, peer: peer, closed: make(chan struct{}),
		outbox: make(chan wire.Frame, outboxSize), signal: make(chan struct{}, 1), refs: make(map[string]string),
	}
	s.ctx, s.cancel = context.WithCancelCause(a.hub.ctx)
	s.own = &subscription{conversation: newConversation(s.ctx, a.hub)}
	s.own.conversation.log.Watch(s.wake)
	return s
}

// readLoop receives until the session ends, and returns why.
func (s *Session) readLoop() (cause error) {
	defer func() {
		if v := recover(); v != nil {
			cause = s.panicked(v)
		}
	}()
	for s.ctx.Err() == nil {
		data, err := s.conn.Recv()
		if err != nil {
			return err
		}
		if err := s.receive(data); err != nil {
			return err
		}
	}
	return context.Cause(s.ctx)
}

func (s *Session) panicked(value any) error {
	err := &panicError{value, debug.Stack()}
	s.assistant.log.Error("session panicked", zap.Error(err), zap.ByteString("stack", err.stack))
	return err
}

// receive handles one frame. Only what ends the session is returned.
func (s *Session) receive(data []byte) error {
	e, err := s.assistant.protocol.Dispatch(s.ctx, &request{Session: s}, data)
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*wire.ValidationError](err)
	if !ok {
		return s.reply(e, msgError.With(describeError(err)))
	}
	err = s.reply(e, msgInvalid.With(invalid.Items))
	if err == nil && invalid.Malformed && s.tooManyMalformed(time.Now()) {
		return errMalformed
	}
	return err
}

func (s *Session) tooManyMalformed(now time.Time) bool {
	for len(s.malformed) > 0 && now.Sub(s.malformed[0]) >= malformedWindow {
		s.malformed = s.malformed[1:]
	}
	s.malformed = append(s.malformed, now)
	return len(s.malformed) >= maxMalformed
}

// reply queues a direct answer to a request. It waits while the outbox is full.
func (s *Session) reply(e wire.Envelope, f wire.Frame) error {
	f.Ref, f.Topic = e.Ref, e.Topic
	select {
	case s.outbox <- f:
		s.wake()
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// setRef remembers the ref for the frames of an answer; an earlier one stays. An empty ref is none.
func (s *Session) setRef(messageID, ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ref != "" && s.refs[messageID] == "" {
		s.refs[messageID] = ref
	}
}

// ref is the ref of an answer's frames; last forgets it.
func (s *Session) ref(messageID string, last bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref := s.refs[messageID]
	if last {
		delete(s.refs, messageID)
	}
	return ref
}

// closeCode maps why a session ended to the code that its client sees.
func closeCode(cause error) int {
	var coded interface{ CloseCode() int }
	var crash *panicError
	switch {
	case errors.As(cause, &coded):
		return coded.CloseCode()
	case errors.As(cause, &crash):
		return closeInternalError
	case errors.Is(cause, errStopping):
		return closeServiceRestart
	case errors.Is(cause, errMalformed), errors.Is(cause, errTooSlow), errors.Is(cause, stream.ErrGone):
		return closePolicyViolation
	case errors.Is(cause, io.EOF):
		return closeNormal
	default: // the connection broke: nobody will see the code
		return closeInternalError
	}
}

// closeReason is the text beside the code: only for faults of the client's.
func closeReason(cause error) string {
	var coded interface{ CloseCode() int }
	if errors.As(cause, &coded) || errors.Is(cause, errMalformed) || errors.Is(cause, errTooSlow) || errors.Is(cause, errStopping) {
		return cause.Error()
	}
	return ""
}
