// @ts-check
// What a person may decide about a call that waits: approve it, perhaps with other arguments, or deny it.
import { h, isComposing } from './dom.js';
import { visibleJSON, visibleText } from './visible.js';
/** @import { DecideToolCallPayload, KnownCall } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */

const maxReason = 500; // characters

let count = 0; // of fields, for their ids

export class Decision {
  element = h('div', { className: 'decision' });
  /** As it is known now. @type {KnownCall} */ call;
  #decide;
  #texts;
  /** @type {HTMLElement} */ #problem;
  /** @type {HTMLTextAreaElement | undefined} */ #field; // of the arguments, while they are changed
  #isSent = false;

  /** @param {KnownCall} call @param {(decision: Omit<DecideToolCallPayload, 'message_id'>) => Promise<unknown>} decide @param {Texts} texts */
  constructor(call, decide, texts) {
    this.call = call;
    this.#decide = decide;
    this.#texts = texts;
    this.element.onkeydown = (event) => this.#pressed(event);
    this.#choose();
  }

  #button(key, onclick, className = '') {
    return h('button', { type: onclick ? 'button' : 'submit', className, onclick }, this.#texts.say(key));
  }

  #show(...children) {
    this.#field = undefined;
    this.#problem = h('p', { className: 'fault', role: 'alert', dir: 'auto' });
    this.element.replaceChildren(...children, this.#problem);
  }

  #choose() {
    const { approval } = this.call;
    const { say, locale } = this.#texts;
    const until = approval && new Date(approval.expires_at).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'short' });
    this.#show(
      h('p', { className: 'expiry' }, approval ? say('decide_by', { time: until }) : ''),
      this.#button('approve', () => this.#send({ decision: 'approve' }), 'approve'),
      ...(approval?.editable === false ? [] : [this.#button('edit', () => this.#edit(), 'change')]),
      this.#button('deny', () => this.#deny(), 'deny'),
    );
  }

  #form(label, field, button, send) {
    const id = `decision-${++count}`;
    this.#show(h(
      'form',
      { onsubmit: (event) => (event.preventDefault(), send(field.value)) },
      h('label', { htmlFor: id }, label),
      Object.assign(field, { id }),
      button,
      this.#button('cancel', () => this.#back()),
    ));
    this.#problem.id = `${id}-problem`;
    field.setAttribute('aria-describedby', this.#problem.id);
    field.focus();
  }

  #edit() {
    const field = h('textarea', { dir: 'ltr', spellcheck: false, value: visibleJSON(this.call.arguments ?? {}), oninput: () => this.#explain('') });
    this.#form(this.#texts.say('arguments_json'), field, this.#button('approve_changed', undefined, 'approve'), (text) => this.#change(text));
    this.#field = field;
  }

  #change(text) {
    const changed = objectOf(text);
    if (!changed) return this.#explain(this.#texts.say('no_object'));
    this.#send({ decision: 'approve', arguments: changed });
  }

  #deny() {
    const field = h('input', { maxLength: maxReason, dir: 'auto', autocomplete: 'off' });
    this.#form(this.#texts.say('deny_reason'), field, this.#button('deny', undefined, 'deny'), (reason) => this.#send({ decision: 'deny', ...(reason.trim() && { reason: reason.trim() }) }));
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

  // Its outcome comes as an event, to every tab.
  async #send(decision) {
    if (this.#isSent) return;
    this.#isSent = true;
    this.#explain('');
    try {
      await this.#decide({ call_id: this.call.call_id, ...decision });
    } catch (error) {
      this.#explain(this.#reject(error));
    }
    this.#isSent = false;
  }

  #reject({ reason, message, rejections = [] }) {
    const [first] = rejections;
    if (first?.type !== 'json_schema') return this.#texts.explain(first ? rejections : { reason, detail: message });
    const where = first.loc.slice(3).join('.'); // after the action, "payload" and "arguments"
    return this.#texts.say('not_accepted', { problem: visibleText([where, first.msg].filter(Boolean).join(': ')) });
  }

  /** @param {string} problem none: there is none any more */
  #explain(problem) {
    this.#problem.textContent = problem;
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
