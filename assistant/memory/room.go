package memory

import (
	"container/list"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// share is what one owner takes of the room, or, of anonymous owners, the clients of one network.
type share struct {
	index         int // among all
	conversations int
	bytes         int
	order         [2]list.List // of *conversation, those without messages and the others: the one that was not updated for the longest time is first
}

type shareKey struct{ owner, network string }

// What is looked through for victims.
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
		c.share = &share{index: len(s.all)}
		s.shares[c.key] = c.share
		s.all = append(s.all, c.share)
	}
	c.share.conversations++
	c.share.bytes += c.bytes
	c.listed = c.kind()
	c.place = c.share.order[c.listed].PushBack(c)
}

// part takes the conversation from its share, and the share from the store when it is empty.
func (s *Store) part(c *conversation) {
	c.share.order[c.listed].Remove(c.place)
	c.share.conversations--
	c.share.bytes -= c.bytes
	if c.share.conversations > 0 {
		return
	}
	delete(s.shares, c.key)
	last := s.all[len(s.all)-1]
	last.index = c.share.index
	s.all[last.index] = last
	s.all[len(s.all)-1] = nil
	s.all = s.all[:len(s.all)-1]
}

// touch makes the conversation the last of its share that would go.
func (c *conversation) touch() {
	c.share.order[c.listed].Remove(c.place)
	c.listed = c.kind()
	c.place = c.share.order[c.listed].PushBack(c)
}

// plan chooses the conversations that go to make room. Nothing changes until it is carried out.
type plan struct {
	store         *Store
	keep          *conversation // which the room is for
	conversations int           // too many
	bytes         int
	victims       []*conversation
	taken         map[*conversation]bool
	gone          map[*share]*share        // what of each share goes: its counts alone are used
	next          map[*share]*list.Element // where to go on in a share; nil = at its end
}

// makeRoom counts c as grown, and removes the conversations that must go for it: all of it or nothing.
func (s *Store) makeRoom(c *conversation, conversations, bytes int) error {
	p := &plan{store: s, keep: c, conversations: len(s.conversations) + conversations - s.config.MaxConversations}
	if bytes > 0 {
		p.bytes = s.bytes + bytes - s.config.MaxBytes
	}
	if !p.isEnough() && !p.choose(empty, false) && !p.choose(used, false) && !p.choose(empty, true) && !p.choose(used, true) {
		return assistant.ErrFull
	}
	for _, old := range p.victims {
		s.remove(old)
		s.removed(assistant.Owned{Owner: old.owner, ID: old.ID})
	}
	c.bytes += bytes
	s.bytes += bytes
	if c.share != nil {
		c.share.bytes += bytes
	}
	return nil
}

func (p *plan) isEnough() bool { return p.conversations <= 0 && p.bytes <= 0 }

// choose takes conversations of one kind until there is room enough, always from the share that takes most then. It
// leaves those in use alone, or, where hogs is true, takes them too, but only from others who take more than half of the
// room.
func (p *plan) choose(kind int, hogs bool) (enough bool) {
	p.next = make(map[*share]*list.Element)
	for !p.isEnough() {
		share := p.largest(kind, hogs)
		if share == nil {
			return false
		}
		place, _ := p.place(share, kind)
		p.next[share] = place.Next()
		c := place.Value.(*conversation)
		if c != p.keep && !p.taken[c] && !c.streams() && (hogs || !p.store.inUse(c.ID)) {
			p.take(c)
		}
	}
	return true
}

// place returns where to go on in a share; ok is false at its end.
func (p *plan) place(s *share, kind int) (place *list.Element, ok bool) {
	place, begun := p.next[s]
	if !begun {
		place = s.order[kind].Front()
	}
	return place, place != nil
}

func (p *plan) take(c *conversation) {
	if p.taken == nil {
		p.taken, p.gone = make(map[*conversation]bool), make(map[*share]*share)
	}
	p.taken[c] = true
	p.victims = append(p.victims, c)
	p.conversations--
	p.bytes -= c.bytes
	if p.gone[c.share] == nil {
		p.gone[c.share] = new(share)
	}
	p.gone[c.share].conversations++
	p.gone[c.share].bytes += c.bytes
}

// largest returns the share that takes most of what is short, of those that can be gone on with; nil where there is none.
func (p *plan) largest(kind int, hogs bool) (largest *share) {
	most := -1
	for _, share := range p.store.all {
		takes := p.takes(share)
		if takes <= most || hogs && !p.hogs(share) {
			continue
		}
		if _, ok := p.place(share, kind); ok {
			most, largest = takes, share
		}
	}
	return largest
}

// takes returns what is left of a share, of what is short.
func (p *plan) takes(s *share) int {
	conversations, bytes := s.conversations, s.bytes
	if gone := p.gone[s]; gone != nil {
		conversations, bytes = conversations-gone.conversations, bytes-gone.bytes
	}
	if p.conversations > 0 {
		return conversations
	}
	return bytes
}

// hogs reports whether a share takes more than half of the room, and is another's.
func (p *plan) hogs(s *share) bool {
	room := p.store.config.MaxBytes
	if p.conversations > 0 {
		room = p.store.config.MaxConversations
	}
	return s != p.store.shares[p.keep.key] && 2*p.takes(s) > room
}
