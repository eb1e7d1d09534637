package assistant

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Batch is a stretch of a conversation's log on its way to a store or another node. Neighbouring pieces of text are
// one text there, with the length of each: so it is small, and every event can be told apart again.
type Batch struct {
	Epoch       string
	First, Last uint64 // the numbers of its first and last event
	Data        []byte // JSON, for [Batch.Events]
}

// run is an event in a Batch, or several pieces that follow each other.
type run struct {
	Event
	Cuts []int // of several pieces: the length of each in characters; nil = it is one event
}

// NewBatch returns events of a log, in order and without a gap, as a batch. There must be at least one. Of a
// [Replaced] only From is kept: who reads it has the conversation, and makes the snapshot.
func NewBatch(epoch string, events []Event) (Batch, error) {
	b := Batch{Epoch: epoch, First: events[0].Seq, Last: events[len(events)-1].Seq}
	if b.Last-b.First != uint64(len(events)-1) {
		return b, fmt.Errorf("%d events are numbered %d to %d", len(events), b.First, b.Last)
	}
	var runs []run
	for rest := events; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Continues(rest[0]) && utf8.ValidString(rest[n].Text) { // parts of a character would become one
			n++
		}
		runs = append(runs, newRun(rest[:n]))
		rest = rest[n:]
	}
	var err error
	b.Data, err = json.Marshal(runs)
	return b, err
}

// newRun joins an event with those that continue it.
func newRun(events []Event) run {
	r := run{Event: events[0]}
	r.Seq = 0
	if replaced, ok := r.Body.(Replaced); ok {
		r.Body = Replaced{From: replaced.From}
	}
	if len(events) == 1 {
		return r
	}
	var text strings.Builder
	for _, e := range events {
		text.WriteString(e.Text)
		r.Cuts = append(r.Cuts, utf8.RuneCountInString(e.Text))
	}
	r.Text = text.String()
	return r
}

// Events returns the events of the batch, with their numbers.
func (b Batch) Events() ([]Event, error) {
	var runs []run
	if err := json.Unmarshal(b.Data, &runs); err != nil {
		return nil, fmt.Errorf("read batch: %w", err)
	}
	var events []Event
	for _, r := range runs {
		if r.Cuts == nil {
			events = append(events, r.Event)
			continue
		}
		rest := []rune(r.Text)
		for _, n := range r.Cuts {
			if n < 0 || n > len(rest) {
				return nil, fmt.Errorf("read batch: a piece of %d characters, where %d are left", n, len(rest))
			}
			piece := r.Event
			piece.Text, rest = string(rest[:n]), rest[n:]
			events = append(events, piece)
		}
	}
	if uint64(len(events)) != b.Last-b.First+1 {
		return nil, fmt.Errorf("read batch: %d events are numbered %d to %d", len(events), b.First, b.Last)
	}
	for i := range events {
		events[i].Seq = b.First + uint64(i)
	}
	return events, nil
}

// MarshalJSON implements [json.Marshaler].
func (r run) MarshalJSON() ([]byte, error) { return r.Event.marshal(r.Cuts) }

// UnmarshalJSON implements [json.Unmarshaler].
func (r *run) UnmarshalJSON(data []byte) (err error) {
	r.Cuts, err = r.Event.unmarshal(data)
	return err
}
