package assistant

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"go.uber.org/zap"
)

const (
	// outboxSize is how many direct answers may wait for the writer. When it is full the reader waits,
	// and with it the client that asks faster than it reads.
	outboxSize = 64
	// maxLate is how many answers from other goroutines may wait for the writer. They cannot wait as the
	// reader can, so that a client which asks for more and takes none is dropped.
	maxLate = 256
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
//	wake ─── writeLoop ─ collect ◄─ outbox, subscriptions
type Session struct {
	// fixed
	assistant *Assistant // the settings that it began with
	conn      Conn
	peer      Peer
	home      string          // topic of the conversation that frames without a topic are about; "" = the connection's own
	ctx       context.Context // ends with the session; its cause is why
	cancel    context.CancelCauseFunc
	closed    chan struct{} // closed when conn is
	id        uint64        // set by Hub.enter, like since
	since     time.Time

	// the reader's
	malformed []time.Time // when malformed frames came, within malformedWindow

	// crossing from the reader to the writer
	outbox chan wire.Frame // bounded, never closed
	signal chan struct{}   // holds one: something may have to be written

	mu       sync.Mutex
	writing  bool // there is a writer
	extended bool // the client has used ref or topic
	subs     map[string]*subscription
	asked    map[string]wire.Envelope // answers that this session asked for or stopped → that request
	late     []lateFrame              // answers from other goroutines than the reader; bounded by maxLate

	// the writer's
	streaming bool // a followed answer is under way
	lagging   bool // more events wait than are written at once

	// counted by reader and writer
	received, sent traffic
}

func newSession(a *Assistant, conn Conn, peer Peer) *Session {
	s := &Session{
		assistant: a, conn: conn, peer: peer, closed: make(chan struct{}),
		outbox: make(chan wire.Frame, outboxSize), signal: make(chan struct{}, 1),
		subs: make(map[string]*subscription), asked: make(map[string]wire.Envelope),
	}
	s.ctx, s.cancel = context.WithCancelCause(a.hub.ctx)
	if peer.Conversation == "" {
		s.follow(&subscription{conversation: newConversation(s.ctx, a.hub, peer.User, "")})
	} else {
		s.home = topicOf(peer.Conversation)
	}
	return s
}

// settings are the newest ones.
func (s *Session) settings() *Assistant {
	if a := s.assistant.hub.Using(); a != nil {
		return a
	}
	return s.assistant
}

// bind opens the conversation that the whole session is about.
func (s *Session) bind() error {
	if s.home == "" {
		return nil
	}
	return s.subscribe(&request{Session: s}, s.peer.Conversation, nil)
}

// readLoop receives until the session ends, and returns why.
func (s *Session) readLoop() (cause error) {
	defer func() {
		if v := recover(); v != nil {
			cause = s.panicked(v)
		}
	}()
	if err := s.bind(); err != nil {
		return err
	}
	for s.ctx.Err() == nil {
		data, err := s.conn.Recv()
		if err != nil {
			return err
		}
		s.received.add(data)
		if err := s.receive(data); err != nil {
			return err
		}
	}
	return context.Cause(s.ctx)
}

func (s *Session) panicked(value any) error {
	err := &panicError{value, debug.Stack()}
	s.assistant.Logger.Error("session panicked", zap.Error(err), zap.ByteString("stack", err.stack))
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
		if isFaultOfOurs(err) {
			s.assistant.Logger.Warn("request failed", append(faultFields(err), zap.String("action", e.Action), zap.String("user", s.peer.User))...)
		}
		told := describeError(err)
		s.assistant.Observer.Failed(told.Reason)
		return s.reply(e, msgError.With(told))
	}
	s.assistant.Observer.Failed(ReasonInvalid)
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

// lateFrame is a direct answer that does not come from the reader.
type lateFrame struct {
	wire.Frame
	topic string // of the subscription whose events
	after uint64 // up to this number come first; 0 = none do
}

// deliver queues what answers a request from another goroutine than the reader's; where c is given, behind
// the events that are in its log now. It never blocks.
func (s *Session) deliver(e wire.Envelope, what event, c *conversation) {
	f, ok := what.plainFrame()
	if e.Extended() {
		f, ok = what.frame(), true
		f.Ref, f.Topic = e.Ref, e.Topic
	}
	late := lateFrame{Frame: f}
	if c != nil {
		late.topic, late.after = c.topic(), c.log.Last()
	}
	if ok {
		s.push(late)
	}
}

// notify tells the client something about the connection, if it knows more than the tutorial's do.
func (s *Session) notify(n NoticePayload) {
	s.mu.Lock()
	extended := s.extended
	s.mu.Unlock()
	if extended {
		s.push(lateFrame{Frame: msgNotice.With(n)})
	}
}

// push queues a frame for the writer. It never blocks.
func (s *Session) push(f lateFrame) {
	s.mu.Lock()
	s.late = append(s.late, f)
	tooMany := len(s.late) > maxLate
	s.mu.Unlock()
	if tooMany {
		s.cancel(errTooSlow)
	}
	s.wake()
}

// remember keeps the request that an answer's frames belong to.
func (s *Session) remember(messageID string, e wire.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[messageID] = e
}

// request is the one that an answer's frames belong to; ok is false where it is another session's. The
// last frame forgets it.
func (s *Session) request(messageID string, last bool) (e wire.Envelope, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok = s.asked[messageID]
	if last {
		delete(s.asked, messageID)
	}
	return e, ok
}

// forget drops the requests of a conversation that the session has left, but not those of some turns: who
// comes back before an answer's end sees its frames as any other follower does.
func (s *Session) forget(topic string, but ...*turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.asked, func(messageID string, e wire.Envelope) bool {
		return cmp.Or(e.Topic, s.home) == topic && !slices.ContainsFunc(but, func(t *turn) bool { return t.id == messageID })
	})
}

// summary is what the observer and the log are told of the session's end.
func (s *Session) summary() SessionSummary {
	cause := context.Cause(s.ctx)
	return SessionSummary{Cause: closeCause(cause), Err: cause, CloseCode: closeCode(cause), Duration: time.Since(s.since), Received: s.received.load(), Sent: s.sent.load()}
}

// logEnd writes the one line of a session.
func (s *Session) logEnd(end SessionSummary) {
	fields := []zap.Field{
		zap.String("remote_addr", s.peer.RemoteAddr), zap.String("user", s.peer.User),
		zap.String("cause", string(end.Cause)), zap.Int("close_code", end.CloseCode), zap.Duration("duration", end.Duration),
		zap.Int("messages_in", end.Received.Messages), zap.Int("bytes_in", end.Received.Bytes),
		zap.Int("messages_out", end.Sent.Messages), zap.Int("bytes_out", end.Sent.Bytes),
	}
	if s.peer.Conversation != "" {
		fields = append(fields, zap.String("conversation_id", s.peer.Conversation))
	}
	if end.Cause != CloseLeft {
		fields = append(fields, zap.Error(end.Err))
	}
	s.assistant.Logger.Info("session ended", fields...)
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
	case errors.Is(cause, errMalformed), errors.Is(cause, errTooSlow):
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
