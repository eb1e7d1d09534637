package stream

import "time"

// Ages knows how old the entries of a [Log] are, roughly: entries that come close to each other have one age, so that
// there are few however many entries come. The zero Ages is empty. It is not safe for concurrent use.
type Ages struct {
	marks []mark // oldest first
}

// mark says how old a part of the log is: everything up to seq was appended before at.
type mark struct {
	seq      uint64
	from, at time.Time // of the first and the last entry that the mark stands for
}

// Note says that everything up to seq was appended by now. What was noted less than precision ago gets the same age.
func (a *Ages) Note(seq uint64, now time.Time, precision time.Duration) {
	if last := len(a.marks) - 1; last >= 0 && now.Sub(a.marks[last].from) < precision {
		a.marks[last].seq, a.marks[last].at = seq, now
	} else {
		a.marks = append(a.marks, mark{seq, now, now})
	}
}

// Forget forgets the ages of what was appended until t, and returns the number of the last of it; 0 = there is none.
func (a *Ages) Forget(t time.Time) (seq uint64) {
	n := 0
	for n < len(a.marks) && !a.marks[n].at.After(t) {
		seq = a.marks[n].seq
		n++
	}
	a.marks = append([]mark(nil), a.marks[n:]...) // the array goes with what is forgotten
	return seq
}

// Oldest returns when the oldest entries were appended; ok is false where there are none.
func (a *Ages) Oldest() (at time.Time, ok bool) {
	if len(a.marks) == 0 {
		return at, false
	}
	return a.marks[0].at, true
}
