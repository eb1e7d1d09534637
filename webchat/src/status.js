// @ts-check
// The state of the connection: a word in the head, and what to know and to do while there is none.
import { overHTTP } from '../client/handshake.js';
import { announce } from './buttons.js';
import { show } from './dom.js';
/** @import { Client } from '../client/client.js' */
/** @import { Refusal } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */

export class Status {
  #find; // by id
  #client;
  #texts;
  #timer;
  /** @type {Refusal | undefined} */ #told; // the refusal that was told last

  /** @param {(id: string) => any} find @param {Client} client @param {string} url of the socket @param {Texts} texts */
  constructor(find, client, url, texts) {
    this.#find = find;
    this.#client = client;
    this.#texts = texts;
    find('reconnect').onclick = () => client.connect();
    find('sign-in').href = overHTTP(url); // what protects it asks there, and the reader comes back
  }

  update() {
    const { state, refusal } = this.#client;
    const shown = state === 'reconnecting' && !navigator.onLine ? 'offline' : state;
    const status = this.#find('status');
    const name = this.#texts.say(`state.${shown}`);
    if (status.dataset.state !== shown) announce(status, name);
    status.dataset.state = shown;
    status.textContent = name;
    this.#find('chat').classList.toggle('online', state === 'connected');
    const needsBanner = ['offline', 'reconnecting', 'closed'].includes(shown);
    const text = this.#explain(shown);
    this.#find('banner').firstChild.textContent = needsBanner ? text : '';
    show(this.#find('sign-in'), refusal?.reason === 'sign_in' || refusal?.reason === 'foreign');
    show(this.#find('banner'), needsBanner);
    if (refusal && this.#told !== refusal) announce(status, text);
    this.#told = refusal;
    clearTimeout(this.#timer);
    if (state === 'reconnecting') this.#timer = setTimeout(() => this.update(), 1000);
  }

  #explain(shown) {
    const { refusal, retryAt, wasOpen } = this.#client;
    const cause = shown === 'reconnecting' && !wasOpen ? 'unreachable' : shown;
    const key = refusal && shown !== 'offline' ? `refusal.${refusal.reason}` : `banner.${cause}`;
    return this.#texts.say(key, { when: this.#texts.when(retryAt - performance.now()), host: refusal?.host });
  }
}
