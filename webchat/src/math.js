// @ts-check
// MathML for TeX; loaded for the first formula.
import temml from 'temml';
import { h } from './dom.js';

const limits = { throwOnError: true, strict: false, trust: false, maxExpand: 500, maxSize: [20, 200] };

/**
 * Shows a formula as MathML. One that is no TeX is left as its source.
 * @param {HTMLElement} element with the source in dataset.source @param {string} source without its dollar signs
 * @param {boolean} display
 */
export function showMath(element, source, display) {
  try {
    const tree = temml.__renderToMathMLTree(source, { ...limits, displayMode: display });
    moveStyles(tree);
    const math = tree.toNode();
    // A formula names no element, nor leads to one: \label{input} would stand for the chat's own.
    for (const node of math.querySelectorAll('[id], [href]')) for (const name of ['id', 'href']) node.removeAttribute(name);
    element.replaceChildren(math);
  } catch {}
}

/**
 * Copies formulas as their sources, when some are selected.
 * @param {ClipboardEvent} event @param {HTMLElement} answer
 */
export function copySources(event, answer) {
  const range = selectedIn(answer);
  if (!range || !event.clipboardData) return;
  const { commonAncestorContainer: around } = range;
  const within = (around instanceof Element ? around : around.parentElement)?.closest('.math');
  const copy = h('div', {}, within ? within.cloneNode(true) : range.cloneContents());
  const formulas = /** @type {HTMLElement[]} */ ([...copy.querySelectorAll('.math')]);
  if (!formulas.length) return;
  for (const formula of formulas) formula.replaceChildren(formula.dataset.source ?? '');
  answer.append(copy); // only what is laid out has lines
  event.clipboardData.setData('text/plain', copy.innerText.trim());
  copy.remove();
  event.preventDefault();
}

/** @returns {Range | undefined} */
function selectedIn(element) {
  const root = element.getRootNode();
  const selection = root.getSelection?.() ?? document.getSelection(); // Chromium's shadow roots have their own
  const [found] = selection.getComposedRanges?.({ shadowRoots: [root] }) ?? [];
  if (!found) return selection.rangeCount ? selection.getRangeAt(0) : undefined;
  const range = document.createRange();
  range.setStart(found.startContainer, found.startOffset);
  range.setEnd(found.endContainer, found.endOffset);
  return range;
}

// Styles as attributes are forbidden by the policy; as properties they are not.
function moveStyles({ attributes, style, children }) {
  for (const rule of attributes?.style?.split(';') ?? []) {
    const [name, value] = rule.split(':').map((part) => part.trim());
    if (value) style[name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())] = value;
  }
  if (attributes) delete attributes.style;
  children?.forEach(moveStyles);
}
