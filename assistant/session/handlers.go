package session

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// request is one frame on its way to its handler. Handlers reach conversations only through it, so
// what admit has not allowed cannot be touched.
type request struct {
	s        *Session
	envelope wire.Envelope
	id       string        // of the stored conversation that it is about; "" = none
	isList   bool          // it is about the list of the user's conversations
	followed *subscription // of the conversation that it is about; nil where the session does not follow it
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
	topic, none := cmp.Or(e.Topic, r.s.home), assistant.Refuse(assistant.ReasonUnknownTopic)
	r.s.mu.Lock()
	r.s.extended = r.s.extended || e.Extended()
	r.s.mu.Unlock()
	r.followed = r.s.followed(topic)
	id, isConversation := strings.CutPrefix(topic, topicPrefix)
	if about, ok := payload.(aboutConversation); ok {
		id, isConversation, none = about.conversationID(), true, assistant.Refuse(assistant.ReasonNotFound)
	}
	switch {
	case topic == "" && !isConversation:
		return nil
	case topic == listTopic && !isConversation:
		r.isList = true
		return nil
	case !isConversation || !assistant.IsID(id):
		return none
	}
	r.id = id
	switch err := r.s.hub.Allowed(ctx, r.s.peer.User, id); {
	case errors.Is(err, assistant.ErrNotFound):
		return none
	case err != nil:
		return assistant.OfStore(err)
	}
	return nil
}

// conversation is the one that the request is about and that the session follows.
func (r *request) conversation() (*conversation.Conversation, error) {
	switch {
	case r.isList:
		return nil, assistant.Refuse(assistant.ReasonUnknownTopic)
	case r.id == "":
		return r.s.own().conversation, nil
	case r.followed == nil:
		return nil, assistant.Refuse(assistant.ReasonNotSubscribed)
	}
	return r.followed.conversation, nil
}

// reply answers the request directly.
func (r *request) reply(f wire.Frame) error {
	r.s.reply(r.envelope, f)
	return nil
}

func (r *request) onPing(context.Context, wire.Null) error { return r.reply(msgPong.With(wire.Null{})) }

func (r *request) onAssistantMessage(ctx context.Context, content string) error {
	return r.question(ctx, assistant.Ask{Text: content}, nil)
}

func (r *request) onSendMessage(ctx context.Context, p SendMessagePayload) error {
	return r.question(ctx, assistant.Ask{Text: p.Content, ClientID: p.ClientID, Replaces: p.Replaces}, p.Parts, "content")
}

// question asks the question that stands in this field of the payload, with what is attached to it.
func (r *request) question(ctx context.Context, ask assistant.Ask, attached Attachments, field ...string) error {
	c, err := r.conversation()
	if err != nil {
		return err
	}
	a, at := r.s.settings(), append([]string{r.envelope.Action, "payload"}, field...)
	if assistant.IsBlank(ask.Text) {
		if ask.Text = ""; len(attached) == 0 {
			return wire.TooShort(at)
		}
	}
	if limit := a.MaxQuestionLength; limit > 0 && utf8.RuneCountInString(ask.Text) > limit {
		return wire.TooLong(limit, at)
	}
	var files []attachedFile
	if len(attached) > 0 {
		if files, err = r.open(ctx, a, attached); err != nil {
			return err
		}
		for _, f := range files {
			ask.Parts = append(ask.Parts, f.Part())
		}
	}
	if ask.Asker, err = r.s.asker(a, r.envelope, ask.Text, ask.Parts...); err != nil {
		return err
	}
	if ask.Data, err = r.attach(ctx, a, files); err != nil {
		return err
	}
	return r.s.ask(c, r.envelope, ask.From, ask)
}

func (r *request) onRegenerate(context.Context, wire.Null) error {
	c, err := r.conversation()
	if err != nil {
		return err
	}
	asker, err := r.s.asker(r.s.settings(), r.envelope, "")
	if err != nil {
		return err
	}
	return r.s.ask(c, r.envelope, asker.From, assistant.Regenerate{Asker: asker})
}

// asker is this session's client, about to ask this under these settings. A question that the model cannot receive
// beside its instructions is refused.
func (s *Session) asker(a *conversation.Assistant, e wire.Envelope, question string, files ...assistant.Part) (assistant.Asker, error) {
	asker := assistant.Asker{From: s.newKey(), Peer: s.peer, Instructions: s.peer.Resolved(a.Instructions), CanDecide: e.Extended()}
	if limits.Tokens(asker.Instructions)+a.Window().TokensOf(question, files) > a.Context {
		return asker, assistant.Refuse(assistant.ReasonContextOverflow)
	}
	return asker, nil
}

func (r *request) onDecideToolCall(_ context.Context, p DecideToolCallPayload) error {
	cmd := assistant.Decide{MessageID: p.MessageID, CallID: p.CallID, Approve: p.Decision == decisionApprove, Arguments: p.Arguments, Reason: p.Reason}
	at := []string{r.envelope.Action, "payload", "arguments"}
	if p.Arguments != nil && !cmd.Approve {
		return invalid(wire.Item{Type: "value_error", Loc: at, Msg: "Value error, a call that is denied has no arguments"})
	}
	err := r.decide(func(asker assistant.Asker) assistant.Command {
		cmd.Asker = asker
		return cmd
	})
	if fault, ok := errors.AsType[*assistant.ArgumentsError](err); ok {
		return invalid(wire.Item{Type: "json_schema", Loc: append(at, fault.Path...), Msg: fault.Problem})
	}
	return err
}

