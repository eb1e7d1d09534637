// @ts-check
// One question and its answer.
import { announce, copyButton, iconButton } from './buttons.js';
import { h } from './dom.js';
/** @import { Texts } from './texts.js' */
/** @import { Message, Problem, Rejection, Usage } from '../client/types.d.ts' */

const share = 4000; // characters shown in one frame; to lay out more would take too long
const maxAnnounced = 2000; // characters read out of one answer

/** What shows an answer's text: loaded for the first one. @type {{ start?: any, loading?: Promise<any>, load(): Promise<any> }} */
const renderer = {
  // start: markdown, when it is there
  load() {
    this.loading ??= import('./markdown.js').then(
      ({ markdown }) => (this.start = markdown),
      () => (this.start = plain), // it cannot be loaded now
    );
    return this.loading;
  },
};

function plain(element) {
  return { write: (piece) => element.append(piece), end() {} };
}

export class Turn {
  element = h('div', { className: 'turn' });
  id; // of the question, once it is stored
  #actions;
  #texts;
  #asked;
  #replaces;
  #isReturned = false; // the question, to the input
  /** @type {HTMLElement} */ #question;
  /** @type {HTMLElement} */ #answer;
  /** @type {HTMLElement} */ #text; // of the answer
  #parser; // of its Markdown
  #source = ''; // the same, as the model wrote it
  #shown = 0; // of its characters
  #reasoning;
  #frame;
  /** @type {(() => void) | null} */ #ending; // when all is shown

  /** @param {string | undefined} question none: its answer alone is known @param actions what its buttons do @param {Texts} texts @param {string} [replaces] id of a question */
  constructor(question, actions, texts, replaces) {
    this.#actions = actions;
    this.#texts = texts;
    this.#asked = question;
    this.#replaces = replaces;
    if (!question) return;
    this.#question = this.#add('user', new Date(), [question], [
      copyButton(texts, () => question),
      iconButton('edit', texts.say('edit'), { className: 'edit', onclick: () => actions.edit(question, this.id) }),
    ]);
    this.element.dataset.pending = '';
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
    this.#recall(this.#question, parts, status);
  }

  /** @param {Message} message the whole answer */
  answer({ content, created_at, finish_reason = 'stop', model, parts, reason, status, usage }) {
    this.#begin(new Date(created_at), model);
    this.#source = content;
    this.#finish(this.#texts.ending(finish_reason), usage);
    this.#recall(this.#answer, parts, status, reason);
  }

  /** What only some have. @param {HTMLElement} message as it is shown @param {Message['parts']} parts @param {string} [reason] */
  #recall(message, parts, status, reason) {
    const problem = status === 'failed' && this.#fail({ detail: '' }); // which history.js knows
    if (problem || parts) import('./history.js').then(({ recall }) => recall(this, message, parts, problem, reason, this.#texts));
  }

  start(model) {
    if (this.#question) this.#sent();
    this.#begin(new Date(), model);
    this.#answer.dataset.state = 'streaming';
    this.#actions.changed();
    announce(this.element, this.#texts.say('answering'));
  }

  #begin(at, model) {
    this.element.querySelector('.problem')?.remove();
    this.#source = '';
    this.#shown = 0;
    this.#reasoning = null;
    this.#answer = this.#add('assistant', at, [], [
      copyButton(this.#texts, () => this.#source),
      iconButton('retry', this.#texts.say('regenerate'), { className: 'regenerate', onclick: () => this.#actions.regenerate() }),
    ], model);
    this.#text = this.#answer.querySelector('.text');
    this.#parser = null;
    this.#later();
  }

  reason(piece) {
    if (!this.#reasoning) {
      this.#reasoning = h('p', { dir: 'auto' });
      this.#text.before(h('details', { className: 'reasoning' }, h('summary', {}, this.#texts.say('reasoning')), this.#reasoning));
    }
    this.#reasoning.append(piece);
  }

  append(piece) {
    this.#source += piece;
    this.#later();
  }

  // Once per frame of the screen; more would not show.
  #later() {
    this.#frame ??= requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    cancelAnimationFrame(this.#frame); // in a hidden page it may never come
    this.#frame = null;
    if (!renderer.start) return renderer.load().then(() => this.#later());
    this.#parser ??= renderer.start(this.#text, (text) => copyButton(this.#texts, text), this.#texts);
    const end = this.#shown + share;
    const isSplit = (this.#source.charCodeAt(end) & 0xfc00) === 0xdc00; // in the middle of a character
    const piece = this.#source.slice(this.#shown, end + Number(isSplit));
    this.#shown += piece.length;
    this.#parser.write(piece);
    if (this.#shown < this.#source.length) return this.#later();
    this.#ending?.();
    this.#ending = null;
  }

  end(reason = 'stop', usage) {
    this.#finish(this.#texts.ending(reason), usage, () => announce(this.element, this.#text.textContent.slice(0, maxAnnounced)));
    this.#actions.changed();
  }

  /** @param {string} note @param {Usage} [usage] @param {() => void} [then] */
  #finish(note, usage, then) {
    if (this.#question) this.#sent();
    if (!this.#answer) return;
    this.#ending = () => {
      this.#parser.end();
      this.#answer.dataset.state = 'ended';
      this.#answer.querySelector('.note').append(note);
      if (usage) this.#answer.querySelector('.meta').append(...usageButton(usage, this.#texts));
      then?.();
    };
    this.#flush();
  }

  /** @param {Problem | Rejection[]} problem */
  fail(problem) {
    this.#finish(this.#texts.ending('error'));
    this.#actions.changed();
    delete this.element.dataset.pending;
    const isRefused = !this.id && !this.#answer;
    if (isRefused && this.#actions.refused(this, this.#asked, this.#replaces)) this.#giveBack();
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
    if (!this.#source) this.#answer?.remove();
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
    if (this.id && !this.element.nextElementSibling) return this.#actions.regenerate();
    if (this.#actions.ask(this.#asked, this.#replaces)) (this.id || this.#source ? problem : this.element).remove();
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
