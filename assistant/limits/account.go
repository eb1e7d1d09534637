package limits

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// account counts what one payer does.
type account struct {
	payer Payer

	// under the lock of Accounts
	uses        int           // connections, answers and calls under way
	connections int           // that are open
	idle        *list.Element // where it is when uses is 0

	mu       sync.Mutex
	limiters [2]*rate.Limiter // by what they count; nil before the first that was limited
	spent    spending
	inFlight int // tokens of the answers that are under way
}

// counted is what a rate limits.
type counted int

const (
	questions counted = iota
	writes
)

// isNew reports whether the account is as it was when it was made.
func (a *account) isNew(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent.forget(now)
	isUsed := func(l *rate.Limiter) bool { return l != nil && l.TokensAt(now) < float64(l.Burst()) }
	return a.spent.total == 0 && !slices.ContainsFunc(a.limiters[:], isUsed)
}

// take counts one, or returns how long to wait before the next one. A Rate that has changed goes on from what was left
// under the one before.
func (a *account) take(what counted, r Rate) (wait time.Duration) {
	if r.Count == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now, limit, burst := time.Now(), rate.Limit(float64(r.Count)/r.Per.Seconds()), r.burst()
	limiter := a.limiters[what]
	switch {
	case limiter == nil:
		limiter = rate.NewLimiter(limit, burst)
		a.limiters[what] = limiter
	case limiter.Limit() != limit || limiter.Burst() != burst:
		limiter.SetLimitAt(now, limit)
		limiter.SetBurstAt(now, burst)
	}
	if limiter.AllowN(now, 1) {
		return 0
	}
	next := limiter.ReserveN(now, 1)
	defer next.CancelAt(now)
	return next.DelayFrom(now)
}

func (r Rate) burst() int {
	if r.Burst > 0 {
		return r.Burst
	}
	return r.Count
}

// giveBack takes back one that was counted. The Limiter's own way back, a Reservation's Cancel, does nothing for what
// was allowed at once.
func (a *account) giveBack(what counted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if limiter := a.limiters[what]; limiter != nil {
		limiter.AllowN(time.Now(), -1)
	}
}

// short returns how long to wait until so many tokens of the budget are not spent; 0 when they are not.
func (a *account) short(b Budget, need int) (wait time.Duration) {
	if b.Tokens == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shortLocked(b, need)
}

func (a *account) shortLocked(b Budget, need int) (wait time.Duration) {
	now := time.Now()
	a.spent.within(b.Per, now)
	missing := a.spent.total + need - b.Tokens
	if missing <= 0 {
		return 0
	}
	return a.spent.until(missing, now)
}

// answerWait is how long to wait for what answers under way have reserved and will hardly use up.
const answerWait = 5 * time.Second

// reserve counts input tokens that are about to be used, and as many of output as are to be reserved, or returns how
// long to wait until the budget has them. isLast reports whether they are all that is left.
func (a *account) reserve(b Budget, input int) (output int, isLast bool, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait = a.shortLocked(b, input+1)
	left := b.Tokens - a.spent.total - a.inFlight - input
	switch {
	case wait > 0:
		return 0, false, wait
	case left <= 0:
		return 0, false, answerWait
	}
	if output = left; left > minOutput {
		output = min(max(left/2, minOutput), maxOutput)
	}
	a.inFlight += input + output
	return output, output == left, 0
}

// flow counts tokens that are being used, and reports whether the budget has had them.
func (a *account) flow(b Budget, n int) (within bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight += n
	return a.shortLocked(b, a.inFlight) == 0
}

// settle replaces what was counted of an answer in flight by what it has used.
func (a *account) settle(inFlight, used int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight -= inFlight
	a.spent.add(used, time.Now())
}
