package memory

import (
	"container/list"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// share is what one owner takes of the room, or, of anonymous owners, the clients of one network.
type share struct {
	takes [2]int       // by conversations and by bytes
	order [2]list.List // of *conversation, those without messages and the others: the one that was not used for the longest time is first
	rank  [2][2]int    // places in the store's rankings
	draft draft
}

// draft is what a plan makes of a share.
type draft struct {
	plan  uint64        // its number: what another has left counts for nothing
	gone  [2]int        // what goes
	phase int           // the phase of the plan that place belongs to
	place *list.Element // where to go on; nil = at the end
}

type shareKey struct{ owner, network string }

// The kinds of conversations.
const (
	empty = iota
	used
)

func (c *conversation) kind() int {
	if len(c.messages) == 0 {
		return empty
	}
	return used
}

func keyOf(owner, network string) shareKey {
	if owner != "" {
		network = ""
	}
	return shareKey{owner, network}
}

// join gives a conversation a place in its share.
func (s *Store) join(c *conversation) {
	if c.share = s.shares[c.key]; c.share == nil {
		c.share = &share{rank: [2][2]int{{unranked, unranked}, {unranked, unranked}}}
		s.shares[c.key] = c.share
	}
	c.share.takes[byConversations]++
	c.share.takes[byBytes] += c.bytes
	c.listed = c.kind()
	c.place = c.share.order[c.listed].PushBack(c)
	s.rank(c.share)
}

// part takes the conversation from its share, and the share from the store when it is empty.
func (s *Store) part(c *conversation) {
	c.share.order[c.listed].Remove(c.place)
	c.share.takes[byConversations]--
	c.share.takes[byBytes] -= c.bytes
	if s.rank(c.share); c.share.takes[byConversations] == 0 {
		delete(s.shares, c.key)
	}
}

// touch makes the conversation the last of its share that would go.
func (s *Store) touch(c *conversation) {
	c.share.order[c.listed].Remove(c.place)
	c.listed = c.kind()
	c.place = c.share.order[c.listed].PushBack(c)
	s.rank(c.share)
}

// plan chooses the conversations that go to make room. Nothing goes until it is carried out.
type plan struct {
	store   *Store
	number  uint64        // of this plan among all of the store
	keep    *conversation // which the room is for
	grows   [2]int        // by how much: conversations and bytes
	short   [2]int        // what is too much
	phase   int           // counts the calls of choose
	victims []*conversation
	inUse   []*conversation // of those that were looked at
}

// makeRoom counts c as grown, and removes the conversations that must go for it: all of it or nothing.
func (s *Store) makeRoom(c *conversation, conversations, bytes int) error {
	s.plans++
	p := &plan{store: s, number: s.plans, keep: c, grows: [2]int{conversations, bytes}}
	p.short[byConversations] = len(s.conversations) + conversations - s.config.MaxConversations
	if bytes > 0 {
		p.short[byBytes] = s.bytes + bytes - s.config.MaxBytes
	}
	enough := p.isEnough() || p.choose(empty, false) || p.choose(used, false) || p.choose(empty, true) || p.choose(used, true)
	for _, followed := range p.inUse {
		followed.share.order[followed.listed].MoveToBack(followed.place)
	}
	if !enough {
		return assistant.ErrFull
	}
	for _, old := range p.victims {
		s.remove(old)
		s.removed(assistant.Owned{Owner: old.owner, ID: old.ID})
	}
	c.bytes += bytes
	s.bytes += bytes
	if c.share != nil {
		c.share.takes[byBytes] += bytes
		s.rank(c.share)
	}
	return nil
}

func (p *plan) isEnough() bool { return p.short[byConversations] <= 0 && p.short[byBytes] <= 0 }

// choose takes conversations of one kind until there is room enough, always from the share that takes most then. It
// leaves those in use alone, or, where hogs is true, takes them too, but only for one who stays within a fair share, from
// others who take more than that.
func (p *plan) choose(kind int, hogs bool) (enough bool) {
	p.phase++
	for by := range p.short {
		if hogs && p.left(p.store.shares[p.keep.key], by)+p.grows[by] > p.fair(by) {
			continue
		}
		left := func(s *share) int { return p.left(s, by) }
		shares := p.store.rankings[kind][by].descend()
		for s := shares.largest(left); s != nil && p.short[by] > 0 && (!hogs || left(s) > p.fair(by)); s = shares.largest(left) {
			if hogs && s == p.store.shares[p.keep.key] {
				continue
			}
			if c := p.victim(s, kind, hogs); c != nil {
				p.take(c)
				shares.again(s, left(s))
			}
		}
	}
	return p.isEnough()
}

// victim returns the next conversation of a share that can go, nil at its end.
func (p *plan) victim(s *share, kind int, hogs bool) *conversation {
	d := p.draft(s)
	if d.phase != p.phase {
		d.phase, d.place = p.phase, s.order[kind].Front()
	}
	for d.place != nil {
		c := d.place.Value.(*conversation)
		d.place = d.place.Next()
		switch {
		case c == p.keep || c.taken == p.number || c.streams():
		case !hogs && p.store.inUse(c.ID):
			p.inUse = append(p.inUse, c)
		default:
			return c
		}
	}
	return nil
}

func (p *plan) take(c *conversation) {
	c.taken = p.number
	p.victims = append(p.victims, c)
	for by, n := range [2]int{1, c.bytes} {
		p.draft(c.share).gone[by] += n
		p.short[by] -= n
	}
}

// draft returns what this plan makes of a share.
func (p *plan) draft(s *share) *draft {
	if s.draft.plan != p.number {
		s.draft = draft{plan: p.number}
	}
	return &s.draft
}

// left returns what a share takes when the victims are gone; that is nothing of one that is not there yet.
func (p *plan) left(s *share, by int) int {
	if s == nil {
		return 0
	}
	return s.takes[by] - p.draft(s).gone[by]
}

// fair returns the part of the room that each owner would have if all had the same.
func (p *plan) fair(by int) int {
	room, owners := [2]int{p.store.config.MaxConversations, p.store.config.MaxBytes}[by], len(p.store.shares)
	if p.store.shares[p.keep.key] == nil {
		owners++
	}
	return room / owners
}
