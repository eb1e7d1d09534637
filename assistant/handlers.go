package assistant

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// request is one frame on its way to its handler. Handlers reach conversations only through it, so
// what admit has not allowed cannot be touched.
type request struct {
	*Session
	envelope wire.Envelope
	id       string        // of the stored conversation that it is about; "" = none
	followed *conversation // the one that it is about, where the session follows it
}

// aboutConversation is a payload that names a conversation.
type aboutConversation interface{ conversationID() string }

func (p RenameConversationPayload) conversationID() string { return p.ConversationID }
func (p DeleteConversationPayload) conversationID() string { return p.ConversationID }
func (p ListMessagesPayload) conversationID() string       { return p.ConversationID }

// admit finds the conversation that a request is about, and refuses what its user may not touch.
// Missing and foreign look alike.
func (r *request) admit(ctx context.Context, e wire.Envelope, payload any) error {
	r.envelope = e
	topic, none := cmp.Or(e.Topic, r.home), refusal{ReasonUnknownTopic}
	r.mu.Lock()
	r.Session.extended = r.Session.extended || e.Extended()
	if sub := r.subs[topic]; sub != nil {
		r.followed = sub.conversation
	}
	r.mu.Unlock()
	id, isConversation := strings.CutPrefix(topic, topicPrefix)
	if about, ok := payload.(aboutConversation); ok {
		id, isConversation, none = about.conversationID(), true, refusal{ReasonNotFound}
	}
	switch {
	case topic == "" && !isConversation:
		return nil
	case !isConversation || !isID(id):
		return none
	}
	r.id = id
	switch err := r.assistant.hub.allowed(ctx, r.peer.User, id); {
	case errors.Is(err, ErrNotFound):
		return none
	case err != nil:
		return storeFailed(err)
	}
	return nil
}

// live is the conversation that the request is about and that the session follows.
func (r *request) live() (*conversation, error) {
	if r.followed == nil {
		return nil, refusal{ReasonNotSubscribed}
	}
	return r.followed, nil
}

// follows tells whether the session follows the conversation that the request is about.
func (r *request) follows() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.subs[topicOf(r.id)] != nil
}

func (r *request) onPing(context.Context, wire.Null) error {
	return r.reply(r.envelope, msgPong.With(wire.Null{}))
}

func (r *request) onAssistantMessage(_ context.Context, content string) error {
	return r.ask(newTurn(r, content))
}

func (r *request) onSendMessage(_ context.Context, p SendMessagePayload) error {
	t := newTurn(r, p.Content)
	t.question.ClientID, t.replaces = p.ClientID, p.Replaces
	return r.ask(t, "content")
}

func (r *request) onRegenerate(context.Context, wire.Null) error {
	t := newTurn(r, "")
	t.regenerate = true
	return r.ask(t)
}

// ask asks the question that stands in this field of the payload.
func (r *request) ask(t *turn, field ...string) error {
	c, err := r.live()
	if err != nil {
		return err
	}
	if limit := t.assistant.MaxQuestionLength; limit > 0 && utf8.RuneCountInString(t.question.Content) > limit {
		return wire.TooLong(limit, append([]string{r.envelope.Action, "payload"}, field...))
	}
	if tokens(t.instructions)+tokens(t.question.Content) > t.assistant.Context {
		return refusal{ReasonContextOverflow}
	}
	return c.ask(t)
}

func (r *request) onStopStreaming(_ context.Context, p *StopStreamingPayload) error {
	c, err := r.live()
	if err != nil {
		return err
	}
	var messageID string
	if p != nil {
		messageID = p.MessageID
	}
	c.stop(messageID, func(t *turn) {
		if e, mine := r.request(t.id, false); r.envelope.Ref != "" && (!mine || e.Ref == "") {
			r.remember(t.id, r.envelope)
		}
	})
	return nil
}

func (r *request) onSubscribe(_ context.Context, p *SubscribePayload) error {
	if r.id == "" {
		return refusal{ReasonUnknownTopic}
	}
	return r.subscribe(r, r.id, p)
}

func (r *request) onUnsubscribe(context.Context, wire.Null) error {
	if r.id == "" {
		return refusal{ReasonUnknownTopic}
	}
	r.unfollow(topicOf(r.id))
	return r.reply(r.envelope, msgUnsubscribed.With(wire.Null{}))
}

func (r *request) onCreateConversation(ctx context.Context, p *CreateConversationPayload) error {
	c := Conversation{ID: newID(), CreatedAt: now()}
	c.UpdatedAt = c.CreatedAt
	if p != nil {
		c.Title = p.Title
	}
	if err := r.assistant.hub.store.Create(ctx, r.peer.User, c); err != nil {
		return storeFailed(err)
	}
	return r.reply(r.envelope, msgConversationCreated.With(c))
}

func (r *request) onListConversations(ctx context.Context, p *ListConversationsPayload) error {
	if p == nil {
		p = &ListConversationsPayload{}
	}
	items, next, err := r.assistant.hub.Conversations(ctx, r.peer.User, p.Cursor, cmp.Or(p.Limit, 20))
	switch {
	case errors.Is(err, ErrAnonymous):
		return refusal{ReasonUnauthorized}
	case err != nil:
		return storeFailed(err)
	}
	return r.reply(r.envelope, msgConversations.With(ConversationsPayload{items, next}))
}

// cursorOf names a place in a list of conversations; clients take it as it is.
func cursorOf(c Conversation) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.UpdatedAt.UnixMicro(), 10) + " " + c.ID))
}

// minCursor and maxCursor are the first microsecond of the year 1 and the last one of the year 9999: no store
// has to know other times.
const minCursor, maxCursor = -62135596800_000000, 253402300799_999999

func parseCursor(cursor string) (Conversation, error) {
	if cursor == "" {
		return Conversation{}, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	micros, id, _ := strings.Cut(string(data), " ")
	n, numErr := strconv.ParseInt(micros, 10, 64)
	if err := errors.Join(err, numErr); err != nil || n < minCursor || n > maxCursor || !isID(id) {
		return Conversation{}, errors.New("no cursor of ours")
	}
	return Conversation{ID: id, UpdatedAt: time.UnixMicro(n).UTC()}, nil
}

func (r *request) onRenameConversation(ctx context.Context, p RenameConversationPayload) error {
	info, err := r.assistant.hub.store.Rename(ctx, r.peer.User, r.id, p.Title)
	if err != nil {
		return storeFailed(err)
	}
	if c := r.assistant.hub.used(r.id); c != nil {
		c.rename(info, r)
	}
	if r.follows() {
		return nil // the event is the answer
	}
	return r.reply(r.envelope, msgConversationUpdated.With(info))
}

func (r *request) onDeleteConversation(context.Context, DeleteConversationPayload) error {
	follows := r.follows()
	if err := r.assistant.hub.remove(r.peer.User, r.id, r); err != nil {
		return storeFailed(err)
	}
	if follows {
		return nil // the event is the answer
	}
	return r.reply(r.envelope, msgConversationDeleted.With(ConversationDeletedPayload{r.id}))
}

func (r *request) onListMessages(ctx context.Context, p ListMessagesPayload) error {
	items, more, err := r.assistant.hub.store.Messages(ctx, r.peer.User, r.id, p.Before, cmp.Or(p.Limit, pageSize))
	if err != nil {
		return storeFailed(err)
	}
	return r.reply(r.envelope, msgMessages.With(MessagesPayload{append([]Message{}, items...), more}))
}
