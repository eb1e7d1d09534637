// @ts-check
// <assistant-chat>: the chat as an element for any page. What other pages may rely on is in docs/element.md.
import { Chat } from './chat.js';
import css from './chat.css';
import printed from './print.css';
import { icon, iconButton } from './buttons.js';
import { adopt, isComposing, keep, storage } from './dom.js';
import { meaning } from './keys.js';
import { slot } from './layout.js';
import { inherited, Texts, textsFor } from './texts.js';
import { followTheme } from './theme.js';
/** @import { Answer, PageTool } from '../client/types.d.ts' */
/** @import { Client } from '../client/client.js' */
/** @import { Words } from './types.d.ts' */

const looks = ['heading', 'logo', 'greeting', 'suggest', 'disclaimer', 'privacy'];
const flags = ['floating', 'page', 'logs'];

export class AssistantChat extends HTMLElement {
  static observedAttributes = ['url', 'lang', 'texts', 'logs', 'open', ...looks];

  /** @type {Chat | undefined} */ #chat;
  #root = this.attachShadow({ mode: 'open' });
  #kept = storage('localStorage'); // what the browser keeps for this page
  #key; // in there
  /** @type {Texts | undefined} */ #texts; // once it has started
  /** @type {Record<string, Words> | undefined} */ #ownTexts;
  /** @type {PageTool[]} */ #tools = [];
  #launcher;
  #isAway = false; // from the document, and so disconnected
  #isStale = false; // what it says, or where it asks, has changed while it was away
  #isTurned = false; // its dir is its own
  #isAsked = false; // by the page, which so knows the question
  #starts = 0;
  #waiting = []; // for the chat

