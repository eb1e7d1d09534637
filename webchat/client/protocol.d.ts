// The types of the frames, made from the AsyncAPI document: go test ./webchat -run TestProtocolTypes -update

/** What a client sends. */
export type ClientFrame =
  | AssistantMessage
  | ContinueAnswerMessage
  | CreateConversationMessage
  | DecideToolCallMessage
  | DeleteConversationMessage
  | ListConversationsMessage
  | ListMessagesMessage
  | PingMessage
  | RegenerateMessage
  | RenameConversationMessage
  | SendMessage
  | StopStreamingMessage
  | SubmitToolInputMessage
  | SubmitToolResultMessage
  | SubscribeMessage
  | UnsubscribeMessage;

/** What a client receives. */
export type ServerFrame =
  | CompleteStreamingMessage
  | ConversationCreatedMessage
  | ConversationDeletedMessage
  | ConversationUpdatedMessage
  | ConversationsMessage
  | ErrorMessage
  | MessagesMessage
  | NoticeMessage
  | PartMessage
  | PongMessage
  | ReasoningMessage
  | SnapshotMessage
  | StreamingMessage
  | StreamingStartMessage
  | SubscribedMessage
  | ToolCallArgsMessage
  | ToolCallMessage
  | ToolResultMessage
  | UnsubscribedMessage
  | UserMessage;

/** What a person may decide. */
export interface Approval {
  /** True when the arguments may be changed. */
  editable: boolean;
  /** UTC; then it is denied. */
  expires_at: string;
  /** True when it may be for the whole conversation. */
  may_remember: boolean;
}

