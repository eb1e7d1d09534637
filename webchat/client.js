// @ts-check
// The protocol, without a page.
/** @import { Frame, Handlers, State, View } from './types.d.ts' */

const silence = 45_000; // ms; then a ping asks whether the server is still there
const patience = 10_000; // for the handshake, and for any frame after a ping

// By chance, from 1 s to a limit that doubles up to 30 s: a restarted server's clients must not all come at once.
export function backoff(failures) {
  const limit = Math.min(30, 2 ** (failures + 1));
  return 1000 * (1 + Math.random() * (limit - 1));
}

/** A socket that comes back. */
export class Connection {
  /** @type {State} */ state = 'closed';
  retryAt = 0; // as Date.now

  #url;
  #on;
  #socket;
  #timer; // one is enough: each state waits for one thing
  #failures = 0;
  #heardAt;

  /** @param {string} url @param {Handlers} on */
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
  }

  /** Connects now. */
  open() {
    if (this.#socket) return;
    this.#socket = new WebSocket(this.#url);
    this.#socket.onopen = () => this.#opened();
    this.#socket.onmessage = ({ data }) => this.#received(data);
    this.#socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#after(patience, () => this.#drop());
    this.#become('connecting');
  }

  /** The network or the reader is back. */
  wake() {
    if (this.state === 'reconnecting') this.open();
    if (this.state === 'connected') this.#watch();
  }

  /** False when there is no connection. @param {Frame} frame */
  send(frame) {
    if (this.state !== 'connected') return false;
    const text = JSON.stringify(frame);
    this.#socket.send(text);
    this.#on.log('sent', text);
    return true;
  }

  #opened() {
    this.#heardAt = Date.now();
    this.#become('connected');
    this.#watch();
  }

  #received(data) {
    this.#heardAt = Date.now();
    this.#on.log('received', data);
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {} // the log shows it
    if (frame?.action) this.#on.frame(frame);
  }

  // Looks back when it fires: a timer set anew for each frame would cost more than the frame.
  #watch() {
    const heardAt = this.#heardAt;
    const left = heardAt + silence - Date.now();
    if (left > 0) return this.#after(left, () => this.#stable());
    this.send({ action: 'ping' });
    this.#after(patience, () => (this.#heardAt === heardAt ? this.#drop() : this.#watch()));
  }

  #stable() {
    this.#failures = 0;
    this.#watch();
  }

  // A dead socket's own close event may be minutes away.
  #drop() {
    this.#socket.onclose = null;
    this.#socket.close();
    this.#closed(1006, 'no answer');
  }

  #closed(code, reason) {
    this.#socket = null;
    if (this.state === 'connected') this.#on.lost(code, reason);
    const delay = backoff(this.#failures++);
    this.retryAt = Date.now() + delay;
    this.#after(delay, () => this.state === 'reconnecting' && !this.#on.isHidden() && this.open());
    this.#become(code === 1008 ? 'closed' : 'reconnecting', { code, reason }); // 1008: we broke a rule
  }

  #become(state, details) {
    this.state = state;
    this.#on.log('connection', JSON.stringify({ status: state, ...details }));
    this.#on.state();
  }

  #after(delay, action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, delay);
  }
}

/** Finds the turn that a frame belongs to. */
export class Conversation {
  #open = []; // unfinished turns, oldest first: {ref, view, started, id}
  #asked = 0;
  #send;
  #view;

  /** @param {(frame: Frame) => boolean} send @param {View} view */
  constructor(send, view) {
    this.#send = send;
    this.#view = view;
  }

  get busy() {
    return this.#open.length > 0;
  }

  /** False when it could not be sent. */
  ask(question) {
    const ref = `q${++this.#asked}`;
    const sent = this.#send({ action: 'assistant_message', payload: question, ref });
    if (sent) this.#open.push({ ref, view: this.#view.turn(question) });
    return sent;
  }

  /** Stops the running answer, by its id: a late stop must not hit the next one. */
  stop() {
    const [turn] = this.#open;
    if (turn) this.#send({ action: 'stop_streaming', payload: turn.id ? { message_id: turn.id } : null });
  }

  /** Ends what is unfinished. */
  lose(problem) {
    while (this.busy) this.#close(this.#open[0]).fail(problem);
  }

  /** @param {Frame} frame any; unknown actions are ignored */
  receive({ action, payload, ref }) {
    // A server of the tutorial returns no ref; it answers in order, so the oldest turn is meant.
    const turn = ref ? this.#open.find((open) => open.ref === ref) : this.#open[0];
    if (action === 'error') this.#fail(turn, payload, ref);
    else if (action === 'notice' && payload.reason !== 'queued') this.#view.notice(payload.detail);
    else if (!turn) return; // already ended, by an error
    else if (action === 'notice') turn.view.queue();
    else if (action === 'streaming_start') this.#start(turn, payload);
    else if (action === 'streaming') this.#start(turn).append(payload.content);
    else if (action === 'complete_streaming' && turn.started) this.#close(turn).end(payload.finish_reason);
  }

  #start(turn, payload) {
    if (!turn.started) turn.view.start(payload?.model);
    turn.started = true;
    turn.id ??= payload?.message_id;
    return turn.view;
  }

  // After an error a server of the tutorial says nothing, so the error ends its turn.
  #fail(turn, payload, ref) {
    const rejected = Array.isArray(payload); // a frame of ours
    const problem = rejected ? { detail: `Not accepted: ${payload[0].msg}` } : payload;
    const isQuestion = ref || !rejected || payload[0].loc[0] === 'assistant_message'; // not a ping or a stop
    if (turn && isQuestion) this.#close(turn).fail(problem);
    else if (!ref) this.#view.notice(problem.detail);
  }

  #close(turn) {
    this.#open.splice(this.#open.indexOf(turn), 1);
    return turn.view;
  }
}
