// How the chat page follows a stored conversation: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { StoredConversation } from '../../webchat/client/stored.js';

const topic = 'conversation:c';
const at = '2000-01-01T00:00:00Z';
const about = { conversation_id: 'c', title: '', created_at: at, updated_at: at };

let conversation, connected, sent, shown, unsent;

function turnView(question = '?') {
  const show = (...words) => shown.push([question, ...words].filter(Boolean).join(' '));
  return {
    queue: () => show('queued'),
    accept: ({ message_id }) => show('is', message_id),
    answer: ({ content, finish_reason }) => show('answered', content, finish_reason),
    start: (model) => show('started', model),
    reason: (piece) => show('thought', piece),
    append: (piece) => piece && show('+', piece),
    end: (reason, usage) => show('ended', reason, usage?.output_tokens),
    fail: (problem) => show('failed', why(problem), problem.retryable && 'retryable'),
  };
}

/** It goes to the view as it is: with a sentence or a reason alone, or what a validator said. */
function why(problem) {
  return Array.isArray(problem) ? problem[0].type : problem.detail ?? problem.reason;
}

function converse(id, questions) {
  const send = (frame) => connected && sent.push(frame) > 0;
  conversation = new StoredConversation(
    send,
    {
      turn: (question) => (shown.push(`turn ${question}`), turnView(question)),
      notice: ({ reason, detail }) => shown.push(`notice ${detail ?? reason}`),
      problem: (problem) => shown.push(`problem ${why(problem)}`),
      unsent: (questions) => (unsent = questions),
      emptied: (id) => shown.push(`emptied ${id}`),
      clear: () => shown.push('clear'),
      restored() {},
      titled: ({ title }) => title && shown.push(`title ${title}`),
      prepend: (show) => (shown.push('older'), show()),
      gone: (problem) => shown.push(`gone ${why(problem)}`),
      fallback: (unsent) => shown.push(`fallback ${unsent().map(({ content }) => content)}`),
      resumed: () => shown.push('resumed'),
    },
    id,
    questions,
  );
}

beforeEach(() => {
  [connected, sent, shown, unsent] = [true, [], [], []];
});

/** What is shown for these frames. */
function shows(...frames) {
  shown = [];
  for (const frame of frames) conversation.receive({ version: 1, topic, ...frame });
  return shown;
}

/** What is sent while action runs, without the parts that chance makes. */
function sends(action) {
  sent = [];
  action();
  return sent.map(({ ref, ...frame }) => frame);
}

const event = (seq, action, payload) => ({ action, payload, seq });
const asked = (seq, content, client_id, message_id = `m${seq}`) => event(seq, 'user_message', { message_id, client_id, content, created_at: at });
const start = (seq, message_id = `m${seq}`) => event(seq, 'streaming_start', { content: '', message_id, model: 'demo' });
const piece = (seq, content) => event(seq, 'streaming', { content });
const end = (seq, finish_reason = 'stop') => event(seq, 'complete_streaming', { content: '', finish_reason });
const subscribed = (recovered, epoch = 'e1') => ({ action: 'subscribed', payload: { epoch, seq: 0, recovered, streaming: null } });
const snapshot = (seq, messages = [], streaming = null, has_more = false) => ({
  action: 'snapshot',
  payload: { conversation: about, messages, has_more, streaming },
  ...(seq && { seq }),
});
const user = (message_id, content, client_id) => ({ message_id, role: 'user', content, client_id, status: 'complete', created_at: at });
const answer = (message_id, content, finish_reason = 'stop') => ({ message_id, role: 'assistant', content, finish_reason, status: 'complete', created_at: at });

/** A conversation that has been opened, and holds nothing. */
function opened() {
  converse('c');
  conversation.join();
  shows(subscribed(false), snapshot(0));
}

/** The id that the last question was sent with. */
const clientID = () => sent.findLast(({ action }) => action === 'send_message').payload.client_id;

test('the first question creates, opens and asks', () => {
  converse();
  assert.deepEqual(sends(() => conversation.join()), []);
  assert.deepEqual(sends(() => conversation.ask('A')), [{ action: 'create_conversation', payload: null }]);
  const { ref } = sent[0];
  assert.deepEqual(
    sends(() => conversation.receive({ action: 'conversation_created', payload: about, ref })),
    [{ action: 'subscribe', payload: null, topic }],
  );
  assert.deepEqual(
    sends(() => shows(subscribed(false), snapshot(0))).map(({ action, payload }) => [action, payload.content]),
    [['send_message', 'A']],
  );
  assert.deepEqual(shows(asked(1, 'A', clientID()), start(2), piece(3, 'one'), end(4)), ['A is m1', 'A started demo', 'A + one', 'A ended stop']);
  assert.equal(conversation.busy, false);
});

const refusal = { action: 'error', payload: { detail: 'Too many.', reason: 'rate_limited' } };

