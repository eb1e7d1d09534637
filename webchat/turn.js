// @ts-check
// One question and its answer. What people and models wrote goes in as text, never as markup.
import { markdown } from './markdown.js';
/** @import { Message } from './types.d.ts' */

/** @returns {any} */
export const find = (selector) => document.querySelector(selector);

/** A copy of a template, with texts put in by selector. */
export function copy(template, texts) {
  const element = find(`#${template}`).content.cloneNode(true).firstElementChild;
  for (const part in texts) element.querySelector(part).append(texts[part]);
  return element;
}

/** For whoever cannot see it. */
export function announce(text) {
  find('#announcer').textContent = text;
}

const endings = {
  stop: '',
  stopped: 'Stopped',
  length: 'Cut at the length limit',
  content_filter: 'Cut by the content filter',
  budget: 'Cut at the end of the budget',
  interrupted: 'Interrupted',
  error: 'Incomplete',
};

export class Turn {
  element = copy('turn');
  id; // of the question, once it is stored
  #actions;
  #asked;
  #question;
  #answer;
  #text; // of the answer, as it grows
  #source = '';
  #pending = '';
  #frame;

  /** @param {string | undefined} question none: its answer alone is known @param actions what its buttons do */
  constructor(question, actions) {
    this.#actions = actions;
    this.#asked = question;
    if (!question) return;
    this.#question = this.#add('user', question);
    this.element.dataset.pending = '';
  }

  #add(role, text, { model = '', at = new Date() } = {}) {
    const time = at.toLocaleTimeString([], { timeStyle: 'short' });
    const message = copy('message', { '.text': text, time, '.model': model });
    message.querySelector('time').dateTime = at.toISOString();
    message.ariaLabel = message.dataset.role = role;
    message.querySelector('.copy').onclick = () => this.#copy(role === 'user' ? text : this.#source);
    message.querySelector('.copy').hidden = !navigator.clipboard; // without TLS there is none
    message.querySelector('.edit').onclick = () => this.#actions.edit(text, this.id);
    message.querySelector('.regenerate').onclick = () => this.#actions.regenerate();
    message.querySelector(role === 'user' ? '.regenerate' : '.edit').remove();
    this.element.append(message);
    return message;
  }

  async #copy(text) {
    await navigator.clipboard.writeText(text);
    announce('Copied');
  }

  queue() {
    this.#question.dataset.state = 'queued';
  }

  /** Goes before those that wait. @param {Message} message the question as it is stored */
  accept({ message_id, created_at, status }) {
    this.id = message_id;
    const at = new Date(created_at);
    const time = this.#question.querySelector('time');
    time.textContent = at.toLocaleTimeString([], { timeStyle: 'short' });
    time.dateTime = at.toISOString();
    this.#question.dataset.state = 'sent';
    delete this.element.dataset.pending;
    this.element.parentNode.querySelector('[data-pending]')?.before(this.element);
    if (status === 'failed') this.#problem({ detail: 'This question was not answered.', retryable: true });
  }

  /** @param {Message} message the whole answer */
  answer({ content, created_at, finish_reason = 'stop', status }) {
    this.element.querySelector('.problem')?.remove();
    this.#answerIn({ at: new Date(created_at) });
    this.append(content);
    this.#finish(endings[finish_reason] ?? finish_reason);
    if (status === 'failed') this.#fail({ detail: 'The answer failed.', retryable: true });
  }

  start(model) {
    if (this.#question) this.#question.dataset.state = 'sent';
    this.element.querySelector('.problem')?.remove();
    this.#answerIn({ model });
    this.#answer.dataset.state = 'streaming';
    this.#actions.changed();
  }

  #answerIn(details) {
    this.#source = '';
    this.#answer = this.#add('assistant', '', details);
    this.#text = markdown(this.#answer.querySelector('.text'));
  }

  // Once per frame of the screen; more would not show.
  append(piece) {
    this.#pending += piece;
    this.#frame ??= requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    cancelAnimationFrame(this.#frame); // in a hidden page it may never come
    this.#frame = null;
    this.#text.write(this.#pending);
    this.#source += this.#pending;
    this.#pending = '';
  }

  end(reason = 'stop') {
    this.#finish(endings[reason] ?? reason);
    this.#actions.changed();
    announce(this.#answer.querySelector('.text').innerText);
  }

  #finish(note) {
    if (this.#question) this.#question.dataset.state = 'sent';
    if (!this.#answer) return;
    this.#answer.dataset.state = 'ended';
    this.#flush();
    this.#text.end();
    this.#answer.querySelector('.note').append(note);
  }

  fail(problem) {
    this.#finish('Incomplete');
    this.#actions.changed();
    delete this.element.dataset.pending;
    this.#fail(problem);
    announce(problem.detail);
  }

  // Only a partial answer stays, as in the model's memory.
  #fail(problem) {
    if (!this.#source) this.#answer?.remove();
    this.#problem(problem);
  }

  #problem({ detail, retryable }) {
    const problem = copy('problem', { p: detail });
    const retry = problem.querySelector('button');
    retry.hidden = !retryable;
    retry.onclick = () => this.#retry(problem);
    this.element.append(problem);
  }

  // The last question of a stored conversation need not be asked twice.
  #retry(problem) {
    if (this.id && !this.element.nextElementSibling) return this.#actions.regenerate();
    if (this.#actions.ask(this.#asked)) (this.id || this.#source ? problem : this.element).remove();
  }
}
