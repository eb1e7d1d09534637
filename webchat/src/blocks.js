// @ts-check
// The nodes of blocks. Those whose text has not changed keep theirs, so that a reader's selection and place stay.
import { codeBlock, writeCode } from './code.js';
import { h } from './dom.js';
import { checkbox, showLines } from './lines.js';
/** @import { Texts } from './texts.js' */

/**
 * A block that is shown.
 * @typedef {object} Shown
 * @property {any} token marked's
 * @property {any} element none: it is a tight list item's text, whose lines have no element of their own
 * @property {Shown[]} blocks in it
 * @property {{ token: any, node: Node }[]} lines in it
 * @property {Set<string>} asked labels of definitions that decide what it shows
 */

/** By type; headings rank below the page's. */
const tags = { blockquote: 'blockquote', hr: 'hr', list_item: 'li', row: 'tr', html: 'p', formula: 'p', paragraph: 'p' };

/** Shows blocks, and knows what they have in common. */
export class Blocks {
  #copyButton;
  #say;
  /** @type {any} */ reader; // of the text that is shown next
  changed = new Set(); // labels that mean something else than before

  /** @param {(text: () => string) => Element} copyButton for blocks of code @param {Texts} texts */
  constructor(copyButton, { say }) {
    this.#copyButton = copyButton;
    this.#say = say;
  }

  /**
   * Shows tokens as the last children of an element.
   * @param {any} parent @param {Shown[]} shown of the tokens before; changed
   * @param {any[]} tokens @param {Node | null} [end] of the parent's children, what stays after them
   */
  show(parent, shown, tokens, end = null) {
    const visible = tokens.filter(isVisible);
    for (const block of shown.splice(visible.length)) remove(block);
    for (const [i, token] of visible.entries()) {
      const old = shown[i];
      if (old && isSame(old.token, token) && !this.isStale(old)) continue;
      const before = old ? (nodesOf(old).at(-1)?.nextSibling ?? end) : end;
      if (old && canBecome(old.token, token)) this.#write(old, token, parent, before);
      else {
        if (old) remove(old);
        shown[i] = this.#add(token, parent, before);
      }
    }
  }

  /** Shows a block anew, for what its labels mean now. @param {Shown} block @param {any} token its own, read again */
  renew(block, token) {
    const element = this.#element(token);
    element.dir = block.element.dir;
    block.element.replaceWith(element);
    Object.assign(block, { element, blocks: [], lines: [] });
    this.#write(block, token, element.parentNode, null);
  }

  /** @param {Shown} block */
  isStale({ asked }) {
    return [...this.changed].some((label) => asked.has(label));
  }

  /** @returns {Shown} */
  #add(token, parent, before) {
    const block = { token, element: this.#element(token), blocks: [], lines: [], asked: new Set() };
    if (block.element) parent.insertBefore(block.element, before);
    this.#write(block, token, parent, before);
    return block;
  }

