// @ts-check
// Markdown as it comes. HTML in it stays text; nothing is loaded, and no link runs code.
import * as smd from 'streaming-markdown';
import { adopt, h } from './dom.js';
import css from './markdown.css';
/** @import { Texts } from './texts.js' */

/** By token. An image would tell its host who reads this, so it is a link; headings rank below the page's. */
const tags = {
  [smd.PARAGRAPH]: 'p',
  [smd.HEADING_1]: 'h3',
  [smd.HEADING_2]: 'h4',
  [smd.HEADING_3]: 'h5',
  [smd.HEADING_4]: 'h6',
  [smd.HEADING_5]: 'h6',
  [smd.HEADING_6]: 'h6',
  [smd.CODE_INLINE]: 'code',
  [smd.ITALIC_AST]: 'em',
  [smd.ITALIC_UND]: 'em',
  [smd.STRONG_AST]: 'strong',
  [smd.STRONG_UND]: 'strong',
  [smd.STRIKE]: 's',
  [smd.LINK]: 'a',
  [smd.RAW_URL]: 'a',
  [smd.IMAGE]: 'a',
  [smd.BLOCKQUOTE]: 'blockquote',
  [smd.LINE_BREAK]: 'br',
  [smd.RULE]: 'hr',
  [smd.LIST_UNORDERED]: 'ul',
  [smd.LIST_ORDERED]: 'ol',
  [smd.LIST_ITEM]: 'li',
  [smd.TABLE]: 'table',
  [smd.TABLE_ROW]: 'tr',
  [smd.TABLE_CELL]: 'td',
  [smd.EQUATION_BLOCK]: 'code',
  [smd.EQUATION_INLINE]: 'code',
};

/**
 * Shows text within an element: write takes pieces, end what the last piece left open.
 * @param {Element} element
 * @param {(text: () => string) => Element} copyButton for blocks of code
 * @param {Texts} texts
 */
export function markdown(element, copyButton, texts) {
  adopt(element, css);
  const open = [element]; // the last is the innermost
  const top = () => /** @type {any} */ (open.at(-1));
  const parsing = smd.parser({
    data: null,
    add_token: (_, token) => token !== smd.DOCUMENT && open.push(add(top(), token, copyButton, texts)),
    end_token: () => close(open.pop()),
    add_text: (_, text) => top().append(text),
    set_attr: (_, attribute, value) => set(top(), attribute, value),
  });
  return {
    write: (piece) => smd.parser_write(parsing, piece),
    end() {
      smd.parser_end(parsing);
      while (open.length > 1) close(open.pop());
    },
  };
}

function add(parent, token, copyButton, texts) {
  if (token === smd.CODE_FENCE || token === smd.CODE_BLOCK) return addCode(parent, copyButton, texts);
  if (token === smd.CHECKBOX) return parent.appendChild(h('input', { type: 'checkbox', disabled: true, ariaLabel: texts.say('done') }));
  const isHead = token === smd.TABLE_CELL && !parent.previousSibling; // its row is the first
  const child = h(isHead ? 'th' : tags[token] ?? 'span');
  if (parent.matches('.text')) child.dir = 'auto';
  return parent.appendChild(child);
}

function addCode(parent, copyButton, texts) {
  const code = h('code');
  const block = h('div', { className: 'code', dir: 'ltr' }, copyButton(() => code.textContent), h('pre', { tabIndex: 0 }, code));
  block.dataset.name = texts.say('code');
  parent.append(block);
  return code;
}

function set(element, attribute, value) {
  if (attribute === smd.HREF || attribute === smd.SRC) link(element, value);
  else if (attribute === smd.LANG) element.closest('.code').dataset.language = value.trim().split(/[^\w+#.-]/)[0];
  else if (attribute === smd.START) element.start = value;
  else if (attribute === smd.CHECKED) element.checked = true;
}

function link(element, url) {
  if (/^(https?|mailto):/i.test(url)) Object.assign(element, { href: url, target: '_blank', rel: 'noopener' });
}

const longest = 20_000; // characters of a block that is coloured; more would stop the page for too long

let colouring = Promise.resolve(); // one block after the other, for the same reason

// A block is coloured when it is whole, by what is loaded for the first of them.
function close(element) {
  if (element.localName !== 'code') return;
  const { language } = element.closest('.code')?.dataset ?? {};
  if (!language || element.textContent.length > longest) return;
  colouring = colouring.then(() => colour(element, language.toLowerCase()));
}

async function colour(element, language) {
  try {
    const { highlight } = await import('./highlight.js');
    await new Promise((resolve) => setTimeout(resolve)); // lets a frame be drawn
    highlight(element, language);
  } catch {} // cannot be loaded now: the code is readable without
}
