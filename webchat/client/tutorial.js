// @ts-check
// The socket's own conversation, which is all that a server of the tutorial has; loaded for such a server alone.
/** @import { ClientFrame, ServerFrame, View } from './types.d.ts' */

/** Finds the turn that a frame belongs to. */
export class Conversation {
  #open = []; // unfinished turns, oldest first: {ref, view, started, id}
  #asked = 0; // questions, over this socket
  #send;
  #view;

  /** @param {(frame: ClientFrame) => boolean} send @param {View} view */
  constructor(send, view) {
    this.#send = send;
    this.#view = view;
  }

  get busy() {
    return this.#open.length > 0;
  }

  /** Undefined when it could not be sent. @param {string} question @param {string} [_replaces] cannot be done @param {any} [_parts] nor this @param {string} [id] its own @returns {string | undefined} its id */
  ask(question, _replaces, _parts, id) {
    const number = ++this.#asked;
    const ref = id ?? `q${number}`;
    if (!this.#send({ action: 'assistant_message', payload: question, ref })) return;
    this.#open.push({ ref, view: this.#view.turn(question, ref) });
    return ref;
  }

  /** Stops the running answer, by its id: a late stop must not hit the next one. */
  stop() {
    const [turn] = this.#open;
    if (turn) this.#send({ action: 'stop_streaming', payload: turn.id ? { message_id: turn.id } : null });
  }

  /** The socket is gone, and what was said with it. */
  lose(problem) {
    while (this.busy) this.#close(this.#open[0]).fail(problem);
    if (this.#asked) this.#view.notice({ reason: 'forgotten' });
    this.#asked = 0;
  }

  /** @param {ServerFrame} frame any; unknown actions are ignored */
  receive({ action, payload, ref }) {
    // A server of the tutorial returns no ref; it answers in order, so the oldest turn is meant.
    const turn = ref ? this.#open.find((open) => open.ref === ref) : this.#open[0];
    if (action === 'error') this.#fail(turn, payload, ref);
    else if (action === 'notice' && payload.reason !== 'queued') this.#view.notice(payload);
    else if (!turn) return; // already ended, by an error
    else if (action === 'notice') turn.view.queue();
    else if (action === 'streaming_start') this.#start(turn, payload);
    else if (action === 'reasoning') this.#start(turn).reason(payload.content);
    else if (action === 'streaming') this.#start(turn).append(payload.content);
    else if (action === 'complete_streaming' && turn.started) this.#close(turn).end(payload.finish_reason, payload.usage);
  }

  #start(turn, payload) {
    if (!turn.started) turn.view.start(payload?.model, payload?.message_id);
    turn.started = true;
    turn.id ??= payload?.message_id;
    return turn.view;
  }

  // After an error a server of the tutorial says nothing, so the error ends its turn.
  #fail(turn, payload, ref) {
    const rejected = Array.isArray(payload); // a frame of ours
    const isQuestion = ref || !rejected || payload[0].loc[0] === 'assistant_message'; // not a ping or a stop
    if (turn && isQuestion) this.#close(turn).fail(payload);
    else if (!ref) this.#view.problem(payload);
  }

  #close(turn) {
    this.#open.splice(this.#open.indexOf(turn), 1);
    return turn.view;
  }
}
