// What the chat page makes of the answers of the socket's address: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { afterEach, mock, test } from 'node:test';
import { limitsOf, refusalOf } from '../../webchat/client/handshake.js';

globalThis.location = /** @type {any} */ ({ origin: 'https://shop.example' });
const url = 'wss://shop.example/ws/';
const json = { 'Content-Type': 'application/json' };

/** @param {(options: RequestInit) => any} answer none: nobody answers */
function serve(answer) {
  mock.method(globalThis, 'fetch', async (address, options) => {
    assert.match(address, /^https:/);
    const response = answer(options);
    if (!response) throw new TypeError('Failed to fetch');
    return response;
  });
}

const answer = (status, headers = {}, body = '') => new Response(body, { status, headers });
const asked = () => fetch.mock.calls.map(({ arguments: [, { credentials, mode }] }) => `${mode} ${credentials}`);

afterEach(() => mock.restoreAll());

for (const [name, response, want, wasOpen] of [
  ['accepted', () => answer(200, json, '{"limits":{}}'), undefined],
  ['no JSON, but a WebSocket', () => answer(426), undefined],
  ['sign in', () => answer(401), { reason: 'sign_in', isFinal: true }],
  ['a login page', () => ({ status: 0, type: 'opaqueredirect', headers: new Headers() }), { reason: 'sign_in', isFinal: true }],
  ['a login page, in Node', () => answer(302, { Location: '/login' }), { reason: 'sign_in', isFinal: true }],
  ['forbidden', () => answer(403, { 'Assistant-Refusal': 'foreign_origin' }), { reason: 'forbidden', isFinal: true }],
  ['no such conversation', () => answer(404, { 'Assistant-Refusal': 'not_found' }), { reason: 'gone', isFinal: true }],
  ['nothing there', () => answer(404), { reason: 'absent', isFinal: true }],
  ['a site without a word', () => answer(200), { reason: 'absent', isFinal: true }],
  ['nothing there any more', () => answer(404), undefined, true],
  ['full', () => answer(503, { 'Assistant-Refusal': 'max_connections', 'Retry-After': '7' }), { reason: 'full', retry_after_ms: 7000 }],
  ['stopping', () => answer(503, { 'Assistant-Refusal': 'draining', 'Retry-After': '1' }), { reason: 'unavailable', retry_after_ms: 1000 }],
  ['a broken proxy', () => answer(502), { reason: 'unavailable', retry_after_ms: 0 }],
  ['a date that is past', () => answer(503, { 'Retry-After': 'Wed, 21 Oct 2015 07:28:00 GMT' }), { reason: 'unavailable', retry_after_ms: 0 }],
  ['a year', () => answer(429, { 'Retry-After': '31536000' }), { reason: 'unavailable', retry_after_ms: 86_400_000 }],
]) {
  test(`a handshake has failed: ${name}`, async () => {
    serve(response);
    assert.deepEqual(await refusalOf(url, Boolean(wasOpen)), want);
  });
}

test('what wants a password is not asked with credentials: the browser would show a dialog', async () => {
  serve(() => answer(401, { 'WWW-Authenticate': 'Basic realm="x"' }));
  assert.deepEqual(await refusalOf(url, false), { reason: 'sign_in', isFinal: true });
  assert.deepEqual(asked(), ['cors omit']);
});

test('a cookie counts', async () => {
  serve(({ credentials }) => (credentials === 'include' ? answer(503, { 'Assistant-Refusal': 'max_connections', 'Retry-After': '2' }) : answer(401)));
  assert.deepEqual(await refusalOf(url, true), { reason: 'full', retry_after_ms: 2000 });
});

test('another origin that lets nobody read is told from one that does not answer', async () => {
  serve(({ mode }) => mode === 'no-cors' && { status: 0, type: 'opaque' });
  assert.deepEqual(await refusalOf('wss://chat.example:8443/ws/', false), { reason: 'foreign', host: 'chat.example:8443', isFinal: true });
  mock.restoreAll();
  serve(() => undefined);
  assert.equal(await refusalOf('wss://chat.example/ws/', false), undefined);
  assert.deepEqual(asked(), ['cors omit', 'no-cors omit']);
  assert.equal(await refusalOf(url, false), undefined);
  assert.equal(asked().length, 3, 'its own origin is not asked twice');
});

test('limits are taken from JSON alone', async () => {
  for (const [response, want] of [
    [answer(200, json, '{"limits":{"max_question_length":12}}'), { max_question_length: 12 }],
    [answer(200, json, 'null'), {}],
    [answer(200, json, '{'), {}],
    [answer(200, { 'Content-Type': 'text/html' }, '{"limits":{"max_question_length":12}}'), {}],
    [answer(426), {}],
  ]) {
    serve(() => response);
    assert.deepEqual(await limitsOf(url), want);
  }
});
