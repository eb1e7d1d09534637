// The page's renderer without a browser: frames come when the test wants them.
import { JSDOM } from 'jsdom';
import { Texts } from '../../webchat/src/texts.js';

const { window } = new JSDOM('<!doctype html>', { url: 'https://shop.example/help/chat/' });
const frames = new Map();
let asked = 0;

// MathML elements have none there.
Object.defineProperty(window.Element.prototype, 'style', { configurable: true, value: {} });

Object.assign(globalThis, {
  document: window.document,
  location: window.location,
  requestAnimationFrame: (draw) => (frames.set(++asked, draw), asked),
  cancelAnimationFrame: (id) => frames.delete(id),
});

const { markdown } = await import('../../webchat/dist/markdown.js');

function drawFrame() {
  const due = [...frames.values()];
  frames.clear();
  for (const draw of due) draw();
}

/** The element in which pieces are shown, one a frame. @param {string[]} pieces @returns {Promise<HTMLElement>} */
export async function render(...pieces) {
  const element = document.createElement('div');
  const text = markdown(element, (text) => Object.assign(document.createElement('button'), { text }), new Texts());
  for (const piece of pieces) {
    text.write(piece);
    drawFrame();
  }
  await new Promise((resolve) => {
    text.end(resolve);
    while (frames.size) drawFrame();
  });
  return element;
}

/** Returns when all is there that the renderer loads for some texts; from then on, frames alone make what is shown. */
export async function loaded() {
  const element = await render('&copy; $x$');
  while (!element.textContent.includes('©') || !element.querySelector('math')) await new Promise((resolve) => setImmediate(resolve));
}

/** Repeatable random numbers from 0 to 1, see Lehmer. */
export function random(seed) {
  return () => (seed = (seed * 48271) % 2147483647) / 2147483647;
}

/** A text in pieces of one to eight characters. @param {string} text @param {() => number} next */
export function split(text, next) {
  const pieces = [];
  for (let end, start = 0; start < text.length; start = end) pieces.push(text.slice(start, (end = start + 1 + Math.floor(next() * 8))));
  return pieces;
}

/** Nodes as text to be compared: without buttons, spaces between blocks, and what the page adds to links and tables. */
export function outline(element) {
  return [...element.childNodes].map(describe).join('').replace(/\s*(<\/?(?:p|ul|ol|li|pre|blockquote|h\d|hr|br|table|thead|tbody|tr|th|td|section)\b[^>]*>)\s*/g, '$1').replace(/\s+/g, ' ').trim();
}

const kept = ['href', 'title', 'start', 'align', 'checked'];

function describe(node) {
  if (node.nodeType === 3) return node.data.replaceAll('<', '&lt;');
  if (node.nodeType !== 1 || node.localName === 'button') return '';
  const children = [...node.childNodes].map(describe).join('');
  if (node.localName === 'div') return children;
  const attributes = kept.filter((name) => node.hasAttribute(name)).map((name) => ` ${name}="${decode(node.getAttribute(name))}"`);
  return `<${node.localName}${attributes.join('')}>${node.localName === 'code' ? children.replace(/\n$/, '') : children}</${node.localName}>`;
}

function decode(url) {
  try {
    return decodeURI(url).replace(/note-\d+-/g, 'note-');
  } catch {
    return url;
  }
}

/** What HTML is, when its headings rank below the page's and its images are links. @param {string} html */
export function outlineOf(html) {
  const element = document.createElement('div');
  element.innerHTML = html;
  for (const image of element.querySelectorAll('img')) {
    const link = document.createElement('a');
    const inLink = image.closest('a');
    link.textContent = image.alt || image.getAttribute('src');
    link.setAttribute('href', image.getAttribute('src'));
    if (image.title) link.title = image.title;
    image.replaceWith(inLink ? link.textContent : link);
  }
  return outline(element).replace(/(<\/?h)([1-6])/g, (_, tag, rank) => tag + Math.min(Number(rank) + 2, 6));
}
