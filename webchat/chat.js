// @ts-check
// The page. What people and models wrote goes in as text, never as markup.
import { Connection, Conversation } from './client.js';
import { record } from './logs.js';
import { Sidebar } from './sidebar.js';
import { isUnknownAction, StoredConversation } from './stored.js';
import { announce, copy, find, Turn } from './turn.js';

const input = find('#input');
const log = find('#log');
const logs = find('#logs');
const messages = find('#messages');

const url = new URL(find('meta[name=assistant-url]').content, location.href);
url.protocol = url.protocol.replace('http', 'ws'); // https: wss

const connection = new Connection(url.href, {
  state() {
    if (connection.state === 'connected') arrived();
    showStatus();
    showButtons();
  },
  lost: tellLoss,
  frame(frame) {
    if (!isKept() && isUnknownAction(frame)) return; // from before the fallback
    sidebar.receive(frame);
    conversation.receive(frame);
  },
  log: record,
  isHidden: () => document.hidden,
});
const send = (frame) => connection.send(frame);
const sidebar = new Sidebar(send);
const actions = { ask, edit, regenerate: () => conversation.regenerate(), changed: showButtons };

/** @type {any} */ let conversation;
let target = messages;

const view = {
  turn(question) {
    const turn = new Turn(question, actions);
    target.append(turn.element);
    return turn;
  },
  notice,
  clear: () => messages.replaceChildren(),
  restored: toEnd,
  titled(about) {
    const { conversation_id, title } = about;
    document.title = title || 'Assistant';
    if (!location.hash) history.replaceState(null, '', `#${conversation_id}`);
    sidebar.opened(about);
    showButtons();
  },
  prepend(show) {
    const below = log.scrollHeight - log.scrollTop;
    target = document.createDocumentFragment();
    show();
    messages.prepend(target);
    target = messages;
    log.scrollTop = log.scrollHeight - below; // the reader's place
  },
  gone(detail) {
    sidebar.forget(conversation.id);
    open();
    notice(detail);
  },
  // The server keeps nothing: it knows the tutorial's actions alone.
  fallback(questions) {
    document.body.dataset.kept = 'false';
    showNew();
    conversation = new Conversation(send, view);
    for (const question of questions) ask(question);
  },
};

function notice(text) {
  messages.append(copy('notice', { p: text }));
  announce(text);
}

// Shows a conversation, or a new one, which its first question creates.
function open(id) {
  conversation?.leave();
  showNew(id);
  conversation = new StoredConversation(send, view, id);
  conversation.join();
  showButtons();
}

function showNew(id) {
  view.clear();
  if (replaces) edit('');
  document.title = 'Assistant';
  history.replaceState(null, '', id ? `#${id}` : location.pathname + location.search);
  sidebar.opened({ conversation_id: id });
}

function arrived() {
  announce('Connected');
  if (isKept()) sidebar.load();
  if (isKept()) conversation.join();
}

const isKept = () => conversation instanceof StoredConversation;

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

function ask(question, replaces) {
  const sent = conversation.ask(question, replaces);
  remembers ||= sent && !isKept();
  if (sent) toEnd();
  showButtons();
  return sent;
}

function submit(event) {
  event.preventDefault();
  if (!input.value.trim() || !ask(input.value, replaces)) return;
  edit('');
  input.focus();
}

let replaces; // id of the question that is being edited

function edit(text, id) {
  input.value = text;
  replaces = id;
  show('#editing', Boolean(id));
  if (id) input.focus();
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
  show('#stop', conversation.busy && !isDown);
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
  if (lastTop < 200) conversation.page?.();
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
find('#new').onclick = () => (open(), input.focus());
find('#cancel').onclick = () => edit('');
document.onkeydown = pressed;
document.onvisibilitychange = window.ononline = () => document.hidden || connection.wake();

window.onhashchange = () => isKept() && open(location.hash.slice(1));

input.value = storage.assistantDraft ?? '';
open(location.hash.slice(1));
connection.open();
