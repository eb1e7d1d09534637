// @ts-check
// <assistant-chat>: the chat as an element for any page.
import { Chat } from './chat.js';
import css from './chat.css';
import { iconButton } from './buttons.js';
import { adopt, storage } from './dom.js';
import { inherited, textsFor } from './texts.js';
/** @import { Texts } from './texts.js' */
/** @import { Words } from './types.d.ts' */

/**
 * Attributes:
 *
 *   url       of the socket; default: /ws/assistants/ at the host that this script comes from
 *   page      it is the page: it fills the window, the URL's hash names the conversation, and the document's title is
 *             the conversation's. Without it both are left alone, and the browser remembers the conversation.
 *   floating  a button in the corner, which opens the chat
 *   lang      its language; default: that of the nearest element that has one, else the reader's. `dir` follows from it
 *   texts     URL of a JSON file with words of the site's own, by language and key: {"nl": {"send": "Verstuur"}}.
 *             They add languages, or win over those built in; the keys are those of src/texts. A property of the
 *             same name, set before the element is connected, holds them as an object
 *   heading   its heading; default: Assistant
 *   logo      URL of a picture before the heading
 *   greeting  what is shown until something is said; default: How can I help?
 *   suggest   questions that are offered until something is said, one a line
 *   disclaimer, privacy  a line under the input; the URL of a link there
 *   logs      offers "View Logs"
 *
 * Its content is shown instead of the greeting; what has slot="heading" is its heading.
 */
export class AssistantChat extends HTMLElement {
  /** @type {Chat | undefined} */ #chat;
  #root = this.attachShadow({ mode: 'open' });
  #kept; // what the browser keeps for this page
  #key;
  /** @type {Texts} */ #texts;
  #launcher;
  #isAway = false; // from the document, and so disconnected

  async connectedCallback() {
    if (this.#isAway) this.#chat.connect();
    this.#isAway = false;
    if (this.#key) return; // it was moved
    this.#key = `assistant ${this.#url}`;
    this.#texts = await textsFor(this, await this.#ownTexts());
    if (this.isConnected) this.#start();
    else this.#key = undefined; // so that the next time is the first
  }

  #start() {
    this.#turn();
    adopt(this.#root, css);
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

  // The language turns the element, unless its page has turned whatever has that language.
  #turn() {
    const { direction } = this.#texts;
    const [turned, named] = ['dir', 'lang'].map((attribute) => inherited(this, attribute));
    if (!turned || (named !== turned && turned.contains(named))) this.dir = direction;
  }

  /** @returns {Promise<Record<string, Words> | undefined>} */
  async #ownTexts() {
    const url = this.getAttribute('texts');
    try {
      return /** @type {any} */ (this).texts ?? (url ? await (await fetch(new URL(url, document.baseURI))).json() : undefined);
    } catch (error) {
      reportError(error); // those built in will do
    }
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
    const text = (attribute) => this.getAttribute(attribute) ?? '';
    this.#chat = new Chat(this.#root, {
      texts: this.#texts,
      url: this.#url,
      heading: text('heading'),
      logo: text('logo'),
      greeting: text('greeting'),
      suggestions: text('suggest').split('\n').map((line) => line.trim()).filter(Boolean),
      disclaimer: text('disclaimer'),
      privacy: text('privacy'),
      hasLogs: this.#is('logs'),
      id: isPage ? location.hash.slice(1) : this.#kept[this.#key],
      isPage,
      isFloating: this.#is('floating'),
      named: (id, title) => (isPage ? nameDocument(id, title || ownTitle || this.#texts.say('assistant')) : (this.#kept[this.#key] = id ?? '')),
      close: () => this.#toggle(false),
    });
  }

  #takePage() {
    document.documentElement.lang ||= this.#texts.locale;
    window.addEventListener('hashchange', () => this.#chat.isKept && this.#chat.open(location.hash.slice(1)));
    document.addEventListener('keydown', (event) => event.target === document.body && this.#pressed(event));
    this.#chat.focus();
  }

  #pressed(event) {
    if (event.key !== 'Escape' || event.isComposing || event.composedPath().some(({ localName }) => localName === 'dialog')) return;
    if (!this.#chat?.escape() && this.#launcher) this.#toggle(false);
  }

  #addLauncher() {
    this.#launcher = iconButton('mark', this.#texts.say('chat'), { id: 'launcher', ariaExpanded: 'false', onclick: () => this.#toggle(!this.#is('open')) });
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

const { title: ownTitle } = document;

function nameDocument(id, title) {
  document.title = title;
  const hash = id ? `#${id}` : '';
  if (location.hash !== hash) history.replaceState(null, '', hash || location.pathname + location.search);
}

customElements.define('assistant-chat', AssistantChat);