  connectedCallback() {
    if (this.#isAway) this.#chat?.connect();
    this.#isAway = false;
    if (!this.#texts || this.#isStale) this.#start();
  }

  disconnectedCallback() {
    queueMicrotask(() => {
      if (this.isConnected || !this.#texts) return; // it was only moved
      this.#chat?.disconnect();
      this.#isAway = true;
    });
  }

  attributeChangedCallback(name, old, value) {
    if (!this.#texts || old === value) return; // what is there at the start is read then
    if (name === 'open') this.#opened(value !== null);
    else if (name === 'logs') this.#chat && (this.#chat.hasLogs = this.#is('logs'));
    else if (looks.includes(name)) this.#chat?.dress(this.#looks);
    else this.#start();
  }

  // Again when it moves to another socket or speaks in other words.
  async #start() {
    const start = ++this.#starts;
    if (start === 1 && this.#is('page')) followTheme(this);
    for (const name of ['texts', 'tools', ...reflected]) this.#adoptProperty(name);
    const texts = await textsFor(this, this.#ownTexts ?? (await this.#fileOfTexts()));
    if (start !== this.#starts) return; // more has changed
    this.#isStale = !this.isConnected;
    if (this.#isStale) return;
    const isFirst = !this.#texts;
    const wasBegun = Boolean(this.#chat);
    this.#chat?.remove();
    this.#chat = undefined;
    this.#root.replaceChildren();
    this.#texts = texts;
    this.#turn();
    const key = `assistant ${this.#url}`;
    const isMoved = this.#key && key !== this.#key;
    this.#key = key;
    if (this.#is('floating')) this.#addLauncher();
    if (wasBegun || !this.#is('floating') || this.#waiting.length) this.#begin(isMoved);
    if (isFirst) this.#started();
  }

  #started() {
    adopt(this.#root, css);
    adopt(this.#root, printed);
    this.addEventListener('keydown', (event) => this.#pressed(event));
    if (this.#is('page')) this.#takePage();
    if (this.#is('open')) this.#opened(true);
    else if (this.#launcher && storage('sessionStorage')[`${this.#key} open`]) this.toggleAttribute('open', true);
  }

  // Set before the browser knew the element, it would hide the accessor.
  #adoptProperty(name) {
    if (!Object.hasOwn(this, name)) return;
    const value = this[name];
    delete this[name];
    this[name] = value;
  }

  // The language turns the element, unless its page has turned whatever has that language.
  #turn() {
    if (this.#isTurned) this.removeAttribute('dir');
    const { direction } = this.#texts;
    const [turned, named] = ['dir', 'lang'].map((attribute) => inherited(this, attribute));
    this.#isTurned = !turned || (named !== turned && turned.contains(named));
    if (this.#isTurned) this.dir = direction;
  }

  /** @returns {Promise<Record<string, Words> | undefined>} */
  async #fileOfTexts() {
    const url = this.getAttribute('texts');
    try {
      return url ? await (await fetch(new URL(url, document.baseURI))).json() : undefined;
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

  get #looks() {
    const text = (attribute) => this.getAttribute(attribute) ?? '';
    return {
      heading: text('heading'),
      logo: text('logo'),
      greeting: text('greeting'),
      suggestions: text('suggest').split('\n').map((line) => line.trim()).filter(Boolean),
      disclaimer: text('disclaimer'),
      privacy: text('privacy'),
      isPage: this.#is('page'),
      isFloating: this.#is('floating'),
    };
  }

  #begin(isMoved = false) {
    const isPage = this.#is('page');
    const hash = isMoved ? undefined : location.hash.slice(1); // it names a conversation of the other server
    this.#chat = new Chat(this.#root, {
      ...this.#looks,
      texts: this.#texts,
      url: this.#url,
      hasLogs: this.#is('logs'),
      id: isPage ? hash : this.#kept[this.#key],
      named: (id, title, isStep) => (isPage ? nameDocument(id, title || ownTitle || this.#texts.say('assistant'), isStep) : keep('localStorage', this.#key, id ?? '')),
      close: () => this.close(),
      listen: (client) => this.#listen(client),
    });
    for (const action of this.#waiting.splice(0)) action(this.#chat);
  }

  /** Texts stay in the chat, but for the questions that the page asks and so knows. @param {Client} client */
  #listen(client) {
    client.tools = this.#tools;
    const on = (type, tell) => client.addEventListener(type, ({ detail }) => tell(detail));
    let shown;
    on('statechange', ({ state, refusal }) => this.#tell('statechange', { state, ...(refusal && { refusal: refusal.reason }) }));
    on('conversationchange', ({ id }) => id !== shown && this.#tell('conversationchange', { id: (shown = id) }));
    on('question', ({ id, text }) => this.#tell('question', this.#isAsked ? { id, text } : { id }));
    on('answer', ({ question, isOwn, message_id, model, finish_reason, usage }) => {
      if (isOwn) this.#tell('answer', { question, message_id, model, finish_reason, usage });
    });
    on('error', ({ question, error: { reason, retryable, retryAfter } }) => this.#tell('error', { question, reason, retryable, retryAfter }));
  }

  // An error stays here, as one of an <img> does: the window's handlers are for scripts.
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: type !== 'error', composed: true }));
  }

  #takePage() {
    document.documentElement.lang ||= this.#texts.locale;
    window.addEventListener('hashchange', () => this.#chat.isKept && this.#chat.open(location.hash.slice(1)));
    document.addEventListener('keydown', (event) => event.target === document.body && this.#pressed(event));
    this.#chat.focus();
  }

  #pressed(event) {
    if (event.key !== 'Escape') return this.#act(event);
    if (isComposing(event) || event.composedPath().some(({ localName, popover }) => localName === 'dialog' || popover)) return;
    if (this.#chat?.escape()) return;
    if (this.#launcher) this.close();
    else this.#chat?.leaveInput();
  }

  #act(event) {
    const action = meaning(event);
    if (!action || !this.#chat || (this.#launcher && !this.#is('open'))) return;
    event.preventDefault();
    this.#chat.act(action);
  }

  #addLauncher() {
    this.#launcher = iconButton('mark', this.#texts.say('chat'), { id: 'launcher', part: 'launcher', ariaExpanded: String(this.isOpen), onclick: () => (this.isOpen ? this.close() : this.open()) });
    this.#launcher.replaceChildren(slot('launcher', icon('mark')));
    this.#root.append(this.#launcher);
  }

  // The socket waits for the first time: most visitors never ask.
  #opened(isOpen) {
    if (!this.#launcher) return;
    this.#launcher.ariaExpanded = String(isOpen);
    keep('sessionStorage', `${this.#key} open`, isOpen ? 'yes' : '');
    if (isOpen && !this.#chat) this.#begin();
    this.#tell(isOpen ? 'open' : 'close');
  }

  /** Now, or when there is one. @param {(chat: Chat) => any} action */
  #with(action) {
    if (this.#chat) return action(this.#chat);
    this.#waiting.push(action);
    if (this.#texts) this.#begin();
  }

  // Methods and properties: for other pages.

  open() {
    if (this.#is('floating')) this.toggleAttribute('open', true);
    this.#with((chat) => chat.focus());
  }

  close() {
    const hasFocus = this.matches(':focus-within');
    this.toggleAttribute('open', false);
    if (hasFocus) this.#launcher?.focus();
  }

  /** @param {string} question @returns {Promise<Answer>} */
  ask(question) {
    return new Promise((resolve) => this.#with((chat) => resolve(this.#ask(chat, question))));
  }

  #ask(chat, question) {
    this.#isAsked = true;
    try {
      return chat.ask(String(question));
    } finally {
      this.#isAsked = false;
    }
  }

  /** @param {string} question */
  prefill(question) {
    this.#with((chat) => chat.prefill(String(question)));
  }

  newConversation() {
    this.#with((chat) => chat.open());
  }

  /** @param {string} id */
  openConversation(id) {
    this.#with((chat) => chat.open(id));
  }

  stop() {
    this.#chat?.stop();
  }

  focus() {
    if (this.isOpen) this.#with((chat) => chat.focus());
    else this.#launcher?.focus();
  }

  get isOpen() {
    return !this.#is('floating') || this.#is('open');
  }

  get state() {
    return this.#chat?.client.state ?? 'closed';
  }

  get busy() {
    return Boolean(this.#chat?.client.busy);
  }

  get conversationId() {
    return this.#chat?.client.conversationId;
  }

  get texts() {
    return this.#ownTexts;
  }

  set texts(words) {
    this.#ownTexts = words;
    if (this.#texts) this.#start();
  }

  get tools() {
    return this.#tools;
  }

  set tools(tools) {
    this.#tools = tools;
    if (this.#chat) this.#chat.client.tools = tools;
  }
}

// Properties that are attributes.
const reflected = ['url', ...looks, ...flags];
for (const name of reflected) {
  const isFlag = flags.includes(name);
  Object.defineProperty(AssistantChat.prototype, name, {
    configurable: true,
    enumerable: true,
    get() {
      return isFlag ? this.hasAttribute(name) : this.getAttribute(name) ?? '';
    },
    set(value) {
      if (isFlag ? value : value != null) this.setAttribute(name, isFlag ? '' : value);
      else this.removeAttribute(name);
    },
  });
}

// index.html has one in English, for those who read it without scripts.
const ownTitle = document.title === new Texts().say('assistant') ? '' : document.title;

let named; // id of the conversation that the URL was given last

/** @param {string | undefined} id @param {string} title @param {boolean} [isStep] back from it leads to the conversation before */
function nameDocument(id = '', title, isStep) {
  const hash = id && `#${id}`;
  const change = isStep ? 'pushState' : 'replaceState';
  if (id !== named && location.hash !== hash) history[change](null, '', hash || location.pathname + location.search); // or the reader has gone on, and the chat is told next
  named = id;
  document.title = title;
}

customElements.define('assistant-chat', AssistantChat);
