// @ts-check
// A chat with one server: the socket, the conversation that is open, and what becomes of each question.
import { Connection } from './connection.js';
import { limitsOf, refusalOf } from './handshake.js';
import { isUnknownAction, randomID, StoredConversation } from './stored.js';
/** @import { Answer, ClientFrame, ClientOptions, ClientView, DecideToolCallPayload, Message, Notice, PageTool, Problem, QuestionOptions, Rejection, ServerFrame, StoredTurnView, SubmitToolInputPayload, SubmitToolResultPayload, Usage } from './types.d.ts' */

/** Why connections are closed, by the code of RFC 6455, section 7.4; 0 is what we do ourselves. */
const losses = { 0: 'disconnected', 1008: 'connection_ended', 1009: 'message_too_large', 1012: 'draining' };

/** A question or another request that failed. */
export class AssistantError extends Error {
  name = 'AssistantError';

  /** @param {Problem | Rejection[]} problem */
  constructor(problem) {
    const [first] = Array.isArray(problem) ? problem : [];
    const { detail, reason = 'internal', retryable = false, retry_after_ms } = first ? { detail: first.msg, reason: first.type } : /** @type {Problem} */ (problem);
    super(detail || reason);
    this.reason = reason;
    this.retryable = retryable;
    this.retryAfter = retry_after_ms;
    this.rejections = Array.isArray(problem) ? problem : [];
  }
}

/** Events: see index.d.ts. */
export class Client extends EventTarget {
  /** Of the server, or else the socket's own. @type {StoredConversation | import('./tutorial.js').Conversation} */ conversation;

  /** Of the page: the model may call them. @type {PageTool[]} */ tools = [];

  #url;
  #connection;
  /** @type {ClientView} */ #view;
  #questions = new Map(); // asked here and not answered, by id: {promise, resolve, reject}
  #requests = new Map(); // the same of other requests, by ref
  #again; // the same, of an answer that is made again
  /** @type {Turn | undefined} */ #last; // turn shown

