// What the client makes of calls of tools, over sockets that the test plays: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Client } from '../../webchat/client/index.js';
import { asMarkdown } from '../../webchat/src/export.js';
import { Texts } from '../../webchat/src/texts.js';
import { visibleJSON, visibleText } from '../../webchat/src/visible.js';

const at = '2000-01-01T00:00:00Z';
const topic = 'conversation:c';
const about = { conversation_id: 'c', title: '', created_at: at, updated_at: at };

let client, sockets, heard, shown, sent, seq;

class FakeSocket {
  close() {}
  send(text) {
    sent.push(JSON.parse(text));
  }
}

const turnView = (question = '?') => ({
  queue() {},
  accept() {},
  answer: ({ message_id, status }) => shown.push(`answered ${message_id} ${status}`),
  start: (model, id, isResumed) => shown.push(isResumed ? `resumed ${id}` : `started ${id}`),
  reason: (text) => shown.push(`thought ${text}`),
  append: (text) => shown.push(`+ ${text}`),
  part: ({ type, call_id, state, draft, content }) => shown.push([type, call_id, state ?? content, draft].filter((word) => word !== undefined).join(' ')),
  end: (reason) => shown.push(`ended ${reason}`),
  fail: ({ reason }) => shown.push(`failed ${reason}`),
  question,
});

beforeEach(() => {
  [sockets, heard, shown, sent, seq] = [[], [], [], [], 0];
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  client = new Client('ws://test/', { conversation: 'c', view: { turn: turnView }, socket: () => (sockets.push(new FakeSocket()), sockets.at(-1)) });
  for (const type of ['answer', 'tool', 'error', 'notice']) client.addEventListener(type, ({ detail }) => heard.push([type, detail]));
  client.connect();
  sockets.at(-1).onopen();
});

afterEach(() => {
  client.disconnect();
  mock.timers.reset();
});

const receive = (frame) => sockets.at(-1).onmessage({ data: JSON.stringify({ version: 1, topic, ...frame }) });
const last = (action) => sent.findLast((frame) => frame.action === action);
const told = (type) => heard.filter(([t]) => t === type).map(([, detail]) => detail);

/** The conversation as the server has it. */
function joined(messages = [], streaming = null, epoch = 'e') {
  receive({ action: 'subscribed', payload: { epoch, seq, recovered: false, streaming: streaming?.message_id ?? null }, ref: last('subscribe').ref });
  receive({ action: 'snapshot', seq, payload: { conversation: about, messages, has_more: false, streaming } });
  shown = [];
}

/** Events, in order. */
function happens(...events) {
  shown = [];
  for (const [action, payload, ref] of events) receive({ action, payload, seq: ++seq, ...(ref && { ref }) });
  return shown;
}

const asked = (client_id) => ['user_message', { message_id: 'q', client_id, content: 'Refund A.', created_at: at }];
const start = (resumed) => ['streaming_start', { content: '', message_id: 'a', model: 'm', ...(resumed && { resumed }) }];
const piece = (content) => ['streaming', { content }];
const call = (state, more) => ['tool_call', { message_id: 'a', call_id: 'c1', name: 'shop__refund', title: 'Refund', where: 'server', state, ...more }];
const written = (content, call_id = 'c1') => ['tool_call_args', { message_id: 'a', call_id, content }];
const values = { order: 'A', amount: 12 };
const waiting = { arguments: values, waiting_for: 'approval', approval: { editable: true, expires_at: at } };
const result = (content, is_error = false) => ['tool_result', { message_id: 'a', call_id: 'c1', content, is_error, duration_ms: 3 }];
const end = (finish_reason) => ['complete_streaming', { content: '', message_id: 'a', finish_reason }];

