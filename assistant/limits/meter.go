package limits

import (
	"cmp"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Meter counts one question and the tokens of its answer while they come, for the account that pays for them. The zero
// Meter counts and charges no one. One goroutine at a time uses it.
type Meter struct {
	accounts *Accounts
	account  *account // nil when nothing is counted, or all is settled
	wider    *account // of the wider network; nil where the question does not count there
	asked    int      // questions that the ledger has counted: 1 or 0
	budget   Budget

	before  assistant.Usage // of providers that have failed
	input   int             // tokens, estimated
	output  int             // characters
	limit   int             // tokens of output that were reserved at first
	isLast  bool            // they were all that was left
	charged int             // tokens that the account has reserved
	isOver  bool            // the budget had no more
}

// Open begins with a question that was counted when it came, and its input in tokens. It refuses it with an
// [assistant.RefusalError] where the budget has not more or, over all nodes, the rate is exceeded. What is no question
// has a zero Rate.
//
// Several answers of one payer share what is left of the budget: each reserves half of it for its output, from
// 2,048 to 16,384 tokens, or all where there is less. An answer that has used that up goes on in the same way while the
// budget has more. So what is used beyond the budget is at most what the last pieces of the answers under way have, on all
// nodes together; near the end of a budget that is one answer.
func (m *Meter) Open(as *Accounts, c Client, r Rate, b Budget, input int) error {
	*m = Meter{input: input}
	if !as.isShared() {
		r = Rate{} // which has counted it
	}
	if r.Count == 0 && b.Tokens == 0 {
		return nil
	}
	a := as.use(c.Payer)
	output, isLast, err := as.begin(a, r, b, input)
	if err != nil {
		as.leave(a)
		return err
	}
	m.accounts, m.account, m.asked, m.budget = as, a, min(r.Count, 1), b
	if b.Tokens > 0 {
		m.limit, m.isLast, m.charged = output, isLast, input+output
	}
	if r.Count == 0 || c.times == 0 {
		return nil
	}
	wider := as.use(c.wider)
	if _, _, err := as.begin(wider, r.times(c.times), Budget{}, 0); err != nil {
		as.leave(wider)
		m.Drop()
		return err
	}
	m.wider = wider
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

// Failed counts what a provider has used that has failed before another was asked, as far as it has told that.
func (m *Meter) Failed(u assistant.Usage) {
	m.before.InputTokens += u.InputTokens
	m.before.OutputTokens += u.OutputTokens
}

// Next goes on with another request for the same answer, after one that has used what was reported, or else as much as was
// counted. input is that of the next request, in tokens. It returns what was used, and whether the budget has had it.
func (m *Meter) Next(reported *assistant.Usage, input int) (used assistant.Usage, within bool) {
	output := TokensIn(m.output)
	used = *cmp.Or(reported, &assistant.Usage{InputTokens: m.input, OutputTokens: output, TotalTokens: m.input + output, Estimated: true})
	m.Failed(used)
	m.input, m.output = input, 0
	if within = m.Add(0); !within {
		m.input = 0 // it is not asked
	}
	return used, within
}

// Add counts so many characters of the model's, and reports whether the budget has had it. What is reserved may be
// exceeded while the budget has more.
func (m *Meter) Add(characters int) (within bool) {
	m.output += characters
	if m.account == nil || m.budget.Tokens == 0 {
		return true
	}
	n := m.before.InputTokens + m.before.OutputTokens + m.input + TokensIn(m.output) - m.charged
	if n <= 0 || m.isOver {
		return !m.isOver
	}
	got, within := m.accounts.more(m.account, m.budget, n)
	m.charged += got
	m.isOver = !within
	return within
}

// Reached reports whether the model says that it has come to the limit that it was told.
func (m *Meter) Reached(reported *assistant.Usage) bool {
	return m.Limit() > 0 && reported != nil && reported.OutputTokens >= m.limit
}

// Pay ends the counting with what the model has reported, or else with an estimate, and returns which. What is reported
// has what Failed was told; so has the estimate.
func (m *Meter) Pay(reported *assistant.Usage) *assistant.Usage {
	input, output := m.before.InputTokens+m.input, m.before.OutputTokens+TokensIn(m.output)
	u := cmp.Or(reported, &assistant.Usage{InputTokens: input, OutputTokens: output, TotalTokens: input + output, Estimated: true})
	m.end(u.InputTokens+u.OutputTokens, 0)
	return u
}

// Drop ends the counting of a question that is not asked after all, unless it was paid for: it costs nothing.
func (m *Meter) Drop() { m.end(0, m.asked) }

// end replaces what was counted. Only the first call counts.
func (m *Meter) end(used, notAsked int) {
	if m.account == nil {
		return
	}
	if m.budget.Tokens == 0 {
		used = 0
	}
	m.accounts.settle(m.account, m.charged, used, notAsked)
	if m.wider != nil {
		m.accounts.settle(m.wider, 0, 0, notAsked)
	}
	m.account, m.wider = nil, nil
}

// begin counts a question in the ledger, and reserves tokens for it, or refuses it.
func (as *Accounts) begin(a *account, r Rate, b Budget, input int) (output int, isLast bool, err error) {
	if err := a.prepare(r, b, input+1); err != nil {
		return 0, false, err
	}
	if as.link != nil {
		as.link.note(r, b)
	}
	alone := func(s *state, m *share, now time.Time) error {
		if output, isLast, err = s.reserve(m, b, input, now); err == nil && r.Count > 0 {
			m.Asked++
		}
		return err
	}
	shared := func(s *state, m *share, now time.Time) error {
		if wait := s.Questions.take(r, now); wait > 0 {
			return over(assistant.ReasonRateLimited, wait)
		}
		return alone(s, m, now)
	}
	ctx, cancel := background()
	defer cancel()
	isAlone, err := as.count(ctx, a, shared, alone)
	if refusal, ok := errors.AsType[*assistant.RefusalError](err); ok && !isAlone {
		a.note(refusal, r, b, input+1)
	}
	return output, isLast, err
}

// prepare gets the account ready for a question under these limits, or refuses it as the ledger has before.
func (a *account) prepare(r Rate, b Budget, need int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if wait := a.refused.rate(r, now); wait > 0 {
		return over(assistant.ReasonRateLimited, wait)
	}
	if wait := a.refused.budget(b, need, now); wait > 0 {
		return over(assistant.ReasonBudgetExceeded, wait)
	}
	if q := &a.state.Questions; r.Count > 0 && q.Rate.Count == 0 {
		q.fill(r, now)
	}
	if b.Tokens > 0 {
		a.state.Spent.within(b.Per, now)
	}
	return nil
}

// note remembers a refusal of the ledger's.
func (a *account) note(refusal *assistant.RefusalError, r Rate, b Budget, need int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusals().note(refusal, r, b, need, time.Now())
}

// more reserves tokens for an answer that has used up what it had, and n more: as many as it gets, at least n. within is
// false where the budget does not have n.
func (as *Accounts) more(a *account, b Budget, n int) (got int, within bool) {
	reserve := func(s *state, m *share, now time.Time) error {
		got, within = s.more(m, b, n, now)
		return nil
	}
	ctx, cancel := background()
	defer cancel()
	_, _ = as.count(ctx, a, reserve, reserve) // which is never refused
	return got, within
}

// settle replaces what an answer has reserved by what it has used, and takes back questions that were not asked.
func (as *Accounts) settle(a *account, reserved, used, notAsked int) {
	a.mu.Lock()
	m := a.share()
	m.Asked -= notAsked
	a.state.settle(m, reserved, used, time.Now())
	if f := a.refused; f != nil { // there may be more now
		f.spent = refusal{}
		if notAsked > 0 {
			f.rated = refusal{}
		}
	}
	a.mu.Unlock()
	as.tell(a)
	as.leave(a)
}

// Tokens estimates how many tokens a text has: one for every four characters, which is about right for
// English.
func Tokens(text string) int { return TokensIn(utf8.RuneCountInString(text)) }

// TokensOf is Tokens for a message or a turn: its text, and its parts where it is more than that. Images, and files that are
// no text, count as what is said of them.
func TokensOf(content string, parts assistant.Parts) int {
	n := utf8.RuneCountInString(content)
	for _, part := range parts {
		switch p := part.(type) {
		case assistant.ToolCallPart:
			n += len(p.Name) + utf8.RuneCount(p.Arguments)
		case assistant.ToolResultPart:
			n += utf8.RuneCountInString(p.ForModel())
		case assistant.FilePart:
			if n += utf8.RuneCountInString(assistant.Mention(p)); p.IsText() {
				n += int(p.Size)
			}
		case assistant.ImagePart:
			n += utf8.RuneCountInString(assistant.Mention(p))
		}
	}
	return TokensIn(n)
}

// TokensIn estimates how many tokens so many characters are.
func TokensIn(characters int) int { return (characters + 3) / 4 }
