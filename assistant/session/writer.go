package session

import (
	"context"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

const (
	// batchEvents is how many events of a conversation are written at once. A session that has more
	// before it lags, and gets adjacent pieces merged.
	batchEvents = 256
	// maxMerged is the text of a merged piece, in bytes.
	maxMerged = 16 << 10
	// maxBatch ends a batch when it is reached, in bytes, and is the buffer that a writer keeps from one
	// batch to the next.
	maxBatch = 64 << 10
	// closeFlush is how long a session goes on writing after its end, for clients that keep up: the last
	// events of an interrupted answer, the notice that the server stops. Then its connection is closed, also
	// in the middle of a write.
	closeFlush = 400 * time.Millisecond
)

// wake makes the writer look for work, and starts one where there is none. It never blocks.
func (s *Session) wake() {
	if s.isFirst(false) {
		go s.writeLoop(newBatch())
	}
}

// work is wake where its caller may be the writer, for as long as nothing needs a wait.
func (s *Session) work() {
	if s.isFirst(true) {
		s.tryWriting()
	}
}

// isFirst says that there is work, and reports whether the caller must see to it: there was no writer.
func (s *Session) isFirst(tries bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	wasWriting := s.writing
	if s.writing, s.tries = true, tries; wasWriting {
		stream.Wake(s.signal)
	}
	return !wasWriting
}

// tryWriting is a writer that does not wait. What needs a wait it leaves to another one.
func (s *Session) tryWriting() {
	b := newBatch()
	if s.tryBatch(b) && s.rests() {
		b.release()
		return
	}
	go s.writeLoop(b)
}

// tryBatch writes what there is, and reports whether that was possible without a wait.
func (s *Session) tryBatch(b *batch) (done bool) {
	defer func() {
		if v := recover(); v != nil {
			s.cancel(s.panicked(v))
			done = false
		}
	}()
	if s.ctx.Err() != nil || !s.tryCollect(b) {
		return false
	}
	if len(b.ends) == 0 {
		return true
	}
	var err error
	if b.rest, err = s.trier.TrySend(b.messages()...); err != nil {
		s.cancel(err)
		return false
	}
	s.sent.add(b.views...)
	return b.rest == nil
}

// ending runs when the session's context ends: it gives the writer closeFlush to say goodbye.
func (s *Session) ending() {
	s.mu.Lock()
	s.giveUp = time.Now().Add(closeFlush)
	s.mu.Unlock()
	time.AfterFunc(closeFlush, s.close) // a writer that waits for its client cannot
	s.wake()
}

// givenUp reports whether the time for what is left to write is over.
func (s *Session) givenUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.giveUp.IsZero() && !time.Now().Before(s.giveUp)
}

// writeLoop writes until there is nothing more to expect, or until the session has ended: then it
// closes the connection, which ends the reader too. Serve waits for that, so no writer outlives Serve.
// It begins with what is left of a batch.
func (s *Session) writeLoop(b *batch) {
	defer func() {
		if v := recover(); v != nil {
			s.cancel(s.panicked(v))
			s.close()
		}
	}()
	err := b.finish()
	for {
		b.reset()
		if err == nil && !s.givenUp() {
			s.collect(b)
		}
		switch {
		case err == nil && len(b.ends) > 0:
			if err = s.conn.Send(b.messages()...); err == nil {
				s.sent.add(b.views...)
			}
		case err != nil:
			s.cancel(err)
			s.close()
			return
		case s.ctx.Err() != nil:
			s.close()
			return
		case !s.await():
			b.release()
			return
		}
	}
}

// close closes the connection, once.
func (s *Session) close() {
	if !s.closing.CompareAndSwap(false, true) {
		return
	}
	defer close(s.closed)
	defer func() {
		if v := recover(); v != nil {
			_ = s.panicked(v)
		}
	}()
	cause := context.Cause(s.ctx)
	_ = s.conn.Close(closeCode(cause), closeReason(cause))
}

// await waits for work. It returns false, and the writer is gone, when none is there and no answer is
// under way: so an idle session costs one goroutine, not two.
func (s *Session) await() bool {
	if s.rests() {
		return false
	}
	select {
	case <-s.signal:
	case <-s.ctx.Done():
	}
	return true
}

// rests reports whether there is no work, and none to wait for. Then the writer is gone.
func (s *Session) rests() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	rests := len(s.signal) == 0 && (!s.streaming || s.tries)
	s.writing = !rests
	return rests
}

// collect fills b with what there is to write now, or as much as one batch may take.
func (s *Session) collect(b *batch) {
	s.order.Lock()
	defer s.order.Unlock()
	s.collectLocked(b)
}

// tryCollect is collect; false where that needs a wait.
func (s *Session) tryCollect(b *batch) bool {
	if !s.order.TryLock() {
		return false
	}
	defer s.order.Unlock()
	s.collectLocked(b)
	return true
}

