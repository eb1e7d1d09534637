package conversation

import (
	"errors"
	"slices"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
)

// maxInbox is how many events may wait for one mouth alone. They are answers to what it asked, so that one
// which asks for more and reads none must be dropped.
const maxInbox = 256 // and those of one answer more

var (
	// ErrGone says that a follower lags so far that the log no longer holds its next event: [Follower.Restart]
	// goes on from a snapshot.
	ErrGone = stream.ErrGone
	// ErrTooSlow is why a mouth ends that asks for more than it reads.
	ErrTooSlow = errors.New("client is too slow for its conversation")
)

// Follower reads the events of a conversation from a cursor on, at its own pace. It never slows the answer
// or another follower. All methods are safe for concurrent use.
type Follower struct {
	conversation *Conversation
	listener     Listener

	mu      sync.Mutex
	log     *stream.Log[assistant.Event] // that of the conversation's view when it began or began anew
	unwatch func()
	cursor  uint64      // the number of the last event read
	inbox   []addressed // in order
}

// Listener is the mouth of a [Follower]. Its functions must not block; locks of the engine may be held.
type Listener struct {
	Mouth   uint64 // in the keys of its commands
	Wake    func() // called when there may be something to read
	TooSlow func() // called when the mouth asks for more than it reads, and must end
	// Work is called in place of Wake where no lock is held, on the goroutine that gives the answer: it may read, and do
	// what does not wait. nil = Wake.
	Work func()
}

// addressed is an event for one mouth alone, which comes after the event of that number.
type addressed struct {
	event assistant.Event
	after uint64
}

// Position is where a follower begins.
type Position struct {
	assistant.Cursor        // of the last event that it has seen, or that the snapshot contains
	Last             uint64 // the number of the last event so far
	Recovered        bool   // what was missed follows as events; otherwise Snapshot has it
	Running          string // id of the running answer, where its start has been seen; "" = none
	Snapshot         *assistant.Snapshot
	Deleted          bool // the conversation is gone; the event that says so follows
	// Unended are the answers that run or wait. A mouth that gets a snapshot has missed the ends of all
	// others.
	Unended []string
	// Addressed are the commands whose events for this mouth alone are still to be read.
	Addressed []assistant.RequestKey
}

// Follow follows the conversation: events after the cursor where the log still holds them all, otherwise those
// after a snapshot. A nil cursor asks for the snapshot.
func (c *Conversation) Follow(after *assistant.Cursor, l Listener) (*Follower, Position) {
	f := &Follower{conversation: c, listener: l}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.positionLocked(after)
	f.cursor, f.log = p.Seq, c.view.Log
	f.watch()
	c.followers = append(c.followers, f)
	return f, p
}

// watch watches the log.
func (f *Follower) watch() {
	if l := f.listener; l.Work == nil {
		f.unwatch = f.log.Watch(l.Wake)
	} else {
		f.unwatch = f.log.WatchAndWork(l.Wake, l.Work)
	}
}

// positionLocked decides how a follower begins that has seen everything up to the cursor.
func (c *Conversation) positionLocked(after *assistant.Cursor) Position {
	p := Position{Cursor: c.view.Cursor(), Last: c.view.Log.Last()}
	for _, t := range c.unendedLocked() {
		p.Unended = append(p.Unended, t.id)
	}
	if a := c.view.Running; a != nil {
		p.Running = a.ID
		if !slices.Contains(p.Unended, a.ID) { // another node gives it
			p.Unended = append(p.Unended, a.ID)
		}
	}
	if after != nil && after.Epoch == p.Epoch && after.Seq <= p.Last && c.view.Log.Holds(after.Seq) {
		p.Seq, p.Recovered = after.Seq, true
		return p
	}
	whole := c.view.Snapshot()
	p.Snapshot = &whole
	if c.view.Gone > 0 {
		p.Seq, p.Deleted = c.view.Gone-1, true
		whole.Messages, whole.HasMore = []assistant.Message{}, false
	}
	return p
}

// Read appends the next events to dst, oldest first, until dst is at its capacity or no more is there. Events
// for this mouth alone, whose Seq is 0, come in their place. The error is [ErrGone].
func (f *Follower) Read(dst []assistant.Event) ([]assistant.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.log.Each(f.cursor, func(seq uint64, e assistant.Event) bool {
		if dst = f.takeLocked(dst); len(dst) == cap(dst) {
			return false
		}
		e.Seq, f.cursor = seq, seq
		dst = append(dst, e)
		return true
	})
	return f.takeLocked(dst), err
}

// takeLocked moves events whose place has come from the inbox to dst.
func (f *Follower) takeLocked(dst []assistant.Event) []assistant.Event {
	n := 0
	for n < len(f.inbox) && f.inbox[n].after <= f.cursor && len(dst) < cap(dst) {
		dst = append(dst, f.inbox[n].event)
		n++
	}
	if n == len(f.inbox) {
		f.inbox = nil
	} else {
		f.inbox = slices.Delete(f.inbox, 0, n)
	}
	return dst
}

// Restart begins anew, as [Conversation.Follow] does. Events for this mouth alone stay.
func (f *Follower) Restart(after *assistant.Cursor) Position {
	f.conversation.mu.Lock()
	defer f.conversation.mu.Unlock()
	p := f.conversation.positionLocked(after)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cursor = p.Seq
	isOther := f.log != f.conversation.view.Log
	if isOther {
		f.conversation.fromBaseLocked(f.log, &p)
		f.cursor = p.Seq
		f.unwatch()
		f.log = f.conversation.view.Log
		f.watch()
	}
	for i, a := range f.inbox {
		if isOther {
			f.inbox[i].after = 0
		}
		p.Addressed = append(p.Addressed, a.event.From)
	}
	return p
}

// fromBaseLocked lets a follower of the log before this one begin where the view began, so that it sees the end of an
// answer as an event.
func (c *Conversation) fromBaseLocked(former *stream.Log[assistant.Event], p *Position) {
	m := &c.mirror
	if former != m.former || p.Recovered || !c.view.Log.Holds(m.from) {
		return
	}
	base := *m.base
	p.Seq, p.Snapshot = m.from, &base
	if base.Running != nil {
		p.Running = base.Running.ID
		p.Unended = append(p.Unended, p.Running)
	}
}

// Forget lets go of events up to the number of the last that was read. It is for a connection's own
// conversation, which no one else follows.
func (f *Follower) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log.Trim(f.cursor)
}

// Close stops following.
func (f *Follower) Close() {
	f.mu.Lock()
	f.unwatch()
	f.mu.Unlock()
	c := f.conversation
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followers = slices.DeleteFunc(c.followers, func(other *Follower) bool { return other == f })
}

// deliverLocked sends events to the mouth that gave a command, after the events that are in the log now. They
// have no number. A mouth that no longer follows gets nothing.
func (c *Conversation) deliverLocked(to assistant.RequestKey, events ...assistant.Event) {
	after := c.view.Log.Last()
	for _, f := range c.followers {
		if f.listener.Mouth != to.Mouth {
			continue
		}
		f.mu.Lock()
		tooMany := len(f.inbox) > maxInbox
		for _, e := range events {
			e.From = to
			f.inbox = append(f.inbox, addressed{e, after})
		}
		f.mu.Unlock()
		f.listener.Wake()
		if tooMany {
			f.listener.TooSlow()
		}
	}
}
