// @ts-check
// The chat: joins the socket, the conversation and what is on the screen.
import { Client } from '../client/client.js';
import { announce } from './buttons.js';
import { Composer, isTouched } from './composer.js';
import { h, show } from './dom.js';
import { keepOut } from './files.js';
import { dress, layout } from './layout.js';
import { Scroll } from './scroll.js';
import { Sidebar } from './sidebar.js';
import { Status } from './status.js';
import { retryButton, Turn } from './turn.js';
/** @import { Answer } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */
/** @import { Looks } from './types.d.ts' */

export class Chat {
  #root;
  #find; // by id
  #named; // called with each conversation that is shown
  #texts;
  /** @type {Promise<import('./logs.js').Logs | void> | undefined} */ #logs;
  #sidebar;
  #composer;
  #status;
  #isPage;
  #scroll;
  #target; // of new turns
  #isStep = false; // of the browser's history: the conversation that is being opened
  #isOffered = false; // to attach files
  #outside; // ends what it listens to there
  #actions = {
    ask: (...question) => this.#ask(...question),
    edit: (...question) => this.#composer.edit(...question),
    refused: (...question) => this.#composer.takeBack(...question),
    url: '',
    submit: () => this.#composer.submit(),
    regenerate: () => this.client.regenerate(),
    client: () => this.client,
    changed: () => this.#composer.showButtons(),
  };

  /**
   * @param {ShadowRoot} root
   * @param {Looks & { texts: Texts, url: string, id: string, hasLogs: boolean, named: (id?: string, title?: string, isStep?: boolean) => void, close: () => void, listen: (client: Client) => void }} options
   *   id: of the conversation to begin with, if any
   */
  constructor(root, { texts, url, id, hasLogs, named, close, listen, ...looks }) {
    this.#root = root;
    this.#texts = texts;
    this.#isPage = looks.isPage;
    this.#find = (id) => /** @type {any} */ (root.getElementById(id));
    this.#named = named;
    const key = `assistant ${url}`;
    this.#actions.url = url;
    this.client = new Client(url, {
      view: this.#view,
      log: (kind, text) => this.#logs?.then((logs) => logs?.record(kind, text)),
      isHidden: () => document.hidden,
    });
    listen(this.client);
    this.client.addEventListener('statechange', () => this.#stateChanged());
    this.client.addEventListener('frame', (/** @type {CustomEvent} */ { detail }) => (this.#sidebar.receive(detail), this.#offerFiles(detail)));
    this.#sidebar = new Sidebar(key, { send: (frame) => this.client.send(frame), open: (id) => this.open(id, true), hasTabs: looks.isPage }, texts);
    const { search, list, none } = this.#sidebar;
    root.append(layout({ texts, search, list, none, ask: this.#suggested }, looks));
    this.#composer = new Composer(this.#find, { client: this.client, texts, key, ask: this.#actions.ask });
    this.#status = new Status(this.#find, this.client, url, texts);
    this.hasLogs = hasLogs;
    this.#target = this.#find('messages');
    this.#scroll = new Scroll(this.#find('log'), (isFollowing, top) => {
      if (top < 200) this.client.older();
      show(this.#find('latest'), !isFollowing);
    });
    this.#listen(close);
    this.open(id);
    this.connect();
  }

  /**
   * Shows a conversation, or a new one, which its first question creates.
   * @param {string} [id] @param {boolean} [isStep] the reader's: Back leads to the conversation before
   */
  open(id, isStep = false) {
    this.#isStep = isStep;
    if (!id || id !== this.client.conversationId) this.client.open(id);
    this.#isStep = false;
    this.#composer.update();
    if (this.#isMenuOpen) this.#toggleMenu(false);
  }

  /** The conversations are the server's, not the socket's. */
  get isKept() {
    return this.client.isKept;
  }

  /** False when nothing is to be stopped. */
  stop() {
    const { busy } = this.client;
    this.client.stop();
    return busy;
  }

  focus() {
    this.#composer.focus();
  }

  /** @param {string} question @returns {Promise<Answer>} */
  ask(question) {
    return this.client.answerTo(this.#ask(question));
  }

  /** Puts a question into the input. @param {string} question */
  prefill(question) {
    this.#composer.write(question);
  }

  /** @param {Looks} looks */
  dress(looks) {
    dress(this.#root, { texts: this.#texts, ask: this.#suggested }, looks);
  }

  set hasLogs(wanted) {
    this.#logs?.then((logs) => logs?.remove());
    const begin = ({ Logs }) => new Logs(this.#find('more'), this.#find('chat'), this.#texts);
    this.#logs = wanted ? import('./logs.js').then(begin).catch(() => {}) : undefined; // it cannot be loaded now
  }

  /** Ends it. */
  remove() {
    this.disconnect();
    this.#sidebar.close();
    this.#find('chat').remove();
  }

  connect() {
    this.client.connect();
    this.#outside = new AbortController();
    const { signal } = this.#outside;
    const wake = () => document.hidden || this.#wake();
    document.addEventListener('visibilitychange', wake, { signal });
    window.addEventListener('online', wake, { signal });
    window.addEventListener('offline', wake, { signal });
  }

  disconnect() {
    this.client.disconnect();
    this.#outside.abort();
  }

  #listen(close) {
    const on = (id, action) => (this.#find(id).onclick = action);
    on('latest', () => this.#scroll.toEnd());
    on('stop', () => this.stop());
    on('new', () => (this.open(undefined, true), this.focus()));
    on('menu', () => this.#toggleMenu(true));
    on('more', () => this.#openMenu());
    on('chat', ({ target, currentTarget }) => {
      if (target === currentTarget && this.#isMenuOpen) this.#toggleMenu(false); // beside the menu all is inert
    });
    on('close', close);
    keepOut(this.#find('chat'), ({ files }) => (this.#composer.files ? this.#composer.files.add(files) : this.#composer.hint(this.#texts.say('no_files'))));
    new ResizeObserver(() => this.#isMenuOpen && !this.#find('menu').checkVisibility() && this.#toggleMenu(false)).observe(this.#find('chat'));
  }

  #wake() {
    this.client.wake();
    if (this.isKept && this.client.state === 'connected') this.#sidebar.load();
    this.#status.update();
  }

  #view = {
    turn: (question, id, replaces, parts) => {
      const turn = new Turn(question, this.#actions, this.#texts, replaces, parts);
      this.#target.append(turn.element);
      if (question != null && this.client.state !== 'connected') turn.queue();
      return turn;
    },
    notice: (notice) => this.#notice(notice.reason, this.#texts.notice(notice)),
    problem: (problem) => {
      const button = problem.retry_after_ms && retryButton(problem, this.#texts, () => this.client.regenerate());
      this.#notice(problem.reason, this.#texts.explain(problem), ...(button ? [button] : []));
    },
    clear: () => this.#find('messages').replaceChildren(),
    restored: () => (this.#scroll.toEnd(), this.#composer.showButtons()),
    unsent: (questions) => this.#composer.hold(questions),
    emptied: (id) => {
      this.#composer.named();
      this.#named();
      this.#sidebar.forget(id);
      this.#sidebar.opened({});
    },
    titled: (about) => {
      this.#composer.named(about.conversation_id);
      this.#named(about.conversation_id, about.title);
      this.#sidebar.opened(about);
      this.#composer.showButtons();
    },
    prepend: (show) => {
      this.#target = document.createDocumentFragment();
      show();
      this.#scroll.keep(() => this.#find('messages').prepend(this.#target));
      this.#target = this.#find('messages');
    },
    gone: (problem, id) => {
      this.#sidebar.forget(id);
      this.#composer.rescue(id);
      this.#view.problem(problem);
    },
    opened: (id) => this.#showNew(id),
    fellBack: () => {
      this.#find('chat').dataset.kept = 'false';
      this.#composer.release();
    },
  };

  // Each once: of two with the same reason the later one stays.
  #notice(reason, text, ...buttons) {
    this.#forget(reason);
    const notice = h('p', { className: 'notice', dir: 'auto' }, text, ...buttons);
    notice.dataset.reason = reason ?? '';
    this.#find('messages').append(notice);
    announce(this.#root.lastChild, text);
  }

  #forget(reason) {
    for (const notice of this.#find('messages').querySelectorAll(':scope > .notice')) if (reason && notice.dataset.reason === reason) notice.remove();
  }

  #showNew(id) {
    this.#find('messages').replaceChildren();
    this.#named(id, undefined, this.#isStep);
    this.#sidebar.opened({ conversation_id: id });
    return this.#composer.open(id);
  }

  #stateChanged() {
    if (this.client.state === 'connected') {
      this.#forget('draining');
      this.#composer.connected();
      if (this.isKept) this.#sidebar.load();
    }
    this.#status.update();
    this.#composer.showButtons();
  }

  // Once, if the server takes some. To who is anonymous it says so with a conversation alone, so it is asked before.
  async #offerFiles({ payload }) {
    if (this.#isOffered || !(payload?.files || payload?.reason === 'unauthorized')) return;
    this.#isOffered = true;
    const { files } = payload.files ? payload : await this.client.limits();
    if (files) this.#composer.files = new (await import('./attach.js')).Attach(this.#find, files, this.#actions.url, this.#texts, () => this.#composer.showButtons());
  }

  #ask(question, replaces, parts) {
    const sent = this.client.post(question, { replaces, parts });
    if (sent) {
      this.#composer.asked();
      this.#scroll.toEnd();
    }
    this.#composer.showButtons();
    return sent;
  }

  #suggested = (question) => {
    if (!this.#composer.canAsk || !this.#ask(question)) this.#composer.write(question);
    this.focus();
  };

  get #isMenuOpen() {
    return this.#find('chat').classList.contains('menu');
  }

  /** Where space is short. Escape closes it, too. */
  #toggleMenu(isOpen) {
    this.#find('chat').classList.toggle('menu', isOpen);
    this.#find('panel').inert = isOpen;
    this.#find('menu').ariaExpanded = String(isOpen);
    (isOpen ? this.#find('new') : this.#find('menu')).focus();
  }

  async #openMenu() {
    const { showMenu } = await import('./menu.js');
    /** @type {[string, () => void][]} */ const entries = [
      ['print', () => this.#print()],
      ['save_markdown', () => this.#save('md')],
      ['save_json', () => this.#save('json')],
      ['shortcuts', () => this.act('shortcuts')],
    ];
    const isOffered = ([key]) => (key === 'print' ? this.#isPage : key === 'shortcuts' || (this.isKept && this.client.conversationId));
    showMenu(this.#find('more'), this.#texts, entries.filter(isOffered), this.#isPage ? /** @type {HTMLElement} */ (this.#root.host) : undefined);
  }

  // What a page of paper cannot load by scrolling has to be there before.
  async #print() {
    while (await this.client.older());
    const isShown = () => !this.#find('messages').querySelector('[data-role=assistant]:not([data-state])');
    while (!isShown()) await new Promise(requestAnimationFrame);
    print();
  }

  /** @param {'md' | 'json'} kind */
  async #save(kind) {
    const { asJSON, asMarkdown, save, whole } = await import('./export.js');
    try {
      const all = await whole(this.client, this.#sidebar.current);
      const [type, text] = kind === 'md' ? ['text/markdown', asMarkdown(all, this.#texts)] : ['application/json', asJSON(all)];
      save(all.conversation.title || this.#texts.say('new'), kind, type, text);
    } catch ({ reason, message }) {
      this.#view.problem({ reason, detail: message });
    }
  }

  /** What a key is for. @param {string} action */
  async act(action) {
    const beside = { previous: -1, next: 1 }[action];
    if (beside && this.#sidebar.beside(beside)) this.open(this.#sidebar.beside(beside), true);
    else if (action === 'new') this.#find('new').click();
    else if (action === 'write') this.focus();
    else if (action === 'search_label' && this.isKept) {
      if (!this.#find('search').checkVisibility()) this.#toggleMenu(true);
      this.#find('search').focus();
    } else if (action === 'shortcuts') (await import('./menu.js')).showShortcuts(this.#find('chat'), this.#texts, isTouched());
  }

  /** To where single keys have a meaning. */
  leaveInput() {
    if (this.#find('input').matches(':focus')) this.#find('log').focus();
  }

  /** Of the whole chat. True when it did something. */
  escape() {
    if (this.#isMenuOpen) return this.#toggleMenu(false), true;
    return this.stop();
  }
}