test('a first question that is refused leaves no conversation, and the next creates another', () => {
  converse();
  conversation.ask('A');
  conversation.ask('B');
  conversation.receive({ action: 'conversation_created', payload: about, ref: sent[0].ref });
  shows(subscribed(false), snapshot(0));
  const [first, second] = unsent;
  assert.deepEqual(sends(() => shows({ ...refusal, ref: first.id })), [], 'the other is under way');
  assert.deepEqual(
    sends(() => assert.deepEqual(shows({ ...refusal, ref: second.id }), ['B failed Too many.', 'emptied c'])),
    [{ action: 'delete_conversation', payload: { conversation_id: 'c' } }],
  );
  assert.deepEqual(unsent, []);
  assert.deepEqual(shows(event(1, 'conversation_deleted', { conversation_id: 'c' })), []);
  assert.deepEqual(sends(() => conversation.ask('C')), [{ action: 'create_conversation', payload: null }]);
});

test('a refusal in a conversation that has begun leaves it', () => {
  opened();
  conversation.ask('A');
  shows(asked(1, 'A', clientID()), start(2), end(3));
  conversation.ask('B');
  assert.deepEqual(sends(() => assert.deepEqual(shows({ ...refusal, ref: unsent[0].id }), ['B failed Too many.'])), []);
});

test('what was not sent is asked by the next page, by the same id', () => {
  converse('c', [{ id: 'one', content: 'A', replaces: 'm1' }, { id: 'two', content: 'B' }]);
  conversation.join();
  const before = { ...about, title: 'Before' };
  const payload = { conversation: before, messages: [user('m2', 'A', 'one')], has_more: false, streaming: null };
  assert.deepEqual(
    sends(() => shows(subscribed(false), { action: 'snapshot', payload, seq: 4 })).map(({ payload }) => payload),
    [{ content: 'B', client_id: 'two', replaces: undefined, parts: undefined }],
  );
  assert.deepEqual(unsent, [{ id: 'two', content: 'B' }]);
});

test('a snapshot shows the history and the running answer so far', () => {
  converse('c');
  conversation.join();
  assert.deepEqual(
    shows(subscribed(false), snapshot(7, [user('m1', 'A'), answer('m2', 'one'), user('m3', 'B')], { message_id: 'm4', content: 'tw' }), piece(8, 'o'), end(9)),
    ['clear', 'turn A', 'A is m1', 'A answered one stop', 'turn B', 'B is m3', 'B started', 'B + tw', 'B + o', 'B ended stop'],
  );
});

test('reasoning is shown as it comes, and again from a snapshot', () => {
  opened();
  const complete = event(5, 'complete_streaming', { content: '', finish_reason: 'stop', usage: { input_tokens: 9, output_tokens: 2 } });
  assert.deepEqual(shows(asked(1, 'A'), start(2), event(3, 'reasoning', { content: 'Hm.' }), piece(4, 'one'), complete), [
    'turn A',
    'A is m1',
    'A started demo',
    'A thought Hm.',
    'A + one',
    'A ended stop 2',
  ]);
  conversation.join();
  assert.deepEqual(shows(subscribed(false, 'e2'), snapshot(3, [user('m1', 'A')], { message_id: 'm2', content: '', reasoning: 'Hm.' })).slice(-2), [
    'A started',
    'A thought Hm.',
  ]);
});

test('events already seen are ignored, and so is what has no number', () => {
  opened();
  assert.deepEqual(shows(asked(1, 'A'), start(2), piece(3, 'one'), piece(3, 'one'), start(2), { action: 'streaming', payload: { content: 'one' } }, piece(4, 'two')), [
    'turn A',
    'A is m1',
    'A started demo',
    'A + one',
    'A + two',
  ]);
});

test('goes on after a cut where it was', () => {
  opened();
  shows(asked(1, 'A'), start(2), piece(3, 'one'));
  conversation.lose({ detail: 'Lost.', retryable: true });
  assert.deepEqual(sends(() => conversation.join()), [{ action: 'subscribe', payload: { epoch: 'e1', after: 3 }, topic }]);
  assert.deepEqual(shows(subscribed(true), piece(3, 'one'), piece(5, 'two three'), end(6)), ['A + two three', 'A ended stop']);
});

test('a snapshot of another epoch replaces everything, though its numbers are lower', () => {
  opened();
  shows(asked(1, 'A'), start(2), piece(3, 'one'));
  conversation.lose({ detail: 'Lost.', retryable: true });
  conversation.join();
  assert.deepEqual(shows(subscribed(false, 'e2'), snapshot(0, [user('m1', 'A'), answer('m2', 'on', 'interrupted')]), asked(1, 'B')), [
    'clear',
    'turn A',
    'A is m1',
    'A answered on interrupted',
    'turn B',
    'B is m1',
  ]);
  assert.equal(conversation.busy, false);
});

