// @ts-check
// What is in the lines of a block: nodes for marked's inline tokens.
import { h } from './dom.js';
import { decode } from './decode.js';
import { formulaNode } from './formula-node.js';
import { linkTo } from './links.js';
import { referenceNode } from './footnotes.js';
/** @import { Texts } from './texts.js' */

const tags = { em: 'em', strong: 'strong', del: 's', br: 'br' };

/**
 * Shows tokens before a node of their parent, or at its end. Those that are as before keep their nodes.
 * @param {Node} parent @param {{ token: any, node: Node }[]} shown of those before; changed
 * @param {any[]} tokens @param {Node | null} before
 * @param {Texts['say']} say
 */
export function showLines(parent, shown, tokens, before, say) {
  let kept = 0;
  while (kept < shown.length && kept < tokens.length && isSame(shown[kept].token, tokens[kept])) kept++;
  for (const { node } of shown.splice(kept)) /** @type {ChildNode} */ (node).remove();
  for (const token of tokens.slice(kept)) {
    const node = lineNode(token, say);
    shown.push({ token, node });
    parent.insertBefore(node, before);
  }
}

// What a definition changed is shown anew, see blocks.js.
const isSame = (old, token) => old.raw === token.raw && old.type === token.type;

/** @param {any[]} tokens @param {Texts['say']} say */
const nodes = (tokens, say) => tokens.map((token) => lineNode(token, say));

/** @returns {Node} */
function lineNode(token, say) {
  const { type, text, raw, tokens } = token;
  if (type in tags) return h(tags[type], {}, ...nodes(tokens ?? [], say));
  if (type === 'text') return textNode(token);
  if (type === 'link' || type === 'image') return link(token, say);
  if (type === 'codespan') return h('code', {}, text);
  if (type === 'formula') return formulaNode(token);
  if (type === 'reference') return referenceNode(token);
  if (type === 'checkbox') return checkbox(token.checked, say);
  return document.createTextNode(type === 'escape' ? text : raw); // HTML is as it was written
}

function textNode({ text, escaped }) {
  const node = document.createTextNode(text);
  if (!escaped) decode(text, (decoded) => (node.data = decoded));
  return node;
}

/** @param {boolean} isDone @param {Texts['say']} say */
export function checkbox(isDone, say) {
  return h('input', { type: 'checkbox', disabled: true, ariaLabel: say('done'), defaultChecked: isDone });
}

// An image would tell its host who reads this, so it is a link, too. What leads where no link may is as it was written.
function link({ type, href, title, raw, tokens, autolink }, say) {
  const element = h('a', {}, ...nodes(tokens, say));
  if (type === 'image') element.replaceChildren(element.textContent || href);
  for (const inner of element.querySelectorAll('a')) inner.replaceWith(...inner.childNodes); // an image's
  const text = document.createTextNode(raw);
  let node;
  const lead = (url) => {
    const properties = linkTo(url);
    Object.assign(element, properties);
    node?.replaceWith(properties ? element : text);
    node = properties ? element : text;
  };
  if (autolink) lead(href);
  else decode(href, lead);
  if (title) decode(title, (decoded) => (element.title = decoded));
  return node;
}