  #element({ type, depth, ordered, start, checked }) {
    if (type === 'text') return;
    if (type === 'code') return codeBlock(this.#copyButton, this.#say('code'));
    if (type === 'heading') return h(/** @type {'h3'} */ (`h${Math.min(depth + 2, 6)}`));
    if (type === 'list') return h(ordered ? 'ol' : 'ul', ordered && start !== 1 ? { start } : {});
    if (type === 'checkbox') return checkbox(checked, this.#say);
    if (type === 'table') return h('div', { className: 'table', tabIndex: 0, role: 'region', ariaLabel: this.#say('table') }, h('table', {}, h('thead')));
    return h(tags[type], type === 'html' ? { className: 'html' } : {});
  }

  /** @param {Shown} block @param {any} token what it becomes */
  #write(block, token, parent, before) {
    if (this.isStale(block)) for (const { node } of block.lines.splice(0)) /** @type {ChildNode} */ (node).remove();
    const { element, blocks } = block;
    block.token = token;
    if (token.type === 'code') writeCode(element, token);
    else if (token.isOpen) element.textContent = token.raw;
    else if (token.type === 'table') this.#writeTable(block);
    else if (token.type === 'row') this.#writeRow(block);
    else if (token.items) this.show(element, blocks, token.items);
    else if (token.type === 'blockquote' || token.type === 'list_item') this.show(element, blocks, token.tokens);
    else if (token.tokens || token.isBlock) this.#writeLines(block, element ?? parent, element ? null : before);
    if (token.type === 'list_item') element.classList.toggle('task', token.task);
    for (const { asked } of blocks) for (const label of asked) block.asked.add(label);
  }

  #writeLines(block, parent, before) {
    const { token, lines } = block;
    this.reader.asked.clear();
    const tokens = token.isBlock ? [token] : this.reader.lines(token.tokens);
    if (token.literal) tokens.unshift({ type: 'html', raw: token.literal });
    showLines(parent, lines, tokens, before, this.#say);
    block.asked = new Set(this.reader.asked);
  }

  #writeTable({ token, element, blocks }) {
    const [table] = element.children;
    const [head, body = h('tbody')] = table.children;
    const rows = blocks.splice(1);
    this.show(head, blocks, [rowOf(token.header)]);
    this.show(body, rows, token.rows.map(rowOf));
    blocks.push(...rows);
    if (!body.hasChildNodes()) body.remove();
    else if (!body.parentNode) table.append(body);
  }

  #writeRow(block) {
    this.reader.asked.clear();
    block.element.replaceChildren(
      ...block.token.cells.map(({ header, align, tokens }) => {
        const cell = h(header ? 'th' : 'td', align ? { align } : {});
        showLines(cell, [], this.reader.lines(tokens).map(breakLine), null, this.#say);
        return cell;
      }),
    );
    block.asked = new Set(this.reader.asked);
  }
}

export const isVisible = ({ type }) => type !== 'space' && type !== 'def' && type !== 'footnote';

/** A row as a token. */
export function rowOf(cells) {
  return { type: 'row', raw: cells.map(({ text }) => text).join('\n'), cells };
}

// The only way to have two lines in a cell.
function breakLine(token) {
  if (token.type === 'html' && /^<br\s*\/?>$/i.test(token.raw)) return { ...token, type: 'br' };
  return token.tokens ? { ...token, tokens: token.tokens.map(breakLine) } : token;
}

function isSame(old, token) {
  return old.raw === token.raw && old.type === token.type && old.loose === token.loose && old.isOpen === token.isOpen && old.checked === token.checked;
}

/** Whether the element of a block can show another. */
function canBecome(old, token) {
  const { type } = token;
  if (old.type !== type || old.isOpen !== token.isOpen || type === 'checkbox' || type === 'row') return old.type === 'row' && type === 'row';
  if (type === 'list') return old.ordered === token.ordered && (old.start === token.start || token.goesOn);
  if (type === 'heading') return old.depth === token.depth;
  if (type === 'table') return old.align.join() === token.align.join();
  return true;
}

/** @param {Shown} block @returns {ChildNode[]} */
function nodesOf({ element, lines }) {
  return element ? [element] : lines.map(({ node }) => /** @type {ChildNode} */ (node));
}

function remove(block) {
  for (const node of nodesOf(block)) node.remove();
}

const inline = /^(?:#text|a|br|code|em|input|s|span|strong|sup)$/i;

/** Gives the lines of an item of a list their paragraphs, as if it had been loose from the start. @param {Element} item */
export function loosen(item) {
  let paragraph;
  for (const node of [...item.childNodes]) {
    if (!inline.test(node.nodeName)) paragraph = null;
    else if (paragraph) paragraph.append(node);
    else {
      paragraph = h('p');
      node.replaceWith(paragraph);
      paragraph.append(node);
    }
  }
}
