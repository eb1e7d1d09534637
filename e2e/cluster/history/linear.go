package history

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Linearizable checks that each conversation was one list of turns, on which every request acted at one moment between
// its sending and the first time that anybody was shown what came of it. A request whose outcome nobody was shown may
// have acted at any time after its sending, or not at all. It uses porcupine v1.3.1 (of September 2026).
//
// The requests are: to ask (the turn is put behind those that are there), to regenerate (the last turn gets another
// answer), to rename, to list the messages, to list the conversations (for the title), and to delete. The check of one
// conversation is given up after the timeout, which is a violation too: then its history is too long to be checked.
func Linearizable(h History, timeout time.Duration) (found []Violation) {
	r := read(h, Limits{}.withDefaults())
	operations := r.operations()
	for _, conversation := range slices.Sorted(maps.Keys(operations)) {
		ops := operations[conversation]
		switch result := porcupine.CheckOperationsTimeout(turnsModel, ops, timeout); result {
		case porcupine.Ok:
		case porcupine.Unknown:
			found = append(found, Violation{"linearizable", fmt.Sprintf("conversation %.8s: %d operations could not be checked within %v", conversation, len(ops), timeout)})
		default:
			found = append(found, Violation{"linearizable", fmt.Sprintf("conversation %.8s is no list of turns:\n%s", conversation, describe(ops))})
		}
	}
	return found
}

// turn is a question and its answer.
type turn struct{ question, answer string } // the question's text, the answer's id; "" = not known

// register is a conversation as the model of porcupine has it. It is not changed.
type register struct {
	turns   []turn
	title   string // "" = not known
	deleted bool
}

// input is what a client wants, and output what came of it.
type (
	input struct {
		action   string
		question string // to ask
		title    string // to rename
	}
	output struct {
		known    bool   // somebody was shown it
		gone     bool   // there is no such conversation
		position int    // of the turn; -1 = not known
		turn     turn   // that was begun
		turns    []turn // that were listed
		title    string // that was listed
	}
)

var turnsModel = porcupine.Model{
	Init:  func() any { return register{} },
	Step:  func(s, in, out any) (bool, any) { return s.(register).step(in.(input), out.(output)) },
	Equal: func(a, b any) bool { return a.(register).equal(b.(register)) },
	Hash:  func(s any) uint64 { return s.(register).hash() },
}

// step reports whether a request may have that outcome here, and what is after it.
func (r register) step(in input, out output) (bool, register) {
	switch {
	case r.deleted || out.gone:
		return r.deleted && (out.gone || !out.known || in.action == "delete_conversation"), r
	case in.action == "send_message":
		ok := out.position < 0 || out.position == len(r.turns)
		return ok, register{append(slices.Clip(r.turns), turn{in.question, out.turn.answer}), r.title, false}
	case in.action == "regenerate":
		return r.regenerate(out)
	case in.action == "rename_conversation":
		return true, register{r.turns, in.title, false}
	case in.action == "delete_conversation":
		return true, register{deleted: true}
	case in.action == "list_messages":
		return r.lists(out.turns), r
	default: // list_conversations
		return r.title == "" || r.title == out.title, register{r.turns, out.title, false}
	}
}

func (r register) regenerate(out output) (bool, register) {
	last := len(r.turns) - 1
	if last < 0 {
		return !out.known, r
	}
	turns := slices.Clone(r.turns)
	turns[last].answer = out.turn.answer
	return out.turn.question == "" || out.turn.question == turns[last].question, register{turns, r.title, false}
}

// lists reports whether these are the turns.
func (r register) lists(turns []turn) bool {
	return slices.EqualFunc(r.turns, turns, func(a, b turn) bool {
		return a.question == b.question && (a.answer == b.answer || a.answer == "")
	})
}

func (r register) equal(other register) bool {
	return r.deleted == other.deleted && r.title == other.title && slices.Equal(r.turns, other.turns)
}

var seed = maphash.MakeSeed()

func (r register) hash() uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, t := range r.turns {
		_, _ = h.WriteString(t.question)
		_, _ = h.WriteString(t.answer)
	}
	_, _ = h.WriteString(r.title)
	return h.Sum64()
}

// operations are the requests with their outcomes, by conversation.
func (r *reading) operations() map[string][]porcupine.Operation {
	seen, replies := r.sightings(), r.replies()
	operations := make(map[string][]porcupine.Operation)
	add := func(e Entry, out output, until time.Duration) {
		op := porcupine.Operation{Input: input{e.Action, e.Content, e.Title}, Call: int64(e.At), Output: out, Return: int64(until)}
		operations[e.Conversation] = append(operations[e.Conversation], op)
	}
	first := make(map[string]bool) // questions: to send one again is the same request
	for _, e := range r.Entries {
		reply, replied := replies[request{e.Socket, e.Ref}]
		switch {
		case e.Kind != Sent:
		case e.Action == "send_message":
			if !first[e.Content] {
				first[e.Content] = true
				r.addAsk(e, seen, replies, add)
			}
		case e.Action == "regenerate":
			r.addRegenerate(e, reply, seen, add)
		case e.Action == "delete_conversation":
			if at, ok := r.deleted[e.Conversation]; ok && at >= e.At {
				add(e, output{known: true}, at)
			} else if !isGone(reply) {
				add(e, output{}, never)
			}
		case e.Action == "rename_conversation":
			if !replied || reply.Action == "error" {
				add(e, output{}, never)
			} else {
				add(e, output{known: true}, reply.At)
			}
		case e.Action == "list_messages" && replied:
			if reply.Action == "messages" && !reply.More {
				add(e, output{known: true, turns: listed(reply.Messages)}, reply.At)
			} else if isGone(reply) {
				add(e, output{known: true, gone: true}, reply.At)
			}
		case e.Action == "list_conversations" && replied:
			for _, c := range reply.Titles {
				e.Conversation = c.ID
				add(e, output{known: true, title: c.Title}, reply.At)
			}
		}
	}
	return operations
}

