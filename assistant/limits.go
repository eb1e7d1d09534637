package assistant

import (
	"errors"
	"time"
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

// limited is a refusal that ends by itself.
type limited struct {
	reason     Reason
	retryAfter time.Duration
}

func (e *limited) Error() string { return string(e.reason) }

// Why an upgrade is refused. Clients see the HTTP status only.
var (
	errConnections     = errors.New("all connections are taken")
	errUserConnections = errors.New("all connections of this user are taken")
)

// Admit takes a place among the connections, before the upgrade; release gives it back, once. An error
// says that none is free.
func (a *Assistant) Admit(peer Peer) (release func(), err error) {
	return a.hub.accounts.connect(peer.payer(), a.MaxConnections, a.MaxConnectionsPerUser)
}

// count counts a question that is about to be accepted, or refuses it. All questions that may reach the
// model come here once, at their arrival; and to [meter.open], with their history, when they begin.
func (t *turn) count() error {
	as := t.assistant.hub.accounts
	a := as.use(t.payer)
	defer as.leave(a)
	if wait := a.short(t.assistant.Budget, tokens(t.instructions)+tokens(t.question.Content)); wait > 0 {
		return &limited{ReasonBudgetExceeded, wait}
	}
	if wait := a.ask(t.assistant.Rate); wait > 0 {
		return &limited{ReasonRateLimited, wait}
	}
	t.counted = true
	return nil
}

// uncount takes a question back that was counted and is not asked after all.
func (t *turn) uncount() {
	if !t.counted {
		return
	}
	t.counted = false
	as := t.assistant.hub.accounts
	a := as.use(t.payer)
	defer as.leave(a)
	a.unask()
}
