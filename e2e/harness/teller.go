package harness

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Question is what a test asks of a [Teller]. Its text says how the answer is: so many pieces, so far apart. Pieces 0
// is an answer that goes on until [Teller.End].
type Question struct {
	ID     string // without spaces, and no other question's
	Pieces int
	Pace   time.Duration
}

// String is the question as it is asked.
func (q Question) String() string {
	return fmt.Sprintf("%s: %d pieces every %s", q.ID, q.Pieces, q.Pace)
}

// ParseQuestion reads the text of a question.
func ParseQuestion(text string) (q Question, err error) {
	id, how, _ := strings.Cut(text, ": ")
	var pace string
	if _, err = fmt.Sscanf(how, "%d pieces every %s", &q.Pieces, &pace); err != nil {
		return q, fmt.Errorf("read question %.80q: %w", text, err)
	}
	q.ID = id
	q.Pace, err = time.ParseDuration(pace)
	return q, err
}

// Piece is piece i of the answer that the model gives when it is asked for the nth time, both counted from 1.
func (q Question) Piece(n, i int) string { return fmt.Sprintf("%s/%d.%d ", q.ID, n, i) }

// Teller is an [Upstream] that answers each [Question] as that says and writes down every call. A request that has
// another text is one for a title. A Teller is safe for concurrent use.
type Teller struct {
	*Upstream
	// Title answers a request for a title; nil answers "A title".
	Title func(*Call)
	// Usage reports tokens of an answer of so many pieces; nil reports none, and the server estimates.
	Usage func(pieces int) (input, output int)

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when a telling changes
	began   time.Time
	calls   []*Telling
	ends    map[string]chan struct{}
}

// Telling is one call of a Teller. Times are since the Teller began.
type Telling struct {
	Question Question
	N        int // it is the nth call for this question
	Messages []ChatMessage
	Began    time.Duration
	Ended    time.Duration // 0 = it is under way
	Text     string        // what has been sent
	Finished bool          // to its end; otherwise the server has given it up
}

// NewTeller runs a Teller until the test ends. Times count from began.
func NewTeller(t testing.TB, began time.Time) *Teller {
	t.Helper()
	tell := &Teller{began: began, changed: make(chan struct{}), ends: make(map[string]chan struct{})}
	tell.Upstream = NewUpstream(t, tell.answer)
	t.Cleanup(tell.CloseConnections) // a node that was stopped by a signal would keep the server waiting
	return tell
}

func (tell *Teller) answer(call *Call) {
	q, err := ParseQuestion(call.Question())
	if err != nil || strings.Contains(call.Messages[0].Content, "Name the conversation") {
		tell.title(call)
		return
	}
	told := tell.begin(q, call.Messages)
	pieces, whole := tell.tell(call, told)
	tell.update(func() { told.Finished, told.Ended = whole, time.Since(tell.began) })
	if !whole {
		return
	}
	if tell.Usage != nil {
		call.Usage(tell.Usage(pieces))
	}
	call.Finish()
}

// tell sends the pieces. It returns how many there were, and false where the server has given the request up.
func (tell *Teller) tell(call *Call, told *Telling) (pieces int, whole bool) {
	q, end := told.Question, tell.endOf(told.Question.ID)
	ticker := time.NewTicker(max(q.Pace, time.Microsecond))
	defer ticker.Stop()
	for i := 1; q.Pieces == 0 || i <= q.Pieces; i++ {
		piece := q.Piece(told.N, i)
		tell.update(func() { told.Text += piece })
		call.Pieces(piece)
		select {
		case <-ticker.C:
		case <-end:
			return i, true
		case <-call.Gone():
			return i, false
		}
	}
	return q.Pieces, true
}

func (tell *Teller) title(call *Call) {
	if tell.Title != nil {
		tell.Title(call)
		return
	}
	call.Pieces("A title")
	call.Finish()
}

func (tell *Teller) begin(q Question, messages []ChatMessage) *Telling {
	told := &Telling{Question: q, N: 1, Messages: messages, Began: time.Since(tell.began)}
	tell.update(func() {
		for _, other := range tell.calls {
			if other.Question.ID == q.ID {
				told.N++
			}
		}
		tell.calls = append(tell.calls, told)
	})
	return told
}

func (tell *Teller) update(change func()) {
	tell.mu.Lock()
	defer tell.mu.Unlock()
	change()
	close(tell.changed)
	tell.changed = make(chan struct{})
}

func (tell *Teller) endOf(id string) chan struct{} {
	tell.mu.Lock()
	defer tell.mu.Unlock()
	if tell.ends[id] == nil {
		tell.ends[id] = make(chan struct{})
	}
	return tell.ends[id]
}

// End lets the answers to that question end now, as whole ones, also those that are still to be asked for. It is
// called once for a question.
func (tell *Teller) End(id string) { close(tell.endOf(id)) }

// Tellings returns all calls so far, oldest first.
func (tell *Teller) Tellings() []Telling {
	tell.mu.Lock()
	defer tell.mu.Unlock()
	return tell.tellingsLocked()
}

func (tell *Teller) tellingsLocked() []Telling {
	all := make([]Telling, len(tell.calls))
	for i, told := range tell.calls {
		all[i] = *told
	}
	return all
}

// Of returns the calls for one question so far, oldest first.
func (tell *Teller) Of(id string) []Telling {
	return slices.DeleteFunc(tell.Tellings(), func(told Telling) bool { return told.Question.ID != id })
}

// Forget forgets all calls so far; those under way are not written down any more.
func (tell *Teller) Forget() {
	tell.update(func() {
		tell.calls = nil
		clear(tell.ends)
	})
}

// Wait returns when the calls so far are as is says, or after at most wait; it reports whether they are.
func (tell *Teller) Wait(wait time.Duration, is func([]Telling) bool) bool {
	for deadline := time.After(wait); ; {
		tell.mu.Lock()
		calls, changed := tell.tellingsLocked(), tell.changed
		tell.mu.Unlock()
		if is(calls) {
			return true
		}
		select {
		case <-changed:
		case <-deadline:
			return false
		}
	}
}