const question = { message_id: 'q', role: 'user', content: 'Refund A.', status: 'complete', created_at: at };
const callPart = { type: 'tool_call', call_id: 'c1', name: 'shop__refund', title: 'Refund', where: 'server', state: 'waiting', waiting_for: 'approval', arguments: values };
const stored = (status, parts, more) => ({ message_id: 'a', role: 'assistant', content: 'Let me see.', parts: [{ type: 'text', text: 'Let me see.' }, ...parts], status, finish_reason: status, model: 'm', created_at: at, ...more });

/** What an answer consists of, in short. */
const inShort = ({ parts }) => parts.map(({ type, text, state, content }) => [type, text ?? state ?? content].join(' '));

test('a call and its result are parts of the answer, at their place', async () => {
  joined();
  const answered = client.ask('Refund A.');
  assert.deepEqual(
    happens(asked(last('send_message').ref), start(), ['reasoning', { content: 'Hm.' }], piece('Let '), piece('me see.'), call('preparing'), written('{"order":'), written('"A"}'), call('running', { arguments: values }), call('done', { arguments: values }), result('ok'), piece('Refunded.'), end('stop')),
    ['started a', 'thought Hm.', '+ Let ', '+ me see.', 'tool_call c1 preparing', 'tool_call c1 preparing {"order":', 'tool_call c1 preparing {"order":"A"}', 'tool_call c1 running', 'tool_call c1 done', 'tool_result c1 ok', '+ Refunded.', 'ended stop'],
  );
  const answer = await answered;
  assert.deepEqual(inShort(answer), ['reasoning Hm.', 'text Let me see.', 'tool_call done', 'tool_result ok', 'text Refunded.']);
  assert.equal(answer.text, 'Let me see.Refunded.');
  assert.deepEqual(told('tool').at(-1), { type: 'tool_result', ...result('ok')[1] });
});

for (const state of ['failed', 'denied', 'unknown']) {
  test(`each frame replaces what was known of the call: ${state}`, async () => {
    joined();
    const answered = client.ask('Refund A.');
    happens(asked(last('send_message').ref), start(), call('preparing'), written('{'), call('running', { arguments: values }), call(state, { arguments: { order: 'B' } }), result('no', true), end('stop'));
    const [known, returned] = (await answered).parts;
    assert.deepEqual(known, { type: 'tool_call', ...call(state, { arguments: { order: 'B' } })[1] });
    assert.equal(returned.is_error, true);
  });
}

test('calls that the model makes at once are told apart', () => {
  joined();
  const other = (state) => ['tool_call', { ...call(state)[1], call_id: 'c2' }];
  happens(asked(), start(), call('preparing'), other('preparing'), written('x'), written('y', 'c2'), other('running'), call('running'), other('done'), end('stop'));
  assert.deepEqual(told('answer')[0].parts.map(({ call_id, state }) => `${call_id} ${state}`), ['c1 running', 'c2 done']);
});

test('pieces of a call that was not told of are ignored', () => {
  joined();
  assert.deepEqual(happens(asked(), start(), written('x')), ['started a']);
});

test('an answer that waits has ended, and ends once more when it was decided', async () => {
  joined();
  const answered = client.ask('Refund A.');
  const { ref } = last('send_message');
  happens(asked(ref), start(), piece('Let me see.'), call('preparing'), call('waiting', waiting), end('waiting'));
  assert.equal((await answered).finish_reason, 'waiting');
  assert.equal(client.busy, false);
  const again = client.answerTo(ref);
  const decided = client.decide({ message_id: 'a', call_id: 'c1', decision: 'approve', arguments: { order: 'A', amount: 10 } });
  const { ref: own, ...frame } = last('decide_tool_call');
  assert.deepEqual(frame, { action: 'decide_tool_call', topic, payload: { message_id: 'a', call_id: 'c1', decision: 'approve', arguments: { order: 'A', amount: 10 } } });
  assert.deepEqual(
    happens([...call('running', { arguments: { order: 'A', amount: 10 }, edited: true }), own], [...start(true), own]),
    ['tool_call c1 running', 'resumed a'],
  );
  assert.equal((await decided).edited, true);
  assert.equal(client.busy, true);
  happens(call('done'), result('ok'), piece('Refunded.'), end('stop'));
  const whole = await again;
  assert.deepEqual(inShort(whole), ['text Let me see.', 'tool_call done', 'tool_result ok', 'text Refunded.']);
  assert.deepEqual([whole.text, whole.finish_reason], ['Let me see.Refunded.', 'stop']);
  assert.deepEqual(told('answer').map(({ finish_reason, isOwn }) => [finish_reason, isOwn]), [['waiting', true], ['stop', true]]);
  assert.equal(client.busy, false);
});

