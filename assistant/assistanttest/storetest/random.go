package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// randomSteps is how many calls a random play makes.
const randomSteps = 300

// caller makes random calls, of a few owners on a few conversations, so that they meet.
type caller struct {
	*rand.Rand

	model         *storeModel         // what is stored when a call is made
	conversations []string            // IDs, those that are gone included
	owners        map[string]string   // conversation → owner
	messages      map[string][]string // conversation → IDs, also of those that are gone
}

// step is a call and the text that names it where a test fails.
type step struct {
	name string
	call func(ctx context.Context, s storeTest) (any, error)
}

// playRandom makes the calls that seed stands for, on the store and on the model, and compares what they
// return; now and then it reopens the store where it has a place. It closes the store.
func playRandom(t storeTest, seed uint64, place Place) {
	p := &caller{rand.New(rand.NewPCG(seed, 1)), &storeModel{}, nil, make(map[string]string), make(map[string][]string)}
	model := newTest(t.T, p.model)
	var history []string
	compare := func(next step) {
		history = append(history, next.name)
		got, gotErr := next.call(t.Context(), t)
		want, wantErr := next.call(t.Context(), model)
		if g, w := outcome(got, gotErr), outcome(want, wantErr); g != w {
			t.Fatalf("%s\n got %s (%v)\nwant %s (%v)", strings.Join(history, "\n"), g, gotErr, w, wantErr)
		}
	}
	for range randomSteps {
		if place != nil && p.IntN(20) == 0 {
			history = append(history, "reopen")
			t = t.reopen(place)
			p.model.reopened()
		}
		compare(p.next())
	}
	for _, id := range p.conversations {
		compare(step{"Messages of " + id, func(ctx context.Context, s storeTest) (any, error) {
			c, err := s.Conversation(ctx, p.owners[id], id)
			if err != nil {
				return nil, err
			}
			page, _, err := s.Messages(ctx, p.owners[id], id, "", 1000)
			return conversation{c, listed(page)}, err
		}})
	}
	t.must(t.Close())
}

// outcome returns what a call has returned, as far as stores must agree.
func outcome(v any, err error) string {
	switch {
	case errors.Is(err, assistant.ErrNotFound):
		return "not found"
	case errors.Is(err, assistant.ErrDuplicate):
		return "duplicate"
	case errors.Is(err, assistant.ErrStale):
		return "stale"
	case err != nil:
		return "error"
	}
	return asJSON(v)
}

func (p *caller) next() step {
	steps := []struct {
		weight int
		make   func(owner, id string) step
	}{
		{2, p.create},
		{12, p.begin},
		{15, p.extend},
		{10, p.finish},
		{4, p.read},
		{4, p.list},
		{3, p.rename},
		{1, p.delete},
		{1, p.deleteBefore},
	}
	if len(p.conversations) < 2 {
		return p.create("", "")
	}
	id := pick(p, p.conversations)
	owner := p.owners[id]
	if p.IntN(20) == 0 {
		owner = pick(p, []string{"alice", "bob", ""}) // most likely a stranger
	}
	n := p.IntN(52)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			return s.make(owner, id)
		}
	}
	panic("weights add up to less than is drawn")
}

func pick[T any](p *caller, from []T) T { return from[p.IntN(len(from))] }

func (p *caller) id() string {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(p.Uint32())
	}
	return id.String()
}

// message returns the ID of a message, mostly a late one of the conversation.
func (p *caller) message(conversation string) string {
	ids := p.messages[conversation]
	switch n := p.IntN(20); {
	case n == 0:
		return p.id()
	case n == 1:
		ids = p.messages[pick(p, p.conversations)]
	}
	if len(ids) == 0 {
		return p.id()
	}
	return pick(p, ids[len(ids)-min(len(ids), 1+p.IntN(6)):])
}

func (p *caller) text() string {
	return strings.Repeat(pick(p, []string{"a", "", "ünd ", "\U0001F600", "'\"\\", "line\n"}), p.IntN(4))
}

func (p *caller) create(string, string) step {
	owner := pick(p, []string{"alice", "alice", "bob", ""})
	c := assistant.Conversation{ID: p.id(), Title: p.text(), CreatedAt: at(p.IntN(6)), UpdatedAt: at(p.IntN(6))}
	if len(p.conversations) > 2 && p.IntN(5) == 0 {
		c.ID = pick(p, p.conversations)
	}
	if !slices.Contains(p.conversations, c.ID) {
		p.conversations = append(p.conversations, c.ID)
		p.owners[c.ID] = owner
	}
	return step{fmt.Sprintf("Create %q %s", owner, asJSON(c)), func(ctx context.Context, s storeTest) (any, error) {
		return nil, s.Create(ctx, owner, c)
	}}
}

// begin goes on behind the last message, or, now and then, behind another.
func (p *caller) begin(owner, id string) step {
	b := assistant.Beginning{Answer: answer(p.IntN(6)), Title: p.text()}
	b.Answer.ID = p.id()
	if p.IntN(4) > 0 {
		b.Question = question(p.text(), pick(p, []string{"", "1", "2", "3", "4"}), p.IntN(6))
		if b.Question.ID = p.id(); p.IntN(10) == 0 {
			b.Question.ID = p.message(id)
		}
		if p.IntN(4) == 0 {
			b.Question.SetParts(assistant.Parts{pick(p, allParts), text(p.text())})
		}
		p.messages[id] = append(p.messages[id], b.Question.ID)
	}
	page, _, _ := p.model.Messages(context.Background(), p.owners[id], id, "", 1)
	for _, m := range page {
		b.Last = m.ID
	}
	if p.IntN(10) == 0 {
		b.Last = p.message(id)
	}
	if p.IntN(3) == 0 {
		b.DropFrom = p.message(id)
	}
	p.messages[id] = append(p.messages[id], b.Answer.ID)
	return step{fmt.Sprintf("Begin %q %s %s", owner, id, asJSON(b)), func(ctx context.Context, s storeTest) (any, error) {
		return nil, s.ledger.begin(ctx, s.Store, owner, id, b)
	}}
}

