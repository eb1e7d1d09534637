// @ts-check
// MathML for TeX; loaded for the first formula.
import temml from 'temml';
import { adopt } from './dom.js';
import css from './math.css';

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
    element.replaceChildren(tree.toNode());
  } catch {
    return;
  }
  adopt(element, css);
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
