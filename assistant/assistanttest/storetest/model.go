package storetest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// storeModel is the contract of assistant.Store in the fewest words: lists that are searched from one
// end to the other. Stores are compared with it.
type storeModel struct {
	mu            sync.Mutex
	conversations []*modelConversation
	closed        bool
}

type modelConversation struct {
	conversation

	owner   string
	calls   map[string]modelCall // of Extend, the last one for each answer that streams
	private assistant.Private
}

// modelCall is a call of Extend: the numbers of its events, and what the answer was before.
type modelCall struct {
	first, last uint64
	before      assistant.Parts
}

// do runs f with the conversation; an empty id stands for none in particular.
func (s *storeModel) do(ctx context.Context, owner, id string, f func(c *modelConversation) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.conversations, func(c *modelConversation) bool { return c.owner == owner && c.ID == id })
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.closed:
		return errors.New("store is closed")
	case i < 0:
		return assistant.ErrNotFound
	}
	return f(s.conversations[i])
}

// all runs f on the whole store.
func (s *storeModel) all(ctx context.Context, f func() error) error {
	err := s.do(ctx, "", "\x00none", nil)
	if !errors.Is(err, assistant.ErrNotFound) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

func (s *storeModel) Create(ctx context.Context, owner string, c assistant.Conversation) error {
	return s.all(ctx, func() error {
		if slices.ContainsFunc(s.conversations, func(old *modelConversation) bool { return old.ID == c.ID }) {
			return errors.New("conversation exists")
		}
		c.CreatedAt, c.UpdatedAt = modelTime(c.CreatedAt), modelTime(c.UpdatedAt)
		s.conversations = append(s.conversations, &modelConversation{conversation: conversation{c, []assistant.Message{}}, owner: owner, calls: make(map[string]modelCall)})
		return nil
	})
}

func (s *storeModel) Conversation(ctx context.Context, owner, id string) (found assistant.Conversation, err error) {
	err = s.do(ctx, owner, id, func(c *modelConversation) error {
		found = c.Conversation
		return nil
	})
	return found, err
}

func (s *storeModel) List(ctx context.Context, owner string, after assistant.Conversation, limit int) ([]assistant.Conversation, error) {
	list := []assistant.Conversation{}
	err := s.all(ctx, func() error {
		for _, c := range s.conversations {
			if owner != "" && c.owner == owner && (after == assistant.Conversation{} || newerFirst(after, c.Conversation) < 0) {
				list = append(list, c.Conversation)
			}
		}
		return nil
	})
	newestFirst(list)
	return list[:min(limit, len(list))], err
}

func (s *storeModel) Rename(ctx context.Context, owner, id, title string, was *string) (found assistant.Conversation, err error) {
	err = s.do(ctx, owner, id, func(c *modelConversation) error {
		if was != nil && c.Title != *was {
			return assistant.ErrStale
		}
		c.Title = title
		found = c.Conversation
		return nil
	})
	return found, err
}

func (s *storeModel) Delete(ctx context.Context, owner, id string) error {
	return s.do(ctx, owner, id, func(c *modelConversation) error {
		s.conversations = slices.DeleteFunc(s.conversations, func(other *modelConversation) bool { return other == c })
		return nil
	})
}

func (s *storeModel) Messages(ctx context.Context, owner, id, before string, limit int) (page []assistant.Message, more bool, err error) {
	err = s.do(ctx, owner, id, func(c *modelConversation) error {
		end := len(c.Messages)
		if before != "" {
			if end = c.index(before); end < 0 {
				return assistant.ErrNotFound
			}
		}
		start := max(0, end-limit)
		page, more = slices.Clone(c.Messages[start:end]), start > 0
		return nil
	})
	return page, more, err
}

func (s *storeModel) MessageByClientID(ctx context.Context, owner, id, clientID string) (found []assistant.Message, err error) {
	err = s.do(ctx, owner, id, func(c *modelConversation) error {
		i := slices.IndexFunc(c.Messages, func(m assistant.Message) bool { return clientID != "" && m.ClientID == clientID })
		if i < 0 {
			return assistant.ErrNotFound
		}
		end := i + 1
		if end < len(c.Messages) && c.Messages[end].Role == assistant.RoleAssistant {
			end++
		}
		found = slices.Clone(c.Messages[i:end])
		return nil
	})
	return found, err
}

func (s *storeModel) Begin(ctx context.Context, claim assistant.Claim, b assistant.Beginning) error {
	return s.do(ctx, claim.Owner, claim.ID, func(c *modelConversation) error {
		kept, drop, last := c.Messages, c.index(b.DropFrom), ""
		if drop >= 0 {
			kept = kept[:drop]
		}
		if n := len(c.Messages); n > 0 {
			last = c.Messages[n-1].ID
		}
		added := []assistant.Message{modelMessage(b.Answer)}
		if b.Question != nil {
			added = append([]assistant.Message{modelMessage(*b.Question)}, added...)
		}
		switch {
		case b.Question != nil && slices.ContainsFunc(kept, isSameAs(*b.Question)):
			return assistant.ErrDuplicate
		case b.Last != last:
			return assistant.ErrStale
		case b.DropFrom != "" && drop < 0:
			return assistant.ErrNotFound
		case slices.ContainsFunc(kept, isStreaming):
			return assistant.ErrStale
		case b.MaxMessages > 0 && len(kept)+len(added) > b.MaxMessages:
			return assistant.ErrConversationFull
		}
		c.Messages = slices.Concat(kept, added)
		c.Title, c.UpdatedAt = cmp.Or(c.Title, b.Title), modelTime(b.Answer.CreatedAt)
		return nil
	})
}

func (s *storeModel) Extend(ctx context.Context, claim assistant.Claim, e assistant.Extension) error {
	return s.do(ctx, claim.Owner, claim.ID, func(c *modelConversation) error {
		i := c.index(e.MessageID)
		if i < 0 || !isStreaming(c.Messages[i]) {
			return assistant.ErrNotFound
		}
		if len(e.Events) == 0 {
			return errors.New("no events")
		}
		call := modelCall{e.Events[0].Seq, e.Events[len(e.Events)-1].Seq, c.Messages[i].AllParts()}
		old, isLater := c.calls[e.MessageID]
		switch {
		case !slices.EqualFunc(e.Events, numbered(call.first, e.Events), func(a, b assistant.Event) bool { return a.Seq == b.Seq }):
			return errors.New("events are not numbered one after the other")
		case isLater && call.first == old.first && call.last >= old.last:
			call.before = old.before
		case isLater && call.first != old.last+1:
			return errors.New("events do not follow those that are stored")
		}
		c.calls[e.MessageID] = call
		c.Messages[i].SetParts(joined(slices.Concat(call.before, e.Parts())))
		return nil
	})
}

func (s *storeModel) Finish(ctx context.Context, claim assistant.Claim, e assistant.Ending) error {
	return s.do(ctx, claim.Owner, claim.ID, func(c *modelConversation) error {
		final := slices.Clone(c.Messages)
		for _, m := range e.Messages {
			i := c.index(m.ID)
			if i < 0 {
				return assistant.ErrNotFound
			}
			m.Role, m.ClientID, m.CreatedAt = final[i].Role, final[i].ClientID, final[i].CreatedAt
			final[i] = modelMessage(m)
		}
		for _, m := range e.Messages {
			delete(c.calls, m.ID)
		}
		if e.Private != nil {
			c.private = e.Private.Clone()
		}
		c.Messages, c.UpdatedAt = final, modelTime(e.At)
		return nil
	})
}

func (s *storeModel) Private(ctx context.Context, owner, id string) (private assistant.Private, err error) {
	err = s.do(ctx, owner, id, func(c *modelConversation) error {
		private = c.private
		return nil
	})
	return private, err
}

func (s *storeModel) Waiting(ctx context.Context, t time.Time, limit int) (waiting []assistant.Owned, err error) {
	err = s.all(ctx, func() error {
		for _, c := range s.conversations {
			if len(waiting) < limit && c.UpdatedAt.Before(t) && slices.ContainsFunc(c.Messages, func(m assistant.Message) bool { return m.Status == assistant.StatusWaiting }) {
				waiting = append(waiting, assistant.Owned{Owner: c.owner, ID: c.ID})
			}
		}
		return nil
	})
	return waiting, err
}

func (s *storeModel) DeleteBefore(ctx context.Context, t time.Time, limit int) (deleted []assistant.Owned, err error) {
	err = s.all(ctx, func() error {
		s.conversations = slices.DeleteFunc(s.conversations, func(c *modelConversation) bool {
			if len(deleted) == limit || !c.UpdatedAt.Before(t) || slices.ContainsFunc(c.Messages, isStreaming) {
				return false
			}
			deleted = append(deleted, assistant.Owned{Owner: c.owner, ID: c.ID})
			return true
		})
		return nil
	})
	return deleted, err
}

func (s *storeModel) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// lastCall returns the last call of Extend for an answer that streams.
func (s *storeModel) lastCall(id, messageID string) (call modelCall, ok bool) {
	for _, c := range s.conversations {
		if i := c.index(messageID); c.ID == id && i >= 0 && isStreaming(c.Messages[i]) {
			call, ok = c.calls[messageID]
		}
	}
	return call, ok
}

// reopened makes the model what a new process finds.
func (s *storeModel) reopened() {
	for _, c := range s.conversations {
		for i, m := range c.Messages {
			if isStreaming(m) {
				c.Messages[i].Status, c.Messages[i].FinishReason = assistant.StatusInterrupted, assistant.FinishInterrupted
			}
		}
	}
}

func (c *modelConversation) index(messageID string) int {
	return slices.IndexFunc(c.Messages, func(m assistant.Message) bool { return m.ID == messageID })
}

// isSameAs returns what reports whether a message is the question q, or has its client id.
func isSameAs(q assistant.Message) func(assistant.Message) bool {
	return func(m assistant.Message) bool { return m.ID == q.ID || q.ClientID != "" && m.ClientID == q.ClientID }
}

func isStreaming(m assistant.Message) bool { return m.Status == assistant.StatusStreaming }

func modelTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func modelMessage(m assistant.Message) assistant.Message {
	m.CreatedAt, m.Parts = modelTime(m.CreatedAt), slices.Clip(m.Parts)
	if m.Usage != nil {
		usage := *m.Usage
		m.Usage = &usage
	}
	return m
}

// newestFirst sorts as List does.
func newestFirst(list []assistant.Conversation) { slices.SortFunc(list, newerFirst) }

func newerFirst(a, b assistant.Conversation) int {
	return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), cmp.Compare(b.ID, a.ID))
}

var _ assistant.Store = (*storeModel)(nil)
