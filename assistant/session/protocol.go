package session

import (
	"encoding/json"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// What the server may send.
var (
	msgPong           = wire.Sends("pong", "Simple pong message response to ping requests.", wire.Null{})
	msgStreamingStart = wire.Sends("streaming_start", "Signal that streaming is starting.",
		StreamingStartPayload{MessageID: exampleID, Model: "gpt-4o"})
	msgReasoning         = wire.Sends("reasoning", "A piece of the model's reasoning. Extended frames only.", StreamingPayload{"The user asks for"})
	msgStreaming         = wire.Sends("streaming", "Streaming message chunk from assistant.", StreamingPayload{"Python is"})
	msgCompleteStreaming = wire.Sends("complete_streaming", "Signal that streaming is complete. Sent exactly once for each streaming_start, also after an error or a stop.",
		CompleteStreamingPayload{MessageID: exampleID, FinishReason: assistant.FinishStop, Usage: &assistant.Usage{InputTokens: 12, OutputTokens: 140, TotalTokens: 152}})
	msgToolCall = wire.Sends("tool_call", "A call of a tool. It replaces what was known of that call_id. Extended frames only.",
		ToolCallPayload{MessageID: exampleID, CallID: "call_1", Name: "shop__refund", Title: "Refund an order", Where: "server", State: assistant.CallWaiting, WaitingFor: assistant.WaitingForApproval,
			Arguments: json.RawMessage(`{"order":"A-7","amount":12.5}`), Approval: &Approval{Editable: true, MayRemember: true, ExpiresAt: exampleTime.Add(24 * time.Hour)}})
	msgToolCallArgs = wire.Sends("tool_call_args", "A piece of the arguments of a call that the model writes. Extended frames only.",
		ToolCallArgsPayload{MessageID: exampleID, CallID: "call_1", Content: `{"order":`})
	msgToolResult = wire.Sends("tool_result", "What a tool returned: the end of a call. Extended frames only.",
		ToolResultPayload{MessageID: exampleID, CallID: "call_1", Content: `{"ok":true}`, Structured: json.RawMessage(`{"ok":true}`), DurationMS: 312})
	msgPart = wire.Sends("part", "A whole part of the answer, such as a source. Extended frames only.",
		PartPayload{exampleID, assistant.SourcePart{SourceID: "1", URL: "https://www.python.org/", Title: "Welcome to Python.org", Start: 0, End: 9}})
	msgNotice = wire.Sends("notice", "Information that needs no reaction. Extended frames only.",
		notice(assistant.NoticeQueued))
	msgUserMessage = wire.Sends("user_message", "A question in a stored conversation, to all its subscribers.",
		UserMessagePayload{MessageID: exampleID, Content: "What is Python?", CreatedAt: exampleTime}).About(exampleTopic)
	msgSubscribed = wire.Sends("subscribed", "The subscription began. The missed events follow, or one snapshot. With the topic conversations: the list is followed from now on; when it comes again without being asked for, changes were missed, and the client lists again.",
		SubscribedPayload{Epoch: exampleEpoch, Seq: 42, Recovered: true}).About(exampleTopic)
	msgUnsubscribed = wire.Sends("unsubscribed", "The subscription ended.", wire.Null{}).About(exampleTopic)
	msgSnapshot     = wire.Sends("snapshot", "The conversation as it is at this seq. It replaces what the client has.",
		SnapshotPayload{Conversation: exampleConversation, Messages: []assistant.Message{exampleMessage}}).About(exampleTopic)
	msgConversationCreated = wire.Sends("conversation_created", "The new conversation.", exampleConversation)
	msgConversationUpdated = wire.Sends("conversation_updated", "The conversation has another title, or, in the list of the user's conversations, another updated_at.", exampleConversation).About(exampleTopic)
	msgConversationDeleted = wire.Sends("conversation_deleted", "The conversation and all its messages were deleted.",
		ConversationDeletedPayload{exampleConversation.ID}).About(exampleTopic)
	msgConversations = wire.Sends("conversations", "A page of the user's conversations.",
		ConversationsPayload{Items: []assistant.Conversation{exampleConversation}})
	msgMessages = wire.Sends("messages", "A page of a conversation's messages.", MessagesPayload{Items: []assistant.Message{exampleMessage}})
	msgError    = wire.Sends("error", "A request or an answer failed. The connection stays open.", errorPayload(assistant.Failed{Reason: assistant.ReasonBusy}))
	msgInvalid  = wire.Sends("error", "", []wire.Item{{Type: "missing", Loc: []string{"assistant_message", "payload"}, Msg: "Field required"}})
)

// What the examples in documents show.
const (
	exampleID    = "5f9c1f0a-7f0e-4f0b-9d37-0f6f6c1b7a52"
	exampleEpoch = "0b2f0a0e-6f5e-4a53-9c0b-6a9a7a1f2c11"
)

var (
	exampleTopic        = topicOf(exampleConversation.ID)
	exampleTime         = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	exampleConversation = assistant.Conversation{ID: "c1a7d7d4-3c59-4f0e-8f7b-0d8a3a5f2e10", Title: "What is Python?", CreatedAt: exampleTime, UpdatedAt: exampleTime}
	exampleMessage      = assistant.Message{ID: exampleID, Role: assistant.RoleAssistant, Content: "Python is a programming language.", Model: "gpt-4o", Status: assistant.StatusComplete, FinishReason: assistant.FinishStop, CreatedAt: exampleTime}
)

// table is what sessions dispatch by.
var table = newProtocol()

// newProtocol is the table: what a client may send, who handles it, and what may answer.
func newProtocol() *wire.Protocol[*request] {
	turn := []wire.Sendable{msgNotice, msgUserMessage, msgStreamingStart, msgReasoning, msgStreaming, msgToolCall, msgToolCallArgs, msgToolResult, msgPart, msgCompleteStreaming, msgError, msgInvalid}
	return wire.New((*request).admit,
		wire.On("ping", (*request).onPing).
			Doc("Handle ping requests", "Simple ping-pong for connectivity testing").
			Takes("Simple ping message to check WebSocket connection status.", nil).
			Tags("connection").
			Answers(msgPong, msgError, msgInvalid),
		wire.On("assistant_message", (*request).onAssistantMessage).
			Doc("Handle user message", "Process user message and generate AI response").
			Takes("User message to the assistant.", "What is Python?").
			Tags("chat").
			Answers(turn...),
		wire.On("send_message", (*request).onSendMessage).
			Doc("Handle user message, rich form", "Like assistant_message, with an id that makes resending harmless. It can also replace an earlier question, and have images and files: uploaded by HTTP before, or in the frame itself.").
			Takes("User message to the assistant, with its options.", SendMessagePayload{Content: "What is Python?", ClientID: "c-1"}).
			Tags("chat").
			Answers(turn...),
		wire.On("regenerate", (*request).onRegenerate).
			Doc("Handle regenerate requests", "Drop the last answer and ask its question again.").
			Takes("Request to answer the last question again.", &RegeneratePayload{}).
			Tags("chat").
			Answers(turn...),
		wire.On("decide_tool_call", (*request).onDecideToolCall).
			Doc("Handle decisions about calls of tools", "Approve or deny a call that waits, from any socket of the conversation. The first decision counts. When nothing waits any more, the answer goes on with another streaming_start.").
			Takes("Decision about a call of a tool.", DecideToolCallPayload{MessageID: exampleID, CallID: "call_1", Decision: decisionApprove}).About(exampleTopic).
			Tags("chat").
			Answers(turn...),
		wire.On("submit_tool_result", (*request).onSubmitToolResult).
			Doc("Handle results of tools of the page", "End a call that waits for the client. The first result counts. When nothing waits any more, the answer goes on with another streaming_start.").
			Takes("What a tool of the page returned.", SubmitToolResultPayload{MessageID: exampleID, CallID: "call_1", Content: "The cart has 2 items."}).About(exampleTopic).
			Tags("chat").
			Answers(turn...),
		wire.On("submit_tool_input", (*request).onSubmitToolInput).
			Doc("Handle what tools have asked", "Answer what a tool asks, whose call waits for input. The first answer counts. When nothing waits any more, the answer goes on with another streaming_start.").
			Takes("A person's answers.", SubmitToolInputPayload{MessageID: exampleID, CallID: "call_1", Responses: json.RawMessage(`{"size":{"action":"accept","content":{"size":42}}}`)}).About(exampleTopic).
			Tags("chat").
			Answers(turn...),
		wire.On("continue_answer", (*request).onContinueAnswer).
			Doc("Handle answers that were cut", "Let an answer go on that was cut while it called tools. A call that may have been made is not made again.").
			Takes("Request to go on with an answer.", ContinueAnswerPayload{MessageID: exampleID}).About(exampleTopic).
			Tags("chat").
			Answers(turn...),
		wire.On("stop_streaming", (*request).onStopStreaming).
			Doc("Handle stop requests", "Stop the running answer at once, from any socket of the conversation. Its partial text stays, and complete_streaming ends it with finish_reason stopped. Where no such answer runs, a request with a ref gets the notice nothing_to_stop.").
			Takes("Request to stop the running answer.", &StopStreamingPayload{MessageID: exampleID}).
			Tags("chat").
			Answers(msgCompleteStreaming, msgNotice, msgError, msgInvalid),
		wire.On("subscribe", (*request).onSubscribe).
			Doc("Handle subscriptions", "Follow the conversation named by the topic: first what was missed, then what happens. The topic conversations follows the list of the user's conversations: which are created, updated and deleted, from any socket. Its events have no seq; after a cut the client lists again.").
			Takes("Request to follow a conversation, or the list of them.", &SubscribePayload{Epoch: exampleEpoch, After: 41}).About(exampleTopic).
			Tags("conversations").
			Answers(msgSubscribed, msgSnapshot, msgUserMessage, msgConversationCreated, msgConversationUpdated, msgConversationDeleted, msgError, msgInvalid),
		wire.On("unsubscribe", (*request).onUnsubscribe).
			Doc("Handle unsubscriptions", "Stop following the conversation named by the topic, or the list. Answers go on.").
			Takes("Request to stop following a conversation.", nil).About(exampleTopic).
			Tags("conversations").
			Answers(msgUnsubscribed, msgError, msgInvalid),
		wire.On("create_conversation", (*request).onCreateConversation).
			Doc("Handle new conversations", "Store a new conversation of this user.").
			Takes("Request for a new conversation.", &CreateConversationPayload{Title: "Python"}).
			Tags("conversations").
			Answers(msgConversationCreated, msgError, msgInvalid),
		wire.On("list_conversations", (*request).onListConversations).
			Doc("Handle lists of conversations", "List the user's conversations, the last updated first.").
			Takes("Request for a page of conversations.", &ListConversationsPayload{Limit: 20}).
			Tags("conversations").
			Answers(msgConversations, msgError, msgInvalid),
		wire.On("rename_conversation", (*request).onRenameConversation).
			Doc("Handle renaming", "Rename a conversation.").
			Takes("Request to rename a conversation.", RenameConversationPayload{exampleConversation.ID, "Python"}).
			Tags("conversations").
			Answers(msgConversationUpdated, msgError, msgInvalid),
		wire.On("delete_conversation", (*request).onDeleteConversation).
			Doc("Handle deletions", "Stop a running answer, delete the conversation with all its messages and end all its subscriptions.").
			Takes("Request to delete a conversation.", DeleteConversationPayload{exampleConversation.ID}).
			Tags("conversations").
			Answers(msgConversationDeleted, msgError, msgInvalid),
		wire.On("list_messages", (*request).onListMessages).
			Doc("Handle lists of messages", "Page through the messages of a conversation, oldest first within a page.").
			Takes("Request for a page of messages.", ListMessagesPayload{ConversationID: exampleConversation.ID, Before: exampleID}).
			Tags("conversations").
			Answers(msgMessages, msgError, msgInvalid),
	).Pushes("Report what happens",
		"Every follower of a conversation gets its events, also those that another client caused. A connection that is bound to a conversation follows it from the start: "+
			"`subscribed` and `snapshot` come first. A frame that cannot be read is answered by an `error` without a ref.",
		append(turn, msgSubscribed, msgSnapshot, msgConversationCreated, msgConversationUpdated, msgConversationDeleted)...)
}

// Protocol describes everything that clients and server may send each other.
func Protocol() wire.Description { return table.Describe() }
