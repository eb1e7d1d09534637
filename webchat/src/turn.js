// @ts-check
// One question and its answer.
import { announce, copyButton, iconButton } from './buttons.js';
import { h } from './dom.js';
import { tell } from '../client/stored.js';
import { Prose } from './prose.js';
/** @import { Texts } from './texts.js' */
/** @import { FilePart, KnownCall, KnownResult, Message, Problem, Rejection, Usage } from '../client/types.d.ts' */

const maxAnnounced = 2000; // characters read out of one answer

/** Loaded once, so that what it shows keeps its order. @type {Promise<typeof import('./history.js')> | undefined} */
let history;

export class Turn {
  element = h('div', { className: 'turn' });
  id; // of the question, once it is stored
  #actions;
  #texts;
  #asked;
  #replaces;
  #parts; // images and files of the question
  #isReturned = false; // the question, to the input
  /** @type {HTMLElement} */ #question;
  /** @type {HTMLElement} */ #answer;
  /** @type {HTMLElement} */ #text; // of the answer
  /** @type {Prose} */ #prose; // in it
  #source = ''; // the same, as the model wrote it
  /** @type {Promise<import('./reasoning.js').Reasoning | null> | null} */ #reasoning; // before the answer
  #isReasoning = false;
  #isWritten = false; // something is after the last call
  #answerID;
  /** @type {Map<string, Promise<import('./calls.js').Card | void>>} */ #cards; // of calls, by id
  /** @type {Promise<import('./calls.js').Card | void> | undefined} */ #card; // the last one

