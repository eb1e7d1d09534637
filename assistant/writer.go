package assistant

import (
	"context"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

const (
	// batchEvents is how many events of a conversation are written at once. A session that has more
	// before it lags, and gets adjacent pieces merged.
	batchEvents = 256
	// maxMerged is the text of a merged piece, in bytes.
	maxMerged = 16 << 10
)

// wake makes the writer look for work, and starts one where there is none. It never blocks.
func (s *Session) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.signal <- struct{}{}:
	default:
	}
	if !s.writing {
		s.writing = true
		go s.writeLoop()
	}
}

// writeLoop writes until there is nothing more to expect, or until the session has ended: then it
// closes the connection, which ends the reader too. Serve waits for that, so no writer outlives Serve.
func (s *Session) writeLoop() {
	defer func() {
		if v := recover(); v != nil {
			s.cancel(s.panicked(v))
			s.close()
		}
	}()
	b := &batch{entries: make([]stream.Entry[event], 0, batchEvents)}
	for {
		b.reset()
		s.collect(b)
		switch {
		case len(b.ends) > 0:
			if err := s.conn.Send(b.messages()...); err != nil {
				s.cancel(err)
				s.close()
				return
			}
			s.sent.add(b.views...)
		case s.ctx.Err() != nil:
			s.close()
			return
		case !s.await():
			return
		}
	}
}

func (s *Session) close() {
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
	s.mu.Lock()
	idle := !s.streaming && len(s.signal) == 0
	if idle {
		s.writing = false
	}
	s.mu.Unlock()
	if idle {
		return false
	}
	select {
	case <-s.signal:
	case <-s.ctx.Done():
	}
	return true
}

// collect fills b with what there is to write now, or as much as one batch may take. For each conversation
// the log is read before the direct answers are taken, and written after them: so what a client is told
// first, such as subscribed or queued, comes before the events that follow from it.
func (s *Session) collect(b *batch) {
	s.direct(b)
	s.streaming = false
	lagging := false
	b.subs = s.subscriptions(b.subs[:0])
	for _, sub := range b.subs {
		entries, err := sub.conversation.log.Read(sub.cursor, b.entries)
		if s.direct(b); b.full() {
			return
		}
		if s.subscribed(sub) {
			s.advance(sub, entries, err, b)
			s.streaming = s.streaming || sub.streaming
			lagging = lagging || err != nil || len(entries) == cap(entries)
		}
	}
	s.lags(lagging)
	s.direct(b)
}

// lags tells the observer when the session begins or ceases to lag.
func (s *Session) lags(lagging bool) {
	switch {
	case lagging && !s.lagging:
		s.assistant.Observer.Lagging(1)
	case !lagging && s.lagging:
		s.assistant.Observer.Lagging(-1)
	}
	s.lagging = lagging
}

