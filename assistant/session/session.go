// Package session is one socket: it turns a client's frames into commands and the events of conversations into
// frames. It alone knows frames, refs and topics; the engine is the package conversation.
//
// Start reading at the table in protocol.go: it is the protocol.
//
//	Serve ── readLoop ── receive ── Dispatch ── admit ── on… ─► Conversation.Do, direct answers
//	wake ─── writeLoop ──┬ collect ◄─ direct answers, followers
//	work ─── tryWriting ─┘
//
// Serve waits for frames on the caller's goroutine, and runs the reader's steps on another one, for which it waits: so an
// idle session keeps a small stack. A writer exists while there is something to write, and is
// waited for by the reader. Where the connection is a [trier], the goroutine that gives an answer is the writer for as
// long as it need not wait. So ping, stop and further questions are served while answers stream. When the
// session ends, whatever its client has not read by then is given up after closeFlush.
package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/feed"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"go.uber.org/zap"
)

const (
	// maxDirect is how many direct answers may wait for the writer. When they do, the reader waits, and with
	// it the client that asks faster than it reads.
	maxDirect = 16
	// maxMalformed frames within malformedWindow end a session.
	maxMalformed    = 20
	malformedWindow = time.Minute
)

// Session is one connection: a reader that dispatches, and a writer that follows conversations.
type Session struct {
	// fixed
	assistant *conversation.Assistant // the settings that it began with
	hub       *conversation.Hub
	conn      Conn
	peer      assistant.Peer
	mouth     uint64          // names the session in the keys of its commands
	home      string          // topic of the conversation that frames without a topic are about; "" = the connection's own
	ctx       context.Context // ends with the session; its cause is why
	endCtx    context.CancelCauseFunc
	closing   atomic.Bool
	closed    chan struct{} // closed when conn is; nil before the session's end
	id        uint64
	since     time.Time

	// the reader's
	malformed []time.Time // when malformed frames came, within malformedWindow
	commands  uint64      // so far

	// crossing from the reader to the writer
	signal chan struct{} // holds one: something may have to be written; nil before there can be anything

	// order is held while a command is given and its request noted, and while events become frames. So no
	// event overtakes the note of the request that it answers. Commands that wait for the store are given
	// without it.
	order      sync.Mutex
	asked      map[assistant.RequestKey]wire.Envelope // requests whose events are still to come; nil = none
	runs       map[string]assistant.RequestKey        // the request that each answer's frames belong to; nil = none
	generation int                                    // counts changes of the two
	answers    map[assistant.RequestKey]wire.Frame    // to those requests whose event may be skipped; nil = none
	changing   assistant.RequestKey                   // the request whose command waits for the store
	list       *feed.Follower                         // of the list of the user's conversations; nil = not followed

	// the writer's
	trier     trier // nil = none
	streaming bool  // a followed answer is under way
	lagging   bool  // more events wait than are written at once

	mu         sync.Mutex              // the last to be taken
	writing    bool                    // there is a writer
	tries      bool                    // who said last that there is work could have been the writer
	extended   bool                    // the client has used ref or topic
	ended      bool                    // cancel was called
	subs       []*subscription         // replaced, never changed
	endRequest context.CancelCauseFunc // ends the context of the request under way; nil = there is none
	direct     []wire.Frame            // answers that come from no log
	room       chan struct{}           // holds one: direct answers were taken; nil before the reader has waited for that
	giveUp     time.Time               // when the writer gives up what is left; zero while the session lasts

	// counted by reader and writer
	received, sent traffic
}

// sockets counts the sessions of this process, from a random number on, so that those of several nodes differ. Numbers
// stay below 2^53, as JavaScript's do.
var sockets atomic.Uint64

func init() { sockets.Store(rand.Uint64N(1 << 52)) } //nolint:gosec // no secret

// Serve is New and [Session.Serve].
func Serve(a *conversation.Assistant, conn Conn, peer assistant.Peer) error {
	return New(a, conn, peer).Serve()
}

// New makes a session on conn, which Serve runs.
func New(a *conversation.Assistant, conn Conn, peer assistant.Peer) *Session {
	s := &Session{
		assistant: a, hub: a.Hub(), conn: conn, peer: peer, mouth: assistant.NewMouth(), id: sockets.Add(1), since: time.Now(),
	}
	s.ctx, s.endCtx = context.WithCancelCause(context.Background())
	if t, ok := conn.(trier); ok && t.CanTry() {
		s.trier = t
	}
	if peer.Conversation != "" {
		s.home = topicOf(peer.Conversation)
	}
	return s
}

