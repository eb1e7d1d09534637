package limits

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// state is what is counted of one payer: in this process alone, or in a ledger, where it is JSON, for all nodes.
//
// What it contains has its meaning by the names of its fields: where a meaning changes, the name does. The zero state is
// that of a payer who has done nothing.
type state struct {
	Questions bucket   `json:"questions,omitzero"`
	Spent     spending `json:"spent,omitzero"`
	Shares    []share  `json:"shares,omitempty"` // one for each account that has a part in it
}

// share is what one account, that of one node, has of a payer's. Only that account changes it, and its numbers are sums.
// So it can be written again where it is not known whether it was written.
type share struct {
	Of       int64            `json:"of"`                 // the account
	Node     assistant.NodeID `json:"node"`               // that has the account
	At       time.Time        `json:"at"`                 // when it was written
	Asked    int              `json:"asked,omitempty"`    // questions that have begun, ever
	Spent    int              `json:"spent,omitempty"`    // tokens, ever
	Reserved int              `json:"reserved,omitempty"` // tokens of answers under way
	Sockets  int              `json:"sockets,omitempty"`  // that are open
}

// keptAtRest is how long a share is kept of which nothing is under way: longer than it takes its account to find out
// whether it was written.
const keptAtRest = time.Hour

// isAtRest reports whether nothing is under way.
func (m share) isAtRest() bool { return m.Reserved == 0 && m.Sockets == 0 }

// says reports whether another share has the same numbers.
func (m share) says(other share) bool {
	other.Of, other.Node, other.At = m.Of, m.Node, m.At
	return m == other
}

func (s *state) reserved() (n int) {
	for _, m := range s.Shares {
		n += m.Reserved
	}
	return n
}

func (s *state) sockets() (n int) {
	for _, m := range s.Shares {
		n += m.Sockets
	}
	return n
}

// answerWait is how long to wait for what answers under way have reserved and will hardly use up.
const answerWait = 5 * time.Second

const (
	// minOutput and maxOutput bound how many tokens of output an answer reserves at once, where the budget has them.
	minOutput = 2 << 10
	maxOutput = 16 << 10
)

// portion returns how much of what is left an answer reserves at once.
func portion(left int) int {
	if left <= minOutput {
		return max(left, 0)
	}
	return min(max(left/2, minOutput), maxOutput)
}

// left returns how many tokens are neither spent nor reserved.
func (s *state) left(b Budget, now time.Time) int {
	s.Spent.within(b.Per, now)
	return b.Tokens - s.Spent.total() - s.reserved()
}

// short returns how long to wait until so many tokens of the budget are not spent; 0 when they are not.
func (s *state) short(b Budget, need int, now time.Time) (wait time.Duration) {
	if b.Tokens == 0 {
		return 0
	}
	s.Spent.within(b.Per, now)
	missing := s.Spent.total() + need - b.Tokens
	if missing <= 0 {
		return 0
	}
	return s.Spent.until(missing, now)
}

// reserve counts input tokens that are about to be used, and as many of output as are to be reserved, or refuses them.
// isLast reports whether they are all that is left.
func (s *state) reserve(m *share, b Budget, input int, now time.Time) (output int, isLast bool, err error) {
	if b.Tokens == 0 {
		return 0, false, nil
	}
	if wait := s.short(b, input+1, now); wait > 0 {
		return 0, false, over(assistant.ReasonBudgetExceeded, wait)
	}
	left := s.left(b, now) - input
	if left <= 0 {
		return 0, false, over(assistant.ReasonBudgetExceeded, answerWait)
	}
	output = portion(left)
	m.Reserved += input + output
	return output, output == left, nil
}

// more reserves tokens for an answer that has used up what it had, and n more already. It returns how many it has got, at
// least n; within is false where the budget does not have as many.
func (s *state) more(m *share, b Budget, n int, now time.Time) (got int, within bool) {
	left := s.left(b, now)
	got = max(portion(left), n)
	m.Reserved += got
	return got, left >= n
}

// settle replaces what was reserved by what was used.
func (s *state) settle(m *share, reserved, used int, now time.Time) {
	m.Reserved -= reserved
	m.Spent += max(used, 0)
	s.Spent.add(used, now)
}

// bring makes a state of the ledger know what an account of the node has. here is the account's own state, and known its
// share as the ledger had it last. It returns the account's share in s.
func (s *state) bring(here state, known share, node assistant.NodeID, now time.Time) *share {
	mine := here.Shares[0]
	if i := slices.IndexFunc(s.Shares, func(m share) bool { return m.Of == mine.Of }); i >= 0 {
		known = s.Shares[i]
	}
	s.Shares = slices.DeleteFunc(s.Shares, func(m share) bool { // others of the node were forgotten, with nothing under way
		return m.Of == mine.Of || m.Node == node || m.isAtRest() && now.Sub(m.At) > keptAtRest
	})
	if n := mine.Asked - known.Asked; n != 0 {
		if s.Questions.Rate.Count == 0 && here.Questions.Rate.Count > 0 {
			s.Questions.fill(here.Questions.Rate, now)
		}
		s.Questions.add(-n, now)
	}
	if n := mine.Spent - known.Spent; n > 0 {
		if s.Spent.Window == 0 {
			s.Spent.Window = here.Spent.Window
		}
		s.Spent.forget(now)
		s.Spent.add(n, now)
	}
	mine.Node, mine.At = node, now
	s.Shares = append(s.Shares, mine)
	return &s.Shares[len(s.Shares)-1]
}

// drop lets go what nodes have that are gone. It returns those of the others that have something under way, but for
// the node itself.
func (s *state) drop(node assistant.NodeID, isGone func(assistant.NodeID) bool) (others []assistant.NodeID) {
	s.Shares = slices.DeleteFunc(s.Shares, func(m share) bool { return m.Node != node && isGone(m.Node) })
	for _, m := range s.Shares {
		if m.Node != node && !m.isAtRest() && !slices.Contains(others, m.Node) {
			others = append(others, m.Node)
		}
	}
	return others
}

// turnBack makes the state one of a clock that was set back to now: what was later is now. Otherwise it would count until
// the clock is there again. It reports whether there was anything.
func (s *state) turnBack(now time.Time) (isLater bool) {
	turn := func(t *time.Time) {
		if t.After(now) {
			*t, isLater = now, true
		}
	}
	turn(&s.Questions.At)
	for i := range s.Spent.Parts {
		turn(&s.Spent.Parts[i].First)
		turn(&s.Spent.Parts[i].Last)
	}
	for i := range s.Shares {
		turn(&s.Shares[i].At)
	}
	return isLater
}

var errUnsound = errors.New("numbers that cannot be")

// decode returns a state that was stored; nil is a new one. One that is not understood is an error.
func decode(data []byte) (s state, err error) {
	if data == nil {
		return s, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return state{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return state{}, errors.New("more than one value")
	}
	if !s.isSound() {
		return state{}, errUnsound
	}
	return s, nil
}

func (s *state) isSound() bool {
	return s.Questions.isSound() && s.Spent.isSound() &&
		!slices.ContainsFunc(s.Shares, func(m share) bool { return m.Reserved < 0 || m.Sockets < 0 })
}
