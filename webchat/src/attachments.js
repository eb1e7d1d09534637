// @ts-check
// Images and files of questions that were asked; loaded for those that have some. They are fetched, not linked: so they need
// nothing of a page's policy but what the socket needs, and have its cookies.
import css from './attach.css';
import { overHTTP } from '../client/handshake.js';
import { iconButton } from './buttons.js';
import { adopt, h } from './dom.js';
import english from './texts/attach.js';
/** @import { FilePart } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */

/** @param {string} type */
export function isImage(type) {
  return type.startsWith('image/');
}

/** Of files, or of one: below the socket's path, with the same query. @param {string} url of the socket @param {string} [id] */
export function fileURL(url, id) {
  const address = new URL(overHTTP(url), location.href);
  address.pathname = `${address.pathname.replace(/\/$/, '')}/files${id ? `/${id}` : ''}`;
  return address.href;
}

/** @param {string} url of the socket @param {string} id */
export async function load(url, id) {
  const answer = await fetch(fileURL(url, id), { credentials: 'include' });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.blob();
}

/** @param {number} bytes @param {Texts} texts */
export function sizeOf(bytes, { locale }) {
  const unit = bytes < 1e6 ? 'kilobyte' : 'megabyte';
  const count = bytes / (bytes < 1e6 ? 1e3 : 1e6);
  return count.toLocaleString(locale, { style: 'unit', unit, maximumFractionDigits: count < 10 ? 1 : 0 });
}

/** Shows what a question has, in the place of what was shown. @param {HTMLElement} message @param {FilePart[]} parts @param {string} url of the socket @param {Texts} texts */
export function attach(message, parts, url, texts) {
  texts = texts.with(english);
  adopt(message, css);
  const list = h('ul', { className: 'attachments', ariaLabel: texts.say('attachments') });
  const images = parts.filter(({ type }) => type === 'image');
  for (const part of parts) list.append(h('li', {}, part.type === 'image' ? thumbnail(part, images, url, texts) : link(part, url, texts)));
  message.querySelector('.attachments')?.remove();
  message.querySelector('.text')?.before(list);
}

/** @param {FilePart} part @param {string} url @param {Texts} texts */
function link({ file_id, name, size }, url, texts) {
  return h('a', { href: fileURL(url, file_id), download: name || '', className: 'file' }, h('span', { dir: 'auto' }, name || texts.say('file')), size ? h('small', {}, sizeOf(size, texts)) : '');
}

function thumbnail(part, images, url, texts) {
  const { name, width = 1, height = 1 } = part;
  const button = h('button', { type: 'button', className: 'image', ariaLabel: texts.say('open_image', { name: name || texts.say('image') }), title: name || '' });
  const side = 160 / Math.max(width, height, 160);
  const canvas = picture(name || texts.say('image'), width * side, height * side);
  button.append(canvas);
  button.onclick = () => new Lightbox(button, images, images.indexOf(part), url, texts);
  new IntersectionObserver(([{ isIntersecting }], observer) => {
    if (!isIntersecting) return;
    observer.disconnect();
    draw(canvas, url, part, 2 * side).catch(() => button.classList.add('missing'));
  }).observe(button);
  return button;
}

// Its size is known before it is there.
function picture(name, width, height) {
  const canvas = h('canvas', { role: 'img', ariaLabel: name, width: Math.max(1, Math.round(width)), height: Math.max(1, Math.round(height)) });
  canvas.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
  return canvas;
}

async function draw(canvas, url, { file_id, width, height }, scale = 1) {
  const bitmap = await createImageBitmap(await load(url, file_id));
  const factor = Math.min(1, scale);
  canvas.width = Math.max(1, Math.round((width ?? bitmap.width) * factor));
  canvas.height = Math.max(1, Math.round((height ?? bitmap.height) * factor));
  canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  canvas.dataset.shown = '';
  bitmap.close();
}

/** An image as large as the window lets it be. Arrows show the others, Escape closes it. */
class Lightbox {
  #images;
  #at;
  #url;
  #texts;
  #dialog;

  constructor(button, images, at, url, texts) {
    this.#images = images;
    this.#at = at;
    this.#url = url;
    this.#texts = texts;
    const { say } = texts;
    this.#dialog = h('dialog', { id: 'lightbox', onclose: () => (this.#dialog.remove(), button.focus()) });
    this.#dialog.append(
      h('header', {}, h('h2', { dir: 'auto' }), ...(images.length > 1 ? [this.#step('image_previous', -1), this.#step('image_next', 1)] : []), iconButton('close', say('close'), { className: 'close', onclick: () => this.#dialog.close() })),
      h('div', { className: 'shown' }),
    );
    this.#dialog.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.#show(this.#at + (this.#dialog.matches(':dir(rtl)') ? -step : step));
    };
    this.#dialog.onclick = ({ target }) => target === this.#dialog && this.#dialog.close();
    /** @type {ShadowRoot} */ (button.getRootNode()).getElementById('chat')?.append(this.#dialog);
    this.#dialog.showModal();
    this.#show(at);
  }

  #step(key, step) {
    return iconButton('down', this.#texts.say(key), { className: key, onclick: () => this.#show(this.#at + step) });
  }

  #show(at) {
    this.#at = (at + this.#images.length) % this.#images.length;
    const part = this.#images[this.#at];
    const name = part.name || this.#texts.say('image');
    const title = /** @type {HTMLElement} */ (this.#dialog.querySelector('h2'));
    title.textContent = this.#images.length > 1 ? `${name} (${this.#at + 1}/${this.#images.length})` : name;
    this.#dialog.ariaLabel = title.textContent;
    const canvas = picture(name, part.width ?? 1, part.height ?? 1);
    this.#dialog.querySelector('.shown')?.replaceChildren(canvas);
    draw(canvas, this.#url, part).catch(() => canvas.replaceWith(h('p', { className: 'notice' }, this.#texts.say('unshown'))));
  }
}
