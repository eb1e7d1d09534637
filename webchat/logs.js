// @ts-check
// The dialog with the latest frames; rendered only while it is open.
import { copy, find } from './turn.js';

const logs = find('#logs');

const maxEntries = 1000;
const maxLength = 20_000; // characters; a megabyte would freeze the dialog
let unseen = [];

export function record(kind, text) {
  unseen.push({ kind, text: text.slice(0, maxLength), at: new Date() });
  if (unseen.length > maxEntries) unseen.shift();
  if (logs.open && unseen.length === 1) requestAnimationFrame(showEntries);
}

function showEntries() {
  const list = find('#logs-list');
  list.prepend(...unseen.reverse().map(entry));
  unseen = [];
  while (list.childElementCount > maxEntries) list.lastChild.remove();
}

function entry({ kind, text, at }) {
  const element = copy('entry', { time: `[${at.toLocaleTimeString()}]`, b: kind.toUpperCase(), pre: pretty(text) });
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

find('#view-logs').onclick = () => (logs.showModal(), showEntries());
find('#logs-close').onclick = () => logs.close();
find('#logs-clear').onclick = () => find('#logs-list').replaceChildren();
