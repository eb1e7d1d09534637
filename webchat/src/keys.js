// @ts-check
// Single keys, where nothing is being typed. They may be switched off: whoever speaks to a computer presses keys
// without meaning to (WCAG 2.1.4).
import { isComposing, keep, storage } from './dom.js';

/** What a key does. @type {Record<string, string>} */
export const keys = { n: 'new', '/': 'search_label', m: 'write', k: 'previous', j: 'next', '?': 'shortcuts' };

const off = 'assistant keys off';

export const areKeysOn = () => !storage('localStorage')[off];

/** @param {boolean} on */
export function switchKeys(on) {
  keep('localStorage', off, on ? '' : 'yes');
}

/** What a key is to do, if anything. Ctrl+/ shows the list also while typing. @param {KeyboardEvent} event */
export function meaning(event) {
  const { key, code, ctrlKey, metaKey, altKey } = event;
  const [target] = /** @type {Element[]} */ (event.composedPath());
  if (isComposing(event) || metaKey || altKey || target.closest('dialog, [popover]')) return;
  if (ctrlKey) return key === '/' ? 'shortcuts' : undefined;
  if (!areKeysOn() || target.closest('input, textarea')) return;
  return keys[key.toLowerCase()] ?? keys[latin(key, code)];
}

// The letter at that place, on keyboards of other alphabets.
function latin(key, code) {
  return /\p{L}/u.test(key) && !/[a-z]/i.test(key) ? code.replace('Key', '').toLowerCase() : '';
}
