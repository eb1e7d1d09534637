package memory

import "container/heap"

// What a share takes of the room.
const (
	byConversations = iota
	byBytes
)

// ranking is a heap of the shares that have conversations of one kind: the one that takes most is first.
type ranking struct {
	kind, by int
	shares   []*share
}

func newRankings() (rankings [2][2]ranking) {
	for kind := range rankings {
		for by := range rankings[kind] {
			rankings[kind][by] = ranking{kind: kind, by: by}
		}
	}
	return rankings
}

// Len implements [heap.Interface], as do the methods below.
func (r *ranking) Len() int           { return len(r.shares) }
func (r *ranking) Less(i, j int) bool { return r.shares[i].takes[r.by] > r.shares[j].takes[r.by] }

// Swap swaps two shares.
func (r *ranking) Swap(i, j int) {
	r.shares[i], r.shares[j] = r.shares[j], r.shares[i]
	r.shares[i].rank[r.kind][r.by], r.shares[j].rank[r.kind][r.by] = i, j
}

// Push adds a share at the end.
func (r *ranking) Push(s any) {
	s.(*share).rank[r.kind][r.by] = len(r.shares)
	r.shares = append(r.shares, s.(*share))
}

// Pop removes the share at the end.
func (r *ranking) Pop() any {
	last := len(r.shares) - 1
	s := r.shares[last]
	s.rank[r.kind][r.by] = unranked
	r.shares[last], r.shares = nil, r.shares[:last]
	return s
}

// unranked is the rank of a share that has no conversations of a kind.
const unranked = -1

// rank gives a share its places after it has changed.
func (s *Store) rank(share *share) {
	for kind := range s.rankings {
		for by := range s.rankings[kind] {
			r, at := &s.rankings[kind][by], share.rank[kind][by]
			switch belongs := share.order[kind].Len() > 0; {
			case belongs && at == unranked:
				heap.Push(r, share)
			case belongs:
				heap.Fix(r, at)
			case at != unranked:
				heap.Remove(r, at)
			}
		}
	}
}

// descent goes through a ranking from the share that takes most downwards, and leaves the ranking as it is. It is a heap of
// the shares that are next; those that are below one of them in the ranking are not in it yet.
type descent struct {
	ranking *ranking
	next    []step
}

// step is a share on the way, and what is left of it.
type step struct {
	share *share
	left  int
	below int // where it is in the ranking; unranked = those below it are in the descent
}

func (r *ranking) descend() *descent {
	d := &descent{ranking: r}
	d.reach(0)
	return d
}

// reach adds the share at a place of the ranking, if there is one.
func (d *descent) reach(place int) {
	if place < len(d.ranking.shares) {
		s := d.ranking.shares[place]
		heap.Push(d, step{s, s.takes[d.ranking.by], place})
	}
}

// largest returns the share of which most is left, nil at the end. Left returns how much that is: never more than the
// share has in the ranking.
func (d *descent) largest(left func(*share) int) *share {
	for len(d.next) > 0 {
		s := heap.Pop(d).(step)
		if s.below != unranked {
			d.reach(2*s.below + 1)
			d.reach(2*s.below + 2)
		}
		if n := left(s.share); n < s.left {
			heap.Push(d, step{s.share, n, unranked})
			continue
		}
		return s.share
	}
	return nil
}

// again puts a share back of which so much is left.
func (d *descent) again(s *share, left int) { heap.Push(d, step{s, left, unranked}) }

// Len implements [heap.Interface], as do the methods below.
func (d *descent) Len() int           { return len(d.next) }
func (d *descent) Less(i, j int) bool { return d.next[i].left > d.next[j].left }
func (d *descent) Swap(i, j int)      { d.next[i], d.next[j] = d.next[j], d.next[i] }

// Push adds a step at the end.
func (d *descent) Push(s any) { d.next = append(d.next, s.(step)) }

// Pop removes the step at the end.
func (d *descent) Pop() any {
	last := d.next[len(d.next)-1]
	d.next = d.next[:len(d.next)-1]
	return last
}
