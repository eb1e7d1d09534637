package limits

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.uber.org/zap"
)

// link is the way to the ledger.
type link struct {
	Sharing

	accounts *Accounts
	alone    assistant.NodeID // this node, where it is the only one
	isNone   atomic.Bool      // there is no ledger
	longest  atomic.Int64     // window of a limit that was used

	mu       sync.Mutex
	isAsked  bool          // it has been asked before
	isAway   bool          // the last call has failed
	failed   time.Time     // when that was
	pause    time.Duration // until it is asked again
	retry    time.Time     // when that is
	swept    time.Time
	node     assistant.NodeID          // this one, at the last call
	lives    map[assistant.NodeID]bool // what is known of nodes
	lookedAt time.Time                 // when that was so of those that live
}

// change makes one call of the ledger. It returns the other nodes in the account of which it is not known whether they
// live.
func (l *link) change(ctx context.Context, a *account, do change) (others []assistant.NodeID, err error) {
	began, parent := time.Now(), ctx
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	here, known := a.snapshot()
	var got share
	var refused error
	err = l.Ledger.Account(ctx, a.payer.key(), func(data []byte, now time.Time) (next []byte, err error) {
		node, isAlone := l.me()
		s := l.read(a, data)
		others = s.drop(node, func(n assistant.NodeID) bool { return isAlone || l.isDead(n) })
		isLater := s.turnBack(now)
		m := s.bring(here, known, node, now)
		got = *m
		if isLater { // and must not be later the next time
			next, err = json.Marshal(s)
		}
		switch refused = do(&s, m, now); {
		case refused != nil && !isLater:
			return nil, refused
		case refused != nil:
			return next, err
		}
		got = *m
		return json.Marshal(s)
	})
	switch {
	case err == nil:
		a.brought(here.Shares[0], got)
		l.works(got.Node)
	case refused != nil && errors.Is(err, refused):
		l.works(0)
	case errors.Is(err, assistant.ErrNoLedger):
		l.isNone.Store(true)
		return nil, errAlone
	case parent.Err() != nil && time.Since(began) < patience/2: // who waited for it did not wait for long
		a.doubt()
		return nil, errAlone
	default:
		a.doubt()
		l.fails(err, began)
		return nil, errAlone
	}
	if refused != nil {
		return l.unknown(others, refusesFor), refused
	}
	return l.unknown(others, livesFor), nil
}

// read returns a state of the ledger. One that is not understood is logged, and counts as new.
func (l *link) read(a *account, data []byte) state {
	s, err := decode(data)
	if err != nil {
		l.Log.Error("what the store has counted of a user is not understood; it is counted anew", zap.Stringer("user", a.payer), zap.Error(err))
	}
	return s
}

// me returns who this node is, and whether it is the only one.
func (l *link) me() (node assistant.NodeID, isAlone bool) {
	if node := l.Ledger.Node(); node != 0 {
		return node, false
	}
	return l.alone, true
}

// livesFor is how long a node counts as one that lives without another look, and refusesFor how long where something is
// refused for what it has.
const (
	livesFor   = 5 * time.Second
	refusesFor = time.Second
)

func (l *link) isDead(n assistant.NodeID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	lives, isKnown := l.lives[n]
	return isKnown && !lives
}

// unknown returns those nodes of which it is not known whether they live, as of so long ago.
func (l *link) unknown(nodes []assistant.NodeID, ago time.Duration) (unknown []assistant.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range nodes {
		if !l.lives[n] || time.Since(l.lookedAt) > ago {
			unknown = append(unknown, n)
		}
	}
	return unknown
}

// look finds out which nodes live, after an account had something of these. It reports whether one of them is dead: a
// node is there before it counts anything.
func (l *link) look(ctx context.Context, nodes []assistant.NodeID) (found bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	listed, err := l.Ledger.Nodes(ctx)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lookedAt = began
	maps.DeleteFunc(l.lives, func(_ assistant.NodeID, lives bool) bool { return lives })
	for _, n := range listed {
		l.lives[n.ID] = true
	}
	for _, n := range nodes {
		if !l.lives[n] {
			l.lives[n], found = false, true
		}
	}
	return found
}

const (
	firstPause = time.Second
	maxPause   = 15 * time.Second
)

// isOn reports whether the ledger is to be asked. One that is away is asked now and then, by one call at a time.
func (l *link) isOn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.isAway {
		return true
	}
	if now.Before(l.retry) {
		return false
	}
	l.retry = now.Add(l.pause)
	return true
}

// works notes that the ledger has answered, and perhaps as what node it knows this one.
func (l *link) works(node assistant.NodeID) {
	l.mu.Lock()
	isNew, wasAway, isOther := !l.isAsked, l.isAway, node != 0 && l.node != 0 && node != l.node
	l.isAsked, l.isAway, l.pause = true, false, 0
	if node != 0 {
		l.node = node
	}
	isDue := time.Since(l.swept) >= sweepEvery
	if isDue {
		l.swept = time.Now()
	}
	l.mu.Unlock()
	if isNew || wasAway {
		l.Observer().LimitsShared(true)
	}
	if wasAway {
		l.Log.Info("limits are counted in the store again")
		l.accounts.tellWhere(math.MaxInt, isUntold)
	}
	if isOther { // the others have dropped what this one had
		l.accounts.remind(0)
	}
	if isDue {
		l.Go(l.sweep)
	}
}

// fails notes that the ledger has not answered a call that began then.
func (l *link) fails(err error, began time.Time) {
	l.mu.Lock()
	wasAway := l.isAway
	if wasAway && !began.After(l.failed) { // it has failed with the others
		l.mu.Unlock()
		return
	}
	now := time.Now()
	l.pause = min(max(2*l.pause, firstPause), maxPause)
	l.isAsked, l.isAway, l.failed, l.retry = true, true, now, now.Add(l.pause)
	pause := l.pause
	l.mu.Unlock()
	if !wasAway {
		l.Observer().LimitsShared(false)
		l.Log.Warn("limits are counted on this node alone until the store is back", zap.Error(err))
	}
	time.AfterFunc(pause, func() { l.accounts.tellWhere(1, isUntold) })
}

// isAsleep reports whether the ledger is away and is not to be asked yet.
func (l *link) isAsleep() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isAway && time.Now().Before(l.retry)
}

const (
	sweepEvery = time.Hour
	sweepRows  = 1000
	// minKept is how long an account is kept in the ledger at least.
	minKept = 24 * time.Hour
)

// note remembers how long what these limits count is to be kept.
func (l *link) note(r Rate, b Budget) {
	window := int64(max(r.window(), b.Per))
	for longest := l.longest.Load(); window > longest && !l.longest.CompareAndSwap(longest, window); {
		longest = l.longest.Load()
	}
}

// sweep removes what no limit counts any more from the ledger, after that was reminded of what is under way.
func (l *link) sweep() {
	l.accounts.remind(minKept / 2)
	for l.Ctx.Err() == nil {
		n, err := l.Ledger.ForgetAccounts(l.Ctx, max(time.Duration(l.longest.Load()), minKept), sweepRows)
		if err != nil || n < sweepRows { // the store's failures are told by itself
			return
		}
	}
}
