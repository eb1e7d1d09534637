package session

import (
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
)

// StreamingPayload is the payload of streaming and reasoning.
type StreamingPayload struct {
	Content string `json:"content" doc:"The next piece of text."`
}

// StreamingStartPayload is the payload of streaming_start.
type StreamingStartPayload struct {
	Content   string `json:"content" doc:"Always empty."`
	MessageID string `json:"message_id,omitempty" format:"uuid" doc:"The answer's id. Extended frames only."`
	Model     string `json:"model,omitempty" doc:"The model that answers. Extended frames only."`
	Resumed   bool   `json:"resumed,omitzero" doc:"True when an answer that has ended before goes on."`
}

// ToolCallPayload is the payload of tool_call.
type ToolCallPayload struct {
	MessageID  string               `json:"message_id" format:"uuid" doc:"The answer's id."`
	CallID     string               `json:"call_id" doc:"The call's id within the answer."`
	Name       string               `json:"name" doc:"The tool's name, as the model knows it."`
	Title      string               `json:"title,omitempty" doc:"The tool's name for people."`
	Where      assistant.Where      `json:"where"`
	State      assistant.CallState  `json:"state"`
	WaitingFor assistant.WaitingFor `json:"waiting_for,omitempty"`
	Arguments  json.RawMessage      `json:"arguments,omitzero" jsonType:"object" doc:"All arguments; absent while the model writes them. Text of the model: show it as it is."`
	Approval   *Approval            `json:"approval,omitempty"`
	Inputs     []assistant.Input    `json:"inputs,omitempty" doc:"What the tool asks, where it waits for input."`
	Progress   *assistant.Progress  `json:"progress,omitempty"`
	Edited     bool                 `json:"edited,omitzero" doc:"True when a person has changed the arguments."`
	Remember   bool                 `json:"remember,omitzero" doc:"True when a person has approved the tool for the whole conversation."`
}

// Approval is what a call that waits for approval allows.
type Approval struct {
	Editable    bool      `json:"editable" doc:"True when the arguments may be changed."`
	MayRemember bool      `json:"may_remember" doc:"True when it may be for the whole conversation."`
	ExpiresAt   time.Time `json:"expires_at" doc:"UTC; then it is denied."`
}

// Doc describes approvals.
func (Approval) Doc() string { return "What a person may decide." }

// ToolCallArgsPayload is the payload of tool_call_args.
type ToolCallArgsPayload struct {
	MessageID string `json:"message_id" format:"uuid" doc:"The answer's id."`
	CallID    string `json:"call_id" doc:"The call's id within the answer."`
	Content   string `json:"content" doc:"The next piece of the arguments, which are JSON once they are whole."`
}

// ToolResultPayload is the payload of tool_result.
type ToolResultPayload struct {
	MessageID  string          `json:"message_id" format:"uuid" doc:"The answer's id."`
	CallID     string          `json:"call_id" doc:"The call's id within the answer."`
	Content    string          `json:"content" doc:"What the tool returned, as text."`
	Structured json.RawMessage `json:"structured,omitempty" doc:"The same as JSON."`
	IsError    bool            `json:"is_error" doc:"True when the tool failed, or was not called."`
	Truncated  bool            `json:"truncated,omitzero" doc:"True when the result was too long to be kept whole."`
	DurationMS int64           `json:"duration_ms,omitzero" minimum:"0" doc:"How long the call took, in milliseconds."`
}

// PartPayload is the payload of part.
type PartPayload struct {
	MessageID string         `json:"message_id" format:"uuid" doc:"The answer's id."`
	Part      assistant.Part `json:"part"`
}

// Variants lists the parts.
func (PartPayload) Variants() (tag string, variants []any) {
	return "type", []any{assistant.SourcePart{}, assistant.ImagePart{}, assistant.FilePart{}}
}

