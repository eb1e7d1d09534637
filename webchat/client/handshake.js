// @ts-check
// What the socket's address answers to a GET: why it refuses a handshake, which no browser tells, and its limits.
/** @import { Limits, Refusal } from './types.d.ts' */

const patience = 10_000; // ms

/** @param {string} url of a socket */
export function overHTTP(url) {
  return url.replace(/^ws/, 'http');
}

/**
 * Why a handshake has failed; undefined when the server cannot be reached, or would accept one now.
 * @param {string} url of the socket
 * @param {boolean} wasOpen a server that restarts may answer 404 for a moment
 * @returns {Promise<Refusal | undefined>}
 */
export async function refusalOf(url, wasOpen) {
  const anonymous = await get(url, 'omit');
  if (!anonymous) return foreign(url);
  const challenge = anonymous.headers.get('www-authenticate');
  // With credentials the browser itself would ask for a password, out of the blue.
  const answer = challenge ? anonymous : ((await get(url, 'include')) ?? anonymous);
  return read(answer, wasOpen);
}

/** The limits, by the names that the AsyncAPI document has for them, and those of files; none when they are not known. @returns {Promise<Limits>} */
export async function limitsOf(url) {
  const answer = await get(url, 'include');
  const { limits, files } = (answer?.ok && (await json(answer))) || {};
  return files ? { ...limits, files } : limits ?? {};
}

// Its own origin is in Referer: browsers send Origin to others alone.
async function get(url, credentials, mode = 'cors') {
  const options = { credentials, mode, signal: AbortSignal.timeout(patience), cache: 'no-store', redirect: mode === 'cors' ? 'manual' : 'follow', referrerPolicy: 'origin', headers: { Accept: 'application/json' } };
  return fetch(overHTTP(url), /** @type {RequestInit} */ (options)).catch(() => undefined);
}

async function json(answer) {
  return isJSON(answer) ? answer.json().catch(() => undefined) : undefined;
}

function isJSON({ headers }) {
  return headers.get('content-type')?.startsWith('application/json');
}

// Of another origin this page cannot read an answer that is not for it: only whether there is one.
/** @returns {Promise<Refusal | undefined>} */
async function foreign(url) {
  const { host, origin } = new URL(overHTTP(url));
  if (origin === globalThis.location?.origin || !(await get(url, 'omit', 'no-cors'))) return undefined;
  return { reason: 'foreign', host, isFinal: true };
}

/** @param {Response} answer @returns {Refusal | undefined} */
function read(answer, wasOpen) {
  const { status, type, ok, headers } = answer;
  const refusal = headers.get('assistant-refusal');
  if (type === 'opaqueredirect' || status === 401 || (status >= 300 && status < 400)) return { reason: 'sign_in', isFinal: true };
  if (status === 403) return { reason: 'forbidden', isFinal: true };
  if (status === 404 && refusal) return { reason: 'gone', isFinal: true };
  if (status === 429 || status >= 500) return { reason: refusal === 'max_connections' ? 'full' : 'unavailable', retry_after_ms: pause(headers) };
  // Caddy answers 200 where a site has nothing.
  if (!wasOpen && (status === 404 || status === 410 || (ok && !isJSON(answer)))) return { reason: 'absent', isFinal: true };
}

/** Retry-After is in seconds, or a date (RFC 9110, section 10.2.3). */
function pause(headers) {
  const text = headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(text) ? 1000 * Number(text) : Date.parse(text) - Date.now();
  return Math.min(Math.max(ms || 0, 0), 86_400_000);
}
