// @ts-check
// Blocks of code: each has its language, a button that copies it, and colours when it is whole.
import { decode } from './decode.js';
import { h } from './dom.js';

const longest = 20_000; // characters of a block that is coloured; more would stop the page for too long

let colouring = Promise.resolve(); // one block after the other, for the same reason

/** @param {(text: () => string) => Element} copyButton @param {string} name of a block in no known language @returns {HTMLElement} */
export function codeBlock(copyButton, name) {
  const code = h('code');
  const block = h('div', { className: 'code', dir: 'ltr' }, copyButton(() => code.textContent), h('pre', { tabIndex: 0 }, code));
  block.dataset.name = name;
  return block;
}

/** @param {HTMLElement} block @param {string} info what is after the fence */
function nameLanguage(block, info) {
  decode(info, (decoded) => {
    const [language] = decoded.trim().split(/[^\w+#.-]/);
    if (language) block.dataset.language = language;
    else delete block.dataset.language;
  });
}

/** Shows what a block has become: adds what is new of its text. @param {HTMLElement} block @param {{ text: string, lang?: string }} token */
export function writeCode(block, token) {
  const text = token.text.replace(/\n$/, '');
  nameLanguage(block, token.lang ?? '');
  const code = /** @type {HTMLElement} */ (block.querySelector('code'));
  const [shown] = /** @type {any} */ (code.childNodes);
  if (code.childNodes.length === 1 && shown.data && text.startsWith(shown.data)) shown.appendData(text.slice(shown.data.length));
  else code.textContent = text;
}

/** Colours a block that is whole. @param {HTMLElement} block */
export function colourCode(block) {
  const code = /** @type {HTMLElement} */ (block.querySelector('code'));
  const { language } = block.dataset;
  if (!language || 'coloured' in block || code.textContent.length > longest) return;
  Object.assign(block, { coloured: true });
  colouring = colouring.then(() => colour(code, language.toLowerCase()));
}

async function colour(code, language) {
  try {
    const { highlight } = await import('./highlight.js');
    await new Promise((resolve) => setTimeout(resolve)); // lets a frame be drawn
    await highlight(code, language);
  } catch {} // cannot be loaded now: the code is readable without
}