test('an answer that is made again and waits does not make the questions of others its own', async () => {
  joined([question, stored('complete', [])]);
  const again = client.regenerate();
  happens(['user_message', { message_id: 'q', content: 'Refund A.', created_at: at }], start(), call('waiting', waiting), end('waiting'));
  assert.equal((await again).finish_reason, 'waiting');
  happens(call('denied'), result('no', true), end('stopped'), ['user_message', { message_id: 'q2', content: 'Theirs.', created_at: at }], ['streaming_start', { content: '', message_id: 'a2', model: 'm' }], ['complete_streaming', { content: '', message_id: 'a2', finish_reason: 'stop' }]);
  assert.deepEqual(told('answer').map(({ isOwn }) => isOwn), [true, false, false]);
});

test('what waits ends when it is stopped, superseded or expires', () => {
  joined();
  happens(asked(), start(), call('waiting', waiting), end('waiting'));
  assert.deepEqual(happens(call('denied', { arguments: values }), result('superseded', true), end('stopped')), ['tool_call c1 denied', 'tool_result c1 superseded', 'ended stopped']);
  assert.deepEqual(happens(end('stopped')), [], 'once');
});

test('an answer that waits is known after a reload, and is decided in another tab', () => {
  joined([question, stored('waiting', [callPart])]);
  assert.deepEqual(happens(call('running', { arguments: values }), start(true), result('ok'), piece('Refunded.'), end('stop')), ['tool_call c1 running', 'resumed a', 'tool_result c1 ok', '+ Refunded.', 'ended stop']);
  assert.deepEqual(inShort(told('answer').at(-1)), ['text Let me see.', 'tool_call running', 'tool_result ok', 'text Refunded.']);
});

test('an answer that waits is stopped after a reload', () => {
  joined([question, stored('waiting', [callPart])]);
  assert.deepEqual(happens(call('denied'), result('stopped', true), end('stopped')), ['tool_call c1 denied', 'tool_result c1 stopped', 'ended stopped']);
});

test('a running answer comes with its parts', () => {
  joined();
  const parts = [{ type: 'reasoning', text: 'Hm.' }, { type: 'text', text: 'Let me see.' }, { ...callPart, state: 'done' }, { type: 'tool_result', call_id: 'c1', content: 'ok', is_error: false }, { type: 'hologram' }];
  receive({ action: 'snapshot', seq: ++seq, payload: { conversation: about, messages: [question], has_more: false, streaming: { message_id: 'a', content: 'Let me see.', reasoning: 'Hm.', parts } } });
  assert.deepEqual(shown, ['started a', 'thought Hm.', '+ Let me see.', 'tool_call c1 done', 'tool_result c1 ok']);
  happens(piece('Refunded.'), end('stop'));
  assert.deepEqual(inShort(told('answer').at(-1)), ['reasoning Hm.', 'text Let me see.', 'tool_call done', 'tool_result ok', 'text Refunded.']);
});

test('a question whose answer came to wait during a cut is told', async () => {
  joined();
  const answered = client.ask('Refund A.');
  const { ref } = last('send_message');
  happens(asked(ref), start());
  sockets.at(-1).onclose({ code: 1006, reason: '' });
  client.wake();
  sockets.at(-1).onopen();
  joined([{ ...question, client_id: ref }, stored('waiting', [callPart])], null, 'f');
  assert.equal((await answered).finish_reason, 'waiting');
  const again = client.answerTo(ref);
  happens(call('denied'), result('no', true), start(true), piece('Then not.'), end('stop'));
  assert.deepEqual(inShort(await again), ['text Let me see.', 'tool_call denied', 'tool_result no', 'text Then not.']);
});