  /** @param {string | undefined} question none: its answer alone is known @param actions what its buttons do @param {Texts} texts @param {string} [replaces] id of a question @param {FilePart[]} [parts] of the question */
  constructor(question, actions, texts, replaces, parts) {
    this.#actions = actions;
    this.#texts = texts;
    this.#asked = question;
    this.#replaces = replaces;
    this.#parts = parts;
    if (question == null) return;
    this.#question = this.#add('user', new Date(), [question], [
      copyButton(texts, () => question),
      iconButton('edit', texts.say('edit'), { className: 'edit', onclick: () => actions.edit(question, this.id, this.#parts) }),
    ]);
    this.element.dataset.pending = '';
    this.#recall(this.#question, parts);
  }

  #add(role, at, text, buttons, model = '') {
    const message = h(
      'article',
      { className: 'message', part: role === 'user' ? 'question' : 'answer' },
      h('h2', { className: 'unseen' }, this.#texts.say(role === 'user' ? 'you' : 'assistant')),
      h('div', { className: 'text' }, ...text),
      h('p', { className: 'meta' }, time(at, this.#texts), h('span', { className: 'model' }, model), h('span', { className: 'note' }), ...buttons),
    );
    message.dataset.role = role;
    this.element.append(message);
    return message;
  }

  queue() {
    this.#question.dataset.state = 'queued';
    this.#noteQuestion(this.#texts.say('queued'));
  }

  #sent() {
    this.#question.dataset.state = 'sent';
    this.#noteQuestion('');
  }

  #noteQuestion(note) {
    this.#question.querySelector('.note').textContent = note;
  }

  /** Goes before those that wait. @param {Message} message the question as it is stored */
  accept({ message_id, created_at, status, parts }) {
    this.id = message_id;
    this.#question.querySelector('time').replaceWith(time(new Date(created_at), this.#texts));
    this.#sent();
    delete this.element.dataset.pending;
    this.element.parentNode.querySelector('[data-pending]')?.before(this.element);
    this.#parts = parts?.filter((part) => part.file_id);
    this.#recall(this.#question, parts, status);
  }

  /** @param {Message} message the whole answer */
  answer({ content, created_at, finish_reason, message_id, model, parts, reason, status, usage }) {
    this.#begin(new Date(created_at), model, message_id);
    tell(this, parts ?? [{ type: 'text', text: content }]);
    this.#finish(finish_reason, usage);
    this.#recall(this.#answer, parts?.filter((part) => !part.source_id), status, reason); // sources are told
  }

  /** What only some have. @param {HTMLElement} message as it is shown @param {any[] | undefined} parts @param {string} [status] @param {string} [reason] */
  #recall(message, parts, status, reason) {
    const problem = status === 'failed' && this.#fail({ detail: '' }); // which history.js knows
    const isPartial = parts?.some((part) => part.text == null && !part.call_id);
    if (problem || isPartial) (history ??= import('./history.js')).then(({ recall }) => recall(message, isPartial ? parts : [], problem, reason, this.#texts, this.#actions.url));
  }

  start(model, id, isResumed) {
    if (this.#question) this.#sent();
    if (isResumed && id === this.#answerID) this.#resume();
    else this.#begin(new Date(), model, id);
    this.#answer.dataset.state = 'streaming';
    this.#actions.changed();
    announce(this.element, this.#texts.say('answering'));
  }

  #begin(at, model, id) {
    this.element.querySelector('.problem')?.remove();
    this.#source = '';
    this.#answerID = id;
    this.#cards = new Map();
    this.#card = undefined;
    this.#answer = this.#add('assistant', at, [], [
      copyButton(this.#texts, () => this.#source),
      iconButton('retry', this.#texts.say('regenerate'), { className: 'regenerate', onclick: () => this.#actions.regenerate() }),
    ], model);
    this.#text = this.#answer.querySelector('.text');
    this.#isWritten = false;
    this.#write();
  }

  // The answer goes on after what has ended.
  #resume() {
    this.element.querySelector('.problem')?.remove();
    this.#note('');
    this.#write();
    this.#card?.then((card) => card?.goOn());
  }

  // What comes next has an element of its own, with its own reasoning.
  #write() {
    const text = h('div', { className: 'text' });
    if (this.#isWritten) this.#text.after(text);
    else this.#text.replaceWith(text);
    if (this.#source) this.#source += '\n\n';
    this.#text = text;
    this.#prose = new Prose(text, this.#texts);
    this.#reasoning = null;
    this.#isReasoning = this.#isWritten = false;
  }

  /** @param {KnownCall | KnownResult} part */
  part(part) {
    if (!part.call_id) return this.#recall(this.#answer, [part]);
    let card = this.#cards.get(part.call_id);
    if (!card) {
      if (this.#isWritten) {
        this.#endText(() => {});
        this.#write();
      }
      const place = h('div');
      this.#text.before(place);
      const message_id = this.#answerID;
      const begin = ({ Card }) => new Card(place, message_id, this.#actions, this.#texts);
      card = import('./calls.js').then(begin, () => place.append(this.#texts.say('unshown')));
      this.#cards.set(part.call_id, card);
      this.#card = card;
    }
    card.then((card) => card?.show(part));
  }

  /** @param {string} piece of the model's reasoning @param {boolean} [isLive] or it is from before */
  reason(piece, isLive) {
    const text = this.#text;
    const begin = ({ Reasoning }) => new Reasoning(text, (element) => new Prose(element, this.#texts), this.#texts, isLive);
    this.#reasoning ??= import('./reasoning.js').then(begin, () => null); // it cannot be loaded now
    const isOver = this.#answer.dataset.state !== 'streaming';
    this.#reasoning.then((reasoning) => (reasoning?.write(piece), isOver && reasoning?.end()));
    this.#isReasoning = this.#isWritten = true;
  }

  append(piece) {
    if (this.#isReasoning) this.#reasoning.then((reasoning) => reasoning?.pause());
    this.#isReasoning = false;
    this.#isWritten = true;
    this.#source += piece;
    this.#prose.write(piece);
  }

  end(reason = 'stop', usage) {
    const text = this.#text;
    this.#finish(reason, usage, () => text.textContent && announce(this.element, text.textContent.slice(0, maxAnnounced)));
    this.#actions.changed();
  }

  /** @param {string} [reason] @param {Usage} [usage] @param {() => void} [then] */
  #finish(reason = 'stop', usage, then) {
    if (this.#question) this.#sent();
    if (!this.#answer) return;
    const prose = this.#prose;
    if (!this.#isWritten) this.#card?.then((card) => card?.end(reason));
    this.#endText(() => {
      if (prose !== this.#prose) return; // it has gone on
      this.#answer.dataset.state = 'ended';
      this.#note(this.#texts.ending(reason), usage);
      then?.();
    });
  }

  // How the answer ended, in the place of how it had ended before.
  #note(note, usage) {
    this.#answer.querySelector('.note').textContent = note;
    for (const old of this.#answer.querySelectorAll('.usage, .tokens')) old.remove();
    if (usage) this.#answer.querySelector('.meta').append(...usageButton(usage, this.#texts));
  }

  /** @param {() => void} then */
  #endText(then) {
    this.#reasoning?.then((reasoning) => reasoning?.end());
    this.#prose.end(then);
  }

  /** @param {Problem | Rejection[]} problem */
  fail(problem) {
    this.#finish('error');
    this.#actions.changed();
    delete this.element.dataset.pending;
    const isRefused = !this.id && !this.#answer;
    if (isRefused && this.#actions.refused(this, this.#asked, this.#replaces, this.#parts)) this.#giveBack();
    this.#fail(problem);
    announce(this.element, this.#texts.explain(problem));
  }

  // The question is in the input; what went wrong stays.
  #giveBack() {
    this.#question.remove();
    this.#isReturned = true;
  }

  // Only a partial answer stays, as in the model's memory.
  /** @param {Problem | Rejection[]} problem */
  #fail(problem) {
    if (!this.#source && !this.#card) this.#answer?.remove();
    return this.#problem(problem);
  }

  /** @param {Problem | Rejection[]} problem */
  #problem(problem) {
    const retry = retryButton(/** @type {Problem} */ (problem), this.#texts, () => this.#retry(element));
    const element = h('div', { className: 'problem' }, h('p', { dir: 'auto' }, this.#texts.explain(problem)), retry);
    this.element.append(element);
    return element;
  }

  // The last question of a stored conversation need not be asked twice.
  #retry(problem) {
    if (this.#isReturned) return this.#actions.submit();
    if (this.id && this.element.matches(':last-of-type')) return this.#actions.regenerate();
    if (this.#actions.ask(this.#asked, this.#replaces, this.#parts)) (this.id || this.#source ? problem : this.element).remove();
  }
}

/** A button to ask again, hidden where that cannot help. @param {Problem} problem @param {Texts} texts @param {() => void} onclick */
export function retryButton({ retryable, retry_after_ms = 0 }, texts, onclick) {
  const button = h('button', { className: 'retry', hidden: !retryable, onclick });
  hold(button, performance.now() + retry_after_ms, texts);
  return button;
}

/** Until then the button says when. @param {HTMLButtonElement} button @param {number} until by the clock of performance @param {Texts} texts */
function hold(button, until, texts) {
  const left = until - performance.now();
  button.disabled = left > 0;
  button.textContent = left > 0 ? texts.say('retry_later', { when: texts.when(left) }) : texts.say('retry');
  if (left > 0) setTimeout(() => hold(button, until, texts), Math.min(left, 1000));
}

/** @param {Date} at @param {Texts} texts */
function time(at, { locale }) {
  return h('time', { dateTime: at.toISOString(), title: at.toLocaleString(locale) }, at.toLocaleTimeString(locale, { timeStyle: 'short' }));
}

/** The button, and what it shows. @param {Usage} usage @param {Texts} texts */
function usageButton({ input_tokens, output_tokens, estimated }, { say }) {
  const text = h('span', { className: 'tokens', hidden: true }, say(estimated ? 'tokens_estimated' : 'tokens', { input: input_tokens, output: output_tokens }));
  const button = iconButton('info', say('usage'), { className: 'usage', ariaExpanded: 'false' });
  button.onclick = () => {
    button.ariaExpanded = String(text.hidden);
    text.hidden = !text.hidden;
  };
  return [button, text];
}
