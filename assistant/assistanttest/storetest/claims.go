package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// firstNumber is where the logs of a store begin that is no Cluster: it has to know no numbers before.
const firstNumber = 1 << 40

// ledger holds the claims of conversations and numbers their events, so that the same tests run on every store. Its
// methods may be called concurrently.
type ledger struct {
	mu   sync.Mutex
	logs map[assistant.Owned]*entry
}

// entry is what the ledger knows of a conversation.
type entry struct {
	claim assistant.Claim
	last  uint64 // the number of the last event that is stored
}

func newLedger() *ledger { return &ledger{logs: make(map[assistant.Owned]*entry)} }

// claim returns the claim of a conversation and the number of its last event. A Cluster is asked for it once; elsewhere a
// claim says whose the conversation is.
func (l *ledger) claim(ctx context.Context, s assistant.Store, owner, id string) (assistant.Claim, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	owned := assistant.Owned{Owner: owner, ID: id}
	if e := l.logs[owned]; e != nil {
		return e.claim, e.last, nil
	}
	e := &entry{assistant.Claim{Owned: owned}, firstNumber}
	if cluster, ok := s.(assistant.Cluster); ok {
		claim, cursor, err := cluster.Claim(ctx, owner, id)
		if err != nil {
			return claim, 0, err
		}
		e = &entry{claim, cursor.Seq}
	}
	l.logs[owned] = e
	return e.claim, e.last, nil
}

// count counts events that are stored.
func (l *ledger) count(c assistant.Claim, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.logs[c.Owned]; e != nil && e.claim == c {
		e.last += uint64(n)
	}
}

// forget drops what is known of a conversation that is created anew.
func (l *ledger) forget(owner, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.logs, assistant.Owned{Owner: owner, ID: id})
}

// release gives back the claims of a Cluster's conversations in which no answer streams.
func (l *ledger) release(ctx context.Context, s assistant.Store) error {
	cluster, ok := s.(assistant.Cluster)
	if !ok {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for owned, e := range l.logs {
		page, _, err := s.Messages(ctx, owned.Owner, owned.ID, "", 1)
		if slices.ContainsFunc(page, isStreaming) {
			continue
		}
		if err == nil {
			err = cluster.Release(ctx, e.claim, e.last, nil)
		}
		if err != nil && !errors.Is(err, assistant.ErrNotFound) {
			return err
		}
		delete(l.logs, owned)
	}
	return nil
}

// numbered gives events the numbers from first on.
func numbered(first uint64, events []assistant.Event) []assistant.Event {
	events = slices.Clone(events)
	for i := range events {
		events[i].Seq = first + uint64(i)
	}
	return events
}

// begin calls Begin with the events that show the beginning.
func (l *ledger) begin(ctx context.Context, s assistant.Store, owner, id string, b assistant.Beginning) error {
	return l.call(ctx, s, owner, id, func(c assistant.Claim, last uint64) (uint64, error) {
		b.Events = numbered(last+1, eventsOfBeginning(b))
		return last + uint64(len(b.Events)), s.Begin(ctx, c, b)
	})
}

func eventsOfBeginning(b assistant.Beginning) (events []assistant.Event) {
	if b.DropFrom != "" {
		events = append(events, assistant.Event{Kind: assistant.KindReplaced, Body: assistant.Replaced{From: b.DropFrom}})
	}
	if b.Question != nil {
		events = append(events, assistant.Event{Kind: assistant.KindAsked, Body: assistant.Asked{Message: *b.Question}})
	}
	return append(events, assistant.Event{Kind: assistant.KindStarted, Run: b.Answer.ID, Body: assistant.Started{At: b.Answer.CreatedAt}})
}

// extend calls Extend with the next events; skip leaves numbers out, or, where it is negative, gives the last ones again.
func (l *ledger) extend(ctx context.Context, s assistant.Store, owner, id string, skip int, e assistant.Extension) error {
	return l.call(ctx, s, owner, id, func(c assistant.Claim, last uint64) (uint64, error) {
		last += uint64(skip)
		e.Events = numbered(last+1, e.Events)
		return last + uint64(len(e.Events)), s.Extend(ctx, c, e)
	})
}

// finish calls Finish with the events that are left, and the end of the first message. Where that is not the answer that
// streams, the log has nothing of it.
func (l *ledger) finish(ctx context.Context, s assistant.Store, owner, id string, e assistant.Ending) error {
	return l.call(ctx, s, owner, id, func(c assistant.Claim, last uint64) (uint64, error) {
		page, _, err := s.Messages(ctx, owner, id, "", 1)
		if err == nil && slices.ContainsFunc(page, isStreaming) && !slices.ContainsFunc(e.Messages, func(m assistant.Message) bool { return m.ID == page[0].ID }) {
			return last, s.Finish(ctx, c, e)
		}
		end := assistant.Event{Kind: assistant.KindCompleted, Run: e.Messages[0].ID, Body: assistant.Completed{At: e.At}}
		e.Events = numbered(last+1, append(slices.Clone(e.Events), end))
		return last + uint64(len(e.Events)), s.Finish(ctx, c, e)
	})
}

// call makes a call with the conversation's claim and the number of its last event. Where f has stored events, it returns
// the number of the last one.
func (l *ledger) call(ctx context.Context, s assistant.Store, owner, id string, f func(c assistant.Claim, last uint64) (uint64, error)) error {
	claim, last, err := l.claim(ctx, s, owner, id)
	if err != nil {
		return err
	}
	now, err := f(claim, last)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.logs[claim.Owned]; e != nil && e.claim == claim {
		e.last = max(e.last, now)
	}
	return nil
}
