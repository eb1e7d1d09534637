// @ts-check
// What was typed: drafts, and questions that are not known to be stored. Each belongs to its conversation, and the
// tab keeps it through reloads.
import { storage } from './dom.js';
/** @import { Unsent } from './types.d.ts' */

const maxKept = 50;
const maxLength = 500_000; // characters in all, of the millions that a tab may keep

/** Texts by the id of a conversation ('' is a new one), or of the question that is being edited. */
export class Drafts {
  #key;
  /** @type {Map<string, string>} */ #texts; // the latest last

  /** @param {string} key of storage */
  constructor(key) {
    this.#key = `${key} drafts`;
    this.#texts = new Map(this.#stored());
  }

  /** @param {string} [id] */
  get(id = '') {
    return this.#texts.get(id) ?? '';
  }

  /** @param {string | undefined} id @param {string} text empty: none */
  set(id = '', text) {
    if (text === this.get(id)) return;
    this.#texts.delete(id);
    if (text) this.#texts.set(id, text);
    this.#store();
  }

  /** @param {string} [id] @returns {Unsent[]} */
  unsent(id) {
    return JSON.parse(this.get(unsentOf(id)) || '[]');
  }

  /** @param {string | undefined} id @param {Unsent[]} questions */
  hold(id, questions) {
    this.set(unsentOf(id), questions.length ? JSON.stringify(questions) : '');
  }

  /** The conversation has another id. @param {string | undefined} from @param {string} [to] */
  move(from, to) {
    for (const of of [(id = '') => id, unsentOf]) {
      this.set(of(to), this.get(of(from)));
      this.set(of(from), '');
    }
  }

  #stored() {
    try {
      return JSON.parse(storage('sessionStorage')[this.#key]);
    } catch {
      return []; // nothing was typed yet
    }
  }

  // The oldest go first; the last stays for as long as the page, whatever its size.
  #store() {
    const length = () => [...this.#texts.values()].reduce((sum, text) => sum + text.length, 0);
    while (this.#texts.size > maxKept || (this.#texts.size > 1 && length() > maxLength)) {
      this.#texts.delete(/** @type {string} */ (this.#texts.keys().next().value));
    }
    try {
      storage('sessionStorage')[this.#key] = JSON.stringify([...this.#texts]);
    } catch {} // full
  }
}

function unsentOf(id = '') {
  return `${id} unsent`;
}
