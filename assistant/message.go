package assistant

import (
	"fmt"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// StreamingPayload is the payload of streaming and reasoning.
type StreamingPayload struct {
	Content string `json:"content" doc:"The next piece of text."`
}

// AppendJSON appends the payload without reflection: there is one for each piece of each answer.
func (p StreamingPayload) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"content":`...)
	return append(wire.AppendString(dst, p.Content), '}')
}

// StreamingStartPayload is the payload of streaming_start.
type StreamingStartPayload struct {
	Content   string `json:"content" doc:"Always empty."`
	MessageID string `json:"message_id,omitempty" format:"uuid" doc:"The answer's id. Extended frames only."`
	Model     string `json:"model,omitempty" doc:"The model that answers. Extended frames only."`
}

// CompleteStreamingPayload is the payload of complete_streaming.
type CompleteStreamingPayload struct {
	Content      string       `json:"content" doc:"Always empty."`
	MessageID    string       `json:"message_id,omitempty" format:"uuid" doc:"The answer's id. Extended frames only."`
	FinishReason FinishReason `json:"finish_reason,omitempty"`
	Usage        *Usage       `json:"usage,omitempty"`
}

// StopStreamingPayload is the payload of stop_streaming.
type StopStreamingPayload struct {
	MessageID string `json:"message_id,omitempty" maxLength:"64" doc:"The answer to stop; absent = the one that is running. An answer that is not running is left alone."`
}

// SendMessagePayload is the payload of send_message.
type SendMessagePayload struct {
	Content  string `json:"content" doc:"The question."`
	ClientID string `json:"client_id,omitempty" maxLength:"64" doc:"Chosen by the client. Sending the same id again gives the same turn, never a second one."`
	Replaces string `json:"replaces,omitempty" maxLength:"64" doc:"Id of an earlier user message: it and all after it go, then this one is asked."`
}

// SubscribePayload is the payload of subscribe: where the client left off.
type SubscribePayload struct {
	Epoch string `json:"epoch" maxLength:"64" doc:"From the last subscribed frame."`
	After uint64 `json:"after" doc:"The last seq that the client has seen."`
}

// CreateConversationPayload is the payload of create_conversation.
type CreateConversationPayload struct {
	Title string `json:"title,omitempty" minLength:"1" maxLength:"200" doc:"For people; absent = named later."`
}

// ListConversationsPayload is the payload of list_conversations.
type ListConversationsPayload struct {
	Limit  int    `json:"limit,omitzero" minimum:"1" maximum:"100" doc:"At most so many items. Default: 20."`
	Cursor string `json:"cursor,omitempty" maxLength:"200" doc:"The next_cursor of the page before."`
}

// RenameConversationPayload is the payload of rename_conversation.
type RenameConversationPayload struct {
	ConversationID string `json:"conversation_id" maxLength:"64" doc:"Id of a conversation of the user's."`
	Title          string `json:"title" minLength:"1" maxLength:"200" doc:"The new title."`
}

// DeleteConversationPayload is the payload of delete_conversation.
type DeleteConversationPayload struct {
	ConversationID string `json:"conversation_id" maxLength:"64" doc:"Id of a conversation of the user's."`
}

// ListMessagesPayload is the payload of list_messages.
type ListMessagesPayload struct {
	ConversationID string `json:"conversation_id" maxLength:"64" doc:"Id of a conversation of the user's."`
	Before         string `json:"before,omitempty" maxLength:"64" doc:"Id of the oldest message that the client has; absent = the last page."`
	Limit          int    `json:"limit,omitzero" minimum:"1" maximum:"100" doc:"At most so many items. Default: 50."`
}

// SubscribedPayload is the payload of subscribed.
type SubscribedPayload struct {
	Epoch     string  `json:"epoch" doc:"Names the numbering that seq counts in. A restart begins a new one."`
	Seq       uint64  `json:"seq" doc:"The last event so far."`
	Recovered bool    `json:"recovered" doc:"True when the missed events follow; otherwise one snapshot does."`
	Streaming *string `json:"streaming" doc:"The id of the running answer, or null."`
}

// SnapshotPayload is the payload of snapshot: the conversation as it is at the frame's seq.
type SnapshotPayload struct {
	Conversation Conversation     `json:"conversation"`
	Messages     []Message        `json:"messages" doc:"The last page, oldest first, without the running answer."`
	HasMore      bool             `json:"has_more" doc:"True when older messages exist; list_messages has them."`
	Streaming    *StreamingAnswer `json:"streaming"`
}

// StreamingAnswer is an answer that is under way.
type StreamingAnswer struct {
	MessageID string `json:"message_id" format:"uuid" doc:"The answer's id."`
	Content   string `json:"content" doc:"The text so far."`
	Reasoning string `json:"reasoning" doc:"The model's reasoning so far."`
}

// UserMessagePayload is the payload of user_message.
type UserMessagePayload struct {
	MessageID string    `json:"message_id" format:"uuid" doc:"The question's id."`
	ClientID  string    `json:"client_id,omitempty" doc:"The id that the client chose when it sent the question."`
	Content   string    `json:"content" doc:"The question."`
	CreatedAt time.Time `json:"created_at" doc:"UTC."`
}

// ConversationsPayload is the payload of conversations.
type ConversationsPayload struct {
	Items      []Conversation `json:"items" doc:"The last updated first."`
	NextCursor string         `json:"next_cursor,omitempty" doc:"For the next page; absent on the last."`
}

// MessagesPayload is the payload of messages.
type MessagesPayload struct {
	Items   []Message `json:"items" doc:"Oldest first."`
	HasMore bool      `json:"has_more" doc:"True when older ones exist."`
}

// ConversationDeletedPayload is the payload of conversation_deleted.
type ConversationDeletedPayload struct {
	ConversationID string `json:"conversation_id" format:"uuid" doc:"Id of the conversation that is gone."`
}

// NoticePayload is the payload of notice.
type NoticePayload struct {
	Reason NoticeReason `json:"reason"`
	Detail string       `json:"detail" doc:"A sentence for people."`
}

// NoticeReason is the stable code of a notice.
type NoticeReason string

// The reasons of notices.
const (
	NoticeQueued           NoticeReason = "queued"            // the question waits for an earlier one
	NoticeContextTrimmed   NoticeReason = "context_trimmed"   // the model is not told the oldest turns
	NoticeProviderFallback NoticeReason = "provider_fallback" // another model answers
	NoticeDraining         NoticeReason = "draining"          // the server stops: reconnect soon
)

var noticeDetails = map[NoticeReason]string{
	NoticeQueued:         "The question waits for an earlier one.",
	NoticeContextTrimmed: "The conversation is longer than the model's window: the oldest messages are not told to it.",
	NoticeDraining:       "The server restarts. The connection will close and can be opened again.",
}

func notice(reason NoticeReason) NoticePayload { return NoticePayload{reason, noticeDetails[reason]} }

func fallbackNotice(next Source) NoticePayload {
	return NoticePayload{NoticeProviderFallback, fmt.Sprintf("The usual model cannot answer: %s answers instead.", next.Model)}
}

// ErrorPayload is the payload of error, where the frame itself was well formed.
type ErrorPayload struct {
	Detail       string `json:"detail" doc:"A sentence for people."`
	Reason       Reason `json:"reason"`
	Retryable    bool   `json:"retryable" doc:"True when the same request may succeed later."`
	RetryAfterMS int64  `json:"retry_after_ms,omitzero" minimum:"0" doc:"When to try again, in milliseconds."`
}

func errorPayload(reason Reason, retryAfter time.Duration) ErrorPayload {
	for _, r := range reasons {
		if r.reason == reason {
			return ErrorPayload{r.detail, reason, r.retryable, retryAfter.Milliseconds()}
		}
	}
	return errorPayload(ReasonInternal, 0)
}
