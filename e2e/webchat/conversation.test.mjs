// How the chat page finds the turn that a frame belongs to: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Conversation } from '../../webchat/client/tutorial.js';

let conversation, connected, sent, shown;

beforeEach(() => {
  [connected, sent, shown] = [true, [], []];
  const send = (frame) => connected && sent.push(frame) > 0;
  conversation = new Conversation(send, {
    notice: ({ reason }) => shown.push(`notice ${reason}`),
    problem: (problem) => shown.push(`problem ${why(problem)}`),
    turn(question) {
      const show = (...words) => shown.push([question, ...words].join(' '));
      return {
        queue: () => show('queued'),
        start: (model) => show('started', model ?? ''),
        reason: (piece) => show('thought', piece),
        append: (piece) => show('+', piece),
        end: (reason, usage) => show('ended', reason ?? '', usage?.output_tokens ?? ''),
        fail: (problem) => show('failed', why(problem), problem.retryable ? 'retryable' : ''),
      };
    },
  });
});

/** It goes to the view as it is: a reason, or what a validator said. */
function why(problem) {
  return Array.isArray(problem) ? problem[0].type : problem.reason;
}

/** What is shown for these frames. */
function shows(...frames) {
  shown = [];
  for (const [action, payload, ref] of frames) conversation.receive(ref ? { action, payload, ref, version: 1 } : { action, payload });
  return shown.map((line) => line.trim());
}

const start = (id) => ['streaming_start', { content: '', message_id: id, model: 'demo' }];
const piece = (content) => ['streaming', { content }];
const end = (reason) => ['complete_streaming', { content: '', finish_reason: reason }];
const plainStart = ['streaming_start', { content: '' }];
const plainEnd = ['complete_streaming', { content: '' }];

test('a question carries a ref of its own', () => {
  conversation.ask('A');
  conversation.ask('B');
  assert.deepEqual(sent, [
    { action: 'assistant_message', payload: 'A', ref: 'q1' },
    { action: 'assistant_message', payload: 'B', ref: 'q2' },
  ]);
});

test('a question that cannot be sent is no turn', () => {
  connected = false;
  assert.equal(conversation.ask('A'), undefined);
  assert.equal(conversation.busy, false);
});

test('frames go to the turn of their ref', () => {
  conversation.ask('A');
  conversation.ask('B');
  assert.deepEqual(
    shows(
      ['notice', { reason: 'queued', detail: 'Wait.' }, 'q2'],
      [...start('m1'), 'q1'],
      [...piece('one'), 'q1'],
      [...end('length'), 'q1'],
      [...start('m2'), 'q2'],
      [...piece('two'), 'q2'],
      [...end('stop'), 'q2'],
    ),
    ['B queued', 'A started demo', 'A + one', 'A ended length', 'B started demo', 'B + two', 'B ended stop'],
  );
  assert.equal(conversation.busy, false);
});

test('reasoning and usage are told, too', () => {
  conversation.ask('A');
  const complete = ['complete_streaming', { content: '', finish_reason: 'stop', usage: { input_tokens: 9, output_tokens: 2 } }, 'q1'];
  assert.deepEqual(shows([...start('m1'), 'q1'], ['reasoning', { content: 'Hm.' }, 'q1'], [...piece('one'), 'q1'], complete), [
    'A started demo',
    'A thought Hm.',
    'A + one',
    'A ended stop 2',
  ]);
});

test('frames without a ref go to the oldest turn', () => {
  conversation.ask('A');
  conversation.ask('B');
  assert.deepEqual(shows(plainStart, piece('one'), plainEnd, plainStart, piece('two'), plainEnd), [
    'A started',
    'A + one',
    'A ended',
    'B started',
    'B + two',
    'B ended',
  ]);
});

test('an error ends its turn, and what follows it for that turn is ignored', () => {
  conversation.ask('A');
  conversation.ask('B');
  const failure = { detail: 'Unavailable.', reason: 'provider_unavailable', retryable: true };
  assert.deepEqual(shows([...start('m1'), 'q1'], ['error', failure, 'q1'], [...end('error'), 'q1'], [...start('m2'), 'q2']), [
    'A started demo',
    'A failed provider_unavailable retryable',
    'B started demo',
  ]);
});

test('an error without a ref ends the oldest turn, and a late end does not end the next', () => {
  conversation.ask('A');
  conversation.ask('B');
  assert.deepEqual(shows(plainStart, ['error', { reason: 'internal' }], plainEnd, plainStart, piece('two')), [
    'A started',
    'A failed internal',
    'B started',
    'B + two',
  ]);
});

test('a rejected question fails, a rejected stop is only told', () => {
  conversation.ask('A');
  const rejection = (loc) => ['error', [{ type: 'x', loc, msg: 'No.' }]];
  assert.deepEqual(shows(rejection([]), rejection(['stop_streaming', 'payload'])), ['problem x', 'problem x']);
  assert.equal(conversation.busy, true);
  assert.deepEqual(shows(rejection(['assistant_message', 'payload'])), ['A failed x']);
  assert.equal(conversation.busy, false);
});

test('an error that concerns no turn is told', () => {
  assert.deepEqual(shows(['error', { reason: 'draining' }]), ['problem draining']);
});

test('stop names the running answer as soon as it has a name', () => {
  conversation.stop();
  assert.deepEqual(sent, []);
  conversation.ask('A');
  conversation.stop();
  shows([...start('m1'), 'q1']);
  conversation.stop();
  assert.deepEqual(sent.slice(1), [
    { action: 'stop_streaming', payload: null },
    { action: 'stop_streaming', payload: { message_id: 'm1' } },
  ]);
});

test('a lost connection fails all that is unfinished, oldest first', () => {
  conversation.ask('A');
  conversation.ask('B');
  shows([...start('m1'), 'q1']);
  shown = [];
  conversation.lose({ reason: 'connection_lost', retryable: true });
  assert.deepEqual(shown, [
    'A failed connection_lost retryable',
    'B failed connection_lost retryable',
    'notice forgotten',
  ]);
  assert.equal(conversation.busy, false);
});

test('what it does not know it ignores', () => {
  conversation.ask('A');
  assert.deepEqual(shows(['pong', null], ['constructor', {}], [...piece('late'), 'q9']), []);
});

test('other notices are told', () => {
  conversation.ask('A');
  assert.deepEqual(shows(['notice', { reason: 'context_trimmed', detail: 'Trimmed.' }, 'q1'], ['notice', { reason: 'draining', detail: 'Bye.' }]), [
    'notice context_trimmed',
    'notice draining',
  ]);
});
