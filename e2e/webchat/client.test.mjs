// The client without a page, over sockets that the test plays: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { AssistantError, Client } from '../../webchat/client/index.js';

const at = '2000-01-01T00:00:00Z';
const topic = 'conversation:c';
const about = { conversation_id: 'c', title: '', created_at: at, updated_at: at };

let client, sockets, told, sent;

class FakeSocket {
  close() {}
  send(text) {
    sent.push(JSON.parse(text));
  }
}

/** A client that is connected, and what it tells. */
function connect(options) {
  client = new Client('ws://test/', { socket: () => (sockets.push(new FakeSocket()), sockets.at(-1)), ...options });
  for (const type of ['statechange', 'conversationchange', 'question', 'start', 'text', 'reasoning', 'answer', 'error', 'notice']) {
    client.addEventListener(type, ({ detail }) => told.push([type, detail]));
  }
  client.connect();
  open();
}

const open = () => sockets.at(-1).onopen();
const cut = () => sockets.at(-1).onclose({ code: 1006, reason: '' });
const receive = (...frames) => frames.forEach((frame) => sockets.at(-1).onmessage({ data: JSON.stringify({ version: 1, ...frame }) }));
const heard = (type) => told.filter(([t]) => t === type).map(([, detail]) => detail);
const last = (action) => sent.findLast((frame) => frame.action === action);

/** The conversation is created or joined, and empty but for messages. */
function joined({ messages = [], streaming = null, seq = 0, epoch = 'e' } = {}) {
  const create = last('create_conversation');
  if (create && !client.conversationId) receive({ action: 'conversation_created', payload: about, ref: create.ref });
  receive({ action: 'subscribed', topic, payload: { epoch, seq, recovered: false }, ref: last('subscribe').ref });
  receive({ action: 'snapshot', topic, seq, payload: { conversation: about, messages, has_more: false, streaming } });
}

const question = (client_id, seq = 1) => ({ action: 'user_message', topic, seq, payload: { message_id: 'q', client_id, content: 'Why?', created_at: at } });
const start = (seq = 2) => ({ action: 'streaming_start', topic, seq, payload: { content: '', message_id: 'a', model: 'm' } });
const piece = (content, seq) => ({ action: 'streaming', topic, seq, payload: { content } });
const usage = { input_tokens: 1, output_tokens: 2, total_tokens: 3, estimated: false };
const end = (seq, finish_reason = 'stop') => ({ action: 'complete_streaming', topic, seq, payload: { content: '', message_id: 'a', finish_reason, usage } });
const answer = { message_id: 'a', role: 'assistant', content: 'So.', parts: [{ type: 'reasoning', text: 'Hm.' }, { type: 'text', text: 'So.' }], status: 'complete', model: 'm', finish_reason: 'stop', usage, created_at: at };
const asked = (client_id, more) => ({ message_id: 'q', role: 'user', content: 'Why?', status: 'complete', client_id, created_at: at, ...more });

beforeEach(() => {
  [sockets, told, sent] = [[], [], []];
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
});

afterEach(() => {
  client.disconnect();
  mock.timers.reset();
});

test('a question creates the conversation, and its promise has the whole answer', async () => {
  connect();
  const answered = client.ask('Why?');
  assert.equal(client.busy, true);
  joined();
  const { id } = heard('question')[0];
  assert.deepEqual(last('send_message').payload, { content: 'Why?', client_id: id });
  receive(question(id), start(), { action: 'reasoning', topic, seq: 3, payload: { content: 'Hm.' } }, piece('S', 4), piece('o.', 5), end(6));
  const whole = { text: 'So.', reasoning: 'Hm.', parts: answer.parts, message_id: 'a', model: 'm', finish_reason: 'stop', usage };
  assert.deepEqual(await answered, whole);
  assert.deepEqual(heard('answer'), [{ ...whole, question: id, isOwn: true }]);
  assert.deepEqual(heard('text'), [{ text: 'S' }, { text: 'o.' }]);
  assert.deepEqual(heard('conversationchange')[0], { id: 'c', title: '' });
  assert.equal(client.conversationId, 'c');
  assert.equal(client.busy, false);
});

