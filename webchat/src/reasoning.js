// @ts-check
// How a model came to its answer: folded, before the answer; loaded for the first model that tells.
import { h } from './dom.js';
/** @import { Prose } from './prose.js' */
/** @import { Texts } from './texts.js' */

export class Reasoning {
  #summary = h('summary');
  #prose;
  #say;
  #spent; // ms, before the last pause; NaN: not known
  #since = 0; // when it went on after that, if it goes on

  /**
   * @param {Element} answer
   * @param {(element: HTMLElement) => Prose} proseIn shows its text
   * @param {Texts} texts
   * @param {boolean} [isLive] or it is from before, and how long it took is not known
   */
  constructor(answer, proseIn, { say }, isLive = true) {
    const element = h('div');
    answer.before(h('details', { className: 'reasoning' }, this.#summary, element));
    this.#prose = proseIn(element);
    this.#say = say;
    this.#spent = isLive ? 0 : NaN;
  }

  write(piece) {
    this.#since ||= performance.now();
    this.#summary.textContent = this.#say('thinking');
    this.#prose.write(piece);
  }

  /** The model has begun to answer; it may reason again. */
  pause() {
    if (!this.#since) return;
    this.#spent += performance.now() - this.#since;
    this.#since = 0;
    const count = Math.max(1, Math.round(this.#spent / 1000));
    this.#summary.textContent = count ? this.#say('thought', { count }) : this.#say('reasoning');
  }

  end() {
    this.pause();
    this.#prose.end(() => {});
  }
}
