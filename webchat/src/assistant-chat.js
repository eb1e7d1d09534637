// @ts-check
// <assistant-chat>: the chat as an element for any page.
import { Chat } from './chat.js';
import css from './chat.css';
import { iconButton } from './buttons.js';
import { adopt, storage } from './dom.js';

/**
 * Attributes:
 *
 *   url       of the socket; default: /ws/assistants/ at the host that this script comes from
 *   page      it is the page: it fills the window, the URL's hash names the conversation, and the document's title is
 *             the conversation's. Without it both are left alone, and the browser remembers the conversation.
 *   floating  a button in the corner, which opens the chat
 *
 * Its content is shown until something is said; what has slot="heading" is its heading.
 */
export class AssistantChat extends HTMLElement {
  /** @type {Chat | undefined} */ #chat;
  #root = this.attachShadow({ mode: 'open' });
  #kept; // what the browser keeps for this page
  #key;
  #launcher;
  #isAway = false; // from the document, and so disconnected

  connectedCallback() {
    if (this.#isAway) this.#chat.connect();
    this.#isAway = false;
    if (this.#key) return; // it was moved
    adopt(this.#root, css);
    this.#key = `assistant ${this.#url}`;
    this.#kept = storage('localStorage');
    this.addEventListener('keydown', (event) => this.#pressed(event));
    if (this.#is('floating')) this.#addLauncher();
    else this.#begin();
    if (this.#is('page')) this.#takePage();
  }

  disconnectedCallback() {
    queueMicrotask(() => {
      if (this.isConnected || !this.#chat) return; // it was only moved
      this.#chat.disconnect();
      this.#isAway = true;
    });
  }

  #is(attribute) {
    return this.hasAttribute(attribute);
  }

  get #url() {
    const given = this.getAttribute('url');
    const url = given ? new URL(given, document.baseURI) : new URL('/ws/assistants/', import.meta.url);
    url.protocol = url.protocol.replace('http', 'ws'); // https: wss
    return url.href;
  }

  #begin() {
    const isPage = this.#is('page');
    this.#chat = new Chat(this.#root, {
      url: this.#url,
      id: isPage ? location.hash.slice(1) : this.#kept[this.#key],
      isPage,
      isFloating: this.#is('floating'),
      named: (id, title) => (isPage ? nameDocument(id, title) : (this.#kept[this.#key] = id ?? '')),
      close: () => this.#toggle(false),
    });
  }

  #takePage() {
    window.addEventListener('hashchange', () => this.#chat.isKept && this.#chat.open(location.hash.slice(1)));
    document.addEventListener('keydown', (event) => event.target === document.body && this.#pressed(event));
    this.#chat.focus();
  }

  #pressed(event) {
    if (event.key !== 'Escape' || event.isComposing || event.composedPath().some(({ localName }) => localName === 'dialog')) return;
    if (!this.#chat?.escape() && this.#launcher) this.#toggle(false);
  }

  #addLauncher() {
    this.#launcher = iconButton('mark', 'Chat', { id: 'launcher', ariaExpanded: 'false', onclick: () => this.#toggle(!this.#is('open')) });
    this.#root.append(this.#launcher);
    if (storage('sessionStorage')[`${this.#key} open`]) this.#toggle(true, false);
  }

  // The socket waits for the first time: most visitors never ask.
  #toggle(isOpen, takesFocus = true) {
    this.toggleAttribute('open', isOpen);
    this.#launcher.ariaExpanded = String(isOpen);
    storage('sessionStorage')[`${this.#key} open`] = isOpen ? 'yes' : '';
    if (isOpen && !this.#chat) this.#begin();
    if (takesFocus) (isOpen ? this.#chat : this.#launcher).focus();
  }
}

function nameDocument(id, title) {
  document.title = title || 'Assistant';
  const hash = id ? `#${id}` : '';
  if (location.hash !== hash) history.replaceState(null, '', hash || location.pathname + location.search);
}

customElements.define('assistant-chat', AssistantChat);