// direct adds the direct answers that b has room for.
func (s *Session) direct(b *batch) {
	for range outboxSize {
		if b.full() {
			return
		}
		select {
		case f := <-s.outbox:
			b.add(f)
			continue
		default:
		}
		break
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.late[:0]
	for _, f := range s.late {
		if sub := s.subs[f.topic]; b.full() || sub != nil && sub.cursor < f.after {
			waiting = append(waiting, f)
		} else {
			b.add(f.Frame)
		}
	}
	clear(s.late[len(waiting):])
	s.late = waiting
}

// advance adds the next events of a conversation, as they were read from its log.
func (s *Session) advance(sub *subscription, entries []stream.Entry[event], err error, b *batch) {
	switch {
	case err != nil && sub.topic == "":
		s.cancel(errTooSlow)
		return
	case err != nil:
		s.startOver(sub, b)
		return
	case len(entries) == 0:
		return
	}
	sub.cursor = entries[len(entries)-1].Seq
	if sub.topic == "" {
		sub.conversation.log.Trim(sub.cursor) // nobody else can follow a connection's own conversation
	}
	if len(entries) == cap(entries) {
		entries = merge(entries)
	} else if n := caughtUp(entries, sub.catchUpTo); n > 0 {
		live := entries[n:]
		entries = append(merge(entries[:n:n]), live...)
	}
	for _, entry := range entries {
		s.event(sub, entry, b)
	}
}

// caughtUp counts the entries up to a number.
func caughtUp(entries []stream.Entry[event], upTo uint64) (n int) {
	for n < len(entries) && entries[n].Seq <= upTo {
		n++
	}
	return n
}

// startOver gives a client that lags behind the log the whole conversation, and says so.
func (s *Session) startOver(sub *subscription, b *batch) {
	cursor, subscribed, snapshot := sub.conversation.resume(s, nil)
	sub.cursor, sub.catchUpTo, sub.streaming = cursor, cursor, subscribed.Streaming != nil
	for _, f := range []wire.Frame{msgSubscribed.With(subscribed), msgSnapshot.With(*snapshot)} {
		f.Topic = sub.topic
		b.add(f)
	}
}

// event adds an event as this session's client is to see it.
func (s *Session) event(sub *subscription, entry stream.Entry[event], b *batch) {
	e := entry.Value
	switch e.kind {
	case eventStarted:
		sub.streaming = true
	case eventCompleted:
		sub.streaming = false
	case eventDeleted:
		defer s.unfollow(sub.topic)
	}
	var asked wire.Envelope
	var mine bool
	if e.turn != nil {
		asked, mine = s.request(e.turn.id, e.kind == eventCompleted)
	} else if e.by != nil && e.by.Session == s {
		asked = e.by.envelope
	}
	if !asked.Extended() && (mine || sub.topic == "") {
		if f, ok := e.plainFrame(); ok {
			b.add(f)
		}
		return
	}
	f := e.frame()
	f.Ref, f.Topic, f.Seq = asked.Ref, sub.topic, entry.Seq
	b.add(f)
}

// merge joins adjacent pieces of one answer; the joined one has the number of its last.
func merge(entries []stream.Entry[event]) []stream.Entry[event] {
	merged := entries[:0]
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].Value.joins(entries[0].Value) {
			n++
		}
		merged = append(merged, join(entries[:n])...)
		entries = entries[n:]
	}
	return merged
}

// join makes as few entries of the same kind as maxMerged allows.
func join(run []stream.Entry[event]) []stream.Entry[event] {
	var joined []stream.Entry[event]
	var text strings.Builder
	for i, e := range run {
		text.WriteString(e.Value.text)
		if text.Len() >= maxMerged || i == len(run)-1 {
			if text.Len() > len(e.Value.text) {
				e.Value.text = text.String()
			}
			joined = append(joined, e)
			text.Reset()
		}
	}
	return joined
}

// batch gathers encoded frames in one buffer.
type batch struct {
	entries []stream.Entry[event] // room for one read of a log
	subs    []*subscription
	buf     []byte
	ends    []int // where each frame ends in buf
	views   [][]byte
}

// maxBatch ends a batch when it is reached, in bytes, and is the buffer that a writer keeps from one batch to
// the next.
const maxBatch = 64 << 10

func (b *batch) full() bool { return len(b.buf) >= maxBatch }

func (b *batch) reset() {
	if cap(b.buf) > maxBatch {
		b.buf = nil
	}
	b.buf, b.ends = b.buf[:0], b.ends[:0]
}

// add encodes f. All payloads are of our own types, so that it cannot fail but for a fault of ours.
func (b *batch) add(f wire.Frame) {
	buf, err := f.Append(b.buf)
	if err != nil {
		panic(err)
	}
	b.buf, b.ends = buf, append(b.ends, len(buf))
}

func (b *batch) messages() [][]byte {
	b.views = b.views[:0]
	start := 0
	for _, end := range b.ends {
		b.views = append(b.views, b.buf[start:end])
		start = end
	}
	return b.views
}