test('what another socket asks is told, and is not its own', () => {
  connect({ conversation: 'c' });
  joined();
  receive(question('theirs'), start(), piece('So.', 3), end(4));
  assert.deepEqual(heard('question'), []);
  assert.deepEqual(heard('answer').map(({ text, isOwn }) => [text, isOwn]), [['So.', false]]);
});

test('a cut in the middle of an answer is made up for', async () => {
  connect({ conversation: 'c' });
  joined();
  const answered = client.ask('Why?');
  const { id } = heard('question')[0];
  receive(question(id), start(), piece('S', 3));
  cut();
  client.wake();
  open();
  assert.deepEqual(last('subscribe').payload, { epoch: 'e', after: 3 });
  receive({ action: 'subscribed', topic, payload: { epoch: 'e', seq: 5, recovered: true } }, piece('o.', 4), end(5));
  assert.equal((await answered).text, 'So.');
});

test('an answer that ended during a cut comes with the history', async () => {
  connect({ conversation: 'c' });
  joined();
  const answered = client.ask('Why?');
  const { id } = heard('question')[0];
  cut();
  client.wake();
  open();
  joined({ epoch: 'f', messages: [asked(id), answer], seq: 9 });
  assert.deepEqual(await answered, { text: 'So.', reasoning: 'Hm.', parts: answer.parts, message_id: 'a', model: 'm', finish_reason: 'stop', usage });
  assert.equal(heard('answer').length, 1);
  assert.equal(heard('question').length, 1);
});

for (const [how, messages] of Object.entries({
  'without any text': (id) => [asked(id, { status: 'failed', reason: 'provider_timeout' })],
  'after some': (id) => [asked(id), { ...answer, status: 'failed', reason: 'provider_timeout' }],
})) {
  test(`an answer that failed during a cut ${how} is an error`, async () => {
    connect({ conversation: 'c' });
    joined();
    const answered = client.ask('Why?');
    const { id } = heard('question')[0];
    cut();
    client.wake();
    open();
    joined({ epoch: 'f', messages: messages(id), seq: 9 });
    await assert.rejects(answered, { reason: 'provider_timeout' });
  });
}

test('a question that is sent again after a cut is told once', async () => {
  connect({ conversation: 'c' });
  joined();
  const answered = client.ask('Why?');
  const { id } = heard('question')[0];
  cut();
  client.wake();
  open();
  joined({ epoch: 'f', seq: 3 });
  assert.equal(last('send_message').payload.client_id, id);
  assert.equal(heard('question').length, 1);
  receive(question(id, 4), start(5), piece('So.', 6), end(7));
  assert.equal((await answered).text, 'So.');
});

test('a refused question is an error that says when to try again', async () => {
  connect({ conversation: 'c' });
  joined();
  const answered = client.ask('Why?');
  receive({ action: 'error', topic, ref: heard('question')[0].id, payload: { detail: 'Slow down.', reason: 'rate_limited', retryable: true, retry_after_ms: 500 } });
  await assert.rejects(answered, (error) => {
    assert.ok(error instanceof AssistantError);
    const { message, reason, retryable, retryAfter } = error;
    assert.deepEqual([message, reason, retryable, retryAfter], ['Slow down.', 'rate_limited', true, 500]);
    return true;
  });
  assert.equal(heard('error')[0].isOwn, true);
});

test('what a validator says has its type for a reason', async () => {
  connect({ conversation: 'c' });
  joined();
  const answered = client.ask('');
  receive({ action: 'error', topic, ref: heard('question')[0].id, payload: [{ type: 'string_too_short', loc: ['send_message', 'payload', 'content'], msg: 'Too short' }] });
  await assert.rejects(answered, { reason: 'string_too_short', message: 'Too short', retryable: false });
});