// DecideToolCallPayload is the payload of decide_tool_call.
type DecideToolCallPayload struct {
	MessageID string          `json:"message_id" maxLength:"64" doc:"The answer's id."`
	CallID    string          `json:"call_id" minLength:"1" maxLength:"64" doc:"The call's id within the answer."`
	Decision  Decision        `json:"decision"`
	Arguments json.RawMessage `json:"arguments,omitempty" jsonType:"object" doc:"Other arguments, for approve; absent = those of the model."`
	Remember  Remember        `json:"remember,omitempty"`
	Reason    string          `json:"reason,omitempty" maxLength:"500" doc:"Why it is denied. The model reads it."`

	ClientTools []ClientTool `json:"client_tools,omitempty" maxItems:"32" doc:"Tools of the page, which the model may call then."`
}

// Remember says for what else an approval is.
type Remember string

const rememberConversation Remember = "conversation"

// Doc describes what is remembered.
func (Remember) Doc() string { return "For what else the approval is. Absent = for this call alone." }

// Values lists what is remembered.
func (Remember) Values() iter.Seq2[string, string] {
	return func(yield func(value, meaning string) bool) {
		_ = yield(string(rememberConversation), "if the call succeeds, later calls of the tool in this conversation need no approval, as long as its description and parameters stay")
	}
}

// SubmitToolResultPayload is the payload of submit_tool_result.
type SubmitToolResultPayload struct {
	MessageID  string          `json:"message_id" maxLength:"64" doc:"The answer's id."`
	CallID     string          `json:"call_id" minLength:"1" maxLength:"64" doc:"The call's id within the answer."`
	Content    string          `json:"content" maxLength:"65536" doc:"What the tool returned, as text."`
	Structured json.RawMessage `json:"structured,omitempty" doc:"The same as JSON."`
	IsError    bool            `json:"is_error,omitzero" doc:"True when the tool failed, or the page does not have it."`

	ClientTools []ClientTool `json:"client_tools,omitempty" maxItems:"32" doc:"Tools of the page, which the model may call then."`
}

// SubmitToolInputPayload is the payload of submit_tool_input.
type SubmitToolInputPayload struct {
	MessageID string          `json:"message_id" maxLength:"64" doc:"The answer's id."`
	CallID    string          `json:"call_id" minLength:"1" maxLength:"64" doc:"The call's id within the answer."`
	Responses json.RawMessage `json:"responses" jsonType:"object" doc:"For each input, by its id, an object: action is accept, decline or cancel; content, for accept, is the answer, an object within the input's schema."`

	ClientTools []ClientTool `json:"client_tools,omitempty" maxItems:"32" doc:"Tools of the page, which the model may call then."`
}

// ClientTool is a tool of the page.
type ClientTool struct {
	Name        string          `json:"name" minLength:"1" maxLength:"64" doc:"ASCII letters, digits, underscores and hyphens. Where the server has a tool of this name, the model gets that one."`
	Title       string          `json:"title,omitempty" maxLength:"200" doc:"The tool's name for people."`
	Description string          `json:"description" maxLength:"4096" doc:"Tells the model what it does and when to call it."`
	Parameters  json.RawMessage `json:"parameters" jsonType:"object" doc:"The JSON Schema of its arguments, which are an object."`
}

// Doc describes tools of the page.
func (ClientTool) Doc() string {
	return "A tool of the page. The page makes the call and sends submit_tool_result."
}

// RegeneratePayload is the payload of regenerate.
type RegeneratePayload struct {
	ClientTools []ClientTool `json:"client_tools,omitempty" maxItems:"32" doc:"Tools of the page, which the model may call. All together at most 32 KiB."`
}

// Decision is what becomes of a call that waits.
type Decision string

// The decisions.
const (
	decisionApprove Decision = "approve"
	decisionDeny    Decision = "deny"
)

// Doc describes decisions.
func (Decision) Doc() string { return "What becomes of the call." }

// Values lists the decisions.
func (Decision) Values() iter.Seq2[string, string] {
	return func(yield func(value, meaning string) bool) {
		_ = yield(string(decisionApprove), "it is made") && yield(string(decisionDeny), "it is not made, and the model is told so")
	}
}

