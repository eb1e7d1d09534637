// The chat page's socket under a fake WebSocket and fake time: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { backoff, Connection } from '../../webchat/client/connection.js';

/** What the browser would give; the test plays the network. */
class FakeSocket {
  static all = [];
  static get last() {
    return FakeSocket.all.at(-1);
  }

  sent = [];
  closed = false;

  constructor(url) {
    this.url = url;
    FakeSocket.all.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true; // and no event: a dead peer does not answer a closing handshake
  }
}

const second = 1000;
let now, page;

/** A connection and what it told its owner. */
function connect() {
  page = { hidden: false, frames: [], log: [], states: [], losses: [], asked: [], refusal: undefined };
  const connection = new Connection('ws://test/', {
    state: () => page.states.push(connection.state),
    lost: (code, reason) => page.losses.push([code, reason]),
    frame: (frame) => page.frames.push(frame),
    refused: async (wasOpen) => (page.asked.push(wasOpen), page.refusal),
    log: (kind, text) => page.log.push([kind, text]),
    isHidden: () => page.hidden,
  });
  connection.open();
  return connection;
}

function connected() {
  const connection = connect();
  FakeSocket.last.onopen();
  return connection;
}

const close = (code, reason = '') => FakeSocket.last.onclose({ code, reason });
const receive = (frame) => FakeSocket.last.onmessage({ data: JSON.stringify(frame) });

/** Step by step: timers see the time at which they fire. */
function tick(ms) {
  for (const end = now + ms; now < end; ) {
    const step = Math.min(end - now, 1);
    now += step;
    mock.timers.tick(step);
  }
}

