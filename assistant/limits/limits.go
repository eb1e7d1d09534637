// Package limits counts what users do: questions and changes in a time, tokens of a budget, connections at once.
//
// A [Payer] is whom limits count: a user, or the network of an anonymous client. [Accounts] keeps what each has
// used; it outlives every generation of settings, and each call brings the limits of the day. Everything is safe
// for concurrent use, but a [Meter], which belongs to one answer.
//
// # Several nodes
//
// Where the store is a [Ledger], questions, tokens and connections of a payer are counted in a row of its, for all nodes
// and beyond a restart:
//
//	Accounts.Count ─► the account here alone, at once: what it refuses never reaches the ledger
//	Meter.Open     ─► the row: one more question, and tokens for its answer
//	Meter.Add      ─► the row, each time that what was reserved is used up
//	Meter.Pay      ─► the account, and then in the background the row
//	Accounts.Connect ─► the row, and back in the background
//
// Where the ledger is away or slow, each node counts for itself until it is back, and then tells it. Changes of
// conversations are counted on each node alone.
package limits

import (
	"errors"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Rate is how often each user, or each network of anonymous clients, may do something: Count times in each Per on
// average, and Burst times at once. The zero Rate is no limit.
type Rate struct {
	Count int           `json:"count"`
	Per   time.Duration `json:"per"`
	Burst int           `json:"burst,omitempty"` // 0 = Count
}

// times is a rate that is so many times higher.
func (r Rate) times(n int) Rate { return Rate{r.Count * n, r.Per, r.Burst * n} }

func (r Rate) burst() int {
	if r.Burst > 0 {
		return r.Burst
	}
	return r.Count
}

// window is how long something counts that was done.
func (r Rate) window() time.Duration {
	if r.Count == 0 {
		return 0
	}
	return time.Duration(float64(r.burst()) * float64(r.Per) / float64(r.Count))
}

// Budget is how many tokens, input and output together, each of them may use in any time of length Per. The
// zero Budget is no limit.
type Budget struct {
	Tokens int
	Per    time.Duration
}

// Input is how many tokens a request may have at most: an eighth of the budget, but no more than 2,048 tokens, is left for
// its answer.
func (b Budget) Input() int { return b.Tokens - min(max(b.Tokens/8, 1), minOutput) }

// Why a connection is refused. Clients see the HTTP status only.
var (
	ErrConnections     = errors.New("all connections are taken")
	ErrUserConnections = errors.New("all connections of this user are taken")
)

// over is the refusal of what a limit does not allow now.
func over(reason assistant.Reason, wait time.Duration) error {
	return &assistant.RefusalError{Reason: reason, RetryAfter: wait}
}

// Count counts a question of the client that needs so many tokens, or refuses it with an
// [assistant.RefusalError]. It never waits: [Meter.Open] asks the ledger. [Accounts.Uncount] takes it back.
func (as *Accounts) Count(c Client, r Rate, b Budget, need int) error {
	if r.Count == 0 && b.Tokens == 0 {
		return nil
	}
	a := as.use(c.Payer)
	defer as.leave(a)
	if wait := a.short(b, need); wait > 0 {
		return over(assistant.ReasonBudgetExceeded, wait)
	}
	return as.take(a, c, questions, r)
}

// CountWrite counts a conversation that the client creates, renames or deletes, or refuses it with an
// [assistant.RefusalError].
func (as *Accounts) CountWrite(c Client, r Rate) error {
	a := as.use(c.Payer)
	defer as.leave(a)
	return as.take(a, c, writes, r)
}

// CountUpload counts a file that the client uploads, or refuses it with an [assistant.RefusalError].
func (as *Accounts) CountUpload(c Client, r Rate) error {
	a := as.use(c.Payer)
	defer as.leave(a)
	return as.take(a, c, uploads, r)
}

// take counts for the payer, whose account a is, and for the wider network.
func (as *Accounts) take(a *account, c Client, what counted, r Rate) error {
	if wait := a.take(what, r); wait > 0 {
		return over(assistant.ReasonRateLimited, wait)
	}
	if c.times == 0 {
		return nil
	}
	wider := as.use(c.wider)
	defer as.leave(wider)
	if wait := wider.take(what, r.times(c.times)); wait > 0 {
		a.giveBack(what)
		return over(assistant.ReasonRateLimited, wait)
	}
	return nil
}

// Uncount takes back a question that was counted and is not asked after all.
func (as *Accounts) Uncount(c Client) {
	a := as.use(c.Payer)
	defer as.leave(a)
	a.giveBack(questions)
	if c.times > 0 {
		wider := as.use(c.wider)
		defer as.leave(wider)
		wider.giveBack(questions)
	}
}
