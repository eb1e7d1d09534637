// @ts-check
// Buttons that show icons, and what they say to whoever cannot see it.
import { h } from './dom.js';
/** @import { Texts } from './texts.js' */

// Paths in a square of 24.
const icons = {
  check: 'M5 13l4 4L19 7',
  close: 'M6 6l12 12M18 6L6 18',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  down: 'M12 5v14M6 13l6 6 6-6',
  edit: 'M4 20h4L19 9l-4-4L4 16z',
  info: 'M12 3a9 9 0 1 0 .1 0M12 11v5M12 8v.1',
  mark: 'M7 4h10a4 4 0 0 1 4 4v6a4 4 0 0 1-4 4h-5l-5 4v-4a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4zM12 7l1 3 3 1-3 1-1 3-1-3-3-1 3-1z',
  menu: 'M4 6h16M4 12h16M4 18h10',
  more: 'M5 12h.1M12 12h.1M19 12h.1',
  plus: 'M12 5v14M5 12h14',
  retry: 'M20 12a8 8 0 1 1-2-6l2 2M20 3v5h-5',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M8 8h8v8H8z',
  trash: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13',
};

/** @param {keyof typeof icons} name */
export function icon(name) {
  const [svg, path] = ['svg', 'path'].map((tag) => document.createElementNS('http://www.w3.org/2000/svg', tag));
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.ariaHidden = 'true';
  path.setAttribute('d', icons[name]);
  svg.append(path);
  return svg;
}

/** A button that shows an icon alone, and its name to those who ask. @param {keyof typeof icons} picture */
export function iconButton(picture, name, properties) {
  return h('button', { type: 'button', ariaLabel: name, title: name, ...properties }, icon(picture));
}

/** @param {Texts} texts @param {() => string} text */
export function copyButton(texts, text) {
  const button = iconButton('copy', texts.say('copy'), { className: 'copy', hidden: !navigator.clipboard }); // without TLS there is none
  button.onclick = async () => {
    await navigator.clipboard.writeText(text());
    announce(button, texts.say('copied'));
    button.replaceChildren(icon('check'));
    setTimeout(() => button.replaceChildren(icon('copy')), 2000);
  };
  return button;
}

/** Tells whoever cannot see it. @param {Node} node any of the chat */
export function announce(node, text) {
  const root = /** @type {ShadowRoot} */ (node.getRootNode());
  root.querySelector?.('#announcer')?.replaceChildren(text);
}