func (s *Session) collectLocked(b *batch) {
	s.takeDirect(b)
	s.takeList(b)
	s.streaming = false
	lagging := false
	for _, sub := range s.subscriptions() {
		lagging = s.advance(sub, b) || lagging
		s.streaming = s.streaming || sub.streaming
	}
	if s.lags(lagging); lagging {
		stream.Wake(s.signal) // there is more, also where nothing of this was for the client
	}
}

// lags reports to the observer when the session begins or ceases to lag.
func (s *Session) lags(lagging bool) {
	switch {
	case lagging && !s.lagging:
		s.assistant.Observer.Lagging(1)
	case !lagging && s.lagging:
		s.assistant.Observer.Lagging(-1)
	}
	s.lagging = lagging
}

// takeDirect adds the direct answers that b has room for.
func (s *Session) takeDirect(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.direct) && !b.full() {
		b.add(s.direct[n])
		n++
	}
	if n == 0 {
		return
	}
	if s.direct = slices.Delete(s.direct, 0, n); len(s.direct) == 0 {
		s.direct = nil
	} else {
		stream.Wake(s.signal)
	}
	stream.Wake(s.room)
}

// advance adds the next events of a conversation, as many as b has room for, and reports whether the session
// lags behind it. order is held.
func (s *Session) advance(sub *subscription, b *batch) (lagging bool) {
	switch {
	case sub.ended:
		return false
	case b.full():
		stream.Wake(s.signal)
		return false
	}
	if len(sub.ready) > 0 {
		return s.write(sub, sub.ready, b) > 0
	}
	events, err := sub.follower.Read(b.events[:0])
	defer clear(events) // it becomes shorter below, its array does not
	if sub.topic == "" {
		sub.follower.Forget()
	}
	lagging = len(events) == cap(events)
	if lagging {
		events = merge(events)
	} else if n := caughtUp(events, sub.catchUpTo); n > 0 {
		live := events[n:]
		events = append(merge(events[:n:n]), live...)
	}
	left := s.write(sub, events, b)
	switch {
	case err == nil:
		return lagging || left > 0
	case sub.topic == "": // it has no snapshot
		s.cancel(conversation.ErrTooSlow)
	case left > 0:
		stream.Wake(s.signal)
	default:
		s.startOver(sub, b)
	}
	return true
}

// write adds events until b is full; it returns how many are left for the next batch.
func (s *Session) write(sub *subscription, events []assistant.Event, b *batch) (left int) {
	n := 0
	for n < len(events) && !b.full() && !sub.ended {
		s.event(sub, events[n], b)
		n++
	}
	sub.ready = nil
	if sub.ended {
		return 0 // the conversation was deleted
	}
	if n < len(events) {
		sub.ready = slices.Clone(events[n:])
		stream.Wake(s.signal)
	}
	return len(sub.ready)
}

// caughtUp counts the events up to a number.
func caughtUp(events []assistant.Event, upTo uint64) (n int) {
	for n < len(events) && events[n].Seq <= upTo {
		n++
	}
	return n
}

// startOver gives a client that lags behind the log the whole conversation, and says so.
func (s *Session) startOver(sub *subscription, b *batch) {
	for _, f := range s.beginsAt(sub, sub.follower.Restart(nil)) {
		b.add(f)
	}
}

// event adds an event as this session's client is to see it.
func (s *Session) event(sub *subscription, e assistant.Event, b *batch) {
	if sub.run != e.Run || sub.generation != s.generation || e.Kind != assistant.KindPiece && e.Kind != assistant.KindReasoning || e.Seq == 0 {
		sub.envelope, sub.mine = s.requestLocked(e)
		sub.run, sub.generation = e.Run, s.generation
	}
	envelope, mine := sub.envelope, sub.mine
	if e.Seq == 0 {
		sub.run = "" // an answer's number may be the same in the log
		if mine && e.Kind == assistant.KindJoined {
			s.joinLocked(e)
		} else if mine {
			s.addressed(e, envelope, b)
		}
		return
	}
	switch e.Kind {
	case assistant.KindStarted:
		sub.streaming = true
	case assistant.KindCompleted:
		sub.streaming = false
	case assistant.KindDeleted:
		defer s.unsubscribeLocked(sub.topic)
		s.refuseLocked(sub.topic)
	}
	if !envelope.Extended() && (mine || sub.topic == "") {
		if f, ok := plainFrame(e); ok {
			b.add(f)
		}
		return
	}
	f := frameOf(e)
	f.Ref, f.Topic, f.Seq = envelope.Ref, sub.topic, e.Seq
	b.add(f)
}

// addressed adds an event for this session alone.
func (s *Session) addressed(e assistant.Event, envelope wire.Envelope, b *batch) {
	f, ok := plainFrame(e)
	if envelope.Extended() {
		f, ok = frameOf(e), true
		f.Ref, f.Topic = envelope.Ref, envelope.Topic
	}
	if ok {
		b.add(f)
	}
}
