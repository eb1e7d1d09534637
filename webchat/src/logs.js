// @ts-check
// The dialog with the latest frames; rendered only while it is open.
import { h } from './dom.js';

const maxEntries = 1000;
const maxLength = 20_000; // characters; a megabyte would freeze the dialog

export class Logs {
  list = h('ol', { id: 'logs-list', tabIndex: 0, ariaLabel: 'Newest first' });
  dialog = h(
    'dialog',
    { id: 'logs', ariaLabel: 'WebSocket Logs' },
    h(
      'header',
      {},
      h('h2', {}, 'WebSocket Logs'),
      h('button', { id: 'logs-clear', onclick: () => this.list.replaceChildren() }, 'Clear'),
      h('button', { id: 'logs-close', onclick: () => this.dialog.close() }, 'Close'),
    ),
    this.list,
  );
  #unseen = [];

  record(kind, text) {
    this.#unseen.push({ kind, text: text.slice(0, maxLength), at: new Date() });
    if (this.#unseen.length > maxEntries) this.#unseen.shift();
    if (this.dialog.open && this.#unseen.length === 1) requestAnimationFrame(() => this.#show());
  }

  open() {
    this.dialog.showModal();
    this.#show();
  }

  #show() {
    this.list.prepend(...this.#unseen.reverse().map(entry));
    this.#unseen = [];
    while (this.list.childElementCount > maxEntries) this.list.lastChild.remove();
  }
}

function entry({ kind, text, at }) {
  const time = h('time', {}, `[${at.toLocaleTimeString()}]`);
  const element = h('li', {}, time, ' ', h('b', {}, kind.toUpperCase()), h('pre', {}, pretty(text)));
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
