// @ts-check
// A conversation that the server keeps.
/** @import { ClientFrame, FilePart, Message, Problem, ServerFrame, StoredTurnView, StoredView, TurnView, Unsent } from './types.d.ts' */

/** 128 bits in hex; crypto.randomUUID is not for pages without TLS. */
export function randomID() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** What a server says that knows the tutorial's actions alone. @param {any} frame */
export function isUnknownAction({ action, payload }) {
  return action === 'error' && payload[0]?.type === 'union_tag_invalid';
}

/** Tells a turn of what is known of its answer; of types that came after this it is not. @param {TurnView} turn @param {any[]} parts */
export function tell(turn, parts) {
  for (const part of parts) {
    if (part.call_id || part.source_id) turn.part?.(part);
    else if (part.type === 'reasoning') part.text && turn.reason(part.text, false);
    else if (part.type === 'text') part.text && turn.append(part.text);
  }
}

/** Follows a conversation's numbered events through any number of sockets. */
export class StoredConversation {
  #send;
  #view;
  #epoch;
  #seq = -1; // of the last event shown
  #joined = false;
  #isForeign = false; // the server has no stored conversations
  #creating; // ref of the request
  /** @type {{ ref: string, shown: Promise<boolean>, done: (isShown: boolean) => void } | null} */ #paging = null;
  #isEmpty = false; // and was created for a question that is not accepted yet
  #oldest; // id of the first message shown, if there are older ones
  #pending = []; // own questions that no event has told of: {id, content, replaces, view}
  /** @type {StoredTurnView} */ #turn; // of the last question told of
  #running; // id of the answer under way
  #isWaiting = false; // the last answer has stopped until somebody decides

  /**
   * @param {(frame: ClientFrame) => boolean} send
   * @param {StoredView} view
   * @param {string} [id] none: the first question creates the conversation
   * @param {Unsent[]} [unsent] questions that another such object could not ask to the end
   */
  constructor(send, view, id, unsent = []) {
    this.#send = send;
    this.#view = view;
    this.id = id;
    for (const question of unsent) this.#pend(question);
  }

  get busy() {
    return this.#pending.length > 0 || Boolean(this.#running);
  }