  /** @param {string} url of the socket @param {ClientOptions} [options] */
  constructor(url, { conversation, view = {}, log = () => {}, isHidden = () => false, socket, refused } = {}) {
    super();
    this.#url = url;
    this.#view = view;
    this.#connection = new Connection(
      url,
      {
        state: () => this.#stateChanged(),
        lost: (code, reason) => this.#lost(code, reason),
        frame: (frame) => this.#receive(frame),
        refused: refused ?? (async (wasOpen) => (socket ? undefined : refusalOf(url, wasOpen))),
        log,
        isHidden,
      },
      socket,
    );
    this.conversation = this.#follow(conversation);
  }

  get state() {
    return this.#connection.state;
  }

  /** When it is tried again to connect, by the clock of performance. */
  get retryAt() {
    return this.#connection.retryAt;
  }

  /** A socket was open, once. */
  get wasOpen() {
    return this.#connection.wasOpen;
  }

  /** Why the last handshake failed, if the server says. */
  get refusal() {
    return this.#connection.refusal;
  }

  get busy() {
    return this.conversation.busy;
  }

  /** The conversations are the server's, not the socket's. */
  get isKept() {
    return this.conversation instanceof StoredConversation;
  }

  /** @returns {string | undefined} */
  get conversationId() {
    return this.conversation instanceof StoredConversation ? this.conversation.id : undefined;
  }

  connect() {
    this.#connection.open();
  }

  /** Questions under way are given up; a stored conversation's answers are not. */
  disconnect() {
    this.#connection.close();
    this.#lost(0, 'disconnected');
    this.#giveUp('disconnected');
  }

  /** The network or the reader is back. */
  wake() {
    this.#connection.wake();
  }

  /** Opens a conversation, or a new one, which its first question creates. @param {string} [id] */
  open(id) {
    if (this.conversation instanceof StoredConversation) this.conversation.leave();
    this.#giveUp('left');
    this.conversation = this.#follow(id || undefined, this.#view.opened?.(id) || []);
    if (this.state === 'connected') this.conversation.join();
    this.#tell('conversationchange', { id: this.conversationId, title: '' });
  }

  /** Waits for the connection, if the server keeps conversations. @param {string} content @param {QuestionOptions} [options] @returns {Promise<Answer>} */
  ask(content, options) {
    return this.answerTo(this.post(content, options));
  }

  /** Asks without waiting. @param {string} content @param {QuestionOptions} [options] @returns {string | undefined} its id; none: it could not be sent */
  post(content, { replaces, parts } = {}) {
    return this.conversation.ask(content, replaces, parts);
  }

  /** @param {string | undefined} id of a question that waits for its answer @returns {Promise<Answer>} */
  answerTo(id) {
    return this.#questions.get(id)?.promise ?? Promise.reject(new AssistantError({ reason: 'connection_lost', retryable: true }));
  }

  /** @returns {Promise<Answer>} */
  regenerate() {
    const again = deferred();
    if (this.busy || this.#again) again.reject(new AssistantError({ reason: 'busy', retryable: true }));
    else if (this.conversation instanceof StoredConversation && this.conversation.regenerate()) this.#again = again;
    else again.reject(new AssistantError({ reason: 'nothing_to_regenerate' }));
    return again.promise;
  }

  stop() {
    this.conversation.stop();
  }

  /** Shows the messages before those shown. False when there are none, or none can be had now. @returns {Promise<boolean>} */
  async older() {
    return this.conversation instanceof StoredConversation && this.conversation.page();
  }

  /** A page of the user's conversations. @param {{ limit?: number, cursor?: string }} [page] */
  list(page = {}) {
    return this.#request({ action: 'list_conversations', payload: page });
  }

  /** A page of a conversation's messages. @param {string} conversation_id @param {{ before?: string, limit?: number }} [page] */
  messages(conversation_id, page = {}) {
    return this.#request({ action: 'list_messages', payload: { conversation_id, ...page } });
  }

  rename(conversation_id, title) {
    return this.#request({ action: 'rename_conversation', payload: { conversation_id, title } });
  }

  delete(conversation_id) {
    return this.#request({ action: 'delete_conversation', payload: { conversation_id } });
  }

  /** Decides about a call that waits. @param {DecideToolCallPayload} decision */
  decide(decision) {
    return this.#requestHere('decide_tool_call', decision);
  }

  /** Tells what came of a call of a tool of the page. @param {SubmitToolResultPayload} result @param {string} [conversation] */
  submitResult(result, conversation = this.conversationId) {
    return this.#requestHere('submit_tool_result', result, conversation);
  }

  /** Answers what a tool asks. @param {SubmitToolInputPayload} input */
  submitInput(input) {
    return this.#requestHere('submit_tool_input', input);
  }

  /** Lets an answer go on that was cut among its calls. @param {string} message_id */
  continue(message_id) {
    return this.#requestHere('continue_answer', { message_id });
  }

  #requestHere(action, payload, id = this.conversationId) {
    return this.#request({ action, payload, topic: `conversation:${id}` });
  }

  /** What the server allows, as far as it says so; asked by HTTP. */
  limits() {
    return limitsOf(this.#url);
  }

  /** False when there is no connection. @param {ClientFrame} frame */
  send(frame) {
    const isAsking = this.tools.length && /message$|erate$|tool|answer$/.test(frame.action);
    return this.#connection.send(isAsking ? /** @type {any} */ ({ ...frame, payload: { .../** @type {any} */ (frame.payload), client_tools: this.tools.map(offered) } }) : frame);
  }

  /** @param {ClientFrame} frame @returns {Promise<any>} the payload of the frame that answers */
  #request(frame) {
    const ref = randomID();
    const request = deferred();
    if (this.send({ ...frame, ref })) this.#requests.set(ref, request);
    else request.reject(new AssistantError({ reason: 'connection_lost', retryable: true }));
    return request.promise;
  }

  #follow(id, unsent) {
    return new StoredConversation((frame) => this.send(frame), this.#stored, id, unsent);
  }

  #stateChanged() {
    const { state, refusal } = this;
    this.#tell('statechange', { state, refusal });
    if (state === 'connected' && this.conversation instanceof StoredConversation) this.conversation.join();
  }

  #lost(code, reason) {
    const problem = { reason: losses[code] ?? 'connection_lost', detail: reason || String(code), retryable: code !== 1009 };
    this.conversation.lose(problem);
    if (code === 1008) this.#stored.problem(problem);
    this.#refuse(problem);
  }

  #refuse(problem) {
    for (const { reject } of this.#requests.values()) reject(new AssistantError(problem));
    this.#requests.clear();
  }

  /** @param {ServerFrame} frame */
  #receive(frame) {
    if (isUnknownAction(frame)) {
      this.#refuse(frame.payload);
      if (!this.isKept) return; // from before the fallback
    }
    const { action, payload, ref } = /** @type {any} */ (frame);
    const request = this.#requests.get(ref);
    if (request && action !== 'notice') {
      this.#requests.delete(ref);
      if (action === 'error') request.reject(new AssistantError(payload));
      else request.resolve(payload);
    }
    if (ref && payload?.waiting_for === 'client') this.#run(payload); // whoever asked makes it
    this.#tell('frame', frame);
    if (!request || action !== 'error') this.conversation.receive(frame); // whoever requested it is told
  }

  async #run(call) {
    const { run, toolOf } = await import('./tools.js');
    if (!toolOf(this, call.name)?.approve) run(this, call.message_id, call);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #turn(question, id, ...more) {
    const shown = this.#view.turn?.(question, id, ...more);
    if (id && !this.#questions.has(id)) {
      this.#questions.set(id, deferred());
      this.#tell('question', { id, text: question });
    }
    this.#last = new Turn(shown, id, {
      tell: (type, detail) => this.#tell(type, detail),
      ended: (id, answer) => this.#settle(id, 'resolve', answer),
      failed: (id, problem) => this.#settle(id, 'reject', new AssistantError(problem)),
      isAsked: (id) => this.#questions.has(id),
    });
    return this.#last;
  }

  // Answered, or not to be: the question, and a request to make its answer again.
  #settle(id, how, outcome) {
    const isOwn = this.#questions.has(id) || Boolean(this.#again);
    this.#questions.get(id)?.[how](outcome);
    if (isOwn && id && outcome.finish_reason === 'waiting') this.#questions.set(id, deferred()); // it ends once more
    else this.#questions.delete(id);
    this.#again?.[how](outcome);
    this.#again = undefined;
    if (how === 'resolve') this.#tell('answer', { ...outcome, question: id, isOwn });
    else this.#tell('error', { error: outcome, question: id, isOwn });
  }

  #giveUp(reason) {
    for (const { reject } of [...this.#questions.values(), ...(this.#again ? [this.#again] : [])]) reject(new AssistantError({ reason }));
    this.#questions.clear();
    this.#again = this.#last = undefined;
  }

  #stored = {
    turn: (...question) => this.#turn(...question),
    unsent: (questions) => this.#view.unsent?.(questions),
    emptied: (id) => {
      this.#view.emptied?.(id);
      this.#tell('conversationchange', { id: undefined, title: '' });
    },
    notice: (notice) => {
      this.#view.notice?.(notice);
      this.#tell('notice', notice);
    },
    problem: (problem) => {
      const error = new AssistantError(problem);
      this.#view.problem?.(problem);
      this.#tell('error', { error, isOwn: Boolean(this.#again) });
      this.#again?.reject(error);
      this.#again = undefined;
    },
    clear: () => this.#view.clear?.(),
    restored: () => {
      this.#view.restored?.();
      if (this.#again && !this.busy) this.#last?.recall(); // made again while there was no connection
    },
    resumed: () => this.#again && this.#stored.problem({ reason: 'connection_lost', retryable: true }), // it was not heard
    titled: (about) => {
      this.#view.titled?.(about);
      this.#tell('conversationchange', { id: about.conversation_id, title: about.title });
    },
    prepend: (show) => (this.#view.prepend ?? ((show) => show()))(show),
    gone: (problem) => {
      const { conversationId } = this;
      this.open();
      this.#view.gone?.(problem, conversationId);
      this.#tell('error', { error: new AssistantError(problem), isOwn: false });
    },
    fallback: (unsent) => this.#fallBack(unsent),
  };

  // The server keeps nothing: it knows the tutorial's actions alone.
  async #fallBack(unsent) {
    const { Conversation } = await import('./tutorial.js');
    const questions = unsent();
    this.conversation = new Conversation((frame) => this.send(frame), this.#stored);
    this.#view.fellBack?.();
    this.#view.opened?.();
    for (const { id, content } of questions) {
      if (!this.conversation.ask(content, undefined, undefined, id)) this.#settle(id, 'reject', new AssistantError({ reason: 'connection_lost', retryable: true }));
    }
    this.#view.restored?.();
  }
}

/** A question and its answer, on their way to a page, if there is one, and to whoever waits. @implements {StoredTurnView} */
class Turn {
  #shown;
  #id; // of the question, if it was asked here
  #on;
  /** @type {any} */ #answer;

  /** @param {StoredTurnView | undefined} shown @param {string | undefined} id @param {any} on */
  constructor(shown, id, on) {
    this.#shown = shown;
    this.#id = id;
    this.#on = on;
  }

  queue() {
    this.#shown?.queue();
  }

  /** @param {any} question */
  accept(question) {
    this.#id = question.client_id ?? this.#id;
    this.#shown?.accept(question);
    if (question.status === 'failed' && this.#on.isAsked(this.#id)) this.#on.failed(this.#id, question);
  }

  start(model, message_id, isResumed) {
    if (isResumed && this.#answer?.message_id === message_id) delete this.#answer.status;
    else this.#answer = { message_id, model, text: '', reasoning: '', parts: [] };
    this.#shown?.start(model, message_id, isResumed);
    this.#on.tell('start', { message_id, model });
  }

  /** @param {any} part of a call */
  part(part) {
    const { parts } = this.#answer;
    if (part.type === 'tool_call_args') {
      const call = parts.find(({ type, call_id }) => type === 'tool_call' && call_id === part.call_id);
      if (!call) return;
      part = { ...call, draft: (call.draft ?? '') + part.content };
    }
    const i = parts.findIndex(({ type, call_id, source_id }) => type === part.type && call_id === part.call_id && source_id === part.source_id);
    parts.splice(i < 0 ? parts.length : i, 1, part);
    this.#shown?.part?.(part);
    this.#on.tell(part.call_id ? 'tool' : 'part', part);
  }

  #write(type, text) {
    const last = this.#answer.parts.at(-1);
    if (last?.type === type) last.text += text;
    else this.#answer.parts.push({ type, text });
  }

  reason(piece, isLive) {
    this.#answer.reasoning += piece;
    this.#write('reasoning', piece);
    this.#shown?.reason(piece, isLive);
    this.#on.tell('reasoning', { text: piece });
  }

  append(piece) {
    this.#answer.text += piece;
    this.#write('text', piece);
    this.#shown?.append(piece);
    this.#on.tell('text', { text: piece });
  }

  /** @param {string} [finish_reason] @param {Usage} [usage] */
  end(finish_reason = 'stop', usage) {
    this.#shown?.end(finish_reason, usage);
    this.#on.ended(this.#id, { ...this.#answer, finish_reason, usage });
  }

  /** @param {Problem | Rejection[]} problem */
  fail(problem) {
    this.#shown?.fail(problem);
    this.#on.failed(this.#id, problem);
  }

  /** @param {Message} answer */
  answer(answer) {
    const { content: text, parts = [{ type: 'text', text }] } = answer;
    const reasoning = parts.map((part) => (part.type === 'reasoning' ? part.text : '')).join('');
    this.#answer = { ...answer, text, reasoning, parts: structuredClone(parts) };
    this.#shown?.answer(answer);
    if (this.#on.isAsked(this.#id)) this.recall();
  }

  /** Tells the end of an answer that is stored already. */
  recall() {
    const { text, reasoning, status, parts, message_id, model, finish_reason = 'stop', usage } = this.#answer ?? {};
    if (status === undefined) return;
    if (status === 'failed') return this.#on.failed(this.#id, this.#answer);
    this.#on.ended(this.#id, { message_id, model, text, reasoning, parts, finish_reason, usage });
  }
}

/** @param {PageTool} tool */
function offered({ name, title, description, inputSchema, parameters = inputSchema }) {
  return { name, title, description, parameters };
}

function deferred() {
  /** @type {(value: any) => void} */ let resolve;
  /** @type {(error: AssistantError) => void} */ let reject;
  const promise = new Promise((...both) => ([resolve, reject] = both));
  promise.catch(() => {}); // whoever does not wait is told by an event
  return { promise, resolve, reject };
}
