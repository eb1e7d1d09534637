// @ts-check
// The arguments of a call, as a table of names and values. They are data, and shown whole.
import { h } from './dom.js';
import { visible } from './visible.js';

/** @param {Record<string, unknown>} values @param {string} caption */
export function argumentTable(values, caption) {
  const rows = Object.entries(values).map(([name, value]) => h('tr', {}, h('th', { scope: 'row' }, ...visible(asText(name))), cell(value)));
  return h('table', {}, h('caption', { className: 'unseen' }, caption), ...rows);
}

function cell(value) {
  const isText = typeof value === 'string';
  return h('td', { dir: isText ? 'auto' : 'ltr', className: isText ? '' : 'json' }, ...visible(isText ? asText(value) : asJSON(value)));
}

// A text that could be taken for something else, or whose ends cannot be seen, is in quotes.
function asText(text) {
  return text === '' || text !== text.trim() || isJSON(text) ? JSON.stringify(text) : text;
}

function isJSON(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// What JavaScript rounds must not look exact.
function asJSON(value) {
  const isRounded = (number) => typeof number === 'number' && Math.abs(number) > Number.MAX_SAFE_INTEGER;
  return isRounded(value) ? `≈ ${value}` : JSON.stringify(value, (_, inner) => (isRounded(inner) ? `≈ ${inner}` : inner), 2);
}
