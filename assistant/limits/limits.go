// Package limits counts what users do: questions in a time, tokens of a budget, connections at once.
//
// A [Payer] is whom limits count: a user, or the network of an anonymous client. [Accounts] keeps what each has
// used; it outlives every generation of settings, and each call brings the limits of the day. Everything is safe
// for concurrent use, but a [Meter], which belongs to one answer.
package limits

import (
	"errors"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Rate is how many questions each user, or each network of anonymous clients, may ask: Questions in each Per on
// average, and Burst of them at once. The zero Rate is no limit.
type Rate struct {
	Questions int
	Per       time.Duration
	Burst     int // 0 = Questions
}

// Budget is how many tokens, input and output together, each of them may use in any time of length Per. The
// zero Budget is no limit.
type Budget struct {
	Tokens int
	Per    time.Duration
}

// Why a connection is refused. Clients see the HTTP status only.
var (
	ErrConnections     = errors.New("all connections are taken")
	ErrUserConnections = errors.New("all connections of this user are taken")
)

// over is the refusal of what a limit does not allow now.
func over(reason assistant.Reason, wait time.Duration) error {
	return &assistant.RefusalError{Reason: reason, RetryAfter: wait}
}

// Count counts a question of the payer that needs so many tokens, or refuses it with an
// [assistant.RefusalError]. [Accounts.Uncount] takes it back.
func (as *Accounts) Count(p Payer, r Rate, b Budget, need int) error {
	a := as.use(p)
	defer as.leave(a)
	if wait := a.short(b, need); wait > 0 {
		return over(assistant.ReasonBudgetExceeded, wait)
	}
	if wait := a.ask(r); wait > 0 {
		return over(assistant.ReasonRateLimited, wait)
	}
	return nil
}

// Uncount takes back a question that was counted and is not asked after all.
func (as *Accounts) Uncount(p Payer) {
	a := as.use(p)
	defer as.leave(a)
	a.unask()
}
