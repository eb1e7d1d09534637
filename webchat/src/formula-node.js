// @ts-check
// Formulas: their source, until MathML takes its place.
import { h } from './dom.js';

/** What makes MathML: loaded for the first formula. @type {{ show?: any, copy?: any, loading?: Promise<any> }} */
const maker = {};

/** @param {{ raw: string, text: string, display: boolean }} token */
export function formulaNode({ raw, text, display }) {
  const element = h('span', { className: display ? 'math display' : 'math', dir: 'ltr' }, raw.trim());
  element.dataset.source = raw.trim();
  if (display) element.tabIndex = 0; // it may scroll
  if (maker.show) maker.show(element, text, display);
  else (maker.loading ??= load()).then(() => maker.show?.(element, text, display));
  return element;
}

/** Lets what is copied of an answer have the sources of its formulas. @param {HTMLElement} answer */
export function copyFormulas(answer) {
  answer.addEventListener('copy', (event) => maker.copy?.(event, answer));
}

async function load() {
  await import('./math.js').then(
    ({ showMath, copySources }) => Object.assign(maker, { show: showMath, copy: copySources }),
    () => {}, // it cannot be loaded now: the source can be read
  );
}
