// @ts-check
// What a person may reply to a call that waits: the buttons and fields, what is wrong, and that it is sent once.
import { h } from './dom.js';
import { visibleText } from './visible.js';
/** @import { KnownCall } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */

export class Reply {
  element = h('div', { className: 'decision' });
  /** As it is known now. @type {KnownCall} */ call;
  texts;
  /** @type {HTMLElement} */ problem;
  #isSent = false;

  /** @param {KnownCall} call @param {Texts} texts */
  constructor(call, texts) {
    this.call = call;
    this.texts = texts;
  }

  button(key, onclick, className = '') {
    return h('button', { type: onclick ? 'button' : 'submit', className, onclick }, this.texts.say(key));
  }

  show(...children) {
    this.problem = h('p', { className: 'fault', role: 'alert', dir: 'auto' });
    this.element.replaceChildren(...children, this.problem);
  }

  /** What came of it is an event, to every tab. @param {() => Promise<unknown>} send */
  async send(send) {
    if (this.#isSent) return;
    this.#isSent = true;
    this.explain('');
    try {
      await send();
    } catch (error) {
      this.explain(this.#reject(error));
    }
    this.#isSent = false;
  }

  #reject({ reason, message, rejections = [] }) {
    const [first] = rejections;
    if (first?.type !== 'json_schema') return this.texts.explain(first ? rejections : { reason, detail: message });
    const where = first.loc.slice(3).join('.'); // after the action, "payload" and the field
    return this.texts.say('not_accepted', { problem: visibleText([where, first.msg].filter(Boolean).join(': ')) });
  }

  /** @param {string} problem none: there is none any more */
  explain(problem) {
    this.problem.textContent = problem;
  }
}
