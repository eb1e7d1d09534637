// @ts-check
// The socket.
/** @import { ClientFrame, Handlers, Refusal, State } from './types.d.ts' */

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
  retryAt = 0; // by the clock of performance, which nobody can set
  wasOpen = false; // ever
  /** Why the last handshake failed, if the server says. @type {Refusal | undefined} */ refusal;

  #url;
  #on;
  #begin;
  #socket;
  #timer; // one is enough: each state waits for one thing
  #failures = 0;
  #heardAt;

  /** @param {string} url @param {Handlers} on @param {(url: string) => WebSocket} [begin] makes each socket */
  constructor(url, on, begin = (url) => new WebSocket(url)) {
    this.#url = url;
    this.#on = on;
    this.#begin = begin;
  }

  /** Connects now. */
  open() {
    if (this.#socket) return;
    this.refusal = undefined;
    this.#socket = this.#begin(this.#url);
    this.#socket.onopen = () => this.#opened();
    this.#socket.onmessage = ({ data }) => this.#received(data);
    this.#socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#after(patience, () => this.#drop());
    this.#become('connecting');
  }

  /** Ends it; open begins anew. */
  close() {
    clearTimeout(this.#timer);
    if (this.#socket) this.#socket.onclose = this.#socket.onmessage = null;
    this.#socket?.close();
    this.#socket = null;
    this.#failures = 0;
    this.#become('closed');
  }

  /** The network or the reader is back, who may have signed in elsewhere. That clock may have stood still, and the socket be dead: ask. */
  wake() {
    if (this.state === 'reconnecting' || this.refusal) this.open();
    if (this.state === 'connected') this.#probe();
  }

  /** False when there is no connection. @param {ClientFrame} frame */
  send(frame) {
    if (this.state !== 'connected') return false;
    const text = JSON.stringify(frame);
    this.#socket.send(text);
    this.#on.log('sent', text);
    return true;
  }

  #opened() {
    this.wasOpen = true;
    this.#heardAt = performance.now();
    this.#become('connected');
    this.#watch();
  }

  #received(data) {
    this.#heardAt = performance.now();
    this.#on.log('received', data);
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {} // the log shows it
    if (frame?.action) this.#on.frame(frame);
  }

  // Looks back when it fires: a timer set anew for each frame would cost more than the frame.
  #watch() {
    const left = this.#heardAt + silence - performance.now();
    if (left > 0) return this.#after(left, () => this.#stable());
    this.#probe();
  }

  #probe() {
    this.#heardAt = 0;
    this.send({ action: 'ping' });
    this.#after(patience, () => (this.#heardAt ? this.#watch() : this.#drop()));
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
    const isRefused = this.state === 'connecting';
    this.#socket = null;
    if (this.state === 'connected') this.#on.lost(code, reason);
    this.#retry(backoff(this.#failures++));
    this.#become(code === 1008 ? 'closed' : 'reconnecting', { code, reason }); // 1008: we broke a rule
    if (isRefused) this.#explain(this.#failures);
  }

  #retry(delay) {
    this.retryAt = performance.now() + delay;
    this.#after(delay, () => this.state === 'reconnecting' && !this.#on.isHidden() && this.open());
  }

  // No browser tells why a handshake failed.
  async #explain(failures) {
    const refusal = await this.#on.refused(this.wasOpen);
    if (!refusal || this.state !== 'reconnecting' || failures !== this.#failures) return; // something has happened meanwhile
    this.refusal = refusal;
    const { isFinal, retry_after_ms = 0 } = refusal;
    this.#retry(Math.max(this.retryAt - performance.now(), retry_after_ms));
    this.#become(isFinal ? 'closed' : 'reconnecting', { refusal });
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
