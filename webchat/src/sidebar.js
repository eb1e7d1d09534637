// @ts-check
// The list of conversations: the user's own at the server, or what this browser remembers for somebody who is not
// signed in. The server tells of each change of the first; of the second tabs tell each other.
import { randomID } from '../client/stored.js';
import { iconButton } from './buttons.js';
import { h, storage } from './dom.js';
/** @import { Texts } from './texts.js' */
/** @import { Conversation, ClientFrame, ServerFrame } from '../client/types.d.ts' */

const pageSize = 100;
const maxRemembered = 200;
const deleting = 'delete '; // refs begin so
const listTopic = 'conversations';

export class Sidebar {
  list = h('ul', { id: 'list' });
  #actions;
  #texts;
  #key;
  #tabs;
  /** @type {Conversation[]} */ #known; // newest first
  #isLocal = true;
  #listing; // ref of the request
  #items; // of the pages so far
  #changes; // since the first page was asked for: [id, conversation]
  #current;
  #isRenaming = false;

  /** @param {string} key of storage @param {{ send: (frame: ClientFrame) => boolean, open: (id: string) => void, hasTabs: boolean }} actions hasTabs: URLs name conversations, so that another tab can open one @param {Texts} texts */
  constructor(key, actions, texts) {
    this.#texts = texts;
    this.search = h('input', { id: 'search', type: 'search', ariaLabel: texts.say('search_label'), placeholder: texts.say('search') });
    this.none = h('p', { id: 'none', role: 'status' });
    this.#actions = actions;
    this.#key = `${key} conversations`;
    this.#known = this.#remembered();
    this.#tabs = new BroadcastChannel(this.#key);
    this.#tabs.onmessage = ({ data: [id, conversation] }) => this.#set(id, conversation);
    this.search.oninput = () => this.#show();
  }

  /** The list is shown no longer. */
  close() {
    this.#tabs.close();
  }

  /** To be called for each new socket, and when the reader comes back. Somebody who is not signed in has no list there. */
  load() {
    this.#actions.send({ action: 'subscribe', payload: null, topic: listTopic, ref: randomID() });
  }

