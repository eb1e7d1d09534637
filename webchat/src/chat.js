// @ts-check
// The chat: joins the socket, the conversation and what is on the screen.
import { Client } from '../client/client.js';
import { overHTTP } from '../client/handshake.js';
import { announce } from './buttons.js';
import { Counter } from './counter.js';
import { h, isComposing } from './dom.js';
import { Drafts } from './drafts.js';
import { keepOut } from './files.js';
import { dress, layout } from './layout.js';
import { Logs } from './logs.js';
import { Scroll } from './scroll.js';
import { Sidebar } from './sidebar.js';
import { retryButton, Turn } from './turn.js';
/** @import { Answer } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */
/** @import { Looks } from './types.d.ts' */


/** Its keyboard has no Shift+Enter: Enter makes a new line there, and the button sends. */
const isTouched = () => matchMedia('(pointer: coarse)').matches;

export class Chat {
  #root;
  #find; // by id
  #named; // called with each conversation that is shown
  #counter;
  #texts;
  /** @type {Logs | undefined} */ #logs;
  #sidebar;
  #isPage;
  #scroll;
  #target; // of new turns
  #shown; // id of the conversation, unless it is a new one
  #isStep = false; // of the browser's history: the conversation that is being opened
  #replaces; // id of the question that is being edited
  #drafts;
  /** @type {Turn | null} */ #refused; // whose question is in the input again
  #ticker;
  #told; // the refusal that was told last
  #outside; // ends what it listens to there
  #actions = {
    ask: (question, replaces) => this.#ask(question, replaces),
    edit: (text, id) => this.#edit(text, id),
    refused: (turn, question, replaces) => this.#takeBack(turn, question, replaces),
    submit: () => this.#find('composer').requestSubmit(),
    regenerate: () => this.client.regenerate(),
    changed: () => this.#showButtons(),
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
    this.#drafts = new Drafts(key);
    this.client = new Client(url, {
      view: this.#view,
      log: (kind, text) => this.#logs?.record(kind, text),
      isHidden: () => document.hidden,
    });
    listen(this.client);
    this.client.addEventListener('statechange', () => this.#stateChanged());
    this.client.addEventListener('frame', (/** @type {CustomEvent} */ { detail }) => this.#sidebar.receive(detail));
    this.#sidebar = new Sidebar(key, { send: (frame) => this.client.send(frame), open: (id) => this.open(id, true), hasTabs: looks.isPage }, texts);
    this.#counter = new Counter(this.client, texts);
    const { search, list, none } = this.#sidebar;
    root.append(layout({ texts, search, list, none, counter: this.#counter.element, ask: this.#suggested }, looks));
    this.#find('sign-in').href = overHTTP(url); // what protects it asks there, and the reader comes back
    this.hasLogs = hasLogs;
    this.#target = this.#find('messages');
    this.#scroll = new Scroll(this.#find('log'), (isFollowing, top) => {
      if (top < 200) this.client.older();
      this.#show('latest', !isFollowing);
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
    this.#edited();
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
    this.#find('input').focus();
  }

  /** @param {string} question @returns {Promise<Answer>} */
  ask(question) {
    return this.client.answerTo(this.#ask(question));
  }

  /** Puts a question into the input. @param {string} question */
  prefill(question) {
    this.#write(question);
  }

  /** @param {Looks} looks */
  dress(looks) {
    dress(this.#root, { texts: this.#texts, ask: this.#suggested }, looks);
  }

  set hasLogs(wanted) {
    this.#logs?.remove();
    this.#logs = wanted ? new Logs(this.#texts) : undefined;
    if (!this.#logs) return;
    this.#find('more').before(this.#logs.button);
    this.#find('chat').append(this.#logs.dialog);
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
    on('reconnect', () => this.client.connect());
    on('new', () => (this.open(undefined, true), this.focus()));
    on('cancel', () => this.#endEdit());
    on('menu', () => this.#toggleMenu(true));
    on('more', () => this.#openMenu());
    on('chat', ({ target, currentTarget }) => {
      if (target === currentTarget && this.#isMenuOpen) this.#toggleMenu(false); // beside the menu all is inert
    });
    on('close', close);
    this.#find('input').oninput = () => (this.#hint(''), this.#edited());
    keepOut(this.#find('chat'), () => this.#hint(this.#texts.say('no_files')));
    this.#find('input').enterKeyHint = isTouched() ? 'enter' : 'send';
    this.#find('input').onkeydown = (event) => this.#pressed(event);
    this.#find('composer').onsubmit = (event) => this.#submit(event);
    new ResizeObserver(() => this.#isMenuOpen && !this.#find('menu').checkVisibility() && this.#toggleMenu(false)).observe(this.#find('chat'));
  }

  // Below the input, until something is typed.
  #hint(text) {
    this.#find('hint').textContent = text;
    if (text) announce(this.#root, text);
  }

  #wake() {
    this.client.wake();
    if (this.isKept && this.client.state === 'connected') this.#sidebar.load();
    this.#showStatus();
  }

  #view = {
    turn: (question, id, replaces) => {
      const turn = new Turn(question, this.#actions, this.#texts, replaces);
      this.#target.append(turn.element);
      if (question && this.client.state !== 'connected') turn.queue();
      return turn;
    },
    notice: (notice) => this.#notice(notice.reason, this.#texts.notice(notice)),
    problem: (problem) => {
      const button = problem.retry_after_ms && retryButton(problem, this.#texts, () => this.client.regenerate());
      this.#notice(problem.reason, this.#texts.explain(problem), ...(button ? [button] : []));
    },
    clear: () => this.#find('messages').replaceChildren(),
    restored: () => (this.#scroll.toEnd(), this.#showButtons()),
    unsent: (questions) => this.#drafts.hold(this.#shown, questions),
    emptied: (id) => {
      this.#drafts.move(id);
      this.#shown = undefined;
      this.#named();
      this.#sidebar.forget(id);
      this.#sidebar.opened({});
    },
    titled: (about) => {
      if (!this.#shown) this.#drafts.move(undefined, about.conversation_id);
      this.#shown = about.conversation_id;
      this.#named(about.conversation_id, about.title);
      this.#sidebar.opened(about);
      this.#showButtons();
    },
    prepend: (show) => {
      this.#target = document.createDocumentFragment();
      show();
      this.#scroll.keep(() => this.#find('messages').prepend(this.#target));
      this.#target = this.#find('messages');
    },
    gone: (problem, id) => {
      this.#sidebar.forget(id);
      this.#saveTexts(id);
      this.#showDraft();
      this.#edited();
      this.#view.problem(problem);
    },
    opened: (id) => this.#showNew(id),
    fellBack: () => {
      this.#find('chat').dataset.kept = 'false';
      this.#drafts.hold(this.#shown, []); // they are asked there
      this.#saveTexts(this.#shown);
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
    this.#refused = null;
    this.#shown = id || undefined;
    this.#replaces = undefined;
    this.#named(id, undefined, this.#isStep);
    this.#sidebar.opened({ conversation_id: id });
    this.#showDraft();
    return this.#drafts.unsent(id);
  }

  #stateChanged() {
    if (this.client.state === 'connected') {
      this.#forget('draining');
      this.#counter.forget();
      this.#edited();
      if (this.isKept) this.#sidebar.load();
    }
    this.#showStatus();
    this.#showButtons();
  }

  #showStatus() {
    const { state, retryAt, refusal, wasOpen } = this.client;
    const shown = state === 'reconnecting' && !navigator.onLine ? 'offline' : state;
    const status = this.#find('status');
    const name = this.#texts.say(`state.${shown}`);
    if (status.dataset.state !== shown) announce(status, name);
    status.dataset.state = shown;
    this.#find('chat').classList.toggle('online', state === 'connected');
    status.textContent = name;
    const needsBanner = ['offline', 'reconnecting', 'closed'].includes(shown);
    const { reason, host } = refusal ?? {};
    const cause = shown === 'reconnecting' && !wasOpen ? 'unreachable' : shown;
    const text = this.#texts.say(reason && shown !== 'offline' ? `refusal.${reason}` : `banner.${cause}`, { when: this.#texts.when(retryAt - performance.now()), host });
    this.#find('banner').firstChild.textContent = needsBanner ? text : '';
    this.#show('sign-in', reason === 'sign_in' || reason === 'foreign');
    this.#show('banner', needsBanner);
    if (reason && this.#told !== refusal) announce(status, text);
    this.#told = refusal;
    clearTimeout(this.#ticker);
    if (state === 'reconnecting') this.#ticker = setTimeout(() => this.#showStatus(), 1000);
  }

  #ask(question, replaces) {
    const sent = this.client.post(question, { replaces });
    if (sent) {
      this.#refused?.element.remove();
      this.#refused = null;
      this.#scroll.toEnd();
    }
    this.#showButtons();
    return sent;
  }

  // A stored conversation sends it when it can.
  get #canAsk() {
    const { state } = this.client;
    return state === 'connected' || (this.isKept && state !== 'closed');
  }

  #suggested = (question) => {
    if (!this.#canAsk || !this.#ask(question)) this.#write(question);
    this.focus();
  };;

  #submit(event) {
    event.preventDefault();
    const { value } = this.#find('input');
    if (this.#counter.fault) this.#counter.tell();
    if (this.#find('send').disabled || !this.#ask(value, this.#replaces)) return;
    this.#replaces ? this.#endEdit() : this.#write('');
    this.focus();
  }

  #write(text) {
    this.#find('input').value = text;
    this.#edited();
  }

  // What was typed of it before is still there, and so is the draft that it replaces in the input.
  #edit(text, id) {
    this.#replaces = id;
    if (!this.#drafts.get(id)) this.#drafts.set(id, text);
    this.#showDraft();
    this.#edited();
    this.focus();
  }

  #endEdit() {
    this.#drafts.set(this.#replaces, '');
    this.#replaces = undefined;
    this.#showDraft();
    this.#edited();
  }

  #showDraft() {
    this.#find('input').value = this.#drafts.get(this.#replaces ?? this.#shown);
    this.#show('editing', Boolean(this.#replaces));
  }

  /** True when a refused question is in the input again: there is nothing else. */
  #takeBack(turn, question, replaces) {
    if (this.#replaces || this.#find('input').value.trim()) return false;
    this.#refused?.element.remove();
    this.#refused = turn;
    replaces ? this.#edit(question, replaces) : this.#write(question);
    return true;
  }

  // The conversation is no more: what was typed in it goes to a new one, unless something waits there.
  #saveTexts(id) {
    const text = [...this.#drafts.unsent(id).map(({ content }) => content), this.#drafts.get(id)].filter(Boolean).join('\n\n');
    this.#drafts.hold(id, []);
    this.#drafts.set(id, '');
    if (!this.#drafts.get()) this.#drafts.set('', text);
  }

  #pressed(event) {
    const { key, shiftKey, ctrlKey, metaKey } = event;
    if (isComposing(event) || key !== 'Enter' || shiftKey || (isTouched() && !ctrlKey && !metaKey)) return;
    event.preventDefault();
    this.#find('composer').requestSubmit();
  }

  #edited() {
    const input = this.#find('input');
    if (input.value && this.isKept && this.client.state === 'connected') this.#counter.learn(() => this.#edited());
    this.#counter.count(input.value);
    this.#showButtons();
    this.#drafts.set(this.#replaces ?? this.#shown, input.value);
    if (CSS.supports('field-sizing', 'content')) return;
    input.style.height = 0; // or it would never shrink
    input.style.height = `${input.scrollHeight + 2}px`;
  }

  // While an answer runs, Stop replaces Send, until there is a draft.
  #showButtons() {
    const { state } = this.client;
    const { busy } = this.client;
    const isBlank = !this.#find('input').value.trim();
    this.#show('stop', busy && state === 'connected');
    this.#show('send', !isBlank || !busy || state !== 'connected');
    this.#find('send').disabled = isBlank || !this.#canAsk || Boolean(this.#counter.fault);
    this.#find('send').title = this.#counter.fault || this.#texts.say('send_key');
  }

  #show(id, visible) {
    const element = this.#find(id);
    if (!visible && element.matches(':focus-within')) this.focus(); // not to lose a keyboard's place
    element.hidden = !visible;
  }

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
    const isOffered = ([key]) => (key === 'print' ? this.#isPage : key === 'shortcuts' || (this.isKept && this.#shown));
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
