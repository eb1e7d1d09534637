// @ts-check
// Text in which nothing is hidden: control characters, those that turn the direction of a text, and those without a width
// are shown by their numbers.
import { h } from './dom.js';

// Newlines, tabs and plain spaces are seen as they are.
const unseen = /((?:(?![\n\t ])[\p{C}\p{Z}\p{DI}\u2800])+)/u;

const numbers = (text) => Array.from(text, (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`).join(' ');

/** @param {string} text @returns {(string | Node)[]} */
export function visible(text) {
  return text.split(unseen).map((piece, i) => (i % 2 ? h('span', { className: 'codepoint' }, numbers(piece)) : piece));
}

/** The same where there can be no elements. @param {string} text */
export function visibleText(text) {
  return text.split(unseen).map((piece, i) => (i % 2 ? `[${numbers(piece)}]` : piece)).join('');
}

/** JSON in which they are escaped. @param {unknown} value */
export function visibleJSON(value) {
  const escaped = (text) => text.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return JSON.stringify(value, null, 2).split(unseen).map((piece, i) => (i % 2 ? escaped(piece) : piece)).join('');
}