  /** To be called for each new socket: goes on where the last one broke off. */
  join() {
    const known = this.#epoch && { epoch: this.#epoch, after: this.#seq };
    if (this.id) this.#say({ action: 'subscribe', payload: known ?? null, ref: randomID() });
    else if (this.#pending.length) this.#create();
  }

  leave() {
    this.#endPaging(false);
    if (this.id) this.#say({ action: 'unsubscribe', payload: null });
  }

  /** Sent again after a cut, until an event tells of it. @param {string} [replaces] id of a question @param {FilePart[]} [parts] @returns {string} its own */
  ask(content, replaces, parts) {
    const id = randomID();
    const question = this.#pend({ id, content, replaces, parts });
    this.#tellUnsent();
    if (this.#joined) this.#ask(question);
    else if (!this.id && !this.#creating) this.#create();
    return id;
  }

  /** @param {Unsent} question */
  #pend(question) {
    const pending = { ...question, view: this.#present(question) };
    this.#pending.push(pending);
    return pending;
  }

  /** @param {Unsent} question */
  #present({ content, id, replaces, parts }) {
    return this.#view.turn(content, id, replaces, parts);
  }

  #tellUnsent() {
    this.#view.unsent(this.#pending.map(({ view, ...question }) => question));
  }

  /** Stops the running answer, whoever asked, by its id: a late stop must not hit the next one. */
  stop() {
    if (this.busy) this.#say({ action: 'stop_streaming', payload: this.#running ? { message_id: this.#running } : null });
  }

  /** Drops the last answer and asks again. */
  regenerate() {
    return this.#say({ action: 'regenerate', payload: null, ref: randomID() });
  }

  /** Shows the messages before those shown. False when there are none, or none can be had now. @returns {Promise<boolean>} */
  async page() {
    if (this.#paging) return this.#paging.shown;
    const ref = randomID();
    if (!this.#oldest || !this.#send({ action: 'list_messages', payload: { conversation_id: this.id, before: this.#oldest }, ref })) return false;
    /** @type {(isShown: boolean) => void} */ let done = () => {};
    const shown = new Promise((resolve) => (done = resolve));
    this.#paging = { ref, shown, done };
    return shown;
  }

  /** The socket is gone. @param {Problem} problem one that is not retryable would only happen again */
  lose(problem) {
    this.#joined = false;
    this.#creating = null;
    this.#endPaging(false);
    if (!problem.retryable) this.#refuse(problem);
  }

  /** @param {ServerFrame} frame any; those of other conversations are ignored */
  receive(frame) {
    const { action, payload, ref, topic, seq } = frame;
    if (isUnknownAction(frame)) return this.#fallBack();
    if (ref && ref === this.#creating) return this.#created(frame);
    if (ref && ref === this.#paging?.ref) return this.#paged(frame);
    if (action === 'notice' && !topic) return this.#view.notice(payload);
    if (!this.id || topic !== this.#topic) return;
    if (action === 'subscribed') return this.#subscribed(payload);
    if (!seq && action !== 'snapshot') return this.#answered(frame);
    if (seq <= this.#seq) return;
    this.#seq = seq ?? 0;
    this.#happened(frame);
  }

  // Once: more such errors may come.
  #fallBack() {
    if (!this.#isForeign) this.#view.fallback(() => this.#pending.map(({ id, content }) => ({ id, content })));
    this.#isForeign = true;
  }

  get #topic() {
    return this.id && `conversation:${this.id}`;
  }

  #say(frame) {
    return this.#send({ ...frame, topic: this.#topic });
  }

  #create() {
    this.#creating = randomID();
    this.#send({ action: 'create_conversation', payload: null, ref: this.#creating });
  }

  /** @param {any} frame */
  #created({ action, payload }) {
    this.#creating = null;
    if (action === 'error') return this.#refuse(payload);
    this.id = payload.conversation_id;
    this.#isEmpty = true;
    this.#view.titled(payload);
    this.join();
  }

  #refuse(problem) {
    const refused = this.#pending.splice(0);
    this.#tellUnsent();
    for (const { view } of refused) view.fail(problem);
  }

  // A conversation in which nothing could be asked would only be in the way.
  #dropEmpty() {
    const { id } = this;
    if (!id || !this.#isEmpty || this.#pending.length) return;
    if (!this.#send({ action: 'delete_conversation', payload: { conversation_id: id }, ref: randomID() })) return; // go comes back to it
    this.id = this.#epoch = undefined;
    this.#seq = -1;
    this.#joined = this.#isEmpty = false;
    this.#view.emptied(id);
  }

  /** @param {Unsent} question */
  #ask({ id, content, replaces, parts }) {
    this.#say({ action: 'send_message', payload: { content, client_id: id, replaces, parts }, ref: id });
  }

  #subscribed({ epoch, seq, recovered }) {
    this.#epoch = epoch;
    if (!recovered) return (this.#seq = -1); // its snapshot is next
    this.#go();
    if (seq === this.#seq && !this.busy) this.#view.resumed();
  }

  // What is pending may have been heard before the cut; its client_id makes asking again harmless.
  #go() {
    this.#joined = true;
    for (const question of this.#pending) this.#ask(question);
    this.#dropEmpty();
  }

  /**
   * To a request of ours alone. The answer to a question sent twice comes again in this way: events have told it.
   * @param {any} frame
   */
  #answered({ action, payload, ref }) {
    const question = this.#pending.find(({ id }) => id === ref);
    if (action === 'notice') question && payload.reason === 'queued' ? question.view.queue() : this.#view.notice(payload);
    if (action !== 'error') return;
    if (payload.reason === 'unknown_topic') this.#view.gone(payload);
    else if (question) this.#take(ref).view.fail(payload);
    else this.#view.problem(payload);
    this.#dropEmpty();
  }

  /** @param {any} frame */
  #happened({ action, payload }) {
    if (action === 'snapshot') this.#restore(payload);
    else if (action === 'user_message') this.#asked(payload);
    else if (action === 'streaming_start') this.#start(payload);
    else if (action === 'reasoning') this.#turn.reason(payload.content);
    else if (action === 'streaming') this.#turn.append(payload.content);
    else if (action.startsWith('tool_')) this.#turn.part?.({ ...payload, type: action });
    else if (action === 'part') this.#turn.part?.(payload.part);
    else if (action === 'error') this.#end().fail(payload);
    else if (action === 'complete_streaming' && (this.#running || this.#isWaiting)) this.#complete(payload);
    else if (action === 'notice') this.#view.notice(payload);
    else if (action === 'conversation_updated') this.#view.titled(payload);
    else if (action === 'conversation_deleted') this.#view.gone({ reason: 'conversation_deleted' });
  }

  // It may be another tab's.
  #asked(message) {
    this.#isEmpty = false;
    this.#turn = this.#take(message.client_id)?.view ?? this.#view.turn(message.content);
    this.#turn.accept(message);
  }

  #take(id) {
    const i = this.#pending.findIndex((question) => question.id === id);
    if (i < 0) return;
    const [question] = this.#pending.splice(i, 1);
    this.#tellUnsent();
    return question;
  }

  #start({ message_id, model, resumed }) {
    this.#running = message_id;
    this.#turn ??= this.#view.turn();
    this.#turn.start(model, message_id, resumed);
  }

  // What waits ends once more: when it is stopped, or after it has gone on.
  #complete({ finish_reason, usage }) {
    this.#end().end(finish_reason, usage);
    this.#isWaiting = finish_reason === 'waiting';
  }

  #end() {
    this.#running = null;
    this.#isWaiting = false;
    return this.#turn;
  }

  #restore({ conversation, messages, has_more, streaming }) {
    this.#view.clear();
    this.#view.titled(conversation);
    this.#older(messages, has_more);
    this.#turn = this.#show(messages);
    this.#running = null;
    this.#isWaiting = messages.at(-1)?.status === 'waiting';
    if (streaming) {
      this.#start(streaming);
      const { reasoning, content, parts = [{ type: 'reasoning', text: reasoning }, { type: 'text', text: content }] } = streaming;
      tell(this.#turn, parts);
    }
    this.#pending = this.#pending.filter(({ id }) => !messages.some((message) => message.client_id === id));
    this.#isEmpty = !messages.length && (this.#isEmpty || this.#pending.length > 0) && !conversation.title;
    this.#tellUnsent();
    for (const question of this.#pending) question.view = this.#present(question);
    if (!this.#joined) this.#go();
    this.#view.restored();
  }

  /** @param {any} frame */
  #paged({ action, payload }) {
    if (action === 'error') this.#view.problem(payload);
    else {
      this.#older(payload.items, payload.has_more);
      this.#view.prepend(() => this.#show(payload.items));
    }
    this.#endPaging(action !== 'error');
  }

  #endPaging(isShown) {
    this.#paging?.done(isShown);
    this.#paging = null;
  }

  #older(messages, hasMore) {
    this.#oldest = hasMore && messages[0]?.message_id;
  }

  /** @param {Message[]} messages @returns {StoredTurnView} of the last question */
  #show(messages) {
    let turn;
    for (const message of messages) {
      if (message.role === 'assistant') (turn ??= this.#view.turn()).answer(message);
      else (turn = this.#view.turn(message.content)).accept(message);
    }
    return turn;
  }
}
