package brokertest

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Member is an [assistant.Member] that keeps what it is told.
type Member struct {
	// Reply serves calls. It is set before there are any.
	Reply func(ctx context.Context, from assistant.NodeID, request []byte) []byte

	mu        sync.Mutex
	logs      map[string]*Log
	heard     []Heard
	lost      int  // how often announcements may have been lost
	panics    bool // Standings does
	panicked  int
	following int // Events that are under way
}

// Heard is an announcement.
type Heard struct {
	From assistant.NodeID
	assistant.Standing
}

// NewMember returns a member without logs, which replies with the sender and the request.
func NewMember() *Member { return &Member{Reply: echo, logs: map[string]*Log{}} }

// echo replies with the sender and the request.
func echo(_ context.Context, from assistant.NodeID, request []byte) []byte {
	return echoed(from, request)
}

func echoed(from assistant.NodeID, request []byte) []byte {
	return append(fmt.Appendf(nil, "%d ", from), request...)
}

// Standings implements assistant.Member.
func (m *Member) Standings(from assistant.NodeID, s []assistant.Standing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.panics {
		m.panicked++
		panic("standings")
	}
	if len(s) == 0 {
		m.lost++
	}
	for _, standing := range s {
		m.heard = append(m.heard, Heard{from, standing})
	}
}

// panic lets Standings panic or not, and returns how often it has.
func (m *Member) panic(panics bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.panics = panics
	return m.panicked
}

// Last returns what was said last of a conversation, and how often announcements may have been lost.
func (m *Member) Last(id string) (last Heard, lost int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range slices.Backward(m.heard) {
		if h.ID == id {
			return h, m.lost
		}
	}
	return Heard{}, m.lost
}

// said returns the last change and the last place in the log that were announced of a conversation.
func (m *Member) said(id string) (change assistant.ChangeKind, at assistant.Cursor, lost int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.heard {
		if h.ID == id {
			change, at = cmp.Or(h.Change, change), cmp.Or(h.Cursor, at)
		}
	}
	return change, at, m.lost
}

// Hold lets Standings wait until release is called.
func (m *Member) Hold() (release func()) {
	m.mu.Lock()
	return sync.OnceFunc(m.mu.Unlock)
}

// Serve implements assistant.Member.
func (m *Member) Serve(ctx context.Context, from assistant.NodeID, request []byte) []byte {
	return m.Reply(ctx, from, request)
}

// Events implements assistant.Member.
func (m *Member) Events(ctx context.Context, id string, after assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	return func(yield func(assistant.Batch, error) bool) {
		l := m.enter(id)
		defer m.leave()
		if l == nil {
			panic("events of " + id)
		}
		l.follow(ctx, after)(yield)
	}
}

func (m *Member) enter(id string) *Log {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.following++
	return m.logs[id]
}

func (m *Member) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.following--
}

// Followers returns how many Events are under way.
func (m *Member) Followers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.following
}

// Log is a conversation's. It yields all that there is in one batch, as a log does whose follower lags.
type Log struct {
	epoch string

	mu       sync.Mutex
	events   []assistant.Event
	trimmed  uint64 // number of the last event that is not there any more
	released bool
	changed  chan struct{} // closed at each change
}

// NewLog gives the node a log with n events.
func (m *Member) NewLog(id string, n int) *Log {
	l := &Log{epoch: assistant.NewID(), changed: make(chan struct{})}
	m.mu.Lock()
	m.logs[id] = l
	m.mu.Unlock()
	for range n {
		l.Append("piece")
	}
	return l
}

func (l *Log) Append(text string) { l.change(func() { l.appendLocked(text) }) }

func (l *Log) appendLocked(text string) {
	l.events = append(l.events, assistant.Event{
		Seq: l.trimmed + uint64(len(l.events)) + 1, Kind: assistant.KindPiece, Run: "run", Text: text,
	})
}

// Trim drops the n oldest events.
func (l *Log) Trim(n int) {
	l.change(func() {
		l.events = l.events[n:]
		l.trimmed += uint64(n)
	})
}

// forget drops all events but the newest thousand.
func (l *Log) forget() {
	l.mu.Lock()
	n := len(l.events) - 1000
	l.mu.Unlock()
	if n > 0 {
		l.Trim(n)
	}
}

func (l *Log) Release() { l.change(func() { l.released = true }) }

func (l *Log) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

// Start is the place before the log's first event.
func (l *Log) Start() assistant.Cursor { return assistant.Cursor{Epoch: l.epoch} }

func (l *Log) read(after uint64) (events []assistant.Event, released bool, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after < l.trimmed {
		return nil, false, nil, assistant.ErrGone
	}
	return slices.Clone(l.events[min(after-l.trimmed, uint64(len(l.events))):]), l.released, l.changed, nil
}

func (l *Log) follow(ctx context.Context, after assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	return func(yield func(assistant.Batch, error) bool) {
		if after.Epoch != l.epoch {
			yield(assistant.Batch{}, assistant.ErrGone)
			return
		}
		for {
			events, released, changed, err := l.read(after.Seq)
			switch {
			case err != nil:
				yield(assistant.Batch{}, err)
				return
			case len(events) == 0 && released:
				return
			case len(events) == 0:
				select {
				case <-changed:
				case <-ctx.Done():
					yield(assistant.Batch{}, context.Cause(ctx))
					return
				}
				continue
			}
			b, err := assistant.NewBatch(l.epoch, events)
			if !yield(b, err) || err != nil {
				return
			}
			after.Seq = b.Last
		}
	}
}

// Text returns the log's pieces together.
func (l *Log) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return textOf(l.events)
}

func textOf(events []assistant.Event) string {
	var text strings.Builder
	for _, e := range events {
		text.WriteString(e.Text)
	}
	return text.String()
}

var _ assistant.Member = (*Member)(nil)
