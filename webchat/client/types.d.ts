// The types of the client: the frames, and what shows a conversation. No browser loads this file.

import type { Conversation, ErrorPayload, FinishReason, Item, Message, NoticePayload, ReasoningPart, ServerFrame, SourcePart, TextPart, ToolCallPart, ToolCallPayload, ToolResultPart, ToolResultPayload, Usage } from './protocol.js';

export type * from './protocol.js';

/** Why a frame was not accepted: one item for each fault. */
export interface Rejection extends Omit<Item, 'loc'> {
  /** The action, then "payload", then the fields. */
  loc: (string | number)[];
  /** Limits that were broken, from servers that tell them. */
  ctx?: { max_length?: number };
}

/** What is worth knowing and needs no reaction; of the server, or the client's own `forgotten`: of the socket's conversation. */
export interface Notice extends Partial<Omit<NoticePayload, 'reason'>> {
  reason: string;
}

/** What went wrong; of the server, or of the connection. */
export interface Problem extends Partial<Omit<ErrorPayload, 'reason'>> {
  reason?: string;
}

/**
 * connecting: the handshake is under way. connected: frames can be sent. reconnecting: lost, to be tried again at
 * `retryAt`. closed: lost for a reason that trying again would not mend.
 */
export type State = 'connecting' | 'connected' | 'reconnecting' | 'closed';

/** Why the server refuses a handshake. */
export interface Refusal {
  /**
   * sign_in: it wants to know who asks. forbidden: not from this page, or not this user. foreign: of another origin, it
   * lets this page read no answer; it may be either. gone: there is no conversation that the socket is bound to. absent:
   * there is no assistant. full: too many have connected. unavailable: it, or what is behind it, does not work now.
   */
  reason: 'sign_in' | 'forbidden' | 'foreign' | 'gone' | 'absent' | 'full' | 'unavailable';
  /** Of foreign: the server's. */
  host?: string;
  /** It would only happen again, until somebody does something: the state is closed. */
  isFinal?: boolean;
  /** When to try again at the earliest, in milliseconds. */
  retry_after_ms?: number;
}

/** The server's limits, by their names in the AsyncAPI document; none that are not known. */
export type Limits = Partial<Record<string, number>> & {
  /** Which files questions may have; absent where they may have none. */
  files?: FileLimits;
};

export interface FileLimits {
  /** The largest file, in bytes. */
  max_size: number;
  /** How many files a question may have. */
  max_per_message: number;
  /** The media types that are accepted. */
  types: string[];
}

/** An image or a file of a question, which was uploaded before. */
export interface FilePart {
  type: 'image' | 'file';
  file_id: string;
  media_type?: string;
  name?: string;
  size?: number;
  width?: number;
  height?: number;
}

export interface QuestionOptions {
  /** Id of the question in whose place it is asked. */
  replaces?: string;
  /** Its images and files. */
  parts?: FilePart[];
}

/** What a Connection tells its owner. */
export interface Handlers {
  /** The state has changed. */
  state(): void;
  /** An open socket is gone; code and reason as in RFC 6455, section 7.4. The state changes next. */
  lost(code: number, reason: string): void;
  frame(frame: ServerFrame): void;
  /** Asked when a handshake has failed: why, if that can be known. @param wasOpen a socket was open before */
  refused(wasOpen: boolean): Promise<Refusal | undefined>;
  /** Everything that happens, as JSON (or whatever the server sent in its place). */
  log(kind: 'sent' | 'received' | 'connection', text: string): void;
  /** Whether nobody looks at the page, so that a new connection can wait for `wake`. */
  isHidden(): boolean;
}

/** A tool of the page, in the form that WebMCP gives it. */
export interface PageTool {
  /** ASCII letters, digits, underscores and hyphens, 64 at most. Where the server has a tool of that name, the model gets that one. */
  name: string;
  /** Its name for people. */
  title?: string;
  /** Tells the model what it does and when to call it. */
  description: string;
  /** The JSON Schema of its arguments, which are an object. `parameters` is the same. */
  inputSchema?: object;
  parameters?: object;
  /** A person has to agree to each call. Default: it is made at once. */
  approve?: boolean;
  /** Makes the call. What it returns is text, JSON, or a result of the Model Context Protocol; what it throws is told to the model. */
  execute(values: any): unknown;
}

/** A call of a tool, as far as it is known: from a frame, or from the history. */
export interface KnownCall extends Omit<ToolCallPart, 'arguments'>, Partial<Pick<ToolCallPayload, 'arguments' | 'approval'>> {
  /** While it is `preparing`: what the model has written of the arguments, as far as it was heard. */
  draft?: string;
}

/** What a tool returned: from a frame, or from the history, which has no duration. */
export interface KnownResult extends Omit<ToolResultPart, 'files'>, Partial<Pick<ToolResultPayload, 'duration_ms'>> {}

