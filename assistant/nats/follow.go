package nats

import (
	"context"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// maxQueued is how much of a log waits for its follower, in bytes. What comes then is asked for when the follower has
// taken that.
const maxQueued = 1 << 20

// feed is a log that is followed. Its fields are under the links' lock.
type feed struct {
	link   *link
	number uint64 // of the link's feeds
	id     string
	at     assistant.Cursor // up to here the log is queued or was taken
	asked  bool             // nothing has come since it was asked for
	parked bool             // the holder sends nothing until it is asked for again

	queue []assistant.Batch
	bytes int
	ended bool
	err   error
	wake  chan struct{}
}

// follow yields a log until it ends or the loop is left.
func (l *links) follow(ctx context.Context, holder assistant.NodeID, id string, after assistant.Cursor, yield func(assistant.Batch, error) bool) {
	f := l.begin(holder, id, after)
	defer l.leave(f)
	for {
		var err error
		select {
		case <-f.wake:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-l.node.ctx.Done():
			err = assistant.ErrNoNode
		}
		if err != nil {
			yield(assistant.Batch{}, err)
			return
		}
		queue, ended, err := l.take(f)
		for _, b := range queue {
			if !yield(b, nil) {
				return
			}
		}
		if err != nil {
			yield(assistant.Batch{}, err)
		}
		if ended {
			return
		}
	}
}

func (l *links) begin(holder assistant.NodeID, id string, after assistant.Cursor) *feed {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &feed{id: id, at: after, wake: make(chan struct{}, 1)}
	if _, isSilent := l.silent[holder]; isSilent {
		f.link = &link{holder: holder}
		f.endLocked(assistant.ErrNoNode)
		return f
	}
	f.link = l.toLocked(holder)
	l.enterLocked(f)
	return f
}

// enterLocked asks for a log under a new number.
func (l *links) enterLocked(f *feed) {
	f.number, f.parked = l.nextLocked(), false
	f.link.feeds[f.number] = f
	l.sendLocked(f.link, control{Op: opFollow, Feeds: []ask{f.askLocked()}})
}

// askLocked asks for what comes next.
func (f *feed) askLocked() ask {
	f.asked = true
	return ask{f.number, f.id, f.at.Epoch, f.at.Seq}
}

// leave ends a feed here and at the holder.
func (l *links) leave(f *feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := f.link
	if k.feeds[f.number] != f {
		return // it has ended
	}
	delete(k.feeds, f.number)
	if len(k.feeds) > 0 && !f.parked {
		l.sendLocked(k, control{Op: opLeave, Feeds: []ask{{Feed: f.number}}})
	}
	l.emptyLocked(k)
}

// take returns what has come, and whether and how the feed has ended after it.
func (l *links) take(f *feed) (queue []assistant.Batch, ended bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue, f.queue, f.bytes = f.queue, nil, 0
	if f.parked && !f.ended {
		delete(f.link.feeds, f.number)
		l.enterLocked(f)
	}
	return queue, f.ended, f.err
}

// addLocked queues a batch. One that does not follow the last one is not taken: the log is asked for again.
func (l *links) addLocked(f *feed, b assistant.Batch) {
	switch {
	case b.Last <= f.at.Seq: // known
		return
	case b.First != f.at.Seq+1 && f.asked: // its first, so asking again would not help
		l.dropLocked(f)
		f.endLocked(assistant.ErrGone)
		l.emptyLocked(f.link)
		return
	case b.First != f.at.Seq+1:
		l.dropLocked(f)
		l.enterLocked(f)
		return
	}
	f.asked = false
	f.at.Seq = b.Last
	f.queue = append(f.queue, b)
	if f.bytes += len(b.Data); f.bytes > maxQueued {
		f.parked = true
		l.sendLocked(f.link, control{Op: opLeave, Feeds: []ask{{Feed: f.number}}})
	}
	f.signal()
}

// dropLocked ends a feed at the holder.
func (l *links) dropLocked(f *feed) {
	delete(f.link.feeds, f.number)
	l.sendLocked(f.link, control{Op: opLeave, Feeds: []ask{{Feed: f.number}}})
}

// endLocked lets the follower know how the log has ended, once.
func (f *feed) endLocked(err error) {
	if !f.ended {
		f.ended, f.err = true, err
	}
	f.signal()
}

func (f *feed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
