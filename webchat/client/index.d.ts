// The client: a socket that comes back, the conversation that is open, and what becomes of each question.
import type { Answer, ClientFrame, ClientOptions, Conversation, ConversationsPayload, DecideToolCallPayload, KnownCall, KnownResult, Limits, MessagesPayload, NoticePayload, PageTool, Refusal, Rejection, ServerFrame, SourcePart, State, StreamingStartPayload, SubmitToolInputPayload, SubmitToolResultPayload, ToolCallPayload } from './types.js';

export type * from './types.js';

/** A question or another request that failed. Its message is a sentence for people, if there is one. */
export class AssistantError extends Error {
  /**
   * Of the server (see Reason), or the type of what it did not accept, such as `string_too_long`; of the client:
   * `connection_lost`, `connection_ended`, `message_too_large`, `conversation_deleted`, `disconnected` by its own
   * user, and `left` for another conversation.
   */
  readonly reason: string;
  /** The same may succeed later. */
  readonly retryable: boolean;
  /** When to try again, in milliseconds. */
  readonly retryAfter?: number;
  /** What the server did not accept, and where that is; none for other errors. */
  readonly rejections: Rejection[];
}

/** What the events of a Client carry as their `detail`. */
export interface ClientEvents {
  statechange: { state: State; refusal?: Refusal };
  /** Another conversation is open, or this one has an id or a title now. No id: a new one. */
  conversationchange: { id?: string; title: string };
  /** A question was asked here. */
  question: { id: string; text: string };
  /** An answer begins, whoever asked; then come its pieces. */
  start: { message_id?: string; model?: string };
  text: { text: string };
  reasoning: { text: string };
  /** A call of a tool, or its result: each time as it is now. */
  tool: KnownCall | KnownResult;
  /** Where a passage of the answer comes from. */
  part: SourcePart;
  /** An answer ended; one that ended as `waiting` ends once more. `question` is its question's id; isOwn: it was asked here. */
  answer: Answer & { question?: string; isOwn: boolean };
  /** A question, or the conversation, failed. */
  error: { error: AssistantError; question?: string; isOwn: boolean };
  notice: Partial<NoticePayload> & { reason: string };
  /** Everything that the server sends, before it takes effect. */
  frame: ServerFrame;
}

/** The chat with one server. It does nothing until `connect`. */
export class Client extends EventTarget {
  /** @param url of the socket, such as wss://chat.example.com/ws/assistants/ */
  constructor(url: string, options?: ClientOptions);

  /**
   * Tools of the page, which the model may call for what is asked here. Whoever asked makes the calls. The server must allow
   * them, or it refuses questions as `client_tools_off`. Default: none.
   */
  tools: PageTool[];
  readonly state: State;
  /** When it is tried again to connect, as performance.now. */
  readonly retryAt: number;
  /** A socket was open, once. */
  readonly wasOpen: boolean;
  /** Why the last handshake failed, if the server says. */
  readonly refusal: Refusal | undefined;
  /** A question or an answer is under way. */
  readonly busy: boolean;
  /** The server keeps conversations. If not, there is only the socket's own, which ends with it. */
  readonly isKept: boolean;
  /** Of the conversation that is open; none: a new one, or the socket's own. */
  readonly conversationId: string | undefined;

  /**
   * Connects, and connects again whenever the connection is lost, after 1 to 30 seconds. What was missed is made up for.
   * Where the server refuses that for good (see Refusal), the state is closed, and questions wait for the next `connect` or `wake`.
   */
  connect(): void;
  /** Questions under way are rejected; their answers go on at the server. */
  disconnect(): void;
  /** Connects at once if that is being waited for, or was refused: the network or the reader is back. */
  wake(): void;
  /** Opens a conversation, or a new one, which its first question creates. */
  open(id?: string): void;

  /**
   * Asks. The promise has the whole answer, however often the connection is lost on the way, or is rejected with an
   * AssistantError. A stopped or cut answer is one, too, and one that waits for a decision: see finish_reason. It waits
   * for the connection.
   * @param options.replaces id of an earlier question: it goes, and everything after it
   * @param options.parts its images and files, uploaded by HTTP before
   */
  ask(content: string, options?: { replaces?: string; parts?: { type: 'image' | 'file'; file_id: string }[] }): Promise<Answer>;
  /** Asks without waiting. The question's id; none: it could not be sent. */
  post(content: string, options?: { replaces?: string; parts?: { type: 'image' | 'file'; file_id: string }[] }): string | undefined;
  /** The answer to a question that was posted and is not answered yet; after `waiting`, its next end. */
  answerTo(id: string | undefined): Promise<Answer>;
  /** Drops the last answer and asks again. */
  regenerate(): Promise<Answer>;
  /** Stops the running answer, whoever asked. */
  stop(): void;
  /** Decides about a call that waits. The first decision counts: a later one is rejected as `not_waiting`. */
  decide(decision: DecideToolCallPayload): Promise<ToolCallPayload>;
  /** Tells what came of a call that waits for the client. Calls of `tools` are told by themselves. */
  submitResult(result: SubmitToolResultPayload, conversationId?: string): Promise<ToolCallPayload>;
  /** Answers what a tool asks whose call waits for input. */
  submitInput(input: SubmitToolInputPayload): Promise<ToolCallPayload>;
  /** Lets the last answer go on, which ended early and with a call. A call that may have been made is not made again. */
  continue(messageId: string): Promise<StreamingStartPayload | ToolCallPayload>;
  /** Has the view show the messages before those shown. False when there are none, or none can be had now. */
  older(): Promise<boolean>;

  /** A page of the user's conversations, newest first: 20, or `limit` up to 100. */
  list(page?: { limit?: number; cursor?: string }): Promise<ConversationsPayload>;
  /** A page of a conversation's messages, oldest first. */
  messages(conversationId: string, page?: { before?: string; limit?: number }): Promise<MessagesPayload>;
  rename(conversationId: string, title: string): Promise<Conversation>;
  /** Deletes it with all its messages. */
  delete(conversationId: string): Promise<{ conversation_id: string }>;

  /** What the server allows, as far as it says so. */
  limits(): Promise<Limits>;

  /** Sends any frame of the protocol. False when there is no connection. */
  send(frame: ClientFrame): boolean;

  addEventListener<Type extends keyof ClientEvents>(type: Type, listener: (event: CustomEvent<ClientEvents[Type]>) => void, options?: AddEventListenerOptions | boolean): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: AddEventListenerOptions | boolean): void;
  removeEventListener<Type extends keyof ClientEvents>(type: Type, listener: (event: CustomEvent<ClientEvents[Type]>) => void, options?: EventListenerOptions | boolean): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: EventListenerOptions | boolean): void;
}
