package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strconv"
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
	return r.question(ctx, assistant.Ask{Text: content}, nil, nil)
}

func (r *request) onSendMessage(ctx context.Context, p SendMessagePayload) error {
	return r.question(ctx, assistant.Ask{Text: p.Content, ClientID: p.ClientID, Replaces: p.Replaces}, p.Parts, p.ClientTools, "content")
}

// question asks the question that stands in this field of the payload, with what is attached to it.
func (r *request) question(ctx context.Context, ask assistant.Ask, attached Attachments, tools []ClientTool, field ...string) error {
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
		if files, ask.Parts, err = r.open(ctx, a, attached); err != nil {
			return err
		}
	}
	if ask.Asker, err = r.asker(a, tools, ask.Text, ask.Parts...); err != nil {
		return err
	}
	if ask.Data, err = r.attach(ctx, a, files); err != nil {
		return err
	}
	return r.s.ask(c, r.envelope, ask.From, ask)
}

func (r *request) onRegenerate(_ context.Context, p *RegeneratePayload) error {
	c, err := r.conversation()
	if err != nil {
		return err
	}
	var tools []ClientTool
	if p != nil {
		tools = p.ClientTools
	}
	asker, err := r.asker(r.s.settings(), tools, "")
	if err != nil {
		return err
	}
	return r.s.ask(c, r.envelope, asker.From, assistant.Regenerate{Asker: asker})
}

// asker is this session's client, about to ask this under these settings, with tools of its own. A question that the model
// cannot receive beside its instructions is refused.
func (r *request) asker(a *conversation.Assistant, tools []ClientTool, question string, files ...assistant.Part) (asker assistant.Asker, err error) {
	s := r.s
	asker = assistant.Asker{From: s.newKey(), Peer: s.peer, Instructions: s.peer.Resolved(a.Instructions), CanDecide: r.envelope.Extended()}
	if asker.Tools, err = r.clientTools(a, tools); err != nil {
		return asker, err
	}
	if limits.Tokens(asker.Instructions)+a.Window().TokensOf(question, files) > a.Context {
		return asker, assistant.Refuse(assistant.ReasonContextOverflow)
	}
	return asker, nil
}

func (r *request) onDecideToolCall(_ context.Context, p DecideToolCallPayload) error {
	cmd := assistant.Decide{MessageID: p.MessageID, CallID: p.CallID, Approve: p.Decision == decisionApprove, Arguments: p.Arguments, Remember: p.Remember == rememberConversation, Reason: p.Reason}
	if p.Arguments != nil && !cmd.Approve {
		return r.valueError("a call that is denied has no arguments", "arguments")
	}
	if cmd.Approve {
		if err := r.waitsFor(p.MessageID, p.CallID, assistant.WaitingForApproval, "decision"); err != nil {
			return err
		}
	}
	return r.outside("arguments", r.decide(p.ClientTools, func(asker assistant.Asker) assistant.Command {
		cmd.Asker = asker
		return cmd
	}))
}

// outside says where arguments in this field are not within their schema, if that is what err says.
func (r *request) outside(field string, err error) error {
	if fault, ok := errors.AsType[*assistant.ArgumentsError](err); ok {
		return invalid(wire.Item{Type: "json_schema", Loc: append([]string{r.envelope.Action, "payload", field}, fault.Path...), Msg: fault.Problem})
	}
	return err
}

func invalid(item wire.Item) error { return &wire.ValidationError{Items: []wire.Item{item}} }

// waitsFor refuses what a field says of a call that waits for something else.
func (r *request) waitsFor(messageID, callID string, what assistant.WaitingFor, field string) error {
	c, err := r.conversation()
	if err != nil {
		return err
	}
	if call, ok := c.Call(messageID, callID); ok && call.State == assistant.CallWaiting && call.WaitingFor != what {
		return r.valueError("the call waits for "+string(call.WaitingFor), field)
	}
	return nil
}

func (r *request) valueError(problem string, field ...string) error {
	return invalid(wire.Item{Type: "value_error", Loc: append([]string{r.envelope.Action, "payload"}, field...), Msg: "Value error, " + problem})
}

func (r *request) onSubmitToolResult(_ context.Context, p SubmitToolResultPayload) error {
	if err := r.waitsFor(p.MessageID, p.CallID, assistant.WaitingForClient, "call_id"); err != nil {
		return err
	}
	return r.decide(p.ClientTools, func(asker assistant.Asker) assistant.Command {
		return assistant.SubmitResult{Asker: asker, MessageID: p.MessageID, CallID: p.CallID,
			Result: assistant.Result{Text: p.Content, Structured: p.Structured, IsError: p.IsError}}
	})
}

func (r *request) onSubmitToolInput(_ context.Context, p SubmitToolInputPayload) error {
	if err := r.waitsFor(p.MessageID, p.CallID, assistant.WaitingForInput, "call_id"); err != nil {
		return err
	}
	var answers map[string]assistant.InputAnswer
	if err := json.Unmarshal(p.Responses, &answers); err != nil {
		return r.valueError("expected an object {action, content} for each input", "responses")
	}
	for id, answer := range answers {
		switch answer.Action {
		case assistant.InputAccept, assistant.InputDecline, assistant.InputCancel:
		default:
			return r.valueError("expected accept, decline or cancel", "responses", id, "action")
		}
	}
	return r.outside("responses", r.decide(p.ClientTools, func(asker assistant.Asker) assistant.Command {
		return assistant.SubmitInput{Asker: asker, MessageID: p.MessageID, CallID: p.CallID, Answers: answers}
	}))
}

func (r *request) onContinueAnswer(_ context.Context, p ContinueAnswerPayload) error {
	return r.decide(p.ClientTools, func(asker assistant.Asker) assistant.Command {
		return assistant.Continue{Asker: asker, MessageID: p.MessageID}
	})
}

// maxClientTools is how long the tools of a client may be together, in bytes.
const maxClientTools = 32 << 10

// clientTools are the tools of the page.
func (r *request) clientTools(a *conversation.Assistant, tools []ClientTool) (offered []assistant.Tool, err error) {
	switch {
	case len(tools) == 0:
		return nil, nil
	case !a.ClientTools:
		return nil, assistant.Refuse(assistant.ReasonClientToolsOff)
	}
	size, seen := 0, make(map[string]bool)
	for i, t := range tools {
		at := []string{"client_tools", strconv.Itoa(i)}
		switch {
		case !assistant.IsToolName(t.Name):
			return nil, r.valueError("expected ASCII letters, digits, underscores and hyphens", append(at, "name")...)
		case seen[t.Name]:
			return nil, r.valueError("another tool has this name", append(at, "name")...)
		}
		seen[t.Name] = true
		size += len(t.Name) + len(t.Title) + len(t.Description) + len(t.Parameters)
		offered = append(offered, assistant.Tool{Name: t.Name, Title: t.Title, Description: t.Description, Parameters: t.Parameters})
	}
	if size > maxClientTools {
		return nil, r.valueError("expected 32 KiB at most", "client_tools")
	}
	return offered, nil
}

// decide gives a command after which an answer may go on.
func (r *request) decide(tools []ClientTool, command func(assistant.Asker) assistant.Command) error {
	c, err := r.conversation()
	if err != nil {
		return err
	}
	asker, err := r.asker(r.s.settings(), tools, "")
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