func invalid(item wire.Item) error { return &wire.ValidationError{Items: []wire.Item{item}} }

func (r *request) onContinueAnswer(_ context.Context, p ContinueAnswerPayload) error {
	return r.decide(func(asker assistant.Asker) assistant.Command {
		return assistant.Continue{Asker: asker, MessageID: p.MessageID}
	})
}

// decide gives a command after which an answer may go on.
func (r *request) decide(command func(assistant.Asker) assistant.Command) error {
	c, err := r.conversation()
	if err != nil {
		return err
	}
	asker, err := r.s.asker(r.s.settings(), r.envelope, "")
	if err != nil {
		return err
	}
	r.s.begin(asker.From, r.envelope, cmp.Or(r.envelope.Topic, r.s.home))
	_, err = c.Do(r.s.ctx, command(asker))
	r.s.decided(asker.From, err)
	return err
}

func (r *request) onStopStreaming(_ context.Context, p *StopStreamingPayload) error {
	c, err := r.conversation()
	if err != nil {
		return err
	}
	cmd := assistant.Stop{From: r.s.newKey()}
	if p != nil {
		cmd.Run = p.MessageID
	}
	err = r.s.stop(c, r.envelope, cmd)
	if !errors.Is(err, conversation.ErrNothingToStop) {
		return err
	}
	if r.envelope.Ref == "" {
		return nil // the tutorial's clients expect nothing
	}
	return r.reply(msgNotice.With(notice(assistant.NoticeNothingToStop)))
}

func (r *request) onSubscribe(_ context.Context, p *SubscribePayload) error {
	if r.isList {
		return r.s.followList(r.envelope)
	}
	if r.id == "" {
		return assistant.Refuse(assistant.ReasonUnknownTopic)
	}
	return r.s.subscribe(r.envelope, r.id, p)
}

func (r *request) onUnsubscribe(context.Context, wire.Null) error {
	if r.isList {
		r.s.unfollowList()
		return r.reply(msgUnsubscribed.With(wire.Null{}))
	}
	if r.id == "" {
		return assistant.Refuse(assistant.ReasonUnknownTopic)
	}
	r.s.unsubscribe(topicOf(r.id))
	return r.reply(msgUnsubscribed.With(wire.Null{}))
}

func (r *request) onCreateConversation(ctx context.Context, p *CreateConversationPayload) error {
	title := ""
	if p != nil && p.Title != "" {
		if title = assistant.Title(p.Title); assistant.IsBlank(title) {
			return wire.TooShort([]string{r.envelope.Action, "payload", "title"})
		}
	}
	client, err := r.countWrite()
	if err != nil {
		return err
	}
	c, err := r.s.hub.Create(assistant.WithNetwork(ctx, client.Payer.String()), r.s.peer.User, title)
	if err != nil {
		return err
	}
	return r.reply(msgConversationCreated.With(c))
}

// countWrite counts a conversation that is created, renamed or deleted, or refuses it.
func (r *request) countWrite() (limits.Client, error) {
	a := r.s.settings()
	client := a.Client(r.s.peer)
	return client, r.s.hub.Accounts().CountWrite(client, a.WriteRate)
}

func (r *request) onListConversations(ctx context.Context, p *ListConversationsPayload) error {
	if p == nil {
		p = &ListConversationsPayload{}
	}
	items, next, err := r.s.hub.Conversations(ctx, r.s.peer.User, p.Cursor, cmp.Or(p.Limit, 20))
	switch {
	case errors.Is(err, conversation.ErrAnonymous):
		return assistant.Refuse(assistant.ReasonUnauthorized)
	case err != nil:
		return assistant.OfStore(err)
	}
	return r.reply(msgConversations.With(ConversationsPayload{items, next}))
}

func (r *request) onRenameConversation(ctx context.Context, p RenameConversationPayload) error {
	cmd := assistant.Rename{From: r.s.newKey(), Title: assistant.Title(p.Title)}
	if assistant.IsBlank(cmd.Title) {
		return wire.TooShort([]string{r.envelope.Action, "payload", "title"})
	}
	return r.change(cmd.From, func() (wire.Frame, error) {
		c, err := r.s.hub.Rename(ctx, r.s.peer.User, r.id, cmd)
		return msgConversationUpdated.With(c), err
	})
}

func (r *request) onDeleteConversation(ctx context.Context, _ DeleteConversationPayload) error {
	cmd := assistant.Delete{From: r.s.newKey()}
	return r.change(cmd.From, func() (wire.Frame, error) {
		_, err := r.s.hub.Do(ctx, r.s.peer.User, r.id, cmd)
		return msgConversationDeleted.With(ConversationDeletedPayload{r.id}), err
	})
}

// change gives a command that changes a conversation. Its event is the answer where the session follows the
// conversation; otherwise the frame is.
func (r *request) change(key assistant.RequestKey, give func() (wire.Frame, error)) error {
	if _, err := r.countWrite(); err != nil {
		return err
	}
	topic := topicOf(r.id)
	if r.s.followed(topic) == nil {
		answer, err := give()
		if err != nil {
			return err
		}
		return r.reply(answer)
	}
	r.s.begin(key, r.envelope, topic)
	answer, err := give()
	r.s.finish(key, topic, answer, err)
	return err
}

func (r *request) onListMessages(ctx context.Context, p ListMessagesPayload) error {
	items, more, err := r.s.hub.Messages(ctx, r.s.peer.User, r.id, p.Before, p.Limit)
	if err != nil {
		return assistant.OfStore(err)
	}
	return r.reply(msgMessages.With(MessagesPayload{items, more}))
}