/** What an answer consists of, in order. The result of a call is anywhere after it. */
export type AnswerPart = TextPart | ReasoningPart | KnownCall | KnownResult | SourcePart;

/**
 * Shows one question and its answer: perhaps queued, perhaps started, then ended or failed, once. An answer that ended as
 * `waiting` ends once more: it may be started again, with the same id, and then goes on.
 */
export interface TurnView {
  queue(): void;
  /** @param isResumed it goes on after it had ended, and keeps what it has */
  start(model?: string, messageId?: string, isResumed?: boolean): void;
  /** A piece of the model's reasoning; not live: when it began is not known. */
  reason(piece: string, isLive?: boolean): void;
  append(piece: string): void;
  /** A call of a tool, or its result, which takes the place of what was known of either; or where a passage comes from. */
  part?(part: KnownCall | KnownResult | SourcePart): void;
  end(finishReason?: string, usage?: Usage): void;
  fail(problem: Problem | Rejection[]): void;
}

/** Shows a conversation. */
export interface View {
  /** A question was sent. @param id its own, if it was asked here */
  turn(question: string, id?: string): TurnView;
  /** Something to know that concerns no single question. */
  notice(notice: Notice): void;
  /** What went wrong, if that concerns no single question. */
  problem(problem: Problem | Rejection[]): void;
}

/** Shows one turn of a stored conversation. */
export interface StoredTurnView extends TurnView {
  /** The question is stored; it comes before those that are not. */
  accept(question: Pick<Message, 'message_id' | 'created_at'> & Partial<Message>): void;
  /** The whole answer, from the history. */
  answer(answer: Message): void;
}

/** A question that is not known to be stored. */
export interface Unsent {
  /** Its client_id: sent again it is the same question. */
  id: string;
  content: string;
  /** Id of the question in whose place it is asked. */
  replaces?: string;
  parts?: FilePart[];
}

/** Shows a stored conversation. */
export interface StoredView extends View {
  /** None: an answer whose question is on an older page. @param replaces id of the question in whose place it is asked */
  turn(question?: string, id?: string, replaces?: string, parts?: FilePart[]): StoredTurnView;
  /** These questions are to be asked again by whoever opens the conversation next. */
  unsent(questions: Unsent[]): void;
  /** Its first question was refused: it is a new one again, without an id. */
  emptied(id: string): void;
  /** Forgets all turns: what follows replaces them, until `restored`. */
  clear(): void;
  restored(): void;
  /** A new socket goes on where the last one broke off: nothing has happened meanwhile, and no answer is under way. */
  resumed(): void;
  /** The conversation has an id, or another title. */
  titled(conversation: Conversation): void;
  /** Turns made within `show` are older than those shown. */
  prepend(show: () => void): void;
  /** There is no such conversation, or no longer. */
  gone(problem: Problem): void;
  /** The server keeps no conversations; what `unsent` returns was not asked. */
  fallback(unsent: () => { id: string; content: string }[]): void;
}

/** What a page shows of a client. Whatever it leaves out is not shown. */
export interface ClientView extends Partial<Omit<StoredView, 'gone' | 'fallback'>> {
  /** Another conversation is open, or a new one: nothing of it is shown yet. Returns what `unsent` told of it last, if that was kept. */
  opened?(id?: string): Unsent[] | void;
  /** There is no such conversation, or no longer; a new one is open. */
  gone?(problem: Problem, id: string): void;
  /** The server keeps no conversations: the socket's own is to be opened in the place of this one. */
  fellBack?(): void;
}

export interface ClientOptions {
  /** Id of the conversation to begin with. Default: a new one, which its first question creates. */
  conversation?: string;
  /** What shows everything. Default: nobody. */
  view?: ClientView;
  /** Everything that goes over the socket, as text. Default: nobody is told. */
  log?: Handlers['log'];
  /** Whether nobody looks, so that a new connection can wait for `wake`. Default: never. */
  isHidden?: Handlers['isHidden'];
  /** Makes each socket. Default: new WebSocket(url). */
  socket?: (url: string) => WebSocket;
  /** Asked when a handshake has failed: why, if that can be known. Default: the same address is asked by HTTP; with `socket` nobody is. */
  refused?: Handlers['refused'];
}

/** An answer to its end. */
export interface Answer {
  text: string;
  /** The model's thoughts; empty where it tells none. */
  reasoning: string;
  /** The text, the thoughts and the calls of tools, in order. */
  parts: AnswerPart[];
  /** The next three are absent where the server knows the tutorial's actions alone. */
  message_id?: string;
  model?: string;
  usage?: Usage;
  /** `waiting`: it goes on when somebody has decided about its calls. */
  finish_reason: FinishReason;
}
