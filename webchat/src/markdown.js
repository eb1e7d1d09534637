// @ts-check
// Markdown as it comes. HTML in it stays text; nothing is loaded, and no link runs code.
//
// Blocks that more text cannot change are settled: they are not read again. What is after them is read once for each
// write, and only what has changed in it gets new nodes.
import { Blocks, isVisible, loosen, rowOf } from './blocks.js';
import { colourCode } from './code.js';
import { adopt } from './dom.js';
import { Footnotes } from './footnotes.js';
import { copyFormulas } from './formula-node.js';
import { followAnchors } from './links.js';
import css from './markdown.css';
import { Reader } from './syntax.js';
/** @import { Texts } from './texts.js' */
/** @import { Shown } from './blocks.js' */

const share = 4000; // characters that are new in one frame; to lay out more would take too long
const enough = 4000; // characters of an open block of code, of which the whole lines are settled
const some = 4; // items or rows of an open list or table, of which the first are settled
const quick = 4; // ms; if showing took longer, the next time is put off by this multiple of it:
const pause = 16;
const frame = 1000 / 60; // ms

/**
 * Shows text within an element, once per frame of the screen: write takes pieces; end says that there are no more, and
 * calls back when all is shown.
 * @param {HTMLElement} element
 * @param {(text: () => string) => Element} copyButton for blocks of code
 * @param {Texts} texts
 */
export function markdown(element, copyButton, texts) {
  element.classList.add('markdown');
  adopt(element, css);
  followAnchors(element);
  copyFormulas(element);
  const text = new Text(element, copyButton, texts);
  return { write: (piece) => text.write(piece), end: (then) => text.end(then) };
}

class Text {
  #element;
  #blocks;
  #notes;
  #source = ''; // from the first open block on
  /** @type {Shown[]} */ #open = []; // what the source is shown as
  /** @type {{ block: Shown, read: (reader: Reader) => any }[]} */ #waiting = []; // settled, with labels that nothing has defined
  #hasNotes = false;
  #definitions = Object.create(null); // of what is settled, by label
  #known = this.#definitions; // and of what is open
  #head = ''; // what the open block began with, if a part of it is settled: a fence, or the head of a table
  #code = ''; // the settled lines of this block
  #parts = 0; // how often a part of it was settled
  #isLoose = false; // the list that it is
  #coming = ''; // not yet in the source
  #then; // to be called when all is shown
  #frame; // that was asked for
  #shownAt = 0; // when it was shown last
  #due = 0; // when to show it the next time

  constructor(element, copyButton, texts) {
    this.#element = element;
    this.#blocks = new Blocks(copyButton, texts);
    this.#notes = new Footnotes(element, texts);
  }

  write(piece) {
    this.#coming += piece;
    this.#frame ??= requestAnimationFrame(() => this.#advance());
  }

