// @ts-check
// Light or dark, as the reader of the page chose; the browser keeps it. Other pages decide for themselves, by color-scheme.
import { keep, storage } from './dom.js';

export const themes = /** @type {const} */ (['system', 'light', 'dark']);
const key = 'assistant theme';

/** @returns {typeof themes[number]} */
export function chosenTheme() {
  return themes.find((theme) => theme === storage('localStorage')[key]) ?? 'system';
}

/** @param {HTMLElement} element @param {string} theme */
export function chooseTheme(element, theme) {
  keep('localStorage', key, theme);
  showTheme(element);
}

/** @param {HTMLElement} element the chat, as a page */
export function showTheme(element) {
  const theme = chosenTheme();
  element.style.colorScheme = theme === 'system' ? '' : theme;
  // The browser's own bars have a colour for each scheme.
  for (const meta of /** @type {NodeListOf<HTMLMetaElement>} */ (document.querySelectorAll('meta[name=theme-color]'))) {
    meta.dataset.scheme ??= meta.media.includes('dark') ? 'dark' : 'light';
    const scheme = `(prefers-color-scheme: ${meta.dataset.scheme})`;
    meta.media = theme === 'system' ? scheme : meta.dataset.scheme === theme ? 'all' : 'not all';
  }
}

/** Follows what is chosen in other tabs. @param {HTMLElement} element */
export function followTheme(element) {
  showTheme(element);
  window.addEventListener('storage', (event) => event.key === key && showTheme(element));
}
