// @ts-check
// What a person may decide about a call that waits: approve it, perhaps with other arguments, or deny it.
import { h, isComposing } from './dom.js';
import { Reply } from './reply.js';
import { visibleJSON } from './visible.js';
/** @import { DecideToolCallPayload, KnownCall } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */

const maxReason = 500; // characters

let count = 0; // of fields, for their ids

export class Decision extends Reply {
  #decide;
  #remember = h('input', { type: 'checkbox' });
  /** @type {HTMLTextAreaElement | undefined} */ #field; // of the arguments, while they are changed

  /** @param {KnownCall} call @param {(decision: Omit<DecideToolCallPayload, 'message_id'>) => Promise<unknown>} decide @param {Texts} texts */
  constructor(call, decide, texts) {
    super(call, texts);
    this.#decide = decide;
    this.element.onkeydown = (event) => this.#pressed(event);
    this.#choose();
  }

  #choose() {
    const { approval, expires_at = approval?.expires_at, may_remember = approval?.may_remember, waiting_for } = this.call;
    const { say, locale } = this.texts;
    const until = expires_at && new Date(expires_at).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'short' });
    const isOurs = waiting_for === 'client';
    this.#field = undefined;
    this.show(
      h('p', { className: 'expiry' }, until ? say('decide_by', { time: until }) : ''),
      ...(may_remember ? [h('label', {}, this.#remember, ' ', say('remember'))] : []),
      this.button('approve', () => this.#approve(), 'approve'),
      ...(isOurs || approval?.editable === false ? [] : [this.button('edit', () => this.#edit(), 'change')]),
      this.button('deny', () => this.#deny(), 'deny'),
    );
  }

  #approve() {
    this.#reply({ decision: 'approve', ...(this.#remember.checked && { remember: 'conversation' }) });
  }

  #form(label, field, button, send) {
    const id = `decision-${++count}`;
    this.#field = undefined;
    this.show(h(
      'form',
      { onsubmit: (event) => (event.preventDefault(), send(field.value)) },
      h('label', { htmlFor: id }, label),
      Object.assign(field, { id }),
      button,
      this.button('cancel', () => this.#back()),
    ));
    this.problem.id = `${id}-problem`;
    field.setAttribute('aria-describedby', this.problem.id);
    field.focus();
  }

  #edit() {
    const field = h('textarea', { dir: 'ltr', spellcheck: false, value: visibleJSON(this.call.arguments ?? {}), oninput: () => this.explain('') });
    this.#form(this.texts.say('arguments_json'), field, this.button('approve_changed', undefined, 'approve'), (text) => this.#change(text));
    this.#field = field;
  }

  #change(text) {
    const changed = objectOf(text);
    if (!changed) return this.explain(this.texts.say('no_object'));
    this.#reply({ decision: 'approve', arguments: changed });
  }

  #deny() {
    const field = h('input', { maxLength: maxReason, dir: 'auto', autocomplete: 'off' });
    this.#form(this.texts.say('deny_reason'), field, this.button('deny', undefined, 'deny'), (reason) => this.#reply({ decision: 'deny', ...(reason.trim() && { reason: reason.trim() }) }));
  }

  #back() {
    const from = this.#field ? '.change' : '.deny';
    this.#choose();
    /** @type {HTMLElement | null} */ (this.element.querySelector(from))?.focus();
  }

  #pressed(event) {
    if (event.key !== 'Escape' || isComposing(event) || !this.element.querySelector('form')) return;
    event.stopPropagation(); // it would stop an answer
    this.#back();
  }

  #reply(decision) {
    this.send(() => this.#decide({ call_id: this.call.call_id, ...decision }));
  }

  /** @param {string} problem none: there is none any more */
  explain(problem) {
    super.explain(problem);
    if (!this.#field) return;
    this.#field.ariaInvalid = String(Boolean(problem));
    if (problem) this.#field.focus();
  }
}

/** Undefined for what is no JSON object. */
function objectOf(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === 'object' && !Array.isArray(value) ? value : undefined;
  } catch {}
}
