// @ts-check
// A call of a tool at its place in the answer: what is called with what, how far it is, and what it returned. Loaded for the
// first. What models and tools write is data: it is shown as text, with nothing hidden in it.
import { argumentTable } from './arguments.js';
import { announce } from './buttons.js';
import css from './calls.css';
import { isRunning, run } from '../client/tools.js';
import { Decision } from './decision.js';
import { adopt, h } from './dom.js';
import { Inputs } from './inputs.js';
import english from './texts/calls.js';
import { visible, visibleText } from './visible.js';
/** @import { KnownCall, KnownResult } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */

/** How an answer ends that can go on. */
const cuts = ['interrupted', 'stopped', 'budget', 'error'];

export class Card {
  #element;
  #messageID;
  #actions;
  #texts;
  #title = h('strong', { dir: 'auto' });
  #name = h('code', { dir: 'ltr' });
  #state = h('span', { className: 'state' });
  #progress = h('p', { className: 'progress' });
  #body = h('div');
  #result = h('div');
  #end = h('div');
  /** @type {Decision | Inputs | undefined} */ #decision;
  /** @type {KnownCall | undefined} */ #call; // as it was shown last
  #frame = 0; // in which the draft is shown

  /** @param {HTMLElement} element @param {string} messageID @param {any} actions what its buttons do @param {Texts} texts */
  constructor(element, messageID, actions, texts) {
    this.#element = Object.assign(element, { className: 'call', role: 'group', tabIndex: -1 });
    this.#messageID = messageID;
    this.#actions = actions;
    this.#texts = texts.with(english);
    element.append(h('p', {}, this.#title, ' ', this.#name, ' ', this.#state), this.#progress, this.#body, this.#result, this.#end);
    adopt(element, css);
  }

  /** @param {any} part */
  show(part) {
    if (part.type === 'tool_result') this.#showResult(part);
    else this.#showCall(part);
  }

  /** @param {KnownCall} call */
  #showCall(call) {
    const was = this.#call?.state;
    this.#call = call;
    const { title, name, state, waiting_for } = call;
    const label = visibleText(title || name);
    if (was !== state) {
      this.#title.replaceChildren(...visible(title || name));
      this.#name.replaceChildren(...visible(title ? name : ''));
      this.#state.textContent = this.#texts.say(state === 'waiting' && waiting_for !== 'approval' ? `call.waiting.${waiting_for}` : `call.${state}`) || state;
      this.#element.dataset.call = state;
      this.#element.ariaLabel = [label, this.#state.textContent].join(': ');
    }
    this.#showProgress(call);
    if (state === 'preparing') this.#frame ||= requestAnimationFrame(() => this.#showDraft());
    else this.#showArguments(call);
    this.#showDecision(call);
    if (state === 'waiting' && was !== state) announce(this.#element, this.#texts.say(waiting_for === 'input' ? 'asks' : 'waits', { title: label }));
    else if (was === 'waiting' && was !== state) announce(this.#element, this.#element.ariaLabel);
  }

  /** @param {KnownCall} call */
  #showProgress({ state, progress }) {
    if (state !== 'running' || !progress) return this.#progress.replaceChildren();
    const { done, total, text = '' } = progress;
    const bar = h('progress', { ariaLabel: this.#state.textContent, ...(total && { max: total, value: done }) });
    this.#progress.replaceChildren(bar, ' ', ...visible(text));
  }

  // A part of it alone would say something else.
  #showDraft() {
    this.#frame = 0;
    const { state, draft } = this.#call ?? {};
    if (state !== 'preparing' || !draft?.trimStart().startsWith('{')) return;
    this.#body.replaceChildren(h('pre', { dir: 'ltr' }, ...visible(draft)));
  }

  #showArguments({ arguments: values = {}, edited }) {
    const { say } = this.#texts;
    const table = Object.keys(values).length ? argumentTable(values, say('arguments')) : h('p', { className: 'none' }, say('no_arguments'));
    this.#body.replaceChildren(table, ...(edited ? [h('p', { className: 'none' }, say('changed'))] : []));
  }

  // Whoever is deciding keeps what was typed, and the keyboard's place when somebody else has decided.
  /** @param {KnownCall} call */
  #showDecision(call) {
    const isWaiting = call.state === 'waiting' && !(call.waiting_for === 'client' && isRunning(this.#messageID, call));
    if (isWaiting && !this.#decision) {
      this.#decision = this.#ask(call);
      this.#body.after(this.#decision.element);
    } else if (isWaiting && this.#decision) {
      this.#decision.call = call;
    } else if (this.#decision) {
      this.#keepFocus(this.#decision.element);
      this.#decision.element.remove();
      this.#decision = undefined;
    }
  }

  /** @param {KnownCall} call */
  #ask(call) {
    const client = this.#actions.client();
    const about = { message_id: this.#messageID };
    if (call.waiting_for === 'input') return new Inputs(call, (input) => client.submitInput({ ...about, ...input }), this.#texts);
    const decide = (decision) => {
      const isOurs = call.waiting_for === 'client' && decision.decision === 'approve';
      return isOurs ? run(client, this.#messageID, call) : client.decide({ ...about, ...decision });
    };
    return new Decision(call, decide, this.#texts);
  }

  /** @param {KnownResult} result */
  #showResult({ content, structured, is_error, truncated, duration_ms }) {
    const { say, locale } = this.#texts;
    const text = content || (structured === undefined ? '' : JSON.stringify(structured, null, 2));
    const took = duration_ms ? ` · ${(duration_ms / 1000).toLocaleString(locale, { style: 'unit', unit: 'second', maximumFractionDigits: 1 })}` : '';
    this.#result.replaceChildren(h(
      'details',
      {},
      h('summary', {}, say(is_error && this.#call?.state !== 'denied' ? 'problem' : 'result') + took),
      h('pre', { tabIndex: 0, dir: 'auto' }, ...visible(text)),
      ...(truncated ? [h('p', { className: 'none' }, say('truncated'))] : []),
    ));
  }

  /** The answer has ended with this call. @param {string} reason */
  end(reason) {
    this.goOn();
    if (!cuts.includes(reason)) return;
    const fault = h('p', { className: 'fault', role: 'alert', dir: 'auto' });
    const button = h('button', { type: 'button', className: 'continue' }, this.#texts.say('continue'));
    button.onclick = () => this.#actions.client().continue(this.#messageID).catch(({ reason, message }) => (fault.textContent = this.#texts.explain({ reason, detail: message })));
    this.#end.append(button, fault);
  }

  /** The answer goes on. */
  goOn() {
    this.#keepFocus(this.#end);
    this.#end.replaceChildren();
  }

  // Of what is about to go.
  #keepFocus(element) {
    if (element.matches(':focus-within')) this.#element.focus();
  }
}
