// @ts-check
// Images and files of the next question: chosen, dropped or pasted, made small, uploaded and shown; loaded where the server
// takes some.
import css from './attach.css';
import { fileURL, isImage, load, sizeOf } from './attachments.js';
import { announce, iconButton } from './buttons.js';
import { adopt, h } from './dom.js';
import english from './texts/attach.js';
import sentences from './texts/reasons.js';
/** @import { FileLimits, FilePart } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */

const maxSide = 2048; // pixels: servers make images so small, too
const atOnce = 3; // uploads

/** The list above the input. */
export class Attach {
  #find;
  #limits;
  #url;
  #texts;
  #changed;
  /** @type {Item[]} */ #items = [];
  #list;

  /** @param {(id: string) => any} find @param {FileLimits} limits @param {string} url of the socket @param {Texts} texts @param {() => void} changed */
  constructor(find, limits, url, texts, changed) {
    this.#find = find;
    this.#limits = limits;
    this.#url = url;
    this.#texts = texts.with(english);
    this.#changed = changed;
    const { say } = this.#texts;
    adopt(find('composer'), css);
    const input = h('input', { type: 'file', multiple: true, hidden: true, accept: [...limits.types, ...(limits.types.includes('image/jpeg') ? ['image/heic'] : []), ...(limits.types.includes('text/markdown') ? ['.md'] : [])].join() });
    input.onchange = () => (this.add(input.files), (input.value = ''));
    this.#list = h('ul', { id: 'attached', ariaLabel: say('attachments'), hidden: true });
    find('input').before(this.#list);
    find('send').before(input, iconButton('plus', say('attach'), { id: 'attach', part: 'attach', onclick: () => input.click() }));
  }

  get count() {
    return this.#items.length;
  }

  /** The question cannot be sent yet: one is under way, or was refused. */
  get isBusy() {
    return this.#items.some(({ part }) => !part);
  }

  /** @returns {FilePart[] | undefined} */
  get parts() {
    return this.count ? this.#items.map(({ part }) => /** @type {FilePart} */ (part)) : undefined;
  }

  /** In the place of what is there. @param {FilePart[]} [parts] that are stored already */
  put(parts = []) {
    for (const item of this.#items.splice(0)) item.leave();
    for (const part of parts) this.#append(part.name).show(part, this.#url);
    this.#update();
  }

  /** @param {FileList | File[] | null} files */
  add(files) {
    for (const file of files ?? []) {
      const item = this.#append(file.name);
      item.file = file;
      if (this.count > this.#limits.max_per_message) item.refuse({ reason: 'too_many_files', detail: sentences['error.too_many_files'] });
    }
    this.#update();
    this.#find('input').focus();
    this.#next();
  }

  #append(name) {
    const item = new Item(this.#texts, name, (item) => this.#remove(item));
    this.#items.push(item);
    this.#list.append(item.element);
    return item;
  }

  #remove(item) {
    item.leave();
    if (item.part && item.isNew) fetch(fileURL(this.#url, item.part.file_id), { method: 'DELETE', credentials: 'include' }).catch(() => {}); // or it expires
    this.#items.splice(this.#items.indexOf(item), 1);
    this.#find('input').focus();
    this.#update();
    this.#next();
  }

  #next() {
    const waiting = this.#items.filter(({ state }) => state === 'waiting');
    const running = this.#items.filter(({ state }) => state === 'running').length;
    for (const item of waiting.slice(0, Math.max(0, atOnce - running))) {
      item.upload(this.#url, this.#limits).then(() => (this.#update(), this.#next()));
    }
  }

  #update() {
    this.#list.hidden = !this.count;
    this.#changed();
  }
}

/** One file on its way. */
class Item {
  /** @type {FilePart | undefined} */ part; // once it is stored
  /** @type {File | undefined} */ file;
  state = 'waiting';
  isNew = true;
  #texts;
  #name;
  #request;
  #picture = h('div', { className: 'picture' });
  #note = h('span', { className: 'note', dir: 'auto' });
  #progress = h('progress', { max: 1, hidden: true });

  /** @param {Texts} texts @param {string | undefined} name @param {(item: Item) => void} removed */
  constructor(texts, name, removed) {
    this.#texts = texts;
    this.#name = name || texts.say('file');
    const { say } = texts;
    this.element = h(
      'li',
      {},
      this.#picture,
      h('span', { className: 'name', dir: 'auto', title: this.#name }, this.#name),
      this.#note,
      this.#progress,
      iconButton('close', say('remove_file', { name: this.#name }), { className: 'remove', onclick: () => removed(this) }),
    );
  }

  leave() {
    this.state = 'left';
    this.#request?.abort();
    this.element.remove();
  }

  #announce(text) {
    announce(this.element, [this.#name, text].join(': '));
  }

  /** @param {any} problem */
  refuse(problem) {
    if (this.state === 'left') return;
    this.state = 'refused';
    this.#progress.hidden = true;
    this.element.classList.add('refused');
    this.#note.textContent = this.#texts.explain(problem);
    this.#announce(this.#note.textContent);
  }

  /** @param {FilePart} part that is stored @param {string} url */
  show(part, url) {
    this.part = part;
    this.isNew = false;
    this.state = 'stored';
    this.#note.textContent = part.size ? sizeOf(part.size, this.#texts) : '';
    if (part.type === 'image') load(url, part.file_id).then((blob) => this.#draw(blob)).catch(() => {});
  }

  async #draw(blob) {
    const bitmap = await createImageBitmap(blob, { resizeHeight: 96, resizeQuality: 'medium' }).catch(() => undefined);
    if (!bitmap) return;
    const canvas = h('canvas', { width: bitmap.width, height: bitmap.height, ariaHidden: 'true' });
    canvas.getContext('2d')?.drawImage(bitmap, 0, 0);
    this.#picture.replaceChildren(canvas);
  }

  /** @param {string} url @param {FileLimits} limits */
  async upload(url, limits) {
    this.state = 'running';
    const file = /** @type {File} */ (this.file);
    this.#draw(file);
    const body = await small(file, limits);
    if (this.state !== 'running') return;
    if (body.size > limits.max_size) return this.refuse({ reason: 'file_too_large', detail: sentences['error.file_too_large'] });
    this.#progress.hidden = false;
    this.#progress.ariaLabel = this.#texts.say('uploading', { name: this.#name });
    const { status, answer } = await this.#send(fileURL(url), body);
    if (this.state !== 'running') return;
    this.#progress.hidden = true;
    if (status !== 201) return this.refuse(answer?.reason ? answer : { reason: 'connection_lost' });
    this.part = { type: isImage(answer.media_type) ? 'image' : 'file', ...answer };
    this.state = 'stored';
    this.#note.textContent = sizeOf(answer.size, this.#texts);
    this.#announce(this.#texts.say('uploaded'));
  }

  // fetch tells of no progress.
  /** @returns {Promise<{ status: number, answer?: any }>} */
  #send(url, body) {
    const address = new URL(url, location.href);
    address.searchParams.set('name', this.#name.replace(/[\p{Cc}\p{Bidi_Control}/\\]/gu, ' ').slice(0, 255));
    return new Promise((done) => {
      const request = (this.#request = new XMLHttpRequest());
      request.open('POST', address);
      request.withCredentials = true;
      request.responseType = 'json';
      request.upload.onprogress = ({ loaded, total }) => (this.#progress.value = total ? loaded / total : 0);
      request.onload = () => done({ status: request.status, answer: request.response });
      request.onerror = request.onabort = () => done({ status: 0 });
      request.send(body);
    });
  }
}

/**
 * An image as it is sent: no larger than the server keeps it, and without what the camera wrote into it, such as a place.
 * What the browser cannot read, and what is no photo and small, is sent as it is.
 * @param {File} file @param {FileLimits} limits
 */
async function small(file, { types }) {
  const isPhoto = ['image/jpeg', 'image/webp', 'image/heic', 'image/heif'].includes(file.type);
  if (!isImage(file.type) || file.type === 'image/gif' || file.type === 'image/svg+xml' || !types.includes('image/jpeg')) return file;
  const bitmap = await createImageBitmap(file).catch(() => undefined);
  if (!bitmap) return file;
  const scale = Math.min(1, maxSide / Math.max(bitmap.width, bitmap.height));
  if (!isPhoto && scale === 1) return file;
  const canvas = h('canvas', { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
  const context = canvas.getContext('2d');
  if (!context) return file;
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const type = isPhoto ? 'image/jpeg' : 'image/png';
  return (await new Promise((/** @type {BlobCallback} */ done) => canvas.toBlob(done, type, 0.85))) ?? file;
}
