// The element <assistant-chat>, as a page's scripts see it. The site that answers serves it: assistant-chat.js.
import type { Answer, FinishReason, PageTool, Refusal, State, Usage } from './types.js';

/** What its events carry as their `detail`. All but `error` bubble out of shadow roots. */
export interface AssistantChatEvents {
  /** A question was asked. The text is there if the page asked it; what readers type stays in the chat. */
  question: CustomEvent<{ id: string; text?: string }>;
  /** An answer ended to a question that was asked here, or was made again. */
  answer: CustomEvent<{ question?: string; message_id?: string; model?: string; finish_reason: FinishReason; usage?: Usage }>;
  /** A question, or the conversation, failed. Does not bubble. */
  error: CustomEvent<{ question?: string; reason: string; retryable: boolean; retryAfter?: number }>;
  /** A floating chat was opened. */
  open: CustomEvent<null>;
  /** A floating chat was closed. */
  close: CustomEvent<null>;
  /** The connection has another state. `refusal`: why the server refuses it. */
  statechange: CustomEvent<{ state: State; refusal?: Refusal['reason'] }>;
  /** Another conversation is shown. No id: a new one. */
  conversationchange: CustomEvent<{ id?: string }>;
}

export interface AssistantChat extends HTMLElement {
  /** URL of the socket, as the attribute says it. */
  url: string;
  /** The attributes of these names. */
  heading: string;
  logo: string;
  greeting: string;
  /** One question a line. */
  suggest: string;
  disclaimer: string;
  privacy: string;
  logs: boolean;
  floating: boolean;
  page: boolean;
  /** The page's own words, by language and key; they win over those of the attribute `texts`. */
  texts: Record<string, Record<string, string | ({ other: string } & Record<string, string>)>> | undefined;

  /** Tools of the page, which the model may call for what is asked here; none by default. */
  tools: PageTool[];

  /** False when it floats and is closed. */
  readonly isOpen: boolean;
  readonly state: State;
  /** A question or an answer is under way. */
  readonly busy: boolean;
  /** Of the conversation that is shown; none: a new one. */
  readonly conversationId: string | undefined;

  /** Opens a floating chat and puts the cursor into its input. */
  open(): void;
  /** Closes a floating chat. What is being answered goes on. */
  close(): void;
  /** Asks as a reader does. Rejected with an AssistantError, which has a `reason`. Does not open a floating chat. */
  ask(question: string): Promise<Answer>;
  /** Puts a question into the input and leaves it to the reader to send it. */
  prefill(question: string): void;
  /** Shows a new conversation, which its first question creates. */
  newConversation(): void;
  openConversation(id: string): void;
  /** Stops the running answer. */
  stop(): void;
  /** Puts the cursor into the input; on the button of a closed chat. */
  focus(): void;

  addEventListener<Type extends keyof AssistantChatEvents>(type: Type, listener: (event: AssistantChatEvents[Type]) => void, options?: AddEventListenerOptions | boolean): void;
  addEventListener<Type extends keyof HTMLElementEventMap>(type: Type, listener: (event: HTMLElementEventMap[Type]) => void, options?: AddEventListenerOptions | boolean): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: AddEventListenerOptions | boolean): void;
  removeEventListener<Type extends keyof AssistantChatEvents>(type: Type, listener: (event: AssistantChatEvents[Type]) => void, options?: EventListenerOptions | boolean): void;
  removeEventListener<Type extends keyof HTMLElementEventMap>(type: Type, listener: (event: HTMLElementEventMap[Type]) => void, options?: EventListenerOptions | boolean): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: EventListenerOptions | boolean): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'assistant-chat': AssistantChat;
  }
}
