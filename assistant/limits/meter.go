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

	input   int // tokens, estimated
	output  int // characters
	charged int // tokens that the account has in flight
}

// Open begins with the input of a request, in tokens, or refuses it with an [assistant.RefusalError] where the
// budget has less. Several answers of one payer share what is left: each is counted while it comes.
func (m *Meter) Open(as *Accounts, p Payer, b Budget, input int) error {
	m.input = input
	if b.Tokens == 0 {
		return nil
	}
	a := as.use(p)
	if wait := a.reserve(b, input); wait > 0 {
		as.leave(a)
		return over(assistant.ReasonBudgetExceeded, wait)
	}
	m.accounts, m.account, m.budget, m.charged = as, a, b, input
	return nil
}

// Add counts text of the model's, and reports whether the budget has had it.
func (m *Meter) Add(text string) (within bool) {
	m.output += utf8.RuneCountInString(text)
	if m.account == nil {
		return true
	}
	n := m.input + TokensIn(m.output) - m.charged
	m.charged += n
	return m.account.flow(m.budget, n)
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
