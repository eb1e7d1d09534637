package limits

import (
	"math"
	"time"
)

// maxTellers is how many goroutines tell the ledger of accounts at once.
const maxTellers = 4

// tell lets the ledger know of the account soon. Where the ledger is away, that is when it is back.
func (as *Accounts) tell(a *account) {
	if !as.isShared() || a.isKnown() {
		return
	}
	as.mu.Lock()
	as.queueLocked(a)
	as.mu.Unlock()
	as.startTellers()
}

// tellWhere is tell for at most limit accounts of which is says so.
func (as *Accounts) tellWhere(limit int, is func(a *account) bool) {
	if as.link.Ctx.Err() != nil {
		return
	}
	as.mu.Lock()
	for _, a := range as.byPayer {
		if limit <= 0 {
			break
		}
		if is(a) {
			as.queueLocked(a)
			limit--
		}
	}
	as.mu.Unlock()
	as.startTellers()
}

func isUntold(a *account) bool { return !a.isKnown() }

// remind tells the ledger once more of what is under way, where it was told longer ago than that.
func (as *Accounts) remind(ago time.Duration) {
	as.tellWhere(math.MaxInt, func(a *account) bool { return a.remind(ago) })
}

// remind makes the account one that is to be told of, if something is under way and the ledger was told longer ago.
func (a *account) remind(ago time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.knownShare()
	isDue := !known.isAtRest() && time.Since(known.At) >= ago
	a.isUnsure = a.isUnsure || isDue
	return isDue
}

func (as *Accounts) queueLocked(a *account) {
	if !a.isQueued {
		a.isQueued = true
		as.useLocked(a)
		as.queue = append(as.queue, a)
	}
}

// startTellers starts as many goroutines as the queue is worth. When the server stops, the caller does what they would.
func (as *Accounts) startTellers() {
	for as.addTeller() {
		if !as.link.Go(as.telling) {
			as.telling()
		}
	}
}

func (as *Accounts) addTeller() bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	isDue := as.tellers < min(maxTellers, len(as.queue))
	if isDue {
		as.tellers++
	}
	return isDue
}

// telling tells the ledger of the accounts in the queue, until it is empty.
func (as *Accounts) telling() {
	for a := as.nextToTell(); a != nil; a = as.nextToTell() {
		if !a.isKnown() {
			ctx, cancel := background()
			_ = as.ask(ctx, a, func(*state, *share, time.Time) error { return nil }) // if in vain, it is told later
			cancel()
		}
		as.leave(a)
	}
}

// nextToTell takes an account from the queue; nil ends a teller.
func (as *Accounts) nextToTell() *account {
	as.mu.Lock()
	defer as.mu.Unlock()
	if len(as.queue) == 0 {
		as.queue = nil
		as.tellers--
		return nil
	}
	a := as.queue[0]
	as.queue = as.queue[1:]
	a.isQueued = false
	return a
}