// never is when a request returns whose outcome nobody was shown.
const never = time.Duration(math.MaxInt64)

// begun is the first that anybody was shown of a turn.
type begun struct {
	at       time.Duration
	answer   string
	position int // -1 = not known
}

// sighted are the first sightings of turns: by the text of their question, and by the id of their answer.
type sighted struct {
	questions map[string]begun
	answers   map[string]begun
}

func (r *reading) sightings() sighted {
	seen := sighted{make(map[string]begun), make(map[string]begun)}
	for _, s := range r.stretches {
		for _, f := range s.frames {
			if f.Action == "streaming_start" {
				r.start(seen, f)
			}
		}
	}
	// What nobody saw begin, somebody may have been shown later, or it is stored.
	for _, e := range r.Entries {
		if e.Kind == Received {
			r.sight(seen, e.Messages, e.At)
		}
	}
	for _, c := range r.Stored {
		r.sight(seen, c.Messages, never)
	}
	return seen
}

// start notes the start of an answer. Where it may be a later one to its question, only the time is of use.
func (r *reading) start(seen sighted, f shown) {
	b := begun{at: f.At, position: -1}
	if r.fresh[f.ID] {
		b.answer = f.ID
	}
	if r.fresh[f.ID] && !f.after.more {
		b.position = f.after.turns - 1
	}
	keep(seen.questions, r.questions[f.ID], b)
	keep(seen.answers, f.ID, b)
}

// sight notes turns that are in a list.
func (r *reading) sight(seen sighted, messages []Message, at time.Duration) {
	for _, t := range listed(messages) {
		if r.commands[r.asked[t.question]]["regenerate"] > 0 {
			t.answer = "" // it may be a later one
		}
		keep(seen.questions, t.question, begun{at, t.answer, -1})
	}
}

// keep keeps the earliest time, and what else is known.
func keep(all map[string]begun, key string, b begun) {
	earlier, ok := all[key]
	if !ok {
		all[key] = b
		return
	}
	all[key] = begun{min(earlier.at, b.at), cmp.Or(earlier.answer, b.answer), max(earlier.position, b.position)}
}

// replies are the answers to requests: the last frame of each.
func (r *reading) replies() map[request]Entry {
	replies := make(map[request]Entry)
	for _, e := range r.Entries {
		if e.Kind == Received && e.Ref != "" && e.Action != "notice" {
			if _, ok := replies[request{e.Socket, e.Ref}]; !ok || e.Action == "streaming_start" {
				replies[request{e.Socket, e.Ref}] = e
			}
		}
	}
	return replies
}

func isGone(reply Entry) bool {
	return reply.Action == "error" && (reply.Reason == "not_found" || reply.Reason == "unknown_topic")
}

func (r *reading) addAsk(e Entry, seen sighted, replies map[request]Entry, add func(Entry, output, time.Duration)) {
	if b, ok := seen.questions[e.Content]; ok {
		add(e, output{known: b.at != never, position: b.position, turn: turn{e.Content, b.answer}}, b.at)
		return
	}
	if reply, ok := replies[request{e.Socket, e.Ref}]; ok && isGone(reply) {
		add(e, output{known: true, gone: true}, reply.At)
		return
	}
	add(e, output{position: -1}, never)
}

func (r *reading) addRegenerate(e, reply Entry, seen sighted, add func(Entry, output, time.Duration)) {
	switch {
	case reply.Action == "streaming_start":
		add(e, output{known: true, turn: turn{r.questions[reply.ID], reply.ID}}, seen.answers[reply.ID].at)
	case isGone(reply):
		add(e, output{known: true, gone: true}, reply.At)
	default:
		add(e, output{}, never)
	}
}

// listed are the turns of a list of messages.
func listed(messages []Message) (turns []turn) {
	for i, m := range messages {
		if m.Role != "user" {
			continue
		}
		t := turn{question: m.Content}
		if i+1 < len(messages) && messages[i+1].Role == "assistant" {
			t.answer = messages[i+1].ID
		}
		turns = append(turns, t)
	}
	return turns
}

// describe lists operations in the order in which they were sent.
func describe(ops []porcupine.Operation) string {
	var b strings.Builder
	for _, op := range ops {
		in, out := op.Input.(input), op.Output.(output)
		until := "?"
		if op.Return != int64(never) {
			until = time.Duration(op.Return).Round(time.Millisecond).String()
		}
		fmt.Fprintf(&b, "\t%v–%s %s %s%s:", time.Duration(op.Call).Round(time.Millisecond), until, in.action, in.question, in.title)
		switch {
		case !out.known:
			b.WriteString(" not known")
		case out.gone:
			b.WriteString(" gone")
		case in.action == "send_message":
			fmt.Fprintf(&b, " at %d, %.8s", out.position, out.turn.answer)
		case in.action == "regenerate":
			fmt.Fprintf(&b, " %s, %.8s", out.turn.question, out.turn.answer)
		case in.action == "list_messages":
			for _, t := range out.turns {
				fmt.Fprintf(&b, " %s %.8s;", t.question, t.answer)
			}
		case in.action == "list_conversations":
			b.WriteString(" " + out.title)
		}
		b.WriteString("\n")
	}
	return b.String()
}
