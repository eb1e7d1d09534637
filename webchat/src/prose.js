// @ts-check
// Text that a model writes.
import { copyButton } from './buttons.js';
/** @import { Texts } from './texts.js' */

/** What shows Markdown; loaded for the first text. @type {Promise<typeof import('./markdown.js').markdown>} */
let loading;

/** Shows Markdown in an element as it comes; as it was written, if the renderer cannot be loaded now. */
export class Prose {
  #coming = ''; // before the renderer is there
  #then;
  #text;

  /** @param {HTMLElement} element @param {Texts} texts */
  constructor(element, texts) {
    loading ??= import('./markdown.js').then(({ markdown }) => markdown, () => plain);
    loading.then((show) => {
      this.#text = show(element, (text) => copyButton(texts, text), texts);
      this.#text.write(this.#coming);
      if (this.#then) this.#text.end(this.#then);
    });
  }

  write(piece) {
    if (this.#text) this.#text.write(piece);
    else this.#coming += piece;
  }

  /** No more will come. @param {() => void} then to be called when all is shown */
  end(then) {
    this.#then = then;
    this.#text?.end(then);
  }
}

function plain(element) {
  return { write: (piece) => element.append(piece), end: (then) => then() };
}
