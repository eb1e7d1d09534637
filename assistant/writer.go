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
	idle := s.streaming == 0 && len(s.signal) == 0
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

// collect fills b with what there is to write now.
func (s *Session) collect(b *batch) {
	for range outboxSize {
		select {
		case f := <-s.outbox:
			b.add(f)
			continue
		default:
		}
		break
	}
	s.follow(s.own, b)
}

// follow adds the next events of a conversation.
func (s *Session) follow(sub *subscription, b *batch) {
	entries, err := sub.conversation.log.Read(sub.cursor, b.entries)
	if err != nil {
		s.cancel(errTooSlow)
		return
	}
	if len(entries) == 0 {
		return
	}
	sub.cursor = entries[len(entries)-1].Seq
	sub.conversation.log.Trim(sub.cursor) // nobody else can follow a connection's own conversation
	if len(entries) == cap(entries) {
		entries = merge(entries)
	}
	for _, entry := range entries {
		s.event(entry, b)
	}
}

// event adds an event as this session's client is to see it.
func (s *Session) event(entry stream.Entry[event], b *batch) {
	e := entry.Value
	switch e.kind {
	case eventStarted:
		s.streaming++
	case eventCompleted:
		s.streaming--
	}
	ref := s.ref(e.turn.id, e.kind == eventCompleted)
	extended := ref != ""
	if f, ok := e.frame(extended); ok {
		if extended {
			f.Ref, f.Seq = ref, entry.Seq
		}
		b.add(f)
	}
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
	buf     []byte
	ends    []int // where each frame ends in buf
	views   [][]byte
}

// maxBatch is the buffer that a writer keeps from one batch to the next, in bytes.
const maxBatch = 64 << 10

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
