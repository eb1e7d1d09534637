package limits

import (
	"container/list"
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

	mu        sync.Mutex
	questions *rate.Limiter // nil before the first that was limited
	spent     spending
	inFlight  int // tokens of the answers that are under way
}

// isNew reports whether the account is as it was when it was made.
func (a *account) isNew(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent.forget(now)
	return a.spent.total == 0 && (a.questions == nil || a.questions.TokensAt(now) >= float64(a.questions.Burst()))
}

// ask counts a question, or returns how long to wait before the next one. A Rate that has changed goes on
// from what was left under the one before.
func (a *account) ask(r Rate) (wait time.Duration) {
	if r.Questions == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now, limit, burst := time.Now(), rate.Limit(float64(r.Questions)/r.Per.Seconds()), r.burst()
	switch q := a.questions; {
	case q == nil:
		a.questions = rate.NewLimiter(limit, burst)
	case q.Limit() != limit || q.Burst() != burst:
		q.SetLimitAt(now, limit)
		q.SetBurstAt(now, burst)
	}
	if a.questions.AllowN(now, 1) {
		return 0
	}
	next := a.questions.ReserveN(now, 1)
	defer next.CancelAt(now)
	return next.DelayFrom(now)
}

func (r Rate) burst() int {
	if r.Burst > 0 {
		return r.Burst
	}
	return r.Questions
}

// unask takes a question back. The Limiter's own way back, a Reservation's Cancel, does nothing for what
// was allowed at once.
func (a *account) unask() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.questions != nil {
		a.questions.AllowN(time.Now(), -1)
	}
}

// short returns how long to wait until the budget has so many tokens; 0 when it has.
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
	missing := a.spent.total + a.inFlight + need - b.Tokens
	if missing <= 0 {
		return 0
	}
	return a.spent.until(missing, now)
}

// reserve counts need tokens that are about to be used, or returns how long to wait until the budget has them.
func (a *account) reserve(b Budget, need int) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if wait = a.shortLocked(b, need); wait == 0 {
		a.inFlight += need
	}
	return wait
}

// flow counts tokens that are being used, and reports whether the budget has had them.
func (a *account) flow(b Budget, n int) (within bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight += n
	return a.spent.total+a.inFlight <= b.Tokens || a.shortLocked(b, 0) == 0
}

// settle replaces what was counted of an answer in flight by what it has used.
func (a *account) settle(inFlight, used int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight -= inFlight
	a.spent.add(used, time.Now())
}