/** User message to the assistant. */
export interface AssistantMessage {
  /** Selects this message. */
  action: "assistant_message";
  /** User message to the assistant. */
  payload: string;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** A file of a question that is no image, uploaded before or in the frame itself. */
export interface AttachedFile {
  /** The file itself, in base64 (RFC 4648, section 4). It must fit into the frame. */
  data?: string;
  /** Id of an upload of this user that no other question uses. */
  file_id?: string;
  /** Its media type, for people who read frames: the server looks at the data. */
  media_type?: string;
  /** Its name, with data only. */
  name?: string;
  /** Selects this kind. */
  type: "file";
}

/** An image of a question, uploaded before or in the frame itself. */
export interface AttachedImage {
  /** The image itself, in base64 (RFC 4648, section 4). It must fit into the frame. */
  data?: string;
  /** Id of an upload of this user that no other question uses. */
  file_id?: string;
  /** Its media type, for people who read frames: the server looks at the data. */
  media_type?: string;
  /** Its name, with data only. */
  name?: string;
  /** Selects this kind. */
  type: "image";
}

/** How far a call of a tool is.

- `preparing`: the model still writes the arguments
- `waiting`: a person has to decide, or the client to make it
- `running`: it is being made
- `done`: the tool has returned
- `failed`: the tool has failed, or could not be called
- `denied`: a person has denied it, or nobody has decided in time
- `unknown`: it is not known whether the call was made; it is not made again */
export type CallState = "preparing" | "waiting" | "running" | "done" | "failed" | "denied" | "unknown";

/** A tool of the page. The page makes the call and sends submit_tool_result. */
export interface ClientTool {
  /** Tells the model what it does and when to call it. */
  description: string;
  /** ASCII letters, digits, underscores and hyphens. Where the server has a tool of this name, the model gets that one. */
  name: string;
  /** The JSON Schema of its arguments, which are an object. */
  parameters: Record<string, unknown>;
  /** The tool's name for people. */
  title?: string;
}

/** Signal that streaming is complete. Sent exactly once for each streaming_start, also after an error or a stop. */
export interface CompleteStreamingMessage {
  /** Selects this message. */
  action: "complete_streaming";
  payload: CompleteStreamingPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `complete_streaming`. */
export interface CompleteStreamingPayload {
  /** Always empty. */
  content: string;
  finish_reason?: FinishReason;
  /** The answer's id. Extended frames only. */
  message_id?: string;
  usage?: Usage;
}

/** Request to go on with an answer. */
export interface ContinueAnswerMessage {
  /** Selects this message. */
  action: "continue_answer";
  payload: ContinueAnswerPayload;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `continue_answer`. */
export interface ContinueAnswerPayload {
  /** Tools of the page, which the model may call then. */
  client_tools?: ClientTool[];
  /** The answer's id. */
  message_id: string;
}

/** A stored conversation. */
export interface Conversation {
  /** Random id. Its topic is conversation: and this id. */
  conversation_id: string;
  /** UTC. */
  created_at: string;
  /** For people; empty until it is named or the first question is asked. */
  title: string;
  /** UTC; when the last message was stored. */
  updated_at: string;
}

/** The new conversation. */
export interface ConversationCreatedMessage {
  /** Selects this message. */
  action: "conversation_created";
  payload: Conversation;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The conversation and all its messages were deleted. */
export interface ConversationDeletedMessage {
  /** Selects this message. */
  action: "conversation_deleted";
  payload: ConversationDeletedPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `conversation_deleted`. */
export interface ConversationDeletedPayload {
  /** Id of the conversation that is gone. */
  conversation_id: string;
}

/** The conversation has another title, or, in the list of the user's conversations, another updated_at. */
export interface ConversationUpdatedMessage {
  /** Selects this message. */
  action: "conversation_updated";
  payload: Conversation;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** A page of the user's conversations. */
export interface ConversationsMessage {
  /** Selects this message. */
  action: "conversations";
  payload: ConversationsPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `conversations`. */
export interface ConversationsPayload {
  /** The last updated first. */
  items: Conversation[];
  /** For the next page; absent on the last. */
  next_cursor?: string;
}

/** Request for a new conversation. */
export interface CreateConversationMessage {
  /** Selects this message. */
  action: "create_conversation";
  payload?: CreateConversationPayload | null;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `create_conversation`. */
export interface CreateConversationPayload {
  /** For people; absent = named later. */
  title?: string;
}

/** Decision about a call of a tool. */
export interface DecideToolCallMessage {
  /** Selects this message. */
  action: "decide_tool_call";
  payload: DecideToolCallPayload;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `decide_tool_call`. */
export interface DecideToolCallPayload {
  /** Other arguments, for approve; absent = those of the model. */
  arguments?: Record<string, unknown>;
  /** The call's id within the answer. */
  call_id: string;
  /** Tools of the page, which the model may call then. */
  client_tools?: ClientTool[];
  decision: Decision;
  /** The answer's id. */
  message_id: string;
  /** Why it is denied. The model reads it. */
  reason?: string;
  remember?: Remember;
}

/** What becomes of the call.

- `approve`: it is made
- `deny`: it is not made, and the model is told so */
export type Decision = "approve" | "deny";

/** Request to delete a conversation. */
export interface DeleteConversationMessage {
  /** Selects this message. */
  action: "delete_conversation";
  payload: DeleteConversationPayload;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `delete_conversation`. */
export interface DeleteConversationPayload {
  /** Id of one of the user's conversations. */
  conversation_id: string;
}

/** A request or an answer failed. The connection stays open. */
export interface ErrorMessage {
  /** Selects this message. */
  action: "error";
  /** A request or an answer failed. The connection stays open. */
  payload: ErrorPayload | Item[];
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** Why a request or an answer failed. */
export interface ErrorPayload {
  /** A sentence for people. */
  detail: string;
  reason: Reason;
  /** When to try again, in milliseconds. */
  retry_after_ms?: number;
  /** True when the same request may succeed later. */
  retryable: boolean;
}

/** A stored file that is no image. */
export interface FilePart {
  /** Id of the stored file. */
  file_id: string;
  /** The file's media type, such as application/pdf. */
  media_type: string;
  /** The file's name. */
  name: string;
  /** Pages of a PDF, counted roughly. */
  pages?: number;
  /** Size in bytes. */
  size: number;
  /** Selects this kind. */
  type: "file";
}

/** Which images and files questions may have. Absent where they may have none. */
export interface FilesInfo {
  /** How many files a question may have. */
  max_per_message: number;
  /** The largest file, in bytes. */
  max_size: number;
  /** The media types that are accepted. */
  types: string[];
}

/** How the answer ended. Absent while it runs.

- `stop`: the model was done
- `length`: the model reached its token limit
- `content_filter`: the model's filter cut the answer
- `stopped`: a client asked for it, or no client was left
- `budget`: the user's budget of tokens is spent
- `error`: it failed; an `error` came before
- `interrupted`: the server was stopped in the middle
- `waiting`: calls of tools wait for a person, or for the client; then the answer goes on, with another `streaming_start` */
export type FinishReason = "stop" | "length" | "content_filter" | "stopped" | "budget" | "error" | "interrupted" | "waiting";

/** A stored image. */
export interface ImagePart {
  /** Id of the stored file. */
  file_id: string;
  /** Height in pixels. */
  height: number;
  /** The image's media type, such as image/png. */
  media_type: string;
  /** The file's name. */
  name?: string;
  /** Size in bytes. */
  size: number;
  /** Selects this kind. */
  type: "image";
  /** Width in pixels. */
  width: number;
}

/** Something that a tool asks a person. */
export interface Input {
  /** The id of the question within the call. */
  id: string;
  /** What the tool asks, as text. */
  message: string;
  /** The JSON Schema of the answer: a flat object of strings, numbers, booleans and choices. */
  schema?: Record<string, unknown>;
  /** A page that the person is asked to open instead. It is never opened by itself. */
  url?: string;
}

/** One reason why a frame was refused. */
export interface Item {
  /** Where it is: the action, then payload, then the fields. */
  loc: string[];
  /** What is wrong, for people. */
  msg: string;
  /** What kind of problem it is, for programs. */
  type: string;
}

/** Request for a page of conversations. */
export interface ListConversationsMessage {
  /** Selects this message. */
  action: "list_conversations";
  payload?: ListConversationsPayload | null;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `list_conversations`. */
export interface ListConversationsPayload {
  /** The next_cursor of the page before. */
  cursor?: string;
  /** At most so many items. Default: 20. */
  limit?: number;
}

/** Request for a page of messages. */
export interface ListMessagesMessage {
  /** Selects this message. */
  action: "list_messages";
  payload: ListMessagesPayload;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `list_messages`. */
export interface ListMessagesPayload {
  /** Id of the oldest message that the client has; absent = the last page. */
  before?: string;
  /** Id of one of the user's conversations. */
  conversation_id: string;
  /** At most so many items. Default: 50. A page of more than 1 MiB is cut. */
  limit?: number;
}

/** One side's message in a stored conversation. */
export interface Message {
  /** The id that the client chose when it sent the message. */
  client_id?: string;
  /** The text; of a running answer, as much as has been stored. */
  content: string;
  /** UTC. */
  created_at: string;
  finish_reason?: FinishReason;
  /** Random id. */
  message_id: string;
  /** The model that answered. */
  model?: string;
  /** What the message consists of; absent where that is one text part, which is content. Skip parts of a type that you do not know. */
  parts?: (TextPart | ReasoningPart | ImagePart | FilePart | SourcePart | ToolCallPart | ToolResultPart)[];
  reason?: Reason;
  role: Role;
  status: Status;
  usage?: Usage;
}

/** A page of a conversation's messages. */
export interface MessagesMessage {
  /** Selects this message. */
  action: "messages";
  payload: MessagesPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `messages`. */
export interface MessagesPayload {
  /** True when older ones exist. */
  has_more: boolean;
  /** Oldest first. */
  items: Message[];
}

/** Information that needs no reaction. Extended frames only. */
export interface NoticeMessage {
  /** Selects this message. */
  action: "notice";
  payload: NoticePayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `notice`. */
export interface NoticePayload {
  /** A sentence for people. */
  detail: string;
  /** The model that answers, for provider_fallback. */
  model?: string;
  reason: NoticeReason;
}

/** What is worth knowing, for programs.

- `queued`: the question waits for an earlier one
- `context_trimmed`: the oldest turns were left out of what the model reads
- `provider_fallback`: another model answers
- `draining`: the server stops: reconnect soon
- `superseded`: the rest of the answer goes to a later request with the same `client_id`
- `nothing_to_stop`: no such answer was running
- `tools_unavailable`: the server of some tools does not answer: the model does without
- `tool_steps`: the model has called tools as often as it may, and ends without more */
export type NoticeReason = "queued" | "context_trimmed" | "provider_fallback" | "draining" | "superseded" | "nothing_to_stop" | "tools_unavailable" | "tool_steps";

/** A whole part of the answer, such as a source. Extended frames only. */
export interface PartMessage {
  /** Selects this message. */
  action: "part";
  payload: PartPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `part`. */
export interface PartPayload {
  /** The answer's id. */
  message_id: string;
  part: SourcePart | ImagePart | FilePart;
}

/** Simple ping message to check WebSocket connection status. */
export interface PingMessage {
  /** Selects this message. */
  action: "ping";
  payload?: null;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** Simple pong message response to ping requests. */
export interface PongMessage {
  /** Selects this message. */
  action: "pong";
  payload: null;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** How far a call is. */
export interface Progress {
  /** How much is done. */
  done: number;
  /** What is being done. */
  text?: string;
  /** How much there is to do; absent = that is not known. */
  total?: number;
}

/** What went wrong, for programs.

- `busy`: Too many questions are waiting. Wait for an answer, then ask again.
- `rate_limited`: Too many questions in a short time. Wait a moment, then ask again.
- `budget_exceeded`: The budget for answers is used up. Ask again later.
- `conversation_full`: The conversation is full. Begin a new one.
- `unauthorized`: Sign in to see your conversations.
- `unknown_topic`: There is no such conversation.
- `not_subscribed`: Subscribe to the conversation first.
- `not_found`: There is no such conversation or message.
- `nothing_to_regenerate`: There is no question to answer again.
- `provider_unavailable`: The language model could not be reached, or stopped in mid-answer.
- `provider_timeout`: The language model did not answer in time.
- `provider_rate_limited`: The language model is handling too many requests.
- `provider_rejected`: The language model refused the request. The site's operator can find out why.
- `context_overflow`: The question is too long for the language model.
- `content_filtered`: The language model's content filter refused the question.
- `empty_answer`: The language model sent an answer without text.
- `tools_unsupported`: The language model asked for a tool, which is not available here.
- `client_tools_off`: This page's own tools are not allowed here.
- `not_waiting`: This decision is no longer needed.
- `nothing_to_continue`: There is no answer to continue.
- `content_unsupported`: The language model cannot read this kind of file.
- `file_unknown`: This file is no longer available. Attach it again.
- `too_many_files`: There are too many files in this message.
- `file_too_large`: The file is too large.
- `file_type`: Files of this type are not accepted.
- `file_invalid`: The file is damaged, or is not what it seems to be.
- `file_in_use`: The file is part of a question, and goes with it.
- `name_invalid`: The file's name is too long, or has characters that names must not have.
- `quota_exceeded`: The space for your files is used up. Delete conversations with files, then try again.
- `storage_unavailable`: The conversation cannot be stored right now.
- `draining`: The server is restarting. Try again in a moment.
- `internal`: Something went wrong on the server. */
export type Reason = "busy" | "rate_limited" | "budget_exceeded" | "conversation_full" | "unauthorized" | "unknown_topic" | "not_subscribed" | "not_found" | "nothing_to_regenerate" | "provider_unavailable" | "provider_timeout" | "provider_rate_limited" | "provider_rejected" | "context_overflow" | "content_filtered" | "empty_answer" | "tools_unsupported" | "client_tools_off" | "not_waiting" | "nothing_to_continue" | "content_unsupported" | "file_unknown" | "too_many_files" | "file_too_large" | "file_type" | "file_invalid" | "file_in_use" | "name_invalid" | "quota_exceeded" | "storage_unavailable" | "draining" | "internal";

/** A piece of the model's reasoning. Extended frames only. */
export interface ReasoningMessage {
  /** Selects this message. */
  action: "reasoning";
  payload: StreamingPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** What the model said to itself. */
export interface ReasoningPart {
  /** The model's reasoning. */
  text: string;
  /** Selects this kind. */
  type: "reasoning";
}

/** Request to answer the last question again. */
export interface RegenerateMessage {
  /** Selects this message. */
  action: "regenerate";
  payload?: RegeneratePayload | null;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `regenerate`. */
export interface RegeneratePayload {
  /** Tools of the page, which the model may call. All together at most 32 KiB. */
  client_tools?: ClientTool[];
}

/** For what else the approval is. Absent = for this call alone.

- `conversation`: if the call succeeds, later calls of the tool in this conversation need no approval, as long as its description and parameters stay */
export type Remember = "conversation";

/** Request to rename a conversation. */
export interface RenameConversationMessage {
  /** Selects this message. */
  action: "rename_conversation";
  payload: RenameConversationPayload;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `rename_conversation`. */
export interface RenameConversationPayload {
  /** Id of one of the user's conversations. */
  conversation_id: string;
  /** The new title. */
  title: string;
}

/** Who wrote the message.

- `user`: the user
- `assistant`: the language model */
export type Role = "user" | "assistant";

/** User message to the assistant, with its options. */
export interface SendMessage {
  /** Selects this message. */
  action: "send_message";
  payload: SendMessagePayload;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `send_message`. */
export interface SendMessagePayload {
  /** Chosen by the client. Sending the same id again gives the same turn, never a second one. */
  client_id?: string;
  /** Tools of the page, which the model may call. All together at most 32 KiB. */
  client_tools?: ClientTool[];
  /** The question. May be empty where there are parts. */
  content: string;
  /** Images and files, which come before the text. Each has either the file_id of an upload, or its data. */
  parts?: (AttachedImage | AttachedFile)[];
  /** Id of an earlier user message: it and all after it go, then this one is asked. */
  replaces?: string;
}

/** The conversation as it is at this seq. It replaces what the client has. */
export interface SnapshotMessage {
  /** Selects this message. */
  action: "snapshot";
  payload: SnapshotPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `snapshot`. */
export interface SnapshotPayload {
  conversation: Conversation;
  /** True when older messages exist; list_messages returns them. */
  has_more: boolean;
  /** The last page, oldest first, without the running answer: at most 50, and at most 1 MiB unless a single one is larger. */
  messages: Message[];
  streaming?: StreamingAnswer | null;
}

/** A citation: where a passage of the text comes from. */
export interface SourcePart {
  /** Where the passage ends in content, in code points. */
  end?: number;
  /** The cited file. */
  file_id?: string;
  /** The citation's id within the message. */
  source_id: string;
  /** Where the passage begins in content, in code points. */
  start?: number;
  /** The title of what is cited. */
  title?: string;
  /** Selects this kind. */
  type: "source";
  /** The cited page. */
  url?: string;
}

/** How far the message is.

- `complete`: it is whole
- `streaming`: the answer is under way
- `stopped`: the answer was stopped; its text so far is kept
- `failed`: the answer failed; of a question: its answer failed before any text
- `interrupted`: the server was stopped in the middle; the text so far is kept
- `waiting`: a person has to decide about the answer's calls of tools */
export type Status = "complete" | "streaming" | "stopped" | "failed" | "interrupted" | "waiting";

/** Request to stop the running answer. */
export interface StopStreamingMessage {
  /** Selects this message. */
  action: "stop_streaming";
  payload?: StopStreamingPayload | null;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `stop_streaming`. */
export interface StopStreamingPayload {
  /** The answer to stop; absent = the one that is running. */
  message_id?: string;
}

/** The answer that is under way. */
export interface StreamingAnswer {
  /** The text so far. */
  content: string;
  /** The answer's id. */
  message_id: string;
  /** What the answer consists of so far; absent where that is text and reasoning. */
  parts?: (TextPart | ReasoningPart | ImagePart | FilePart | SourcePart | ToolCallPart | ToolResultPart)[];
  /** The model's reasoning so far. */
  reasoning: string;
}

/** Streaming message chunk from assistant. */
export interface StreamingMessage {
  /** Selects this message. */
  action: "streaming";
  payload: StreamingPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `reasoning` and `streaming`. */
export interface StreamingPayload {
  /** The next piece of text. */
  content: string;
}

/** Signal that streaming is starting. */
export interface StreamingStartMessage {
  /** Selects this message. */
  action: "streaming_start";
  payload: StreamingStartPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `streaming_start`. */
export interface StreamingStartPayload {
  /** Always empty. */
  content: string;
  /** The answer's id. Extended frames only. */
  message_id?: string;
  /** The model that answers. Extended frames only. */
  model?: string;
  /** True when an answer that has ended before goes on. */
  resumed?: boolean;
}

/** A person's answers. */
export interface SubmitToolInputMessage {
  /** Selects this message. */
  action: "submit_tool_input";
  payload: SubmitToolInputPayload;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `submit_tool_input`. */
export interface SubmitToolInputPayload {
  /** The call's id within the answer. */
  call_id: string;
  /** Tools of the page, which the model may call then. */
  client_tools?: ClientTool[];
  /** The answer's id. */
  message_id: string;
  /** For each input, by its id, an object: action is accept, decline or cancel; content, for accept, is the answer, an object within the input's schema. */
  responses: Record<string, unknown>;
}

/** What a tool of the page returned. */
export interface SubmitToolResultMessage {
  /** Selects this message. */
  action: "submit_tool_result";
  payload: SubmitToolResultPayload;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `submit_tool_result`. */
export interface SubmitToolResultPayload {
  /** The call's id within the answer. */
  call_id: string;
  /** Tools of the page, which the model may call then. */
  client_tools?: ClientTool[];
  /** What the tool returned, as text. */
  content: string;
  /** True when the tool failed, or the page does not have it. */
  is_error?: boolean;
  /** The answer's id. */
  message_id: string;
  /** The same as JSON. */
  structured?: unknown;
}

/** Request to follow a conversation, or the list of them. */
export interface SubscribeMessage {
  /** Selects this message. */
  action: "subscribe";
  payload?: SubscribePayload | null;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The payload of `subscribe`. */
export interface SubscribePayload {
  /** The last seq that the client has seen. */
  after: number;
  /** From the last subscribed frame. */
  epoch: string;
}

/** The subscription began. The missed events follow, or one snapshot. With the topic conversations: the list is followed from now on; when it comes again without being asked for, changes were missed, and the client lists again. */
export interface SubscribedMessage {
  /** Selects this message. */
  action: "subscribed";
  payload: SubscribedPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `subscribed`. */
export interface SubscribedPayload {
  /** Names the numbering of seq. A restart begins a new one. Empty for the list of conversations. */
  epoch: string;
  files?: FilesInfo;
  /** True when the missed events follow; otherwise one snapshot follows. */
  recovered: boolean;
  /** The last event so far. */
  seq: number;
  /** The id of the running answer. Null and absent: there is none. */
  streaming?: string | null;
}

/** Text. */
export interface TextPart {
  /** The text. */
  text: string;
  /** Selects this kind. */
  type: "text";
}

/** A piece of the arguments of a call that the model writes. Extended frames only. */
export interface ToolCallArgsMessage {
  /** Selects this message. */
  action: "tool_call_args";
  payload: ToolCallArgsPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `tool_call_args`. */
export interface ToolCallArgsPayload {
  /** The call's id within the answer. */
  call_id: string;
  /** The next piece of the arguments, which are JSON once they are whole. */
  content: string;
  /** The answer's id. */
  message_id: string;
}

/** A call of a tool. It replaces what was known of that call_id. Extended frames only. */
export interface ToolCallMessage {
  /** Selects this message. */
  action: "tool_call";
  payload: ToolCallPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** A call of a tool by the model. */
export interface ToolCallPart {
  /** The tool's arguments. */
  arguments: Record<string, unknown>;
  /** The call's id. */
  call_id: string;
  /** True when a person has changed the arguments. */
  edited?: boolean;
  /** UTC; when a call that waits is denied. */
  expires_at?: string;
  /** What a call that waits for input asks. */
  inputs?: Input[];
  /** True when the approval of a call that waits may be for the whole conversation. */
  may_remember?: boolean;
  /** The tool's name. */
  name: string;
  progress?: Progress;
  /** True when a person has approved the tool for the whole conversation. */
  remember?: boolean;
  state: CallState;
  /** The tool's name for people. */
  title?: string;
  /** Selects this kind. */
  type: "tool_call";
  waiting_for?: WaitingFor;
  where: Where;
}

/** The payload of `tool_call`. */
export interface ToolCallPayload {
  approval?: Approval;
  /** All arguments; absent while the model writes them. Text of the model: show it as it is. */
  arguments?: Record<string, unknown>;
  /** The call's id within the answer. */
  call_id: string;
  /** True when a person has changed the arguments. */
  edited?: boolean;
  /** What the tool asks, where it waits for input. */
  inputs?: Input[];
  /** The answer's id. */
  message_id: string;
  /** The tool's name, as the model knows it. */
  name: string;
  progress?: Progress;
  /** True when a person has approved the tool for the whole conversation. */
  remember?: boolean;
  state: CallState;
  /** The tool's name for people. */
  title?: string;
  waiting_for?: WaitingFor;
  where: Where;
}

/** What a tool returned: the end of a call. Extended frames only. */
export interface ToolResultMessage {
  /** Selects this message. */
  action: "tool_result";
  payload: ToolResultPayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** What a tool returned. */
export interface ToolResultPart {
  /** The call's id. */
  call_id: string;
  /** The result as text. */
  content: string;
  /** Images and files that the tool made. */
  files?: (ImagePart | FilePart)[];
  /** True when the tool failed. */
  is_error: boolean;
  /** The result as JSON. */
  structured?: unknown;
  /** True when the result was too long to be kept whole. */
  truncated?: boolean;
  /** Selects this kind. */
  type: "tool_result";
}

/** The payload of `tool_result`. */
export interface ToolResultPayload {
  /** The call's id within the answer. */
  call_id: string;
  /** What the tool returned, as text. */
  content: string;
  /** How long the call took, in milliseconds. */
  duration_ms?: number;
  /** True when the tool failed, or was not called. */
  is_error: boolean;
  /** The answer's id. */
  message_id: string;
  /** The same as JSON. */
  structured?: unknown;
  /** True when the result was too long to be kept whole. */
  truncated?: boolean;
}

/** Request to stop following a conversation. */
export interface UnsubscribeMessage {
  /** Selects this message. */
  action: "unsubscribe";
  payload?: null;
  /** Chosen by the client; every frame of the answer repeats it. */
  ref?: string;
  /** The conversation addressed: `conversation:` and its id. Default: the connection's own. */
  topic?: string;
  /** The protocol's version. Accepted and ignored. */
  version?: number;
}

/** The subscription ended. */
export interface UnsubscribedMessage {
  /** Selects this message. */
  action: "unsubscribed";
  payload: null;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** How many tokens an answer took. */
export interface Usage {
  /** True when the model did not report usage and the server estimated it from the length of the text. */
  estimated: boolean;
  /** Tokens of the instructions, the history and the question. */
  input_tokens: number;
  /** Tokens of the answer, reasoning included. */
  output_tokens: number;
  /** Sum of both. */
  total_tokens: number;
}

/** A question in a stored conversation, to all its subscribers. */
export interface UserMessage {
  /** Selects this message. */
  action: "user_message";
  payload: UserMessagePayload;
  /** The ref of the request that the frame answers. */
  ref?: string;
  /** The event's number in its conversation, counted without gaps. */
  seq?: number;
  /** The conversation that the frame belongs to. Absent: the connection's own. */
  topic?: string;
  /** The protocol's version, on frames with a ref or a topic. */
  version?: number;
}

/** The payload of `user_message`. */
export interface UserMessagePayload {
  /** The id that the client chose when it sent the question. */
  client_id?: string;
  /** The question. */
  content: string;
  /** UTC. */
  created_at: string;
  /** The question's id. */
  message_id: string;
  /** What the question consists of; absent where that is content alone. */
  parts?: (TextPart | ReasoningPart | ImagePart | FilePart | SourcePart | ToolCallPart | ToolResultPart)[];
}

/** What a waiting call waits for.

- `approval`: a person approves or denies it: `decide_tool_call`
- `client`: the client makes the call: `submit_tool_result`
- `input`: a person answers what the tool asks: `submit_tool_input` */
export type WaitingFor = "approval" | "client" | "input";

/** Where the tool runs.

- `server`: at the server
- `client`: in the page of who has asked
- `provider`: at the model's service */
export type Where = "server" | "client" | "provider";