  end(then) {
    this.#then = then;
    this.#due = 0;
    cancelAnimationFrame(this.#frame); // in a hidden page it may never come
    this.#advance();
  }

  #advance() {
    this.#frame = null;
    const now = performance.now();
    if (now < this.#due) return this.write('');
    this.#take(share * Math.max(1, Math.min(this.#due - this.#shownAt, now - this.#shownAt) / frame));
    const isWhole = Boolean(this.#then) && !this.#coming;
    this.#show(isWhole);
    this.#shownAt = performance.now();
    const took = this.#shownAt - now;
    this.#due = this.#shownAt + (took > quick ? took * pause : 0);
    if (isWhole) this.#finish();
    else if (this.#coming.length > 1 || this.#then) this.write('');
  }

  // Neither a character nor a line's end is cut in two.
  #take(length) {
    let end = Math.min(Math.round(length), this.#coming.length);
    const isLast = this.#then && end === this.#coming.length;
    if (!isLast && /[\r\ud800-\udbff]/.test(this.#coming[end - 1])) end--;
    const piece = this.#coming.slice(0, end);
    this.#coming = this.#coming.slice(end);
    this.#source += piece.replace(/\r\n?/g, '\n').replaceAll('\0', '\ufffd');
  }

  #finish() {
    for (const { element } of this.#open) colour(element);
    this.#then();
  }

  #show(isWhole) {
    const reader = new Reader(this.#definitions, isWhole);
    const tokens = reader.blocks(this.#head + this.#source);
    this.#blocks.reader = reader;
    this.#define(reader);
    this.#blocks.show(this.#element, this.#open, this.#joined(tokens), this.#notes.end);
    for (const { element } of this.#open) element.dir ||= 'auto';
    if (this.#hasNotes) this.#notes.update(this.#known, (item, shown, tokens) => this.#blocks.show(item, shown, tokens));
    if (!isWhole) this.#settle(tokens);
  }

  // The first token goes on with a block of which a part is settled.
  #joined([first, ...others]) {
    if (!this.#parts) return first ? [first, ...others] : [];
    const joined = { ...first, raw: `${this.#parts} ${first.raw}`, goesOn: true };
    if (first.type === 'code') joined.text = this.#code + first.text;
    if (first.type === 'list') {
      if (first.loose && !this.#isLoose) this.#loosen(this.#open[0]);
      this.#isLoose ||= first.loose;
      if (this.#isLoose) makeLoose(joined);
    }
    return [joined, ...others];
  }

  #loosen({ element, blocks }) {
    const items = [...element.children].slice(0, element.children.length - blocks.length); // the others are read again
    for (const item of items) loosen(item);
  }

  // What was shown before a label meant what it means now is shown anew.
  #define(reader) {
    const known = { ...reader.definitions };
    const labels = new Set([...Object.keys(known), ...Object.keys(this.#known)]);
    this.#blocks.changed = new Set([...labels].filter((label) => !isSameLink(known[label], this.#known[label])));
    this.#known = known;
    this.#hasNotes ||= [...labels].some(isNote);
    if (!this.#blocks.changed.size) return;
    for (const label of Object.keys(this.#definitions).filter(isNote)) known[label] = reader.again(known[label].raw);
    for (const { block, read } of this.#waiting) {
      if (!this.#blocks.isStale(block)) continue;
      this.#blocks.renew(block, read(reader));
      colour(block.element);
    }
  }

  /** Forgets the source of what cannot change, and keeps its nodes. @param {any[]} tokens */
  #settle(tokens) {
    const [first] = tokens;
    const { count, end } = settled(this.#head + this.#source, tokens);
    if (count) {
      const shown = tokens.slice(0, count).filter(isVisible).length;
      for (const block of this.#open.splice(0, shown)) this.#keep(block);
      this.#learn(tokens.slice(0, count));
      this.#forget(end - this.#head.length);
      this.#head = this.#code = '';
      this.#parts = 0;
      this.#isLoose = false;
    } else if (first?.type === 'list') this.#settleItems(first);
    else if (first?.type === 'table') this.#settleRows(first);
    else if (this.#source.length > enough) this.#settleCode(tokens);
  }

  #forget(length) {
    this.#source = this.#source.slice(length);
    this.#parts++;
  }

  // All but the last two, of which the first might have to take the second for its own text.
  #settleItems({ items }) {
    const done = items.slice(0, -2);
    const text = done.map(({ raw }) => raw).join('');
    if (done.length < some || !this.#source.startsWith(text)) return;
    this.#isLoose ||= done.some(isLoose);
    const [list] = this.#open;
    for (const block of list.blocks.splice(0, done.length)) this.#keep(block, list);
    this.#learn(done);
    this.#forget(text.length);
  }

  // All but the last two, which may not be whole.
  #settleRows({ raw, rows }) {
    const lines = raw.split('\n');
    if (rows.length < some || lines.length !== rows.length + 2) return;
    const [table] = this.#open;
    const head = `${lines[0]}\n${lines[1]}\n`;
    for (const row of table.blocks.splice(1, rows.length - 2)) this.#keepRow(row);
    const end = lines.slice(0, -2).join('\n').length + 1;
    this.#forget(end - this.#head.length);
    this.#head = head;
  }

  // All whole lines of a block that began without indentation.
  #settleCode([token, ...others]) {
    const start = this.#head ? 0 : this.#source.indexOf('\n') + 1;
    const end = this.#source.lastIndexOf('\n') + 1;
    if (others.length || token.type !== 'code' || !/^[`~]/.test(token.raw) || isClosed(token) || end <= start) return;
    this.#head ||= this.#source.slice(0, start);
    this.#code += this.#source.slice(start, end);
    this.#forget(end);
  }

  /** @param {Shown} block @param {Shown} [list] that it is an item of */
  #keep(block, list) {
    const { token, blocks, element } = block;
    if (token.type === 'list') for (const item of blocks) this.#keep(item, block);
    else if (token.type === 'table') for (const row of blocks) this.#keepRow(row);
    else if (list) this.#await(block, (reader) => itemAgain(reader.again(token.raw), list.token.loose));
    else this.#await(block, (reader) => reader.again(token.raw));
    colour(element);
  }

  #keepRow(block) {
    const again = (reader, cell) => ({ ...cell, tokens: reader.later(cell.text) });
    this.#await(block, (reader) => rowOf(block.token.cells.map((cell) => again(reader, cell))));
  }

  /** @param {Shown} block @param {(reader: Reader) => any} read its token again */
  #await(block, read) {
    if ([...block.asked].some((label) => !this.#definitions[label])) this.#waiting.push({ block, read });
  }

  // The first definition of a label is the one that counts.
  #learn(tokens) {
    for (const token of tokens) {
      if (token.type === 'def') this.#definitions[token.tag] ||= { href: token.href, title: token.title };
      if (token.type === 'footnote') this.#definitions[token.label] ||= token;
      if (token.type !== 'paragraph' && token.type !== 'text') this.#learn(token.items ?? token.tokens ?? []);
    }
  }
}

const isNote = (label) => label[0] === '\n';

function isSameLink(a, b) {
  return a?.href === b?.href && a?.title === b?.title && !a === !b;
}

/** @param {any} item that another follows */
function isLoose({ raw, tokens }) {
  return /\n[ \t]*\n[ \t]*$/.test(raw) || tokens.some(({ type, raw }) => type === 'space' && /\n.*\n/.test(raw));
}

function itemAgain(list, isLoose) {
  if (isLoose) makeLoose(list);
  return list.items[0];
}

/** What marked does with a loose list. */
function makeLoose(list) {
  if (list.loose) return;
  list.loose = true;
  for (const item of list.items) {
    item.loose = true;
    for (const token of item.tokens) if (token.type === 'text') token.type = 'paragraph';
    const [checkbox, paragraph] = item.tokens;
    if (checkbox?.type !== 'checkbox') continue;
    item.tokens.shift();
    paragraph.tokens.unshift(checkbox);
  }
}

/** How many of the first tokens can no longer change, and where they end. */
function settled(source, tokens) {
  let count = 0;
  let end = 0;
  let offset = 0;
  let before; // the last token that is no blank line
  let isBlank = false; // what is between them
  for (const [i, token] of tokens.entries()) {
    if (!source.startsWith(token.raw, offset)) break; // marked has joined some lines
    if (token.type === 'space') isBlank = true;
    else {
      if (before && isBoundary(before, isBlank, token, source.slice(offset))) [count, end] = [i, offset];
      isBlank = /\n[ \t]*\n$/.test(token.raw);
      before = token;
    }
    offset += token.raw.length;
  }
  if (before && offset === source.length && source.endsWith('\n') && isClosed(before)) return { count: tokens.length, end: offset };
  return { count, end };
}

/** Whether no more text can change where one block ends and the next begins. */
function isBoundary(before, isBlank, next, rest) {
  if (next.isOpen || !rest.includes('\n')) return false;
  if (isBlank) return true;
  if (before.type === 'def' || (before.type === 'paragraph' && next.type === 'paragraph')) return false;
  if (rest.split('\n', 3).length < 3) return false; // the second line could make the first one part of a table
  return next.type !== 'formula' || next.raw.endsWith('\n');
}

/** Whether it is a block of code with its last fence. */
function isClosed({ type, raw }) {
  const fence = type === 'code' && /^ {0,3}(`{3,}|~{3,})/.exec(raw)?.[1];
  const last = raw.trimEnd().split('\n').slice(1).at(-1);
  return Boolean(fence && last && new RegExp(`^ {0,3}${fence}${fence[0]}*$`).test(last));
}

function colour(element) {
  if (element.matches('.code')) colourCode(element);
  for (const block of element.querySelectorAll('.code')) colourCode(block);
}