test('an answer that fails after some text is an error, once', async () => {
  connect({ conversation: 'c' });
  joined();
  const answered = client.ask('Why?');
  receive(question(heard('question')[0].id), start(), piece('S', 3), { action: 'error', topic, seq: 4, payload: { detail: 'No.', reason: 'provider_timeout', retryable: true } }, end(5, 'error'));
  await assert.rejects(answered, { reason: 'provider_timeout' });
  assert.equal(heard('error').length, 1);
  assert.equal(heard('answer').length, 0);
});

for (const [reason, leave] of Object.entries({ left: () => client.open('d'), disconnected: () => client.disconnect() })) {
  test(`who does not wait for the answer is told: ${reason}`, async () => {
    connect({ conversation: 'c' });
    joined();
    const answered = client.ask('Why?');
    receive(question(heard('question')[0].id), start());
    leave();
    await assert.rejects(answered, { reason });
  });
}

test('a deleted conversation gives way to a new one', async () => {
  connect({ conversation: 'c' });
  joined();
  const answered = client.ask('Why?');
  receive({ action: 'conversation_deleted', topic, seq: 1, payload: { conversation_id: 'c' } });
  await assert.rejects(answered, { reason: 'left' });
  assert.equal(client.conversationId, undefined);
  assert.equal(heard('error')[0].error.reason, 'conversation_deleted');
});

test('an answer is made again, also over a cut', async () => {
  connect({ conversation: 'c' });
  joined({ messages: [asked('x'), answer] });
  const first = client.regenerate();
  receive(start(1), piece('Or so.', 2), end(3));
  assert.equal((await first).text, 'Or so.');
  const second = client.regenerate();
  assert.equal(last('regenerate').topic, topic);
  cut();
  client.wake();
  open();
  joined({ epoch: 'f', messages: [asked('x'), answer], seq: 9 });
  assert.equal((await second).text, 'So.');
  assert.equal(heard('answer').at(-1).isOwn, true);
});

test('of two requests to make an answer again the second is refused', async () => {
  connect({ conversation: 'c' });
  joined({ messages: [asked('x'), answer] });
  const first = client.regenerate();
  await assert.rejects(client.regenerate(), { reason: 'busy', retryable: true });
  assert.equal(sent.filter(({ action }) => action === 'regenerate').length, 1);
  receive(start(1), piece('Or so.', 2), end(3));
  assert.equal((await first).text, 'Or so.');
});

test('a request to make an answer again that was lost in a cut is an error', async () => {
  connect({ conversation: 'c' });
  joined({ messages: [asked('x'), answer], seq: 4 });
  const again = client.regenerate();
  cut();
  client.wake();
  open();
  receive({ action: 'subscribed', topic, payload: { epoch: 'e', seq: 4, recovered: true, streaming: null }, ref: last('subscribe').ref });
  await assert.rejects(again, { reason: 'connection_lost', retryable: true });
  const next = client.regenerate();
  cut();
  client.wake();
  open();
  receive({ action: 'subscribed', topic, payload: { epoch: 'e', seq: 5, recovered: true, streaming: 'a' }, ref: last('subscribe').ref });
  receive(start(5), piece('Or so.', 6), end(7));
  assert.equal((await next).text, 'Or so.');
});

test('what waits is given up when the client disconnects', async () => {
  connect({ conversation: 'c' });
  joined({ messages: [asked('x'), answer] });
  const waiting = [client.list(), client.ask('Why?'), client.regenerate()];
  client.disconnect();
  assert.deepEqual(
    await Promise.all(waiting.map((promise) => promise.then(() => '', ({ reason }) => reason))),
    ['disconnected', 'disconnected', 'busy'],
  );
});

test('what cannot be made again says so', async () => {
  connect({ conversation: 'c' });
  joined();
  const again = client.regenerate();
  receive({ action: 'error', topic, ref: last('regenerate').ref, payload: { detail: 'Nothing.', reason: 'nothing_to_regenerate', retryable: false } });
  await assert.rejects(again, { reason: 'nothing_to_regenerate' });
  client.ask('Why?').catch(() => {});
  await assert.rejects(client.regenerate(), { reason: 'busy' });
});

