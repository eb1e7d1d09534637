// @ts-check
// Elements without markup: what people and models wrote can only become text.

/**
 * Makes an element and sets its properties. A child that is a string becomes text.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [properties]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * Gives the shadow root of a node a style sheet, once. Unlike a <style>, no policy of the page's forbids it.
 * @param {Node} node @param {string} css
 */
export function adopt(node, css) {
  const root = /** @type {ShadowRoot & { sheets?: Set<string> }} */ (node.getRootNode());
  root.sheets ??= new Set();
  if (root.sheets.has(css) || !root.adoptedStyleSheets) return; // or it is in no document yet
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  root.adoptedStyleSheets.push(sheet);
  root.sheets.add(css);
}

/** Whether a key belongs to an input method. Safari ends a composition before its last keydown, which then has 229. @param {KeyboardEvent} event */
export function isComposing({ isComposing, keyCode }) {
  return isComposing || keyCode === 229;
}

/** Shows or hides an element of the chat. A keyboard's place in what is hidden is not lost: it goes to the input. @param {HTMLElement} element @param {boolean} isVisible */
export function show(element, isVisible) {
  if (!isVisible && element.matches(':focus-within')) /** @type {ShadowRoot} */ (element.getRootNode()).getElementById('input')?.focus();
  element.hidden = !isVisible;
}

const memory = { localStorage: {}, sessionStorage: {} };

/** Browsers may forbid storage; then it lasts as long as the page. @param {'localStorage' | 'sessionStorage'} kind */
export function storage(kind) {
  try {
    return window[kind];
  } catch {
    return memory[kind];
  }
}

/** Stores a text; where the browser has no room it is not kept. @param {'localStorage' | 'sessionStorage'} kind @param {string} key @param {string} value */
export function keep(kind, key, value) {
  try {
    storage(kind)[key] = value;
  } catch {}
}