// Serve runs the session until either side ends it, and closes its connection. It returns why it ended: io.EOF when the
// peer closed the connection. Where the connection is an [awaiter], it needs little stack until then.
func (s *Session) Serve() error {
	if cause := s.readLoop(); !s.endQuietly(cause) {
		s.cancel(cause)
	}
	<-s.closed
	return s.leave()
}

// enter makes the session known.
func (s *Session) enter() error {
	s.hub.Attach(s)
	s.assistant.Observer.Opened(s.peer)
	return nil
}

// bind follows the conversation that the whole session is about.
func (s *Session) bind() error {
	s.mu.Lock()
	s.prepareLocked()
	s.mu.Unlock()
	return s.subscribe(wire.Envelope{}, s.peer.Conversation, nil)
}

// leave undoes enter, lets go of all conversations, and returns why the session has ended.
func (s *Session) leave() error {
	defer s.hub.Detach(s)
	s.releaseAll()
	s.lags(false)
	summary := s.summary()
	s.assistant.Observer.Closed(s.peer, summary)
	s.logEnd(summary)
	return summary.Err
}

// settings are the newest ones.
func (s *Session) settings() *conversation.Assistant { return s.hub.Using() }

// Draining implements [conversation.Mouth].
func (s *Session) Draining() {
	s.mu.Lock()
	extended := s.extended
	s.mu.Unlock()
	if extended { // the tutorial's clients know no notices
		s.push(msgNotice.With(notice(assistant.NoticeDraining)))
	}
}

// End implements [conversation.Mouth].
func (s *Session) End(cause error) { s.cancel(cause) }

// cancel ends the session; the first cause counts. It returns at once.
func (s *Session) cancel(cause error) {
	s.mu.Lock()
	isFirst := !s.ended
	if isFirst {
		s.prepareLocked() // to say goodbye
		s.endLocked(cause)
	}
	s.mu.Unlock()
	if isFirst {
		s.ending()
	}
}

func (s *Session) endLocked(cause error) {
	s.ended, s.closed = true, make(chan struct{})
	s.endCtx(cause)
	if s.endRequest != nil {
		s.endRequest(cause)
	}
}

// prepareLocked makes what a writer needs, and what is followed. A session whose client has asked nothing has neither.
func (s *Session) prepareLocked() {
	if s.signal == nil {
		s.signal = make(chan struct{}, 1)
	}
}

// endQuietly ends the session, and closes its connection, if there is no writer and nothing to write. It is the reader's.
func (s *Session) endQuietly(cause error) bool {
	s.mu.Lock()
	isQuiet := !s.ended && !s.writing && len(s.direct)+len(s.subs) == 0 && s.list == nil
	if isQuiet {
		s.writing = true // no writer begins
		s.endLocked(cause)
	}
	s.mu.Unlock()
	if isQuiet {
		s.close()
	}
	return isQuiet
}

// requestContext makes the context of a request, which ends with the session. It is not made of the session's: that would keep
// for as long as the session lasts what it needs to end others.
func (s *Session) requestContext() (ctx context.Context, done func()) {
	ctx, end := context.WithCancelCause(context.Background())
	s.mu.Lock()
	s.prepareLocked()
	if s.endRequest = end; s.ended {
		end(context.Cause(s.ctx))
	}
	s.mu.Unlock()
	return ctx, func() {
		s.mu.Lock()
		s.endRequest = nil
		s.mu.Unlock()
		end(nil)
	}
}

// own returns the subscription of the connection's own conversation, which begins with the first request about it. It is
// the reader's.
func (s *Session) own() *subscription {
	if sub := s.followed(""); sub != nil {
		return sub
	}
	sub := &subscription{conversation: s.hub.OpenOwn(s.ctx, s.peer.User)}
	sub.follower, _ = sub.conversation.Follow(nil, s.listener())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(sub)
	return sub
}

