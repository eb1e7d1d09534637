// @ts-check
// The list of conversations: the user's own at the server, or what this browser remembers for somebody who is not
// signed in.
import { randomID } from './stored.js';
import { copy, find } from './turn.js';
/** @import { Conversation, Frame } from './types.d.ts' */

const key = 'assistantConversations';
const pageSize = 100;
const maxRemembered = 200;
const deleting = 'delete '; // refs begin so

export class Sidebar {
  #send;
  #known = remembered(); // newest first
  #isLocal = true;
  #listing; // ref of the request
  #items; // of the pages so far
  #current;

  /** @param {(frame: Frame) => boolean} send */
  constructor(send) {
    this.#send = send;
    find('#search').oninput = () => this.#show();
  }

  /** To be called for each new socket. */
  load() {
    this.#items = [];
    this.#page();
  }

  #page(cursor) {
    this.#listing = randomID();
    this.#send({ action: 'list_conversations', payload: { limit: pageSize, cursor }, ref: this.#listing });
  }

  /** @param {Frame} frame any */
  receive({ action, payload, ref }) {
    if (action === 'error' && ref?.startsWith(deleting)) this.forget(ref.slice(deleting.length)); // gone already
    else if (action === 'conversation_deleted') this.forget(payload.conversation_id);
    else if (action === 'conversation_updated') this.#put(payload);
    else if (action === 'conversations' && ref === this.#listing) this.#listed(payload);
  }

  /** @param {any} page */
  #listed({ items, next_cursor }) {
    this.#items.push(...items);
    if (next_cursor) return this.#page(next_cursor);
    this.#isLocal = false;
    this.#known = this.#items;
    this.#show();
  }

  /** @param {Partial<Conversation>} conversation the one that is shown; without an id a new one */
  opened(conversation) {
    this.#current = conversation.conversation_id;
    if (conversation.created_at) this.#put(conversation);
    else this.#show();
  }

  /** It is not there. */
  forget(id) {
    this.#known = this.#known.filter((known) => known.conversation_id !== id);
    this.#show();
  }

  #put(conversation) {
    const at = this.#known.findIndex((known) => known.conversation_id === conversation.conversation_id);
    if (at < 0) this.#known.unshift(conversation);
    else this.#known[at] = conversation;
    this.#show();
  }

  #show() {
    if (this.#isLocal) remember(this.#known.slice(0, maxRemembered));
    const wanted = find('#search').value.toLowerCase();
    const shown = this.#known.filter(({ title }) => title.toLowerCase().includes(wanted));
    find('#list').replaceChildren(...shown.map((conversation) => this.#item(conversation)));
  }

  #item({ conversation_id, title }) {
    const item = copy('conversation', { a: title || 'New chat' });
    const link = item.querySelector('a');
    link.href = `#${conversation_id}`;
    link.onclick = () => find('#conversations').hidePopover();
    if (conversation_id === this.#current) link.ariaCurrent = 'page';
    item.querySelector('.rename').onclick = () => this.#rename(conversation_id, title);
    item.querySelector('.delete').onclick = () => this.#delete(conversation_id, title);
    return item;
  }

  #rename(conversation_id, old) {
    const title = prompt('Title', old)?.trim().slice(0, 200);
    if (title) this.#send({ action: 'rename_conversation', payload: { conversation_id, title }, ref: 'rename' });
  }

  #delete(conversation_id, title) {
    if (!confirm(`Delete “${title}” and all its messages?`)) return;
    this.#send({ action: 'delete_conversation', payload: { conversation_id }, ref: deleting + conversation_id });
  }
}

/** @returns {Conversation[]} */
function remembered() {
  try {
    return JSON.parse(localStorage[key]);
  } catch {
    return []; // the first visit, or the browser forbids it
  }
}

function remember(conversations) {
  try {
    localStorage[key] = JSON.stringify(conversations);
  } catch {} // full or forbidden: the list lasts as long as the page
}
