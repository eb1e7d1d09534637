package limits

import (
	"cmp"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Meter counts the tokens of one answer while they come, for the account that pays for them. The zero Meter
// counts and charges no one. One goroutine at a time uses it.
type Meter struct {
	accounts *Accounts
	account  *account // nil when there is no budget, or all is settled
	budget   Budget

	input   int  // tokens, estimated
	output  int  // characters
	limit   int  // tokens of output that are reserved
	isLast  bool // they are all that is left
	charged int  // tokens that the account has in flight
}

const (
	// minOutput and maxOutput bound how many tokens of output an answer reserves, where the budget has them.
	minOutput = 2 << 10
	maxOutput = 16 << 10
)

// Open begins with the input of a request, in tokens, or refuses it with an [assistant.RefusalError] where the
// budget has not more. Several answers of one payer share what is left: each reserves half of it for its output, from
// 2,048 to 16,384 tokens, or all where there is less. An answer may go on beyond that while the budget has more. So
// what is used beyond the budget is at most what the last pieces of the answers under way have; near the end of a budget
// that is one answer.
func (m *Meter) Open(as *Accounts, p Payer, b Budget, input int) error {
	m.input = input
	if b.Tokens == 0 {
		return nil
	}
	a := as.use(p)
	output, isLast, wait := a.reserve(b, input)
	if wait > 0 {
		as.leave(a)
		return over(assistant.ReasonBudgetExceeded, wait)
	}
	m.accounts, m.account, m.budget, m.limit, m.isLast, m.charged = as, a, b, output, isLast, input+output
	return nil
}

// Limit is how many tokens of output the model is to be told as its limit: all that is left of the budget. 0 = none:
// there is no budget, or it has more, and a service could refuse the number.
func (m *Meter) Limit() int {
	if m.limit > minOutput || !m.isLast {
		return 0
	}
	return m.limit
}

// Add counts so many characters of the model's, and reports whether the budget has had it. What is reserved may be exceeded while the
// budget has more.
func (m *Meter) Add(characters int) (within bool) {
	m.output += characters
	if m.account == nil {
		return true
	}
	n := m.input + TokensIn(m.output) - m.charged
	if n <= 0 {
		return true
	}
	m.charged += n
	return m.account.flow(m.budget, n)
}

// Reached reports whether the model says that it has come to the limit that it was told.
func (m *Meter) Reached(reported *assistant.Usage) bool {
	return m.Limit() > 0 && reported != nil && reported.OutputTokens >= m.limit
}

// Pay ends the counting with what the model has reported, or else with an estimate, and returns which.
func (m *Meter) Pay(reported *assistant.Usage) *assistant.Usage {
	output := TokensIn(m.output)
	u := cmp.Or(reported, &assistant.Usage{InputTokens: m.input, OutputTokens: output, TotalTokens: m.input + output, Estimated: true})
	m.Settle(u.InputTokens + u.OutputTokens)
	return u
}

// Settle ends the counting: used is what the answer has used. Only the first call counts.
func (m *Meter) Settle(used int) {
	if m.account == nil {
		return
	}
	m.account.settle(m.charged, used)
	m.accounts.leave(m.account)
	m.account = nil
}

// Tokens estimates how many tokens a text has: one for every four characters, which is about right for
// English.
func Tokens(text string) int { return TokensIn(utf8.RuneCountInString(text)) }

// TokensIn estimates how many tokens so many characters are.
func TokensIn(characters int) int { return (characters + 3) / 4 }