// ContinueAnswerPayload is the payload of continue_answer.
type ContinueAnswerPayload struct {
	MessageID string `json:"message_id" maxLength:"64" doc:"The answer's id."`

	ClientTools []ClientTool `json:"client_tools,omitempty" maxItems:"32" doc:"Tools of the page, which the model may call then."`
}

// CompleteStreamingPayload is the payload of complete_streaming.
type CompleteStreamingPayload struct {
	Content      string                 `json:"content" doc:"Always empty."`
	MessageID    string                 `json:"message_id,omitempty" format:"uuid" doc:"The answer's id. Extended frames only."`
	FinishReason assistant.FinishReason `json:"finish_reason,omitempty"`
	Usage        *assistant.Usage       `json:"usage,omitempty"`
}

// StopStreamingPayload is the payload of stop_streaming.
type StopStreamingPayload struct {
	MessageID string `json:"message_id,omitempty" maxLength:"64" doc:"The answer to stop; absent = the one that is running."`
}

// SendMessagePayload is the payload of send_message.
type SendMessagePayload struct {
	Content  string      `json:"content" doc:"The question. May be empty where there are parts."`
	ClientID string      `json:"client_id,omitempty" maxLength:"64" doc:"Chosen by the client. Sending the same id again gives the same turn, never a second one."`
	Replaces string      `json:"replaces,omitempty" maxLength:"64" doc:"Id of an earlier user message: it and all after it go, then this one is asked."`
	Parts    Attachments `json:"parts,omitempty" maxItems:"10" doc:"Images and files, which come before the text. Each has either the file_id of an upload, or its data."`

	ClientTools []ClientTool `json:"client_tools,omitempty" maxItems:"32" doc:"Tools of the page, which the model may call. All together at most 32 KiB."`
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
	ConversationID string `json:"conversation_id" maxLength:"64" doc:"Id of one of the user's conversations."`
	Title          string `json:"title" minLength:"1" maxLength:"200" doc:"The new title."`
}

// DeleteConversationPayload is the payload of delete_conversation.
type DeleteConversationPayload struct {
	ConversationID string `json:"conversation_id" maxLength:"64" doc:"Id of one of the user's conversations."`
}

// ListMessagesPayload is the payload of list_messages.
type ListMessagesPayload struct {
	ConversationID string `json:"conversation_id" maxLength:"64" doc:"Id of one of the user's conversations."`
	Before         string `json:"before,omitempty" maxLength:"64" doc:"Id of the oldest message that the client has; absent = the last page."`
	Limit          int    `json:"limit,omitzero" minimum:"1" maximum:"100" doc:"At most so many items. Default: 50. A page of more than 1 MiB is cut."`
}

// SubscribedPayload is the payload of subscribed.
type SubscribedPayload struct {
	Epoch     string  `json:"epoch" doc:"Names the numbering of seq. A restart begins a new one. Empty for the list of conversations."`
	Seq       uint64  `json:"seq" doc:"The last event so far."`
	Recovered bool    `json:"recovered" doc:"True when the missed events follow; otherwise one snapshot follows."`
	Streaming *string `json:"streaming" required:"false" doc:"The id of the running answer. Null and absent: there is none."`
	// Files is a client's to know before it offers to attach some.
	Files *conversation.FilesInfo `json:"files,omitempty"`
}

// SnapshotPayload is the payload of snapshot: the conversation as it is at the frame's seq.
type SnapshotPayload struct {
	Conversation assistant.Conversation `json:"conversation"`
	Messages     []assistant.Message    `json:"messages" doc:"The last page, oldest first, without the running answer: at most 50, and at most 1 MiB unless a single one is larger."`
	HasMore      bool                   `json:"has_more" doc:"True when older messages exist; list_messages returns them."`
	Streaming    *StreamingAnswer       `json:"streaming" required:"false"`
}

