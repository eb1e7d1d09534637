package assistant

import (
	"cmp"
	"unicode/utf8"
)

// meter counts the tokens of one answer while they come, for the account that pays for them. The zero meter
// counts and charges nobody.
type meter struct {
	accounts *accounts
	account  *account // nil when nobody pays: there is no budget, or all is settled
	budget   Budget

	input   int // tokens, estimated
	output  int // characters
	charged int // tokens that the account has in flight
}

// open begins with the input of a request for t, or refuses it where the budget has less. Several answers of
// one payer share what is left: each is counted while it comes.
func (m *meter) open(t *turn, input int) error {
	m.input = input
	b := t.assistant.Budget
	if b.Tokens == 0 {
		return nil
	}
	as := t.assistant.hub.accounts
	a := as.use(t.payer)
	if wait := a.reserve(b, input); wait > 0 {
		as.leave(a)
		return &limited{ReasonBudgetExceeded, wait}
	}
	m.accounts, m.account, m.budget, m.charged = as, a, b, input
	return nil
}

// add counts text of the model's, and tells whether the budget has had it.
func (m *meter) add(text string) (within bool) {
	m.output += utf8.RuneCountInString(text)
	if m.account == nil {
		return true
	}
	n := m.input + tokensIn(m.output) - m.charged
	m.charged += n
	return m.account.flow(m.budget, n)
}

// pay ends the counting with what the model has reported, or else with an estimate, and returns which.
func (m *meter) pay(reported *Usage) *Usage {
	output := tokensIn(m.output)
	u := cmp.Or(reported, &Usage{m.input, output, m.input + output, true})
	m.settle(u.InputTokens + u.OutputTokens)
	return u
}

// settle ends the counting: used is what the answer has used indeed. Only the first call counts.
func (m *meter) settle(used int) {
	if m.account == nil {
		return
	}
	m.account.settle(m.charged, used)
	m.accounts.leave(m.account)
	m.account = nil
}