test('a question that nothing acknowledged is sent again with its client_id', () => {
  opened();
  conversation.ask('A');
  const first = clientID();
  conversation.lose({ detail: 'Lost.', retryable: true });
  conversation.join();
  sends(() => shows(subscribed(true)));
  assert.deepEqual(sent.map(({ payload }) => payload), [{ content: 'A', client_id: first, replaces: undefined, parts: undefined }]);
  shows(asked(1, 'A', first));
  conversation.lose({ detail: 'Lost.', retryable: true });
  conversation.join();
  assert.deepEqual(sends(() => shows(subscribed(true))), [], 'once acknowledged it is not');
});

test('a question that the snapshot holds is not sent again; another is, and stays last', () => {
  opened();
  conversation.ask('A');
  const first = clientID();
  conversation.ask('B');
  const second = clientID();
  conversation.lose({ detail: 'Lost.', retryable: true });
  conversation.join();
  sent = [];
  assert.deepEqual(shows(subscribed(false, 'e2'), snapshot(4, [user('m1', 'A', first), answer('m2', 'one')])), [
    'clear',
    'turn A',
    'A is m1',
    'A answered one stop',
    'turn B',
  ]);
  assert.deepEqual(sent.map(({ payload }) => payload.client_id), [second]);
});

test('a cut that would only happen again fails what waits', () => {
  opened();
  conversation.ask('A');
  shown = [];
  conversation.lose({ detail: 'Too large.', retryable: false });
  assert.deepEqual(shown, ['A failed Too large.']);
  conversation.join();
  assert.deepEqual(sends(() => shows(subscribed(true))), []);
});

test('a refused question fails, a queued one waits, an error of the answer ends it once', () => {
  opened();
  conversation.ask('A');
  const first = clientID();
  conversation.ask('B');
  const second = clientID();
  assert.deepEqual(
    shows(
      { action: 'notice', payload: { reason: 'queued', detail: 'Wait.' }, ref: second },
      { action: 'error', payload: { detail: 'Busy.', reason: 'busy', retryable: true }, ref: second },
      asked(1, 'A', first),
      start(2),
      event(3, 'error', { detail: 'Unavailable.', retryable: true }),
      end(4, 'error'),
    ),
    ['B queued', 'B failed Busy. retryable', 'A is m1', 'A started demo', 'A failed Unavailable. retryable'],
  );
  assert.equal(conversation.busy, false);
});

test('after regenerate, in any tab, the answer belongs to the last question', () => {
  opened();
  shows(asked(1, 'A'), start(2), piece(3, 'one'), end(4));
  assert.deepEqual(sends(() => conversation.regenerate()), [{ action: 'regenerate', payload: null, topic }]);
  assert.deepEqual(shows(snapshot(5, [user('m1', 'A')]), start(6), piece(7, 'two'), end(8)), ['clear', 'turn A', 'A is m1', 'A started demo', 'A + two', 'A ended stop']);
});

test('an edited question names the one it replaces, also when it is sent again', () => {
  opened();
  conversation.ask('B', 'm1');
  conversation.lose({ detail: 'Lost.', retryable: true });
  conversation.join();
  sends(() => shows(subscribed(true)));
  assert.equal(sent[0].payload.replaces, 'm1');
});

test('stop names the running answer, whoever asked', () => {
  opened();
  assert.deepEqual(sends(() => conversation.stop()), []);
  shows(asked(1, 'A'), start(2));
  assert.deepEqual(sends(() => conversation.stop()), [{ action: 'stop_streaming', payload: { message_id: 'm2' }, topic }]);
});

test('older messages come page by page', () => {
  opened();
  assert.deepEqual(sends(() => conversation.page()), []);
  shows(snapshot(1, [user('m5', 'C')], null, true));
  assert.deepEqual(sends(() => (conversation.page(), conversation.page())), [{ action: 'list_messages', payload: { conversation_id: 'c', before: 'm5' } }]);
  const { ref } = sent[0];
  assert.deepEqual(shows({ topic: undefined, action: 'messages', payload: { items: [user('m1', 'A'), answer('m2', 'one')], has_more: false }, ref }), [
    'older',
    'turn A',
    'A is m1',
    'A answered one stop',
  ]);
  assert.deepEqual(sends(() => conversation.page()), []);
});

test('a conversation that is not there, or no longer, is told', () => {
  converse('c');
  conversation.join();
  const { ref } = sent[0];
  assert.deepEqual(shows({ action: 'error', payload: { detail: 'None.', reason: 'unknown_topic' }, ref }), ['gone None.']);
  opened();
  assert.deepEqual(shows(event(1, 'conversation_deleted', { conversation_id: 'c' })), ['gone conversation_deleted']);
});

test('a server of the tutorial gets its questions in another way', () => {
  converse();
  conversation.ask('A');
  const rejection = [{ type: 'union_tag_invalid', loc: [], msg: 'No.' }];
  const refused = { topic: undefined, action: 'error', payload: rejection };
  assert.deepEqual(shows(refused, refused), ['fallback A'], 'once, however often it refuses');
});

test('other conversations and replies to nobody are ignored', () => {
  opened();
  assert.deepEqual(shows({ ...piece(1, 'x'), topic: 'conversation:d' }, { topic: undefined, action: 'pong', payload: null }), []);
});
