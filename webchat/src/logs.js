// @ts-check
// The button, and the dialog with the latest frames; loaded where they are wanted, and rendered only while it is open.
import { adopt, h } from './dom.js';
import css from './logs.css';
import english from './texts/logs.js';
/** @import { Texts } from './texts.js' */

const maxEntries = 1000;
const maxLength = 20_000; // characters; a megabyte would freeze the dialog

export class Logs {
  #texts;
  #unseen = [];

  /** @param {HTMLElement} neighbour after the button @param {HTMLElement} chat @param {Texts} texts */
  constructor(neighbour, chat, texts) {
    this.#texts = texts.with(english);
    const { say } = this.#texts;
    this.button = h('button', { id: 'view-logs', onclick: () => this.#open() }, say('view_logs'));
    this.list = h('ol', { id: 'logs-list', tabIndex: 0, ariaLabel: say('logs_order') });
    this.dialog = h(
      'dialog',
      { id: 'logs', ariaLabel: say('logs') },
      h(
        'header',
        {},
        h('h2', {}, say('logs')),
        h('button', { id: 'logs-clear', onclick: () => this.list.replaceChildren() }, say('logs_clear')),
        h('button', { id: 'logs-close', onclick: () => this.dialog.close() }, say('close')),
      ),
      this.list,
    );
    neighbour.before(this.button);
    chat.append(this.dialog);
    adopt(chat, css);
  }

  record(kind, text) {
    this.#unseen.push({ kind, text: text.slice(0, maxLength), at: new Date() });
    if (this.#unseen.length > maxEntries) this.#unseen.shift();
    if (this.dialog.open && this.#unseen.length === 1) requestAnimationFrame(() => this.#show());
  }

  remove() {
    this.button.remove();
    this.dialog.remove();
  }

  #open() {
    this.dialog.showModal();
    this.#show();
  }

  #show() {
    this.list.prepend(...this.#unseen.reverse().map((frame) => entry(frame, this.#texts)));
    this.#unseen = [];
    while (this.list.childElementCount > maxEntries) this.list.lastChild.remove();
  }
}

function entry({ kind, text, at }, { locale, say }) {
  const time = h('time', {}, `[${at.toLocaleTimeString(locale)}]`);
  const element = h('li', {}, time, ' ', h('b', {}, say(`log.${kind}`).toLocaleUpperCase(locale)), h('pre', { dir: 'ltr' }, pretty(text)));
  element.dataset.kind = kind;
  return element;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // cut, or no JSON
  }
}