test('requests have the payload of the frame that answers, or its error', async () => {
  connect();
  const list = client.list({ limit: 1 });
  const { ref, payload } = last('list_conversations');
  assert.deepEqual(payload, { limit: 1 });
  receive({ action: 'conversations', ref, payload: { items: [about] } });
  assert.deepEqual(await list, { items: [about] });

  const renamed = client.rename('c', 'New');
  receive({ action: 'error', ref: last('rename_conversation').ref, payload: { detail: 'No.', reason: 'unknown_topic', retryable: false } });
  await assert.rejects(renamed, { reason: 'unknown_topic' });

  const deleted = client.delete('c');
  cut();
  await assert.rejects(deleted, { reason: 'connection_lost', retryable: true });
  await assert.rejects(client.messages('c'), { reason: 'connection_lost' });
});

test('a server that keeps nothing answers over the socket alone', async () => {
  connect();
  const listed = client.list();
  const answered = client.ask('Why?');
  receive({ action: 'error', payload: [{ type: 'union_tag_invalid', loc: ['create_conversation'], msg: 'Unknown' }] });
  await assert.rejects(listed, { reason: 'union_tag_invalid' });
  await new Promise((resolve) => setImmediate(resolve)); // tutorial.js is loaded
  while (client.isKept) await new Promise((resolve) => setImmediate(resolve));
  const { payload, ref } = last('assistant_message');
  assert.deepEqual([payload, ref], ['Why?', heard('question')[0].id]);
  receive({ action: 'streaming_start', payload: { content: '' } }, { action: 'streaming', payload: { content: 'So.' } }, { action: 'complete_streaming', payload: { content: '' } });
  const { text, finish_reason } = await answered;
  assert.deepEqual([text, finish_reason], ['So.', 'stop']);
  assert.equal(heard('question').length, 1);
  assert.equal(client.conversationId, undefined);
  await assert.rejects(client.regenerate(), { reason: 'nothing_to_regenerate' });

  const lost = client.ask('And?');
  cut();
  await assert.rejects(lost, { reason: 'connection_lost' });
  await assert.rejects(client.ask('Now?'), { reason: 'connection_lost' });
});

test('what is asked while the client learns that nothing is kept is asked, too', async () => {
  connect();
  client.ask('Why?').catch(() => {});
  receive({ action: 'error', payload: [{ type: 'union_tag_invalid', loc: ['create_conversation'], msg: 'Unknown' }] });
  client.ask('And so?').catch(() => {});
  while (client.isKept) await new Promise((resolve) => setImmediate(resolve)); // tutorial.js is being loaded
  assert.deepEqual(sent.filter(({ action }) => action === 'assistant_message').map(({ payload }) => payload), ['Why?', 'And so?']);
});

test('why a connection is refused is told, and a question waits until it is accepted', async () => {
  const refusal = { reason: 'sign_in', isFinal: true };
  connect({ refused: async (wasOpen) => (assert.equal(wasOpen, true), refusal) });
  cut();
  client.wake();
  cut();
  await new Promise(setImmediate);
  assert.deepEqual([client.state, client.refusal, heard('statechange').at(-1)], ['closed', refusal, { state: 'closed', refusal }]);
  const answered = client.ask('Why?');
  client.wake();
  open();
  joined();
  const { id } = heard('question')[0];
  receive(question(id), start(), piece('So.', 3), end(4));
  assert.equal((await answered).text, 'So.');
  assert.equal(client.refusal, undefined);
});

test('the address is asked by HTTP for its limits, and why it refuses unless sockets are of another make', async () => {
  const asked = mock.method(globalThis, 'fetch', async (url) => {
    assert.equal(url, 'http://test/');
    return new Response('{"limits":{"max_question_length":12}}', { headers: { 'Content-Type': 'application/json' } });
  });
  connect();
  cut();
  client.wake();
  cut();
  await new Promise(setImmediate);
  assert.deepEqual([asked.mock.callCount(), client.state], [0, 'reconnecting']);
  assert.deepEqual(await client.limits(), { max_question_length: 12 });
  asked.mock.restore();
});