// readLoop receives until the session ends, and returns why.
func (s *Session) readLoop() error {
	err := s.guarded((*Session).enter)
	if err == nil && s.home != "" {
		err = s.apart((*Session).bind)
	}
	_, isAwaiter := s.conn.(awaiter)
	for err == nil && s.ctx.Err() == nil {
		if !isAwaiter {
			err = s.guarded((*Session).next)
		} else if err = s.guarded((*Session).idle); err == nil {
			err = s.apart((*Session).next)
		}
	}
	if err == nil {
		err = context.Cause(s.ctx)
	}
	return err
}

// idle waits for the next frame, where conn is an [awaiter].
func (s *Session) idle() error {
	s.conn.(awaiter).Await()
	return nil
}

// apart runs a step of the reader on a goroutine of its own, and waits for it.
func (s *Session) apart(step func(*Session) error) (err error) {
	var wg sync.WaitGroup
	wg.Go(func() { err = s.guarded(step) })
	wg.Wait()
	return err
}

// guarded runs a step of the reader. A panic is its error.
func (s *Session) guarded(step func(*Session) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.panicked(v)
		}
	}()
	return step(s)
}

// malformed is an error of Recv that describes one message.
type malformed interface {
	error
	Malformed()
}

// next receives one frame and handles it. Only what ends the session is returned.
func (s *Session) next() error {
	data, err := s.conn.Recv()
	switch _, isOfMessage := errors.AsType[malformed](err); {
	case isOfMessage:
		s.received.add(nil)
		return s.invalid(wire.Envelope{}, wire.NotJSON(err.Error()))
	case err != nil:
		return err
	}
	s.received.add(data)
	return s.receive(data)
}

func (s *Session) panicked(value any) error {
	err := &assistant.PanicError{Value: value, Stack: debug.Stack()}
	s.assistant.Logger.Error("session panicked", zap.Error(err), zap.ByteString("stack", err.Stack))
	return err
}

// receive handles one frame. Only what ends the session is returned.
func (s *Session) receive(data []byte) error {
	if err := s.awaitRoom(); err != nil {
		return err
	}
	ctx, done := s.requestContext()
	defer done()
	e, err := table.Dispatch(ctx, &request{s: s}, data)
	if err == nil {
		return nil
	}
	if invalid, ok := errors.AsType[*wire.ValidationError](err); ok {
		return s.invalid(e, invalid)
	}
	s.refuse(e, err)
	return nil
}

// invalid answers what reached no handler. Too much of it ends the session.
func (s *Session) invalid(e wire.Envelope, invalid *wire.ValidationError) error {
	s.assistant.Observer.Failed(assistant.ReasonInvalid)
	s.reply(e, msgInvalid.With(invalid.Items))
	if invalid.Malformed && s.tooManyMalformed(time.Now()) {
		return errMalformed
	}
	return nil
}

// refuse answers a request with an error.
func (s *Session) refuse(e wire.Envelope, err error) {
	if isFaultOfOurs(err) {
		s.assistant.Logger.Warn("request failed", append(assistant.FaultFields(err), zap.String("action", e.Action), zap.String("user", s.peer.User))...)
	}
	failed := assistant.Describe(err)
	s.assistant.Observer.Failed(failed.Reason)
	s.reply(e, msgError.With(errorPayload(failed)))
}

func (s *Session) tooManyMalformed(now time.Time) bool {
	for len(s.malformed) > 0 && now.Sub(s.malformed[0]) >= malformedWindow {
		s.malformed = s.malformed[1:]
	}
	s.malformed = append(s.malformed, now)
	return len(s.malformed) >= maxMalformed
}

// awaitRoom waits while as many direct answers wait as may.
func (s *Session) awaitRoom() error {
	for {
		s.mu.Lock()
		isFull := len(s.direct) >= maxDirect
		if isFull && s.room == nil {
			s.room = make(chan struct{}, 1)
		}
		room := s.room
		s.mu.Unlock()
		if !isFull {
			return nil
		}
		select {
		case <-room:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// reply queues a direct answer to a request.
func (s *Session) reply(e wire.Envelope, f wire.Frame) {
	f.Ref, f.Topic = e.Ref, e.Topic
	s.push(f)
}

// push queues a frame for the writer. It never blocks.
func (s *Session) push(f wire.Frame) {
	s.mu.Lock()
	s.prepareLocked()
	s.direct = append(s.direct, f)
	s.mu.Unlock()
	s.wake()
}

var _ conversation.Mouth = (*Session)(nil)
