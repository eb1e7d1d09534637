package session

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"go.uber.org/zap"
)

// errMalformed is why a session ends whose client sends rubbish.
var errMalformed = errors.New("too many malformed frames")

// errDisconnected is why a session ends that the operator closes. Its code asks clients not to come back
// by themselves.
var errDisconnected = disconnected{}

type disconnected struct{}

func (disconnected) Error() string  { return "closed by the operator" }
func (disconnected) CloseCode() int { return closePolicyViolation }

// traffic counts one direction; others may read meanwhile.
type traffic struct{ messages, bytes atomic.Int64 }

func (t *traffic) add(messages ...[]byte) {
	bytes := 0
	for _, m := range messages {
		bytes += len(m)
	}
	t.messages.Add(int64(len(messages)))
	t.bytes.Add(int64(bytes))
}

func (t *traffic) load() assistant.Traffic {
	return assistant.Traffic{Messages: int(t.messages.Load()), Bytes: int(t.bytes.Load())}
}

// summary is what the observer and the log learn of the session's end.
func (s *Session) summary() assistant.SessionSummary {
	cause := context.Cause(s.ctx)
	code := closeCode(cause)
	return assistant.SessionSummary{Cause: closeCause(cause, code), Err: cause, CloseCode: code, Duration: time.Since(s.since), Received: s.received.load(), Sent: s.sent.load()}
}

// logEnd writes the one line of a session.
func (s *Session) logEnd(end assistant.SessionSummary) {
	client, _ := s.peer.ClientIP.MarshalText() // empty where there is none
	fields := append(make([]zap.Field, 0, 12),
		zap.String("remote_addr", s.peer.RemoteAddr), zap.ByteString("client_ip", client), zap.String("user", s.peer.User),
		zap.String("cause", string(end.Cause)), zap.Int("close_code", end.CloseCode), zap.Duration("duration", end.Duration),
		zap.Int("messages_in", end.Received.Messages), zap.Int("bytes_in", end.Received.Bytes),
		zap.Int("messages_out", end.Sent.Messages), zap.Int("bytes_out", end.Sent.Bytes),
	)
	if s.peer.Conversation != "" {
		fields = append(fields, zap.String("conversation_id", s.peer.Conversation))
	}
	if end.Cause != assistant.CloseLeft {
		fields = append(fields, zap.Error(end.Err))
	}
	s.assistant.Logger.Info("session ended", fields...)
}

// coded is an error that says what to close with.
type coded interface {
	error
	CloseCode() int
}

// timing is an error that says whether it is about time.
type timing interface {
	error
	Timeout() bool
}

// closeCause sorts why a session ended, for operators. code is the one that its client sees.
func closeCause(cause error, code int) assistant.CloseCause {
	switch {
	case errors.Is(cause, io.EOF):
		return assistant.CloseLeft
	case errors.Is(cause, conversation.ErrTooSlow):
		return assistant.CloseTooSlow
	case errors.Is(cause, errMalformed):
		return assistant.CloseMalformed
	case errors.Is(cause, errDisconnected):
		return assistant.CloseOperator
	case isCoded(cause):
		return assistant.CloseRefused
	case code == closeServiceRestart:
		return assistant.CloseDraining
	case isFaultOfOurs(cause):
		return assistant.CloseInternal
	case isTimeout(cause):
		return assistant.CloseTimeout
	default:
		return assistant.CloseLost
	}
}

func isCoded(cause error) bool {
	_, ok := errors.AsType[coded](cause)
	return ok
}

func isTimeout(cause error) bool {
	t, ok := errors.AsType[timing](cause)
	return ok && t.Timeout()
}

// isFaultOfOurs reports whether something broke in the server, and not a connection.
func isFaultOfOurs(cause error) bool {
	_, crash := errors.AsType[*assistant.PanicError](cause)
	_, store := errors.AsType[*assistant.StoreError](cause)
	return crash || store
}

// closeCode maps why a session ended to the code that its client sees.
func closeCode(cause error) int {
	if c, ok := errors.AsType[coded](cause); ok {
		return c.CloseCode()
	}
	_, crash := errors.AsType[*assistant.PanicError](cause)
	switch {
	case crash:
		return closeInternalError
	case errors.Is(cause, conversation.ErrStopping):
		return closeServiceRestart
	case errors.Is(cause, errMalformed), errors.Is(cause, conversation.ErrTooSlow):
		return closePolicyViolation
	case errors.Is(cause, io.EOF):
		return closeNormal
	default: // the connection broke: no one will see the code
		return closeInternalError
	}
}

// closeReason is the text beside the code: only for faults of the client's.
func closeReason(cause error) string {
	if isCoded(cause) || errors.Is(cause, errMalformed) || errors.Is(cause, conversation.ErrTooSlow) || errors.Is(cause, conversation.ErrStopping) {
		return cause.Error()
	}
	return ""
}
