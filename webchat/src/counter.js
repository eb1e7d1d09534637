// @ts-check
// How long a question may be, told before it is sent.
import { announce } from './buttons.js';
import { h } from './dom.js';
/** @import { Client } from '../client/client.js' */
/** @import { Texts } from './texts.js' */

const near = 0.8; // of the limit; then the characters are counted
const envelope = 512; // bytes of a frame besides the question, at most

export class Counter {
  /** Why the question cannot be sent, if so. */
  fault = '';
  #element;
  #client;
  #texts;
  #limits; // as far as they are known
  #sentence = h('span');
  #count = h('span', { className: 'count' });

  /** @param {HTMLElement} element @param {Client} client @param {Texts} texts */
  constructor(element, client, texts) {
    this.#element = element;
    this.#client = client;
    this.#texts = texts;
    this.#element.append(this.#sentence, ' ', this.#count);
  }

  /** The server may have other limits than before. */
  forget() {
    this.#limits = null;
  }

  /** Asks for the limits once, and calls known when they are there. @param {() => void} known */
  learn(known) {
    if (this.#limits) return;
    const limits = (this.#limits = {});
    this.#client.limits().then((found) => {
      Object.assign(limits, found);
      if (this.#limits === limits) known();
    });
  }

  /** @param {string} question */
  count(question) {
    const { max_question_length: limit = Infinity, max_message_size = Infinity } = this.#limits ?? {};
    const length = question.length < near * limit ? 0 : [...question].length; // code points, as the server counts
    const hadFault = this.fault;
    this.fault = '';
    if (length > limit) this.fault = this.#texts.explain([{ type: 'string_too_long', loc: [], msg: '', ctx: { max_length: limit } }]);
    else if (size(question, max_message_size) > max_message_size) this.fault = this.#texts.say('error.message_too_large');
    this.#sentence.textContent = this.fault;
    this.#count.textContent = length ? `${length.toLocaleString(this.#texts.locale)} / ${limit.toLocaleString(this.#texts.locale)}` : '';
    this.#element.classList.toggle('over', Boolean(this.fault));
    this.#element.hidden = !this.fault && (!length || length < near * limit);
    if (this.fault && !hadFault) this.tell();
  }

  tell() {
    announce(this.#element, this.fault);
  }
}

// Of the frame, in bytes; 0 when it is far from the limit, however it is escaped.
function size(question, limit) {
  return 6 * question.length + envelope < limit ? 0 : new TextEncoder().encode(JSON.stringify(question)).length + envelope;
}
