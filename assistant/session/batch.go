package session

import (
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// batch gathers encoded frames in one buffer.
type batch struct {
	events []assistant.Event // room for one read of a log
	buf    []byte
	ends   []int // where each frame ends in buf
	views  [][]byte
	rest   func() error // sends what is left of a try; nil = nothing
}

var batches = sync.Pool{New: func() any { return &batch{events: make([]assistant.Event, 0, batchEvents)} }}

func newBatch() *batch { return batches.Get().(*batch) }

// release gives the batch to others.
func (b *batch) release() {
	b.reset()
	batches.Put(b)
}

// finish sends what is left of a try.
func (b *batch) finish() error {
	rest := b.rest
	if b.rest = nil; rest == nil {
		return nil
	}
	return rest()
}

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
