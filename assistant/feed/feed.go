// Package feed tells followers what becomes of the conversations of a user: which are created, updated and deleted,
// from whatever socket. A feed exists while it is followed and keeps only what a follower has still to read.
package feed

import (
	"slices"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
)

// maxBytes bounds what a user's feed keeps for followers that lag, in bytes.
const maxBytes = 64 << 10

// ErrGone says that a follower lags so far that changes are missing. It reads on from the newest change.
var ErrGone = stream.ErrGone

// Feeds are the feeds of all users. The zero value is ready for use. All methods are safe for concurrent use.
type Feeds struct {
	mu     sync.Mutex
	byUser map[string]*feed
}

// feed is what one user's followers read. Both fields are under the lock of Feeds.
type feed struct {
	changes   *stream.Log[assistant.Change]
	followers []*Follower
}

// Follower reads the changes of one user's list, each from its own place. Its methods are safe for concurrent use.
type Follower struct {
	feeds   *Feeds
	user    string
	feed    *feed
	unwatch func()
	cursor  uint64 // the number of the last change read; under the lock of feeds
}

// Publish tells the user's followers of a change. It never waits for them.
func (f *Feeds) Publish(user string, c assistant.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if followed := f.byUser[user]; followed != nil {
		followed.changes.Append(c)
	}
}

// IsFollowed reports whether anyone follows the user's list.
func (f *Feeds) IsFollowed(user string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byUser[user] != nil
}

// Follow follows the user's list from now on. wake is called when there may be something to read; it must not block,
// and must not use the feeds. Close must be called once.
func (f *Feeds) Follow(user string, wake func()) *Follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	followed := f.byUser[user]
	if followed == nil {
		followed = &feed{changes: stream.New(maxBytes, assistant.Change.Size)}
		if f.byUser == nil {
			f.byUser = make(map[string]*feed)
		}
		f.byUser[user] = followed
	}
	follower := &Follower{feeds: f, user: user, feed: followed, unwatch: followed.changes.Watch(wake), cursor: followed.changes.Last()}
	followed.followers = append(followed.followers, follower)
	return follower
}

// Read returns at most limit changes, oldest first. After [ErrGone] the follower's user must be listed again.
func (f *Follower) Read(limit int) (changes []assistant.Change, err error) {
	f.feeds.mu.Lock()
	defer f.feeds.mu.Unlock()
	err = f.feed.changes.Each(f.cursor, func(seq uint64, c assistant.Change) bool {
		if len(changes) == limit {
			return false
		}
		changes, f.cursor = append(changes, c), seq
		return true
	})
	if err != nil {
		f.cursor = f.feed.changes.Last()
	}
	f.feed.trim()
	return changes, err
}

// Close stops following. The last follower ends the feed.
func (f *Follower) Close() {
	f.unwatch()
	f.feeds.mu.Lock()
	defer f.feeds.mu.Unlock()
	f.feed.followers = slices.DeleteFunc(f.feed.followers, func(other *Follower) bool { return other == f })
	if f.feed.trim(); len(f.feed.followers) == 0 && f.feeds.byUser[f.user] == f.feed {
		delete(f.feeds.byUser, f.user)
	}
}

// trim forgets what all followers have read.
func (f *feed) trim() {
	read := f.changes.Last()
	for _, follower := range f.followers {
		read = min(read, follower.cursor)
	}
	f.changes.Trim(read)
}
