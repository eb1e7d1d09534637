// @ts-check
// The page. What people and models wrote goes in as text, never as markup.
import { Connection, Conversation } from './client.js';

/** @returns {any} */
const find = (selector) => document.querySelector(selector);
const input = find('#input');
const log = find('#log');
const logs = find('#logs');
const messages = find('#messages');

// A copy of a template, with texts put in by selector.
function copy(template, texts) {
  const element = find(`#${template}`).content.cloneNode(true).firstElementChild;
  for (const part in texts) element.querySelector(part).append(texts[part]);
  return element;
}

// For whoever cannot see it.
function announce(text) {
  find('#announcer').textContent = text;
}

function notice(text) {
  messages.append(copy('notice', { p: text }));
  announce(text);
}

const endings = {
  stop: '',
  stopped: 'Stopped',
  length: 'Cut at the length limit',
  content_filter: 'Cut by the content filter',
};

class Turn {
  #element = copy('turn');
  #question;
  #answer;
  #pending = '';
  #frame;

  constructor(question) {
    this.#question = this.#add('user', question, '');
    this.retry = () => ask(question);
    messages.append(this.#element);
  }

  #add(role, text, model) {
    const now = new Date();
    const time = now.toLocaleTimeString([], { timeStyle: 'short' });
    const message = copy('message', { '.text': text, time, '.model': model });
    message.querySelector('time').dateTime = now.toISOString();
    message.ariaLabel = message.dataset.role = role;
    this.#element.append(message);
    return message;
  }

  queue() {
    this.#question.dataset.state = 'queued';
  }

  start(model = '') {
    this.#question.dataset.state = 'sent';
    this.#answer = this.#add('assistant', '', model);
    this.#answer.dataset.state = 'streaming';
  }

  // Once per frame of the screen; more would not show.
  append(piece) {
    this.#pending += piece;
    this.#frame ??= requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    cancelAnimationFrame(this.#frame); // in a hidden page it may never come
    this.#frame = null;
    this.#answer.querySelector('.text').append(this.#pending);
    this.#pending = '';
  }

