package limits

import (
	"container/list"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// account counts what one payer does at this node.
type account struct {
	payer Payer

	// under the lock of Accounts
	uses     int           // connections, answers and calls under way
	idle     *list.Element // where it is when uses is 0
	isQueued bool          // the ledger is to be told of it

	mu      sync.Mutex
	state   state   // of this node alone: its one share is the account's
	writes  *bucket // changes of conversations; nil = it is full
	uploads *bucket // of files; nil = it is full
	known   *share  // as the ledger had it last, but where isUnsure; nil = it had nothing
	// isUnsure says that the ledger may have the share in another way.
	isUnsure bool
	refused  *refusals     // nil = nothing
	turn     chan struct{} // holds one while the ledger is asked for the account; nil = it never was
}

func newAccount(p Payer) *account {
	return &account{payer: p, state: state{Shares: []share{{Of: rand.Int64()}}}} //nolint:gosec // a name, no secret
}

// share is the account's, under its lock.
func (a *account) share() *share { return &a.state.Shares[0] }

// queue returns where changes in the ledger wait for each other: who sends has the turn until it has received.
func (a *account) queue() chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.turn == nil {
		a.turn = make(chan struct{}, 1)
	}
	return a.turn
}

// refusals returns those of the account, under its lock.
func (a *account) refusals() *refusals {
	if a.refused == nil {
		a.refused = new(refusals)
	}
	return a.refused
}

// counted is what a rate limits.
type counted int

const (
	questions counted = iota
	writes
	uploads
)

func (a *account) bucket(what counted) *bucket {
	b := &a.writes
	switch what {
	case questions:
		return &a.state.Questions
	case uploads:
		b = &a.uploads
	}
	if *b == nil {
		*b = new(bucket)
	}
	return *b
}

// isNew reports whether the account is as good as new. One of which a ledger does not know all is not, where there is one.
func (a *account) isNew(now time.Time, isShared bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.Spent.forget(now)
	return len(a.state.Spent.Parts) == 0 && a.state.Questions.isFull(now) && (a.writes == nil || a.writes.isFull(now)) &&
		(a.uploads == nil || a.uploads.isFull(now)) && a.refused.isOver(now) &&
		(!isShared || a.isKnownLocked())
}

// take counts one, or returns how long to wait before the next one.
func (a *account) take(what counted, r Rate) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if what == questions {
		if wait := a.refused.rate(r, now); wait > 0 {
			return wait
		}
	}
	return a.bucket(what).take(r, now)
}

// giveBack takes back one that was counted.
func (a *account) giveBack(what counted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bucket(what).add(1, time.Now())
}

// short returns how long to wait until so many tokens of the budget are not spent; 0 when they are not.
func (a *account) short(b Budget, need int) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if wait := a.refused.budget(b, need, now); wait > 0 {
		return wait
	}
	return a.state.short(b, need, now)
}

// change makes a change of what is counted here alone.
func (a *account) change(do change) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return do(&a.state, a.share(), time.Now())
}

// snapshot is the account's state, of which the slices must not be written to, and what the ledger knows of it.
func (a *account) snapshot() (here state, known share) {
	a.mu.Lock()
	defer a.mu.Unlock()
	here = a.state
	here.Shares = []share{*a.share()}
	return here, a.knownShare()
}

// brought notes that the ledger has the share as it is now, which was made of from.
func (a *account) brought(from, now share) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.share() // may have changed meanwhile
	m.Asked += now.Asked - from.Asked
	m.Spent += now.Spent - from.Spent
	m.Reserved += now.Reserved - from.Reserved
	m.Sockets += now.Sockets - from.Sockets
	a.known, a.isUnsure = &now, false
}

// doubt notes that the ledger may not have the share as it was last told.
func (a *account) doubt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.isUnsure = true
}

// isKnown reports whether the ledger has all of the share.
func (a *account) isKnown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.isKnownLocked()
}

func (a *account) isKnownLocked() bool { return !a.isUnsure && a.knownShare().says(*a.share()) }

// knownShare is known, under its lock.
func (a *account) knownShare() share {
	if a.known == nil {
		return share{}
	}
	return *a.known
}

// refusals are what the ledger has refused. For a while it is not asked for the same again, so that a flood of questions
// or connections does not reach it.
type refusals struct {
	rates   Rate
	rated   refusal
	budgets Budget
	need    int // tokens
	spent   refusal
	sockets int
	taken   refusal
}

// refusal says until when something is refused, and until when the ledger is not asked whether it still is: what another
// node takes back is there earlier.
type refusal struct{ until, asked time.Time }

// trusted and socketTrusted are how long a refusal of a question and of a connection counts without another look.
const (
	trusted       = 10 * time.Second
	socketTrusted = time.Second
)

// wait returns how long something is refused.
func (f refusal) wait(now time.Time) time.Duration {
	if !now.Before(f.asked) {
		return 0
	}
	return max(f.until.Sub(now), 0)
}

// note remembers a refusal of a question under these limits.
func (f *refusals) note(err *assistant.RefusalError, r Rate, b Budget, need int, now time.Time) {
	refused := refusal{now.Add(err.RetryAfter), now.Add(trusted)}
	if err.Reason == assistant.ReasonRateLimited {
		f.rates, f.rated = r, refused
	} else {
		f.budgets, f.need, f.spent = b, need, refused
	}
}

// rate returns how long to wait for a question.
func (f *refusals) rate(r Rate, now time.Time) time.Duration {
	if f == nil || r != f.rates {
		return 0
	}
	return f.rated.wait(now)
}

// budget returns how long to wait for so many tokens.
func (f *refusals) budget(b Budget, need int, now time.Time) time.Duration {
	if f == nil || b != f.budgets || need < f.need {
		return 0
	}
	return f.spent.wait(now)
}

// socket reports whether a connection is refused.
func (f *refusals) socket(n int, now time.Time) bool {
	return f != nil && n == f.sockets && f.taken.wait(now) > 0
}

// isOver reports whether nothing is refused any more.
func (f *refusals) isOver(now time.Time) bool {
	return f == nil || f.rated.wait(now) == 0 && f.spent.wait(now) == 0 && f.taken.wait(now) == 0
}