// streamed returns up to three parts of a streaming answer.
func (p *caller) streamed() (parts assistant.Parts) {
	for range p.IntN(4) {
		parts = append(parts, pick(p, []assistant.Part{text(p.text()), reasoning(p.text())}))
	}
	return parts
}

// extend goes on where the last call has ended, or, now and then, makes that again, leaves a gap or begins somewhere else.
func (p *caller) extend(owner, id string) step {
	e := assistant.Extension{MessageID: p.message(id), ReasoningLive: p.IntN(4) == 0}
	e.Events = eventsOf(e.MessageID, append(p.streamed(), text(p.text())))
	if p.IntN(4) == 0 {
		e.Events = slices.Insert(e.Events, p.IntN(len(e.Events)), assistant.Event{Kind: assistant.KindNotice, Body: assistant.Notice{Reason: assistant.NoticeDraining}})
	}
	skip := 0
	if call, ok := p.model.lastCall(id, e.MessageID); ok { // the first one may begin anywhere
		skip = pick(p, []int{0, 0, 0, 0, 0, int(call.first) - int(call.last) - 1, -1, -p.IntN(5), 1 + p.IntN(3)})
	}
	return step{fmt.Sprintf("Extend %q %s %s %d %s", owner, id, e.MessageID, skip, asJSON(e.Events)), func(ctx context.Context, s storeTest) (any, error) {
		return nil, s.ledger.extend(ctx, s.Store, owner, id, skip, e)
	}}
}

func (p *caller) finish(owner, id string) step {
	var messages []assistant.Message
	for range 1 + p.IntN(2) {
		m := assistant.Message{
			ID: p.message(id), Content: p.text(), FinishReason: pick(p, []assistant.FinishReason{"", assistant.FinishStop}),
			Status:   pick(p, []assistant.Status{assistant.StatusComplete, assistant.StatusStopped, assistant.StatusFailed}),
			Provider: p.text(), Model: p.text(), Reason: pick(p, []assistant.Reason{"", assistant.ReasonBusy}),
		}
		if p.IntN(2) == 0 {
			m.Usage = &assistant.Usage{InputTokens: p.IntN(9), Estimated: p.IntN(2) == 0}
		}
		if p.IntN(2) == 0 {
			m.SetParts(append(p.streamed(), pick(p, allParts)))
		}
		if !slices.ContainsFunc(messages, func(other assistant.Message) bool { return other.ID == m.ID }) {
			messages = append(messages, m)
		}
	}
	now := at(p.IntN(6))
	return step{fmt.Sprintf("Finish %q %s %v %s", owner, id, now, asJSON(messages)), func(ctx context.Context, s storeTest) (any, error) {
		return nil, s.ledger.finish(ctx, s.Store, owner, id, assistant.Ending{At: now, Messages: messages})
	}}
}

// read reads a page of messages, and a turn by its client id.
func (p *caller) read(owner, id string) step {
	before, limit, clientID := "", 1+p.IntN(6), pick(p, []string{"", "1", "2", "3", "5"})
	if p.IntN(2) == 0 {
		before = p.message(id)
	}
	return step{fmt.Sprintf("read %q %s %s %d %s", owner, id, before, limit, clientID), func(ctx context.Context, s storeTest) (any, error) {
		page, more, err := s.Messages(ctx, owner, id, before, limit)
		turn, turnErr := s.MessageByClientID(ctx, owner, id, clientID)
		return []any{listed(page), more, outcome(turn, turnErr)}, err
	}}
}

func (p *caller) list(owner, id string) step {
	var after assistant.Conversation
	if p.IntN(2) == 0 {
		after.ID, after.UpdatedAt = id, at(p.IntN(6))
	}
	limit := 1 + p.IntN(5)
	return step{fmt.Sprintf("List %q %s %d", owner, asJSON(after), limit), func(ctx context.Context, s storeTest) (any, error) {
		list, err := s.List(ctx, owner, after, limit)
		return listed(list), err
	}}
}

func (p *caller) rename(owner, id string) step {
	title := p.text()
	was := pick(p, []*string{nil, new(""), new(p.text())})
	return step{fmt.Sprintf("Rename %q %s %q %s", owner, id, title, asJSON(was)), func(ctx context.Context, s storeTest) (any, error) {
		return s.Rename(ctx, owner, id, title, was)
	}}
}

func (p *caller) delete(owner, id string) step {
	return step{fmt.Sprintf("Delete %q %s", owner, id), func(ctx context.Context, s storeTest) (any, error) {
		return nil, s.Delete(ctx, owner, id)
	}}
}

func (p *caller) deleteBefore(string, string) step {
	t := at(p.IntN(3))
	return step{fmt.Sprintf("DeleteBefore %v", t), func(ctx context.Context, s storeTest) (any, error) {
		deleted, err := s.DeleteBefore(ctx, t, 1000)
		slices.SortFunc(deleted, byID)
		return listed(deleted), err
	}}
}
