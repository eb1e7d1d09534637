// @ts-check
// Where questions are written: the input with its buttons, and what becomes of what was typed.
import { announce } from './buttons.js';
import { Counter } from './counter.js';
import { isComposing, show } from './dom.js';
import { Drafts } from './drafts.js';
/** @import { Client } from '../client/client.js' */
/** @import { FilePart, Unsent } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */
/** @import { Turn } from './turn.js' */

/** Its keyboard has no Shift+Enter: Enter makes a new line there, and the button sends. */
export const isTouched = () => matchMedia('(pointer: coarse)').matches;

export class Composer {
  #find; // by id
  #client;
  #texts;
  #ask;
  #counter;
  #drafts;
  #shown; // id of the conversation, unless it is a new one
  #replaces; // id of the question that is being edited
  /** The question's images and files, where it may have some. @type {import('./attach.js').Attach | undefined} */ files;
  /** @type {Turn | null} */ #refused; // whose question is in the input again

  /**
   * @param {(id: string) => any} find
   * @param {{ client: Client, texts: Texts, key: string, ask: (question: string, replaces?: string, parts?: FilePart[]) => string | undefined }} options
   *   key: of storage
   */
  constructor(find, { client, texts, key, ask }) {
    this.#find = find;
    this.#client = client;
    this.#texts = texts;
    this.#ask = ask;
    this.#counter = new Counter(find('counter'), client, texts);
    this.#drafts = new Drafts(key);
    const input = find('input');
    input.enterKeyHint = isTouched() ? 'enter' : 'send';
    input.oninput = () => (this.hint(''), this.update());
    input.onkeydown = (event) => this.#pressed(event);
    find('composer').onsubmit = (event) => this.#submitted(event);
    find('cancel').onclick = () => this.#endEdit();
  }

  focus() {
    this.#find('input').focus();
  }

  submit() {
    this.#find('composer').requestSubmit();
  }

  /** What is to be said of the input, until something is typed. @param {string} text */
  hint(text) {
    this.#find('hint').textContent = text;
    if (text) announce(this.#find('hint'), text);
  }

  /** Puts a question into the input. @param {string} question */
  write(question) {
    this.#find('input').value = question;
    this.update();
  }

  #fill(question, parts) {
    this.files?.put(parts);
    this.write(question);
  }

  /**
   * What was typed of it before is still there, and so is the draft that it replaces in the input.
   * @param {string} question @param {string} id @param {FilePart[]} [parts]
   */
  edit(question, id, parts) {
    this.#replaces = id;
    this.files?.put(parts);
    if (!this.#drafts.get(id)) this.#drafts.set(id, question);
    this.#showDraft();
    this.update();
    this.focus();
  }

  #endEdit() {
    this.#drafts.set(this.#replaces, '');
    this.#replaces = undefined;
    this.files?.put();
    this.#showDraft();
    this.update();
  }

  #showDraft() {
    this.#find('input').value = this.#drafts.get(this.#replaces ?? this.#shown);
    show(this.#find('editing'), Boolean(this.#replaces));
  }

  /** Another conversation is shown, or a new one. @param {string} [id] @returns {Unsent[]} its questions that are not known to be stored */
  open(id) {
    this.#refused = null;
    this.#shown = id || undefined;
    this.#replaces = undefined;
    this.#showDraft();
    return this.#drafts.unsent(id);
  }

  /** The conversation has an id now, or none again. @param {string} [id] */
  named(id) {
    if (!this.#shown !== !id) this.#drafts.move(this.#shown, id);
    this.#shown = id;
  }

  /** @param {Unsent[]} questions of the conversation */
  hold(questions) {
    this.#drafts.hold(this.#shown, questions);
  }

  /** The conversation is no more: what was typed in it goes to a new one, unless something waits there. @param {string} [id] */
  rescue(id) {
    const text = [...this.#drafts.unsent(id).map(({ content }) => content), this.#drafts.get(id)].filter(Boolean).join('\n\n');
    this.#drafts.hold(id, []);
    this.#drafts.set(id, '');
    if (!this.#drafts.get()) this.#drafts.set('', text);
    this.#showDraft();
    this.update();
  }

  /** The server keeps nothing: what was not sent is asked there. */
  release() {
    this.hold([]);
    this.rescue(this.#shown);
  }

  /** True when a refused question is in the input again: there is nothing else. @param {Turn} turn @param {string} question @param {string} [replaces] @param {FilePart[]} [parts] */
  takeBack(turn, question, replaces, parts) {
    if (this.#replaces || this.files?.count || this.#find('input').value.trim()) return false;
    this.#refused?.element.remove();
    this.#refused = turn;
    if (replaces) this.edit(question, replaces, parts);
    else this.#fill(question, parts);
    return true;
  }

  /** A question was asked, by whatever button. */
  asked() {
    this.#refused?.element.remove();
    this.#refused = null;
  }

  /** A server has connected, perhaps one with other limits. */
  connected() {
    this.#counter.forget();
    this.update();
  }

  /** A stored conversation asks when it can. */
  get canAsk() {
    const { state, isKept } = this.#client;
    return state === 'connected' || (isKept && state !== 'closed');
  }

  #pressed(event) {
    const { key, shiftKey, ctrlKey, metaKey } = event;
    if (isComposing(event) || key !== 'Enter' || shiftKey || (isTouched() && !ctrlKey && !metaKey)) return;
    event.preventDefault();
    this.submit();
  }

  #submitted(event) {
    event.preventDefault();
    if (this.#counter.fault) this.#counter.tell();
    if (this.#find('send').disabled || !this.#ask(this.#find('input').value, this.#replaces, this.files?.parts)) return;
    this.#replaces ? this.#endEdit() : this.#fill('');
    this.focus();
  }

  /** Shows what follows from the text in the input. */
  update() {
    const input = this.#find('input');
    if (input.value && this.#client.isKept && this.#client.state === 'connected') this.#counter.learn(() => this.update());
    this.#counter.count(input.value);
    this.showButtons();
    this.#drafts.set(this.#replaces ?? this.#shown, input.value);
    if (CSS.supports('field-sizing', 'content')) return;
    input.style.height = 0; // or it would never shrink
    input.style.height = `${input.scrollHeight + 2}px`;
  }

  /** While an answer runs, Stop replaces Send, until there is a draft. */
  showButtons() {
    const { state, busy } = this.#client;
    const isBlank = !this.#find('input').value.trim() && !this.files?.count;
    const send = this.#find('send');
    show(this.#find('stop'), busy && state === 'connected');
    show(send, !isBlank || !busy || state !== 'connected');
    send.disabled = isBlank || !this.canAsk || Boolean(this.#counter.fault || this.files?.isBusy);
    send.title = this.#counter.fault || this.#texts.say('send_key');
  }
}
