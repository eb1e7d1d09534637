package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Limits are what the invariants allow. Zero values are the defaults.
type Limits struct {
	Deletion time.Duration // after which nothing of a deleted conversation may be shown any more [1s]
	Stop     time.Duration // after which the model's request is gone when a client was told that an answer is stopped [1s]
	// Loss is how long before the last piece that was shown of an interrupted answer all must be stored: 250 ms and a
	// commit are promised, which a machine that is busy makes longer. [2s]
	Loss time.Duration
	// Budget is how many tokens each payer has; 0 = nobody has one. Overshoot is how many more may be used.
	Budget, Overshoot int
}

func (l Limits) withDefaults() Limits {
	l.Deletion, l.Stop, l.Loss = cmp.Or(l.Deletion, time.Second), cmp.Or(l.Stop, time.Second), cmp.Or(l.Loss, 2*time.Second)
	return l
}

// Violation is a promise that was broken.
type Violation struct {
	Invariant string // I1 to I13
	What      string
}

func (v Violation) String() string { return v.Invariant + ": " + v.What }

// Invariants are what is checked. I1 to I12 are those of the design of September to November 2026, whose numbers they
// have; I13 was added here.
var Invariants = []struct {
	Name    string
	Promise string
	check   func(*reading)
}{
	{"I1", "one number of one epoch is the same event for everybody, and the text up to it is the same", (*reading).sameEvents},
	{"I2", "over one socket numbers go up by one; where pieces are merged, the number is that of the last", (*reading).noGaps},
	{"I3", "each answer that was begun has one end, which is the same for everybody and in the store", (*reading).oneEnding},
	{"I4", "a question whose answer was begun is stored", (*reading).acceptedIsStored},
	{"I5", "a question is asked of the model once, and once more for each regenerate", (*reading).askedOnce},
	{"I6", "the stored text is what was shown; of an interrupted answer a beginning of it that lacks little", (*reading).storedAsShown},
	{"I7", "an epoch that follows a burial shows nothing of an answer after its stored beginning", (*reading).buriedIsBuried},
	{"I8", "the model is told the stored turns before the question", (*reading).toldWhatIsStored},
	{"I9", "once a deletion was told, nothing of the conversation is shown", (*reading).deletedIsGone},
	{"I10", "once a stop was told, the model's request is gone", (*reading).stoppedIsGone},
	{"I11", "what is resumed as recovered leaves out no number", (*reading).recoveredIsWhole},
	{"I12", "what is paid is the sum of what was used, nothing stays reserved, and no budget is overspent", (*reading).paidAsUsed},
	{"I13", "at rest every open tab shows what is stored", (*reading).restIsStored},
}

// maxFound is how many violations of one invariant are returned.
const maxFound = 10

// Check returns what of the promises was broken, in the order of [Invariants].
func Check(h History, limits Limits) []Violation {
	r := read(h, limits.withDefaults())
	for _, invariant := range Invariants {
		n := len(r.found)
		invariant.check(r)
		found := r.found[n:]
		slices.SortFunc(found, func(a, b Violation) int { return cmp.Compare(a.What, b.What) })
		found = slices.Compact(found)
		more := max(0, len(found)-maxFound)
		r.found = r.found[:n+len(found)-more]
		for i := range r.found[n:] {
			r.found[n+i].Invariant = invariant.Name
		}
		if more > 0 {
			r.found = append(r.found, Violation{invariant.Name, fmt.Sprintf("and %d more", more)})
		}
	}
	return r.found
}

// broken notes a violation of the invariant that is being checked.
func (r *reading) broken(format string, args ...any) {
	r.found = append(r.found, Violation{What: fmt.Sprintf(format, args...)})
}
