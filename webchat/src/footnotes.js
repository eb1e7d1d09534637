// @ts-check
// Footnotes: numbers where they are referred to, and their texts below the answer.
import { h } from './dom.js';
/** @import { Texts } from './texts.js' */

let answers = 0; // so that no two have the same ids

/** @param {{ label: string }} token */
export function referenceNode({ label }) {
  const link = h('a', { role: 'doc-noteref' });
  link.dataset.note = label;
  return h('sup', {}, link);
}

/** The notes of one answer. */
export class Footnotes {
  #element; // the answer's
  #say;
  #section = h('section', { className: 'footnotes', role: 'doc-endnotes', dir: 'auto' });
  #list = this.#section.appendChild(h('ol'));
  #items = new Map(); // by label: its li, and what is shown in it
  #prefix = `note-${++answers}-`;

  /** @param {HTMLElement} element @param {Texts} texts */
  constructor(element, { say }) {
    this.#element = element;
    this.#say = say;
  }

  /** What comes after all blocks. @returns {Node | null} */
  get end() {
    return this.#section.parentNode && this.#section;
  }

  /**
   * Numbers the notes in the order in which they are first referred to. Those that nothing refers to are not shown.
   * @param {Record<string, any>} definitions by label
   * @param {(item: HTMLElement, shown: any[], tokens: any[]) => void} show shows a note's text
   */
  update(definitions, show) {
    const order = [];
    const references = new Map(); // of each label
    const collect = (parent) => {
      for (const link of parent.querySelectorAll('[data-note]')) {
        const { note } = link.dataset;
        if (!definitions[note] || link.closest('.footnotes') !== (parent === this.#element ? null : this.#section)) continue;
        if (!references.has(note)) references.set(note, order.push(note) && []);
        references.get(note).push(link);
      }
    };
    collect(this.#element);
    for (let i = 0; i < order.length; i++) { // a note may refer to others
      const item = this.#item(order[i]);
      item.back?.remove();
      show(item.element, item.shown, definitions[order[i]].tokens);
      if (this.#list.children[i] !== item.element) this.#list.insertBefore(item.element, this.#list.children[i] ?? null);
      collect(item.element);
    }
    while (this.#list.children.length > order.length) this.#list.lastElementChild?.remove();
    order.forEach((label, i) => this.#number(label, i + 1, references.get(label)));
    if (order.length && !this.#section.parentNode) this.#element.append(this.#section);
    if (!order.length) this.#section.remove();
  }

  #item(label) {
    if (!this.#items.has(label)) this.#items.set(label, { element: h('li'), shown: [], back: null });
    return this.#items.get(label);
  }

  #number(label, number, links) {
    const item = this.#items.get(label);
    item.element.id = `${this.#prefix}${number}`;
    item.back = h('span', { className: 'back' });
    links.forEach((link, i) => {
      const id = `${this.#prefix}${number}-reference-${i + 1}`;
      Object.assign(link, { id, href: `#${item.element.id}`, textContent: String(number), ariaLabel: this.#say('footnote', { number: String(number) }) });
      item.back.append(' ', h('a', { href: `#${id}`, role: 'doc-backlink', ariaLabel: this.#say('footnote_back') }, '↩'));
    });
    const last = item.element.lastElementChild;
    (last?.localName === 'p' ? last : item.element).append(item.back);
  }
}
