// @ts-check
// Colours for code; loaded when the first block of code is whole.
import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import cpp from 'highlight.js/lib/languages/cpp';
import csharp from 'highlight.js/lib/languages/csharp';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import go from 'highlight.js/lib/languages/go';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import python from 'highlight.js/lib/languages/python';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';
import { adopt, h } from './dom.js';
import theme from './highlight.css';

const languages = { bash, cpp, csharp, css, diff, go, java, javascript, json, python, rust, sql, typescript, xml, yaml };
for (const name in languages) hljs.registerLanguage(name, languages[name]);
hljs.registerAliases(['c', 'h'], { languageName: 'cpp' });
hljs.registerAliases(['shell', 'console'], { languageName: 'bash' });

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

/** Colours the text of an element; leaves it as it is when the language is unknown. @param {HTMLElement} element */
export function highlight(element, language) {
  if (!hljs.getLanguage(language)) return;
  const { errorRaised, _emitter } = /** @type {any} */ (hljs.highlight(element.textContent, { language, ignoreIllegals: true }));
  if (errorRaised) return;
  adopt(element, theme);
  element.replaceChildren(..._emitter.root.childNodes);
}
