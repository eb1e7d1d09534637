// The types of the client: the frames, and what shows a conversation. No browser loads this file.

/** What goes over the socket in either direction: the protocol's envelope, as far as the client uses it. */
interface Envelope<Action extends string, Payload> {
  action: Action;
  payload?: Payload;
  /** Chosen by the client: every frame that answers a request carries the request's. Up to 64 characters. */
  ref?: string;
  /** `conversation:<id>`; none: the socket's own conversation. */
  topic?: string;
  /** Number of an event of a stored conversation: +1 for each, per epoch. */
  seq?: number;
}

/** The frames that the client sends or understands. */
export type Frame =
  | Envelope<'ping' | 'pong' | 'regenerate' | 'unsubscribe' | 'create_conversation', null>
  | Envelope<'assistant_message', string>
  | Envelope<'send_message', { content: string; client_id: string; replaces?: string }>
  | Envelope<'stop_streaming', { message_id: string } | null>
  | Envelope<'subscribe', { epoch: string; after: number } | null>
  | Envelope<'subscribed', { epoch: string; recovered: boolean }>
  | Envelope<'snapshot', Snapshot>
  | Envelope<'user_message', { message_id: string; client_id?: string; content: string; parts?: Part[]; created_at: string }>
  | Envelope<'list_messages', { conversation_id: string; before: string }>
  | Envelope<'messages', { items: Message[]; has_more: boolean }>
  | Envelope<'list_conversations', { limit: number; cursor?: string }>
  | Envelope<'conversations', { items: Conversation[]; next_cursor?: string }>
  | Envelope<'rename_conversation', { conversation_id: string; title: string }>
  | Envelope<'conversation_created' | 'conversation_updated', Conversation>
  | Envelope<'delete_conversation' | 'conversation_deleted', { conversation_id: string }>
  | Envelope<'notice', Notice>
  | Envelope<'streaming_start', { content: ''; message_id?: string; model?: string }>
  | Envelope<'streaming' | 'reasoning', { content: string }>
  | Envelope<'complete_streaming', { content: ''; message_id?: string; finish_reason?: string; usage?: Usage }>
  | Envelope<'error', Rejection[] | Problem>;

/** A stored conversation. Times are RFC 3339. */
export interface Conversation {
  conversation_id: string;
  title: string;
  created_at: string;
  updated_at: string;
}

/** A question or an answer as it is stored. */
export interface Message {
  message_id: string;
  role: 'user' | 'assistant';
  content: string;
  /** None: it is the content alone. */
  parts?: Part[];
  model?: string;
  status: 'complete' | 'streaming' | 'stopped' | 'failed' | 'interrupted';
  finish_reason?: string;
  /** Why it failed. */
  reason?: string;
  usage?: Usage;
  client_id?: string;
  created_at: string;
}

/** A piece of a message: `text`, `reasoning`, or what the client does not know. */
export interface Part {
  type: string;
  text?: string;
}

/** The tokens of one answer. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  /** Counted by the server: the model's service did not tell. */
  estimated?: boolean;
}

/** A conversation at one `seq`: its last messages, and the running answer so far. */
export interface Snapshot {
  conversation: Conversation;
  messages: Message[];
  has_more: boolean;
  streaming: { message_id: string; content: string; reasoning?: string } | null;
}

/** Why a frame was not accepted: one item for each fault. */
export interface Rejection {
  type: string;
  /** Limits that were broken, from servers that tell them. */
  ctx?: { max_length?: number };
  /** The action, then "payload", then the fields. */
  loc: (string | number)[];
  msg: string;
}

/** What is worth knowing and needs no reaction. */
export interface Notice {
  reason: string;
  detail?: string;
  /** Of provider_fallback: the one that answers. */
  model?: string;
}

/** What went wrong. */
export interface Problem {
  /** In a sentence for people. The page has its own for the reasons that it knows. */
  detail?: string;
  reason?: string;
  retryable?: boolean;
  /** When to try again, in milliseconds. */
  retry_after_ms?: number;
}

/**
 * connecting: the handshake is under way. connected: frames can be sent. reconnecting: lost, to be tried again at
 * `retryAt`. closed: lost for a reason that trying again would not mend.
 */
export type State = 'connecting' | 'connected' | 'reconnecting' | 'closed';

/** What a Connection tells its owner. */
export interface Handlers {
  /** The state has changed. */
  state(): void;
  /** An open socket is gone; code and reason as in RFC 6455, section 7.4. The state changes next. */
  lost(code: number, reason: string): void;
  frame(frame: Frame): void;
  /** Everything that happens, as JSON (or whatever the server sent in its place). */
  log(kind: 'sent' | 'received' | 'connection', text: string): void;
  /** Whether nobody looks at the page, so that a new connection can wait for `wake`. */
  isHidden(): boolean;
}

/** Shows one question and its answer: perhaps queued, perhaps started, then ended or failed, once. */
export interface TurnView {
  queue(): void;
  start(model?: string): void;
  /** A piece of the model's reasoning. */
  reason(piece: string): void;
  append(piece: string): void;
  end(finishReason?: string, usage?: Usage): void;
  fail(problem: Problem | Rejection[]): void;
}

/** Shows a conversation. */
export interface View {
  /** A question was sent. */
  turn(question: string): TurnView;
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

/** Shows a stored conversation. */
export interface StoredView extends View {
  /** None: an answer whose question is on an older page. */
  turn(question?: string): StoredTurnView;
  /** Forgets all turns: what follows replaces them, until `restored`. */
  clear(): void;
  restored(): void;
  /** The conversation has an id, or another title. */
  titled(conversation: Conversation): void;
  /** Turns made within `show` are older than those shown. */
  prepend(show: () => void): void;
  /** There is no such conversation, or no longer. */
  gone(problem: Problem): void;
  /** The server keeps no conversations; these questions were not asked. */
  fallback(questions: string[]): void;
}
