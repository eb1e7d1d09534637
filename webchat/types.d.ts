// The types that the modules' comments name, for editors and `tsc --checkJs`. No browser loads this file.

/** What goes over the socket in either direction: the protocol's envelope, as far as the page uses it. */
interface Envelope<Action extends string, Payload> {
  action: Action;
  payload?: Payload;
  /** Chosen by the client: every frame that answers a request carries the request's. Up to 64 characters. */
  ref?: string;
}

/** The frames that the page sends or understands. */
export type Frame =
  | Envelope<'ping' | 'pong', null>
  | Envelope<'assistant_message', string>
  | Envelope<'stop_streaming', { message_id: string } | null>
  | Envelope<'notice', { reason: string; detail: string }>
  | Envelope<'streaming_start', { content: ''; message_id?: string; model?: string }>
  | Envelope<'streaming', { content: string }>
  | Envelope<'complete_streaming', { content: ''; message_id?: string; finish_reason?: string }>
  | Envelope<'error', Rejection[] | Problem>;

/** Why a frame was not accepted: one item for each fault. */
export interface Rejection {
  type: string;
  /** The action, then "payload", then the fields. */
  loc: (string | number)[];
  msg: string;
}

/** What went wrong, in a sentence for people. */
export interface Problem {
  detail: string;
  reason?: string;
  retryable?: boolean;
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
  append(piece: string): void;
  end(finishReason?: string): void;
  fail(problem: Problem): void;
}

/** Shows a conversation. */
export interface View {
  /** A question was sent. */
  turn(question: string): TurnView;
  /** Something to know that concerns no single question. */
  notice(detail: string): void;
}
