package memory

import (
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
)

// audited is a Store whose books are checked when it is closed.
type audited struct {
	*Store

	t *testing.T
}

func (s audited) Close() error {
	s.t.Helper()
	s.mu.Lock()
	if !s.closed {
		s.audit()
	}
	s.mu.Unlock()
	return s.Store.Close()
}

func (s audited) audit() {
	s.t.Helper()
	total := 0
	for id, c := range s.conversations {
		n := c.size()
		for _, m := range c.messages {
			n += m.size()
			if m.Status != assistant.StatusStreaming && len(m.chunks) > 0 {
				s.t.Errorf("message %s has chunks left", m.ID)
			}
		}
		if n != c.bytes {
			s.t.Errorf("conversation %s has %d bytes, %d are counted", id, n, c.bytes)
		}
		if c.place.Value != c || c.listed != c.kind() || c.share != s.shares[c.key] {
			s.t.Errorf("conversation %s is not in its place", id)
		}
		total += n
	}
	shared, conversations, listed := 0, 0, 0
	for _, share := range s.shares {
		shared, conversations = shared+share.takes[byBytes], conversations+share.takes[byConversations]
		listed += share.order[empty].Len() + share.order[used].Len()
		s.auditRank(share)
	}
	if total != s.bytes || total != shared || conversations != len(s.conversations) || listed != conversations {
		s.t.Errorf("%d bytes in %d conversations; counted are %d, and in shares %d in %d, of which %d are listed", total, len(s.conversations), s.bytes, shared, conversations, listed)
	}
}

// auditRank checks that a share is in each ranking to which it belongs, and behind none that takes less.
func (s audited) auditRank(share *share) {
	s.t.Helper()
	for kind := range s.rankings {
		for by := range s.rankings[kind] {
			ranked, at := s.rankings[kind][by].shares, share.rank[kind][by]
			switch isThere := share.order[kind].Len() > 0; {
			case isThere != (at != unranked) || isThere && ranked[at] != share:
				s.t.Errorf("a share with %d conversations of kind %d has place %d", share.order[kind].Len(), kind, at)
			case isThere && ranked[(at-1)/2].takes[by] < share.takes[by]:
				s.t.Errorf("a share that takes %d is behind one that takes %d", share.takes[by], ranked[(at-1)/2].takes[by])
			}
		}
	}
}

// The books are right after all that the suite does.
func TestStore(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T) assistant.Store {
		t.Helper()
		return audited{Open(Config{}), t}
	})
}

func TestDefaults(t *testing.T) {
	for _, config := range []Config{{}, {MaxConversations: -1, MaxBytes: -1}} {
		if got, want := Open(config).config, (Config{MaxConversations: 10_000, MaxBytes: 64 << 20}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}
