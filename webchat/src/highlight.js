// @ts-check
// Colours for code; loaded when the first block of code is whole. Each language is a file of its own.
import hljs from 'highlight.js/lib/core';
import { adopt, h } from './dom.js';
import theme from './highlight.css';
import { languages, within } from './languages.js';

const names = new Map(Object.entries(languages).flatMap(([name, others]) => [name, ...others.split(' ')].map((alias) => [alias, name])));

const loading = new Map(); // by name: a promise, of whether it is there

/** @param {string} name of a file @returns {Promise<boolean>} */
function load(name) {
  if (!loading.has(name)) loading.set(name, Promise.all([register(name), ...(within[name] ?? []).map(load)]).then(([isThere]) => isThere));
  return loading.get(name);
}

async function register(name) {
  const file = `./languages/${name}.js`;
  try {
    hljs.registerLanguage(name, (await import(file)).default);
    return true;
  } catch {
    return false; // it cannot be loaded now
  }
}

/** Makes nodes where highlight.js's own would make HTML. */
class Emitter {
  root = h('span');
  #open = [this.root];

  addText(text) {
    this.#open.at(-1).append(text);
  }

  openNode(scope) {
    const span = h('span', { className: `hl-${scope.split('.')[0]}` });
    this.#open.at(-1).append(span);
    this.#open.push(span);
  }

  closeNode() {
    this.#open.pop();
  }

  startScope(scope) {
    this.openNode(scope);
  }

  endScope() {
    this.closeNode();
  }

  __addSublanguage({ root }) {
    this.#open.at(-1).append(root);
  }

  finalize() {}

  toHTML() {
    return '';
  }
}

hljs.configure(/** @type {any} */ ({ __emitter: Emitter }));

/**
 * Colours the text of an element; leaves it as it is when the language is unknown.
 * @param {HTMLElement} element @param {string} alias of a language, in lower case
 */
export async function highlight(element, alias) {
  const language = names.get(alias);
  if (!language || !(await load(language))) return;
  const text = element.textContent;
  const { errorRaised, _emitter } = /** @type {any} */ (hljs.highlight(text, { language, ignoreIllegals: true }));
  if (errorRaised) return;
  adopt(element, theme);
  element.replaceChildren(..._emitter.root.childNodes);
}