beforeEach(() => {
  FakeSocket.all = [];
  globalThis.WebSocket = FakeSocket;
  mock.timers.enable({ apis: ['setTimeout'] });
  now = 1;
  mock.method(performance, 'now', () => now);
  mock.method(Date, 'now', () => assert.fail('a clock that can be set'));
  mock.method(Math, 'random', () => 0.5);
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

test('delays double from 2 s to 30 s at most, and chance takes them down to 1 s at least', () => {
  Math.random.mock.mockImplementation(() => 0);
  assert.deepEqual([0, 1, 9].map(backoff), [1000, 1000, 1000]);
  Math.random.mock.mockImplementation(() => 1);
  assert.deepEqual([0, 1, 2, 3, 4, 100].map(backoff), [2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

test('sends only while connected', () => {
  const connection = connect();
  assert.equal(connection.send({ action: 'ping' }), false);
  FakeSocket.last.onopen();
  assert.equal(connection.send({ action: 'ping' }), true);
  close(1006);
  assert.equal(connection.send({ action: 'ping' }), false);
  assert.deepEqual(FakeSocket.last.sent, [{ action: 'ping' }]);
});

test('hands over frames, and leaves to the log what is none', () => {
  connected();
  receive({ action: 'pong', payload: null });
  for (const data of ['{', '"text"', '{"payload":1}', 'null']) FakeSocket.last.onmessage({ data });
  assert.deepEqual(page.frames, [{ action: 'pong', payload: null }]);
  assert.equal(page.log.filter(([kind]) => kind === 'received').length, 5);
});

test('logs what happens, in order', () => {
  connected().send({ action: 'ping' });
  close(1001, 'going away');
  assert.deepEqual(page.log, [
    ['connection', '{"status":"connecting"}'],
    ['connection', '{"status":"connected"}'],
    ['sent', '{"action":"ping"}'],
    ['connection', '{"status":"reconnecting","code":1001,"reason":"going away"}'],
  ]);
});

for (const code of [1000, 1001, 1006, 1009, 1011, 1012]) {
  test(`reconnects after ${code}`, () => {
    const connection = connected();
    close(code);
    assert.deepEqual(page.losses, [[code, '']]);
    assert.equal(connection.state, 'reconnecting');
    assert.equal(connection.retryAt, now + 1500);
    tick(1499);
    assert.equal(FakeSocket.all.length, 1);
    tick(1);
    assert.equal(FakeSocket.all.length, 2);
    FakeSocket.last.onopen();
    assert.equal(connection.state, 'connected');
  });
}

test('does not come back by itself after 1008, but does when asked', () => {
  const connection = connected();
  close(1008, 'too many malformed frames');
  assert.deepEqual(page.losses, [[1008, 'too many malformed frames']]);
  assert.equal(connection.state, 'closed');
  tick(3600 * second);
  assert.equal(FakeSocket.all.length, 1);
  connection.wake();
  assert.equal(FakeSocket.all.length, 1);
  connection.open();
  assert.equal(FakeSocket.all.length, 2);
});

test('waits longer after each failure, and starts anew after a stable connection', () => {
  const connection = connect();
  const delays = [];
  const fail = () => {
    close(1006);
    delays.push(connection.retryAt - now);
    tick(delays.at(-1));
  };
  fail();
  fail();
  fail();
  FakeSocket.last.onopen(); // soon lost: not stable
  fail();
  FakeSocket.last.onopen();
  tick(40 * second);
  receive({ action: 'pong' });
  tick(30 * second);
  fail();
  assert.deepEqual(delays, [1500, 2500, 4500, 8500, 1500]);
  assert.deepEqual(page.losses.length, 2, 'a handshake that failed is no lost connection');
});

test('wake tries at once what waits', () => {
  const connection = connected();
  close(1006);
  connection.wake();
  assert.equal(FakeSocket.all.length, 2);
  connection.wake();
  connection.open();
  tick(5 * second);
  assert.equal(FakeSocket.all.length, 2, 'one socket at a time');
});

test('wake asks a server that seems to be there', () => {
  const connection = connected();
  connection.wake();
  assert.deepEqual(FakeSocket.last.sent, [{ action: 'ping' }]);
  tick(10 * second);
  assert.equal(connection.state, 'reconnecting');
});

test('a hidden page waits for its reader', () => {
  const connection = connected();
  page.hidden = true;
  close(1006);
  tick(600 * second);
  assert.equal(FakeSocket.all.length, 1);
  page.hidden = false;
  connection.wake();
  assert.equal(FakeSocket.all.length, 2);
});

test('asks a silent server, and keeps it when anything comes back', () => {
  const connection = connected();
  tick(45 * second - 1);
  assert.deepEqual(FakeSocket.last.sent, []);
  tick(1);
  assert.deepEqual(FakeSocket.last.sent, [{ action: 'ping' }]);
  tick(9 * second);
  receive({ action: 'streaming', payload: { content: 'a' } });
  tick(30 * second);
  assert.equal(connection.state, 'connected');
  assert.equal(FakeSocket.all.length, 1);
});

test('does not ask while frames come', () => {
  connected();
  for (let i = 0; i < 20; i++) {
    tick(20 * second);
    receive({ action: 'streaming', payload: { content: 'a' } });
  }
  assert.deepEqual(FakeSocket.last.sent, []);
});

test('drops a dead server without waiting for its close', () => {
  const connection = connected();
  const dead = FakeSocket.last;
  tick(45 * second);
  tick(10 * second);
  assert.equal(dead.closed, true);
  assert.equal(connection.state, 'reconnecting');
  assert.deepEqual(page.losses, [[1006, 'no answer']]);
  tick(1500);
  FakeSocket.last.onopen();
  dead.onclose?.({ code: 1006, reason: '' });
  assert.equal(connection.state, 'connected', 'the old socket no longer counts');
});

test('drops a handshake that does not end', () => {
  const connection = connect();
  tick(10 * second);
  assert.equal(FakeSocket.last.closed, true);
  assert.equal(connection.state, 'reconnecting');
  assert.deepEqual(page.losses, []);
});

/** When what was asked is answered. */
const answered = () => new Promise(setImmediate);

test('asks why a handshake fails, and only then', async () => {
  const connection = connect();
  close(1006);
  await answered();
  assert.deepEqual([page.asked, connection.state, connection.refusal], [[false], 'reconnecting', undefined]);
  tick(1500);
  FakeSocket.last.onopen();
  close(1006);
  await answered();
  assert.deepEqual(page.asked, [false]);
  tick(2500);
  close(1006);
  await answered();
  assert.deepEqual(page.asked, [false, true]);
});

test('does not come back by itself where that would be refused again, but when the reader does', async () => {
  const connection = connect();
  page.refusal = { reason: 'sign_in', isFinal: true };
  close(1006);
  await answered();
  assert.deepEqual([connection.state, connection.refusal], ['closed', page.refusal]);
  assert.match(page.log.at(-1)[1], /"status":"closed".*"sign_in"/);
  tick(3600 * second);
  assert.equal(FakeSocket.all.length, 1);
  connection.wake();
  assert.deepEqual([FakeSocket.all.length, connection.state, connection.refusal], [2, 'connecting', undefined]);
});

test('waits as long as it is told, and no shorter than after other failures', async () => {
  const connection = connect();
  for (const [told, want] of [[7000, 7000], [1000, 2500], [undefined, 4500]]) {
    page.refusal = { reason: 'full', retry_after_ms: told };
    close(1006);
    await answered();
    assert.deepEqual([connection.state, connection.retryAt - performance.now()], ['reconnecting', want]);
    tick(want - 1);
    assert.equal(connection.state, 'reconnecting');
    tick(1);
    assert.equal(connection.state, 'connecting');
  }
});

test('a reason that comes too late is nothing to know', async () => {
  const connection = connect();
  page.refusal = { reason: 'sign_in', isFinal: true };
  close(1006);
  connection.open();
  await answered();
  assert.deepEqual([connection.state, connection.refusal], ['connecting', undefined]);
  FakeSocket.last.onopen();
  await answered();
  assert.equal(connection.state, 'connected');
});