for (const [reason, payload] of Object.entries({
  not_waiting: { detail: 'Late.', reason: 'not_waiting', retryable: false },
  json_schema: [{ type: 'json_schema', loc: ['decide_tool_call', 'payload', 'arguments', 'amount'], msg: 'got string, want number' }],
})) {
  test(`a decision that is refused is told to who made it alone: ${reason}`, async () => {
    joined([question, stored('waiting', [callPart])]);
    const decided = client.decide({ message_id: 'a', call_id: 'c1', decision: 'approve' });
    receive({ action: 'error', payload, ref: last('decide_tool_call').ref });
    await assert.rejects(decided, (error) => {
      assert.equal(error.reason, reason);
      assert.deepEqual(error.rejections, Array.isArray(payload) ? payload : []);
      return true;
    });
    assert.deepEqual([told('error'), shown], [[], []]);
  });
}

test('a decision needs a connection, and is lost with it', async () => {
  joined([question, stored('waiting', [callPart])]);
  const decided = client.decide({ message_id: 'a', call_id: 'c1', decision: 'deny', reason: 'No.' });
  sockets.at(-1).onclose({ code: 1006, reason: '' });
  await assert.rejects(decided, { reason: 'connection_lost' });
  await assert.rejects(client.decide({ message_id: 'a', call_id: 'c1', decision: 'deny' }), { reason: 'connection_lost' });
});

test('an answer that was cut goes on', async () => {
  joined([question, stored('interrupted', [{ ...callPart, state: 'unknown' }, { type: 'tool_result', call_id: 'c1', content: 'not known', is_error: true }])]);
  const begun = client.continue('a');
  const { ref, ...frame } = last('continue_answer');
  assert.deepEqual(frame, { action: 'continue_answer', topic, payload: { message_id: 'a' } });
  assert.deepEqual(happens([...start(true), ref], [...piece('Hm.'), ref], [...end('stop'), ref]), ['resumed a', '+ Hm.', 'ended stop']);
  assert.equal((await begun).resumed, true);
});

test('nothing is hidden in what models and tools write', () => {
  assert.equal(visibleText('a\u202Eb\u200B\u200Dc\u00A0d\u0007\n\te\u{E0041}f\uD800'), 'a[U+202E]b[U+200B U+200D]c[U+00A0]d[U+0007]\n\te[U+E0041]f[U+D800]');
  assert.equal(visibleText('plain text, ünïcode, 日本, عربى, 👍'), 'plain text, ünïcode, 日本, عربى, 👍');
  const hostile = { to: 'a\u202Eb\u{E0041}' };
  assert.equal(visibleJSON(hostile), '{\n  "to": "a\\u202eb\\udb40\\udc41"\n}');
  assert.deepEqual(JSON.parse(visibleJSON(hostile)), hostile);
});

test('a saved conversation has its calls', () => {
  const messages = [question, stored('complete', [
    { ...callPart, state: 'done', title: 'Refund *all*', arguments: { order: '```A' }, edited: true },
    { type: 'tool_result', call_id: 'c1', content: 'ok\u202E', is_error: false },
    { type: 'text', text: 'Refunded.' },
  ])];
  const text = asMarkdown({ conversation: about, messages }, new Texts());
  assert.ok(text.endsWith([
    'Let me see.',
    '**Refund \\*all\\*** (`shop__refund`): Done',
    '````json\n{\n  "order": "```A"\n}\n````',
    'A person has changed the arguments.',
    'Result:',
    '```\nok[U+202E]\n```',
    'Refunded.\n',
  ].join('\n\n')), text);
});