  end(reason = 'stop') {
    this.#finish(endings[reason] ?? reason);
    announce(this.#answer.textContent);
  }

  #finish(note) {
    showButtons();
    this.#question.dataset.state = 'sent';
    if (!this.#answer) return;
    this.#answer.dataset.state = 'ended';
    this.#flush();
    this.#answer.querySelector('.note').append(note);
  }

  // Only a partial answer stays, as in the model's memory.
  fail({ detail, retryable }) {
    this.#finish('Incomplete');
    const isPartial = this.#answer?.querySelector('.text').textContent;
    if (!isPartial) this.#answer?.remove();
    const problem = copy('problem', { p: detail });
    const retry = problem.querySelector('button');
    retry.hidden = !retryable;
    retry.onclick = () => this.retry() && (isPartial ? problem : this.#element).remove();
    this.#element.append(problem);
    announce(detail);
  }
}

// The latest frames; rendered only while the dialog is open.

const maxEntries = 1000;
const maxLength = 20_000; // characters; a megabyte would freeze the dialog
let unseen = [];

function record(kind, text) {
  unseen.push({ kind, text: text.slice(0, maxLength), at: new Date() });
  if (unseen.length > maxEntries) unseen.shift();
  if (logs.open && unseen.length === 1) requestAnimationFrame(showEntries);
}

function showEntries() {
  const list = find('#logs-list');
  list.prepend(...unseen.reverse().map(entry));
  unseen = [];
  while (list.childElementCount > maxEntries) list.lastChild.remove();
}

function entry({ kind, text, at }) {
  const element = copy('entry', { time: `[${at.toLocaleTimeString()}]`, b: kind.toUpperCase(), pre: pretty(text) });
  element.dataset.kind = kind;
  return element;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // cut, or no JSON
  }
}

const url = new URL(find('meta[name=assistant-url]').content, location.href);
url.protocol = url.protocol.replace('http', 'ws'); // https: wss

const connection = new Connection(url.href, {
  state() {
    if (connection.state === 'connected') announce('Connected');
    showStatus();
    showButtons();
  },
  lost: tellLoss,
  frame: (frame) => conversation.receive(frame),
  log: record,
  isHidden: () => document.hidden,
});
const conversation = new Conversation((frame) => connection.send(frame), {
  turn: (question) => new Turn(question),
  notice,
});

let ticker;

function showStatus() {
  const { state, retryAt } = connection;
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  const shown = state === 'reconnecting' && !navigator.onLine ? 'offline' : state;
  const label = shown === 'reconnecting' ? `${shown} in ${seconds} s` : shown;
  find('#status').dataset.state = shown;
  find('#status').textContent = label[0].toUpperCase() + label.slice(1);
  clearTimeout(ticker);
  if (state === 'reconnecting') ticker = setTimeout(showStatus, 1000);
}

let remembers = false;

function tellLoss(code, reason) {
  let detail = 'The connection was lost.';
  if (code === 1008) detail = `The server ended the connection: ${reason || code}.`;
  if (code === 1009) detail = 'The message was too large.';
  conversation.lose({ detail, retryable: code !== 1009 });
  if (remembers || code === 1008) notice(`${detail} The assistant does not remember what was said above.`);
  remembers = false;
}

function ask(question) {
  const sent = conversation.ask(question);
  remembers ||= sent;
  if (sent) toEnd();
  showButtons();
  return sent;
}

function submit(event) {
  event.preventDefault();
  if (!input.value.trim() || !ask(input.value)) return;
  input.value = '';
  input.focus();
  edited();
}

function pressed(event) {
  const { key, target, shiftKey, isComposing, keyCode } = event;
  if (isComposing || keyCode === 229) return; // 229: Safari, for the last key of a composition
  if (key === 'Escape' && !logs.open) conversation.stop();
  if (key !== 'Enter' || shiftKey || target !== input) return;
  event.preventDefault();
  find('#composer').requestSubmit();
}

let storage = {}; // of the draft, unless the browser forbids it
try {
  storage = sessionStorage;
} catch {}

function edited() {
  showButtons();
  storage.assistantDraft = input.value;
}

// While an answer runs, Stop replaces Send, until there is a draft.
function showButtons() {
  const { state } = connection;
  const isDown = state === 'reconnecting' || state === 'closed';
  const isBlank = !input.value.trim();
  show('#reconnect', isDown);
  show('#stop', conversation.busy);
  show('#send', !isDown && !(isBlank && conversation.busy));
  find('#send').disabled = isBlank || state !== 'connected';
}

function show(selector, visible) {
  const button = find(selector);
  if (!visible && button.matches(':focus-visible')) input.focus(); // not to lose a keyboard's place
  button.hidden = !visible;
}

// Follows the text until the reader goes up.
let following = true;
let lastTop = 0;

function scrolled() {
  const gap = log.scrollHeight - log.clientHeight - log.scrollTop;
  following = log.scrollTop < lastTop ? gap < 2 : following || gap < 32;
  lastTop = log.scrollTop;
  show('#latest', !following);
}

function toEnd() {
  following = true;
  log.scrollTop = log.scrollHeight;
}

const resized = new ResizeObserver(() => (following ? toEnd() : scrolled()));
resized.observe(log);
resized.observe(messages);

log.onscroll = scrolled;
input.oninput = edited;
find('#composer').onsubmit = submit;
find('#latest').onclick = toEnd;
find('#stop').onclick = () => conversation.stop();
find('#reconnect').onclick = () => connection.open();
find('#view-logs').onclick = () => (logs.showModal(), showEntries());
find('#logs-close').onclick = () => logs.close();
find('#logs-clear').onclick = () => find('#logs-list').replaceChildren();
document.onkeydown = pressed;
document.onvisibilitychange = window.ononline = () => document.hidden || connection.wake();

input.value = storage.assistantDraft ?? '';
edited();
connection.open();
