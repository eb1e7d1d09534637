package conversation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/feed"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
)

// ErrAnonymous says that anonymous conversations belong to no user: they cannot be listed, exported or erased
// together.
var ErrAnonymous = errors.New("anonymous conversations belong to no user")

// ErrInUse says that a user made conversations faster than they could be erased.
var ErrInUse = errors.New("the user keeps creating conversations; close the user's sockets first")

// listPage is how many conversations are read from the store at once.
const listPage = 100

// Whole is a conversation with all its messages, oldest first, or a file that they use.
type Whole struct {
	assistant.Conversation
	Messages []assistant.Message `json:"messages"`
	File     *WholeFile          `json:"-"` // nil where it is a conversation
}

// Conversations lists at most limit of a user's conversations, the last updated first, that come after
// the one that cursor names; "" is the first page. next is the cursor of the next page, "" on the last.
func (h *Hub) Conversations(ctx context.Context, user, cursor string, limit int) (page []assistant.Conversation, next string, err error) {
	if user == "" {
		return nil, "", ErrAnonymous
	}
	after, err := assistant.ParseCursor(cursor)
	if err != nil {
		return nil, "", assistant.ErrNotFound
	}
	page, err = h.store.List(ctx, user, after, limit+1)
	if err == nil && len(page) > limit {
		page = page[:limit]
		next = page[limit-1].Cursor()
	}
	return page, next, err
}

// FollowList follows the list of a user's conversations from now on: wake is called when there may be something to
// read. The follower's Close must be called once.
func (h *Hub) FollowList(user string, wake func()) (*feed.Follower, error) {
	if user == "" {
		return nil, ErrAnonymous
	}
	return h.lists.Follow(user, wake), nil
}

// changed shows the followers of a user's list, here and on other nodes, what became of a conversation.
func (h *Hub) changed(user string, kind assistant.ChangeKind, c assistant.Conversation) {
	h.lists.Publish(user, assistant.Change{Kind: kind, Conversation: c})
	h.announce(assistant.Standing{Owned: assistant.Owned{Owner: user, ID: c.ID}, Change: kind, Deleted: kind == assistant.ChangeDeleted})
}

// Messages returns a page of a conversation's messages, oldest first: the last ones, or, where before is not "",
// the last ones before that message. There are at most limit, 0 = 50, and, unless a single message is larger,
// at most 1 MiB of them.
func (h *Hub) Messages(ctx context.Context, owner, id, before string, limit int) (page []assistant.Message, more bool, err error) {
	limit = cmp.Or(limit, view.PageMessages)
	messages, more, err := h.store.Messages(ctx, owner, id, before, limit)
	page = view.LastPage(messages, limit)
	return append([]assistant.Message{}, page...), more || len(page) < len(messages), err
}

// maxReadings bounds how often a list is read again that changes all the time.
const maxReadings = 10

// Export yields all conversations of a user, one at a time: no more than one is in memory. After each come the files that
// its messages use, one at a time, too. A conversation that changes
// meanwhile is there once, as it was before or after; a running answer is as far as it is stored. An error
// is the last value.
func (h *Hub) Export(ctx context.Context, user string) iter.Seq2[Whole, error] {
	return func(yield func(Whole, error) bool) {
		if user == "" {
			yield(Whole{}, ErrAnonymous)
			return
		}
		// A conversation that is used while the list is read moves to its start, and is missed where its
		// place had not come yet: another reading finds it.
		seen := make(map[string]bool)
		for range maxReadings {
			before := len(seen)
			for c, err := range h.list(ctx, user) {
				if err != nil {
					yield(Whole{}, err)
					return
				}
				if seen[c.ID] {
					continue
				}
				messages, err := h.messages(ctx, user, c.ID)
				if errors.Is(err, assistant.ErrNotFound) {
					continue // deleted meanwhile
				}
				if !yield(Whole{Conversation: c, Messages: messages}, err) || err != nil {
					return
				}
				seen[c.ID] = true
				if !h.exportFiles(ctx, user, c.ID, messages, yield) {
					return
				}
			}
			if len(seen) == before {
				return
			}
		}
	}
}

// list yields a user's conversations, the last updated first.
func (h *Hub) list(ctx context.Context, user string) iter.Seq2[assistant.Conversation, error] {
	return func(yield func(assistant.Conversation, error) bool) {
		cursor := ""
		for {
			page, next, err := h.Conversations(ctx, user, cursor, listPage)
			if err != nil {
				yield(assistant.Conversation{}, err)
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			cursor = next
		}
	}
}

// messages are all that a conversation has in the store.
func (h *Hub) messages(ctx context.Context, user, id string) ([]assistant.Message, error) {
	pages, before := [][]assistant.Message{{}}, ""
	for {
		page, more, err := h.store.Messages(ctx, user, id, before, listPage)
		if err != nil {
			return nil, err
		}
		pages = append(pages, page)
		if !more || len(page) == 0 {
			slices.Reverse(pages)
			return slices.Concat(pages...), nil
		}
		before = page[0].ID
	}
}

// Erase stops the running answers in all conversations of a user and deletes them, with all files; their followers see that. It returns
// how many there were, also with an error. Sockets stay open, and so do their own conversations.
func (h *Hub) Erase(ctx context.Context, user string) (erased int, err error) {
	began, late := now(), 0
	for late < maxReadings {
		page, _, err := h.Conversations(ctx, user, "", listPage)
		if err == nil && len(page) == 0 {
			err = h.eraseUnused(ctx, user)
		}
		if err != nil || len(page) == 0 {
			return erased, err
		}
		before, fresh := erased, !slices.ContainsFunc(page, func(c assistant.Conversation) bool { return c.CreatedAt.Before(began) })
		for _, c := range page {
			if ctx.Err() != nil {
				return erased, context.Cause(ctx)
			}
			_, err := h.Do(ctx, user, c.ID, assistant.Delete{})
			switch refused, isRefused := errors.AsType[*assistant.RefusalError](err); {
			case err == nil:
				erased++
			case isRefused && refused.Reason == assistant.ReasonNotFound: // it was deleted meanwhile
			default:
				return erased, fmt.Errorf("delete conversation: %w", err)
			}
		}
		if fresh || erased == before {
			late++
		}
	}
	return erased, ErrInUse
}
