// Package stream holds [Log]: an append-only sequence of numbered entries that many readers follow,
// each from its own cursor and at its own pace.
//
// Appending never blocks and never waits for a reader. Readers are notified of new entries and read when
// they like; a slow reader lags behind without affecting others. Memory is bounded in bytes: at the bound
// the oldest entries are dropped, and a reader that still needs them gets [ErrGone] instead of a gap.
package stream

import (
	"errors"
	"slices"
	"sync"
)

// ErrGone is returned when entries after the cursor are no longer in the log, or the log has ended.
var ErrGone = errors.New("entries are gone from the log")

// Entry is an element of a [Log] with its number.
type Entry[E any] struct {
	Seq   uint64 // 1 for the first entry, +1 for each
	Value E
}

// Log is a bounded, append-only, numbered sequence. It is safe for concurrent use.
type Log[E any] struct {
	size     func(E) int
	maxBytes int

	mu       sync.Mutex
	entries  []E    // entries[0] has number dropped+1
	base     []E    // the array of entries, from its start
	dropped  uint64 // number of the last entry before them
	ended    bool
	bytes    int
	watchers []*watcher // copied on write, so that they can be called without the lock
}

type watcher struct{ wake, work func() }

// maxWorking is how many watchers may work in one [Log.Notify].
const maxWorking = 16

// New returns a Log that holds at most maxBytes; size returns the bytes of an entry. The newest entry is
// always kept, even if it is larger.
func New[E any](maxBytes int, size func(E) int) *Log[E] { return NewAt(0, maxBytes, size) }

// NewAt is New for a log whose entries up to the given number are elsewhere.
func NewAt[E any](after uint64, maxBytes int, size func(E) int) *Log[E] {
	return &Log[E]{maxBytes: maxBytes, size: size, dropped: after}
}

// Append adds e, notifies the watchers, and returns its number. Locks may be held that the watchers take.
func (l *Log[E]) Append(e E) uint64 {
	seq := l.Put(e)
	l.Notify(false)
	return seq
}

// Put is Append without a word to the watchers: [Log.Notify] must follow soon.
func (l *Log[E]) Put(e E) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	grows := len(l.entries) == cap(l.entries)
	if l.entries = append(l.entries, e); grows {
		l.base = l.entries[:0]
	}
	l.bytes += l.size(e)
	n := 0
	for excess := l.bytes - l.maxBytes; excess > 0 && n < len(l.entries)-1; n++ {
		excess -= l.size(l.entries[n])
	}
	l.dropLocked(n)
	return l.dropped + uint64(len(l.entries))
}

// Notify notifies the watchers. mayWork says that the caller holds no lock and has time: then the first watchers work,
// see [Log.WatchAndWork].
func (l *Log[E]) Notify(mayWork bool) {
	l.mu.Lock()
	watchers := l.watchers
	l.mu.Unlock()
	for i, w := range slices.Backward(watchers) { // those first that only wake somebody
		if mayWork && i < maxWorking {
			w.work()
		} else {
			w.wake()
		}
	}
}

// Prepend puts entries back, in order, whose last one has the number before the first that the log holds. It reports
// false, and does nothing, where they are too large for the log, or the log has come to hold another first entry.
func (l *Log[E]) Prepend(before uint64, entries []E) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 0
	for _, e := range entries {
		size += l.size(e)
	}
	if l.dropped != before || uint64(len(entries)) > before || l.bytes+size > l.maxBytes {
		return false
	}
	l.entries = append(slices.Clone(entries), l.entries...)
	l.base = l.entries[:0]
	l.dropped -= uint64(len(entries))
	l.bytes += size
	return true
}

// End makes every later read return ErrGone, and wakes the watchers: the log goes on elsewhere, with other numbers.
func (l *Log[E]) End() {
	l.mu.Lock()
	l.ended = true
	l.dropLocked(len(l.entries))
	l.mu.Unlock()
	l.Notify(false)
}

// First returns the number before the oldest entry that the log holds.
func (l *Log[E]) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Read appends to dst the entries after the given number, oldest first, until dst is at its capacity.
// It returns ErrGone when the first of them is no longer in the log.
func (l *Log[E]) Read(after uint64, dst []Entry[E]) ([]Entry[E], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || after < l.dropped {
		return dst, ErrGone
	}
	for i := after - l.dropped; i < uint64(len(l.entries)) && len(dst) < cap(dst); i++ {
		dst = append(dst, Entry[E]{l.dropped + i + 1, l.entries[i]})
	}
	return dst, nil
}

// Each calls f with the entries after the given number, oldest first, until f returns false. The log is locked
// meanwhile, so f must not use it. Each returns ErrGone when the first of the entries is no longer in the log.
func (l *Log[E]) Each(after uint64, f func(seq uint64, e E) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || after < l.dropped {
		return ErrGone
	}
	for i := after - l.dropped; i < uint64(len(l.entries)); i++ {
		if !f(l.dropped+i+1, l.entries[i]) {
			break
		}
	}
	return nil
}

// Last returns the number of the newest entry, 0 when nothing was ever appended.
func (l *Log[E]) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped + uint64(len(l.entries))
}

// Holds reports whether everything after the given number is still in the log.
func (l *Log[E]) Holds(after uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended && after >= l.dropped
}

// Trim drops the entries up to and including number upTo.
func (l *Log[E]) Trim(upTo uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if upTo > l.dropped {
		l.dropLocked(int(min(upTo-l.dropped, uint64(len(l.entries)))))
	}
}

// keptEntries is the largest array that an empty log keeps: entries that come one by one, and are read before the
// next comes, need no allocation.
const keptEntries = 4

// dropLocked drops the n oldest entries. An array that is too large to be kept is given back when it is empty.
func (l *Log[E]) dropLocked(n int) {
	for _, e := range l.entries[:n] {
		l.bytes -= l.size(e)
	}
	clear(l.entries[:n])
	l.entries = l.entries[n:]
	l.dropped += uint64(n)
	if len(l.entries) == 0 {
		if cap(l.base) > keptEntries {
			l.base = nil
		}
		l.entries = l.base
	}
}

// Watch calls wake when there are new entries until stop is called; a call already under way may still follow.
// Calls may come from several goroutines at once; wake must not block.
func (l *Log[E]) Watch(wake func()) (stop func()) { return l.WatchAndWork(wake, wake) }

// WatchAndWork is Watch with another function for where [Log.Notify] says so. It may read the log at once, on the
// goroutine of who appends, and do with the entries what does not wait.
func (l *Log[E]) WatchAndWork(wake, work func()) (stop func()) {
	w := &watcher{wake, work}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers = append(slices.Clip(slices.Clone(l.watchers)), w)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watchers = slices.DeleteFunc(slices.Clone(l.watchers), func(other *watcher) bool { return other == w })
	}
}
