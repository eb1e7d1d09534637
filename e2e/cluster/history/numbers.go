package history

import (
	"fmt"
	"strings"
)

// place is a number of a log.
type place struct {
	conversation, epoch string
	seq                 uint64
}

// sighting is what somebody saw at a place.
type sighting struct {
	what string
	by   *stretch
}

// sameEvents checks I1. It compares events by what they say, except for the pieces: there it is the text so far, which
// is the same however they are merged. A deletion ends a log wherever that is: there is no store that could number it.
func (r *reading) sameEvents() {
	events, texts := make(map[place]sighting), make(map[place]sighting)
	for _, s := range r.stretches {
		if s.restored {
			r.compare(texts, s, s.first.seq, s.first.text())
		}
		for _, f := range s.frames {
			if f.Action == "conversation_deleted" {
				break
			}
			r.compare(events, s, f.Seq, f.what())
			r.compare(texts, s, f.Seq, f.after.text())
			for seq := f.before.seq + 1; merges(f.Action) && seq < f.Seq; seq++ {
				r.compare(events, s, seq, f.what())
			}
		}
	}
}

// compare notes a sighting, or compares it with an earlier one.
func (r *reading) compare(seen map[place]sighting, s *stretch, seq uint64, what string) {
	at := place{s.conversation, s.epoch, seq}
	switch earlier, ok := seen[at]; {
	case !ok:
		seen[at] = sighting{what, s}
	case !isSame(earlier.what, what):
		r.broken("number %d is %q for %v and %q for %v", seq, earlier.what, earlier.by, what, s)
	}
}

// isSame reports whether two sightings are of the same event. Of two snapshots one may begin with an older message.
func isSame(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	end, isSnapshot := strings.CutPrefix(b, snapshotPrefix)
	return a == b || isSnapshot && strings.HasPrefix(a, snapshotPrefix) && strings.Count(end, " ") >= minPage && strings.HasSuffix(a, end)
}

const (
	snapshotPrefix = "snapshot:"
	// minPage is half of the messages that a snapshot has of a long conversation, in words of its sighting.
	minPage = 2 * 25
)

// text is how far the running answer is.
func (m mark) text() string {
	if m.running == "" {
		return "no answer runs"
	}
	return fmt.Sprintf("%d bytes of %.8s (%x)", m.size, m.running, m.sum)
}

// what says what an event is: the same for the same event.
func (f shown) what() string {
	switch f.Action {
	case "streaming", "reasoning":
		return "a piece of " + f.before.running
	case "snapshot":
		var what strings.Builder
		what.WriteString(snapshotPrefix)
		for _, m := range f.Messages {
			fmt.Fprintf(&what, " %.8s %x", m.ID, hash(m.Content))
		}
		return what.String()
	default:
		return fmt.Sprintf("%s %.8s %s %.80s %s %s %s", f.Action, f.ID, f.ClientID, f.Content, f.Finish, f.Reason, f.Title)
	}
}

func hash(text string) uint64 {
	var v View
	v.add(text)
	return v.sum
}

// noGaps checks I2: not between a resume and its first event, which is I11.
func (r *reading) noGaps() {
	for _, s := range r.stretches {
		if !s.recovered && !s.restored && len(s.frames) > 0 {
			r.broken("%v got %s before its snapshot", s, s.frames[0].Action)
		}
		for i, f := range s.frames {
			if (i > 0 || s.restored) && !f.follows() {
				r.broken("%v got %s with number %d after %d", s, f.Action, f.Seq, f.before.seq)
			}
		}
	}
}

// follows reports whether a frame may come after what the client had. That nothing but pieces was merged is I1.
func (f shown) follows() bool {
	if merges(f.Action) {
		return f.Seq > f.before.seq
	}
	return f.Seq == f.before.seq+1
}

// recoveredIsWhole checks I11.
func (r *reading) recoveredIsWhole() {
	for _, s := range r.stretches {
		switch {
		case !s.recovered:
		case s.asked == nil || s.asked.Epoch == "":
			r.broken("%v was recovered from nowhere", s)
		case s.asked.Epoch != s.epoch:
			r.broken("%v was recovered from epoch %s", s, s.asked.Epoch)
		case s.asked.After != s.first.seq:
			r.broken("%v asked for what is after %d, and had %d", s, s.asked.After, s.first.seq)
		case len(s.frames) > 0 && !s.frames[0].follows():
			r.broken("%v was recovered after %d and got %s with number %d", s, s.first.seq, s.frames[0].Action, s.frames[0].Seq)
		}
	}
}
