// Package memory keeps conversations in memory, up to a bound: for trying things out, and for sites
// whose conversations may be forgotten. Nothing survives the end of the process.
//
// The room is shared fairly: what has to go is taken from the owner who takes most of it, and conversations without
// messages go before others. Anonymous clients of one network count as one owner. Of an owner's conversations those go
// first that were not used for the longest time: neither updated, nor found followed when room was made. One that is
// followed goes only where its owner takes more than a fair share, which is the room divided by the number of owners, and
// for one who then does not; one with an answer that is streaming never goes. Where that makes no room, what was to be
// stored is refused with [assistant.ErrFull] and nothing goes.
//
// Files count as part of the conversation that uses them.
//
// To make room takes time that grows with the logarithm of the number of owners, for each conversation that goes or is
// followed and cannot go.
package memory

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Config bounds a [Store]. What is not positive means the default.
type Config struct {
	// MaxConversations is how many conversations are kept. Default: 10,000.
	MaxConversations int `json:"max_conversations,omitempty"`
	// MaxBytes is how much memory the conversations may take, texts and bookkeeping together, roughly.
	// Default: 64 MiB.
	MaxBytes int `json:"max_bytes,omitempty"`
}

// Store is an assistant.Store in memory.
type Store struct {
	config Config

	mu            sync.Mutex // guards the fields below and all that they hold
	conversations map[string]*conversation
	shares        map[shareKey]*share
	rankings      [2][2]ranking // of the shares, for each kind, by conversations and by bytes
	plans         uint64        // how many there were
	bytes         int           // of all conversations, and of unused files
	files         map[string]*file
	unused        []*file            // those that no message uses, the oldest first
	quotas        map[shareKey]int64 // how many bytes the files of each have
	closed        bool
	inUse         func(id string) bool
	removed       func(assistant.Owned)
}

// Open makes an empty Store.
func Open(config Config) *Store {
	config.MaxConversations = cmp.Or(max(config.MaxConversations, 0), 10_000)
	config.MaxBytes = cmp.Or(max(config.MaxBytes, 0), 64<<20)
	return &Store{
		config: config, conversations: make(map[string]*conversation), shares: make(map[shareKey]*share), rankings: newRankings(),
		files: make(map[string]*file), quotas: make(map[shareKey]int64),
		inUse: func(string) bool { return false }, removed: func(assistant.Owned) {},
	}
}

// Watch implements assistant.Bounded.
func (s *Store) Watch(inUse func(id string) bool, removed func(assistant.Owned)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inUse, s.removed = inUse, removed
}

var errClosed = errors.New("store is closed")

// usable returns why nothing can be done; nil where it can.
func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return errClosed
	}
	return context.Cause(ctx)
}

func (s *Store) find(ctx context.Context, owner, id string) (*conversation, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	c, ok := s.conversations[id]
	if !ok || c.owner != owner {
		return nil, assistant.ErrNotFound
	}
	return c, nil
}

// Create implements assistant.Store.
func (s *Store) Create(ctx context.Context, owner string, head assistant.Conversation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if _, ok := s.conversations[head.ID]; ok {
		return errors.New("conversation exists")
	}
	head.CreatedAt, head.UpdatedAt = stamp(head.CreatedAt), stamp(head.UpdatedAt)
	c := &conversation{Conversation: head, owner: owner, key: keyOf(owner, assistant.NetworkOf(ctx))}
	if err := s.makeRoom(c, 1, c.size()); err != nil {
		return err
	}
	s.conversations[c.ID] = c
	s.join(c)
	return nil
}

// Conversation implements assistant.Store.
func (s *Store) Conversation(ctx context.Context, owner, id string) (assistant.Conversation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, owner, id)
	if err != nil {
		return assistant.Conversation{}, err
	}
	return c.Conversation, nil
}

// List implements assistant.Store. It looks at all conversations of all owners.
func (s *Store) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil || owner == "" {
		return nil, err
	}
	var found []assistant.Conversation
	for _, c := range s.conversations {
		if c.owner == owner && (after == assistant.Conversation{} || lastUpdatedFirst(after, c.Conversation) < 0) {
			found = append(found, c.Conversation)
		}
	}
	slices.SortFunc(found, lastUpdatedFirst)
	return found[:min(max(limit, 0), len(found))], nil
}

func lastUpdatedFirst(a, b assistant.Conversation) int {
	return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), cmp.Compare(b.ID, a.ID))
}

// Rename implements assistant.Store.
func (s *Store) Rename(ctx context.Context, owner, id, title string, was *string) (assistant.Conversation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, owner, id)
	if err == nil && was != nil && c.Title != *was {
		err = assistant.ErrStale
	}
	if err == nil {
		err = s.makeRoom(c, 0, len(title)-len(c.Title))
	}
	if err != nil {
		return assistant.Conversation{}, err
	}
	c.Title = title
	return c.Conversation, nil
}

// Delete implements assistant.Store.
func (s *Store) Delete(ctx context.Context, owner, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, owner, id)
	if err == nil {
		s.remove(c)
	}
	return err
}

// Waiting implements assistant.Store.
func (s *Store) Waiting(ctx context.Context, t time.Time, limit int) (waiting []assistant.Owned, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	for _, c := range s.conversations {
		if len(waiting) < limit && c.UpdatedAt.Before(t) && slices.ContainsFunc(c.messages, func(m *message) bool { return m.Status == assistant.StatusWaiting }) {
			waiting = append(waiting, assistant.Owned{Owner: c.owner, ID: c.ID})
		}
	}
	return waiting, nil
}

// DeleteBefore implements assistant.Store. It looks at all conversations of all owners.
func (s *Store) DeleteBefore(ctx context.Context, t time.Time, limit int) (deleted []assistant.Owned, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	for _, c := range s.conversations {
		if len(deleted) >= limit {
			break
		}
		if c.UpdatedAt.Before(t) && !c.streams() {
			s.remove(c)
			deleted = append(deleted, assistant.Owned{Owner: c.owner, ID: c.ID})
		}
	}
	return deleted, nil
}

// Close forgets everything.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.conversations, s.shares, s.rankings, s.bytes = true, nil, nil, newRankings(), 0
	s.files, s.unused, s.quotas = nil, nil, nil
	return nil
}

func (s *Store) remove(c *conversation) {
	delete(s.conversations, c.ID)
	s.removeFiles(c.messages)
	s.part(c)
	s.bytes -= c.bytes
}

// updated sets UpdatedAt: c is now the last that would go.
func (s *Store) updated(c *conversation, at time.Time) {
	c.UpdatedAt = stamp(at)
	s.touch(c)
}

// stamp returns t as every store keeps it: in UTC, to the millisecond.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

var _ assistant.Bounded = (*Store)(nil)