// StreamingAnswer is an answer that is under way.
type StreamingAnswer struct {
	MessageID string `json:"message_id" format:"uuid" doc:"The answer's id."`
	Content   string `json:"content" doc:"The text so far."`
	Reasoning string `json:"reasoning" doc:"The model's reasoning so far."`

	Parts assistant.Parts `json:"parts,omitempty" doc:"What the answer consists of so far; absent where that is text and reasoning."`
}

// UserMessagePayload is the payload of user_message.
type UserMessagePayload struct {
	MessageID string          `json:"message_id" format:"uuid" doc:"The question's id."`
	ClientID  string          `json:"client_id,omitempty" doc:"The id that the client chose when it sent the question."`
	Content   string          `json:"content" doc:"The question."`
	Parts     assistant.Parts `json:"parts,omitempty" doc:"What the question consists of; absent where that is content alone."`
	CreatedAt time.Time       `json:"created_at" doc:"UTC."`
}

// ConversationsPayload is the payload of conversations.
type ConversationsPayload struct {
	Items      []assistant.Conversation `json:"items" doc:"The last updated first."`
	NextCursor string                   `json:"next_cursor,omitempty" doc:"For the next page; absent on the last."`
}

// MessagesPayload is the payload of messages.
type MessagesPayload struct {
	Items   []assistant.Message `json:"items" doc:"Oldest first."`
	HasMore bool                `json:"has_more" doc:"True when older ones exist."`
}

// ConversationDeletedPayload is the payload of conversation_deleted.
type ConversationDeletedPayload struct {
	ConversationID string `json:"conversation_id" format:"uuid" doc:"Id of the conversation that is gone."`
}

// NoticePayload is the payload of notice.
type NoticePayload struct {
	Reason assistant.NoticeReason `json:"reason"`
	Detail string                 `json:"detail" doc:"A sentence for people."`
	Model  string                 `json:"model,omitzero" doc:"The model that answers, for provider_fallback."`
}

var noticeDetails = map[assistant.NoticeReason]string{
	assistant.NoticeQueued:         "The question waits for an earlier one.",
	assistant.NoticeContextTrimmed: "The conversation is longer than the model's window: the oldest messages were left out.",
	assistant.NoticeDraining:       "The server restarts. The connection will close and can be opened again.",
	assistant.NoticeSuperseded:     "The question was sent again: the rest of the answer goes to the later request.",
	assistant.NoticeNothingToStop:  "No such answer was running.",

	assistant.NoticeToolsUnavailable: "Some tools are not available at the moment.",
	assistant.NoticeToolSteps:        "The model has called tools as often as it may for one answer.",
}

func notice(reason assistant.NoticeReason) NoticePayload {
	return NoticePayload{Reason: reason, Detail: noticeDetails[reason]}
}

func fallbackNotice(next assistant.Source) NoticePayload {
	return NoticePayload{assistant.NoticeProviderFallback, fmt.Sprintf("The usual model cannot answer: %s answers instead.", next.Model), next.Model}
}

// ErrorPayload is the payload of error, where the frame itself was well formed.
type ErrorPayload struct {
	Detail       string           `json:"detail" doc:"A sentence for people."`
	Reason       assistant.Reason `json:"reason"`
	Retryable    bool             `json:"retryable" doc:"True when the same request may succeed later."`
	RetryAfterMS int64            `json:"retry_after_ms,omitzero" minimum:"0" doc:"When to try again, in milliseconds."`
}

// Doc describes errors.
func (ErrorPayload) Doc() string { return "Why a request or an answer failed." }

// Doc describes answers under way.
func (StreamingAnswer) Doc() string { return "The answer that is under way." }

// Explain returns what the frame error says of a failure, for those who say it by other means.
func Explain(f assistant.Failed) ErrorPayload { return errorPayload(f) }

func errorPayload(f assistant.Failed) ErrorPayload {
	e := f.Reason.Explain()
	if e.Reason != f.Reason { // a provider's own: what it says of it means nothing here
		f.RetryAfter = 0
	}
	after := (f.RetryAfter + time.Millisecond - 1).Milliseconds() // rounded up: then it succeeds
	return ErrorPayload{e.Detail, e.Reason, e.Retryable, after}
}