  #list() {
    this.#items = [];
    this.#changes = [];
    this.#page();
  }

  #page(cursor) {
    this.#listing = randomID();
    this.#actions.send({ action: 'list_conversations', payload: { limit: pageSize, cursor }, ref: this.#listing });
  }

  /** @param {ServerFrame} frame any */
  receive({ action, payload, ref, topic, seq }) {
    if (action === 'error' && ref?.startsWith(deleting)) this.forget(ref.slice(deleting.length)); // gone already
    else if (action === 'subscribed' && topic === listTopic) this.#list(); // unasked: changes were lost
    else if (action === 'conversation_created' && topic) this.#tell(payload.conversation_id, payload);
    else if (action === 'conversation_deleted') this.forget(payload.conversation_id);
    else if (action === 'conversation_updated') this.#tell(payload.conversation_id, payload);
    else if (action === 'conversations' && ref === this.#listing) this.#listed(payload);
    else if (action === 'user_message' && seq) this.#raise(topic.split(':')[1], payload.created_at);
  }

  /** @param {any} page */
  #listed({ items, next_cursor }) {
    this.#items.push(...items);
    if (next_cursor) return this.#page(next_cursor);
    this.#isLocal = false;
    this.#listing = null;
    this.#known = this.#items;
    for (const [id, conversation] of this.#changes) this.#set(id, conversation);
    this.#show();
  }

  /** @param {Partial<Conversation>} conversation the one that is shown; without an id a new one */
  opened(conversation) {
    this.#current = conversation.conversation_id;
    if (conversation.created_at) this.#tell(this.#current, conversation);
    else this.#show();
  }

  /** The conversation before or after the one that is shown, of those listed. @param {1 | -1} step @returns {string | undefined} */
  beside(step) {
    const ids = Array.from(this.list.children, (item) => /** @type {HTMLElement} */ (item).dataset.id);
    const at = ids.indexOf(this.#current);
    return at < 0 && step < 0 ? undefined : ids[at + step];
  }

  /** What is known of the conversation that is shown. */
  get current() {
    return this.#known.find(({ conversation_id }) => conversation_id === this.#current) ?? { conversation_id: this.#current };
  }

  /** It is not there. */
  forget(id) {
    this.#tell(id);
  }

  // A question makes it the newest.
  #raise(id, at) {
    const known = this.#known.find(({ conversation_id }) => conversation_id === id);
    if (known && at > known.updated_at) this.#tell(id, { ...known, updated_at: at });
  }

  #tell(id, conversation) {
    this.#set(id, conversation);
    if (this.#isLocal) this.#tabs.postMessage([id, conversation]);
  }

  #set(id, conversation) {
    if (this.#listing) this.#changes.push([id, conversation]);
    this.#known = this.#known.filter((known) => known.conversation_id !== id);
    if (conversation) this.#known.unshift(conversation);
    this.#known.sort((a, b) => Date.parse(b.updated_at) - Date.parse(a.updated_at));
    this.#show();
  }

  #show() {
    if (this.#isLocal) this.#remember();
    if (this.#isRenaming) return;
    const wanted = this.search.value.toLowerCase();
    // At the server those without a title are empty.
    const isListed = ({ title, conversation_id }) => title || this.#isLocal || conversation_id === this.#current;
    const shown = this.#known.filter((known) => isListed(known) && known.title.toLowerCase().includes(wanted));
    const root = /** @type {ShadowRoot} */ (this.list.getRootNode());
    const focus = root.activeElement?.closest('li') && root.activeElement;
    const place = focus && `[data-id="${focus.closest('li').dataset.id}"] .${focus.className}`;
    this.list.replaceChildren(...shown.map((conversation) => this.#item(conversation)));
    this.none.textContent = wanted && !shown.length ? this.#texts.say('search_none') : '';
    if (place) /** @type {HTMLElement} */ (this.list.querySelector(place) ?? this.search).focus();
  }

  #item({ conversation_id, title }) {
    const { say } = this.#texts;
    const name = title || say('new');
    const open = (event) => {
      const { ctrlKey, metaKey, shiftKey, altKey } = event;
      if (this.#actions.hasTabs && (ctrlKey || metaKey || shiftKey || altKey)) return; // the browser's: a tab, a window, a download
      event.preventDefault();
      this.#actions.open(conversation_id);
    };
    const link = h('a', { className: 'title', href: `#${conversation_id}`, title, dir: 'auto', onclick: open }, name);
    const isCurrent = conversation_id === this.#current;
    if (isCurrent) link.ariaCurrent = 'page';
    const item = h(
      'li',
      { className: isCurrent ? 'current' : '' },
      link,
      iconButton('edit', say('rename', { title: name }), { className: 'rename', onclick: () => this.#rename(conversation_id, title) }),
      iconButton('trash', say('delete_title', { title: name }), { className: 'delete', onclick: () => this.#delete(conversation_id, name) }),
    );
    item.dataset.id = conversation_id;
    return item;
  }

  async #rename(conversation_id, old) {
    const { askTitle } = await import('./manage.js');
    this.#isRenaming = true;
    const title = await askTitle(this.list, conversation_id, old, this.#texts);
    this.#isRenaming = false;
    if (title && title !== old) this.#actions.send({ action: 'rename_conversation', payload: { conversation_id, title }, ref: 'rename' });
    this.#show();
    /** @type {any} */ (this.list.querySelector(`[data-id="${conversation_id}"] .rename`))?.focus();
  }

  async #delete(conversation_id, name) {
    const { askDeletion } = await import('./manage.js');
    if (!(await askDeletion(this.list.closest('#chat'), name, this.#texts))) return;
    this.#actions.send({ action: 'delete_conversation', payload: { conversation_id }, ref: deleting + conversation_id });
  }

  #remembered() {
    try {
      return JSON.parse(storage('localStorage')[this.#key]);
    } catch {
      return []; // the first visit
    }
  }

  #remember() {
    try {
      storage('localStorage')[this.#key] = JSON.stringify(this.#known.slice(0, maxRemembered));
    } catch {} // full: the list lasts as long as the page
  }
}
