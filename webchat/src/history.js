// @ts-check
// What stored messages tell in another way than live ones, or alone; loaded for those that do.
import { adopt, h } from './dom.js';
import css from './history.css';
import sentences from './texts/reasons.js';
import { visible } from './visible.js';
/** @import { Texts } from './texts.js' */

/** Reasons of failures that would only happen again. */
const final = new Set([
  'conversation_full',
  'unauthorized',
  'unknown_topic',
  'not_subscribed',
  'not_found',
  'nothing_to_regenerate',
  'not_waiting',
  'client_tools_off', 'nothing_to_continue',
  'provider_rejected',
  'context_overflow',
  'content_filtered',
  'tools_unsupported',
  'content_unsupported',
  'file_unknown',
  'too_many_files',
  'file_too_large',
  'file_type',
  'file_invalid',
  'file_in_use',
  'name_invalid',
  'quota_exceeded',
]);

/**
 * Completes a message that is shown with what the page knows of it.
 * @param {HTMLElement} message of the turn
 * @param {any[]} parts of the message, if some of them are more than text
 * @param {HTMLElement | false} problem of the turn
 * @param {string} reason of the problem, if it is known
 * @param {Texts} texts
 * @param {string} [url] of the socket
 */
export function recall(message, parts, problem, reason = '', texts, url = '') {
  const isFile = ({ type, file_id }) => file_id && (type === 'image' || type === 'file');
  const unknown = () => message.querySelector('.meta')?.before(h('p', { className: 'notice' }, texts.say('unshown')));
  if (parts.some(isFile)) import('./attachments.js').then(({ attach }) => attach(message, parts.filter(isFile), url, texts), unknown);
  for (const part of parts) if (part.type === 'source') cite(message, part, texts);
  if (parts.some((part) => part.text == null && !part.call_id && part.type !== 'source' && !isFile(part))) unknown();
  if (!problem) return;
  const [sentence, retry] = /** @type {any} */ (problem.children);
  sentence.textContent = texts.explain({ reason, detail: sentences[`error.${reason}`] });
  retry.hidden = final.has(reason);
}

/** Adds a source to those of an answer, once. @param {HTMLElement} message @param {{ url?: string, title?: string }} source @param {Texts} texts */
function cite(message, { url = '', title = '' }, texts) {
  let list = message.querySelector('.sources');
  if (!list) {
    list = h('ul', { className: 'sources', ariaLabel: texts.with(sentences).say('sources') });
    message.querySelector('.meta')?.before(list);
    adopt(message, css);
  }
  const { protocol, host } = URL.canParse(url) ? new URL(url) : { protocol: '', host: '' };
  const name = visible(title || host || url);
  const isLink = /^https?:$/.test(protocol);
  const item = h('li', { dir: 'auto' }, ...(isLink ? [h('a', { href: url, target: '_blank', rel: 'noopener noreferrer nofollow' }, ...name), title ? h('small', {}, ` ${host}`) : ''] : name));
  if (![...list.children].some(({ textContent, firstElementChild }) => textContent === item.textContent && (!isLink || /** @type {any} */ (firstElementChild)?.href === new URL(url).href))) list.append(item);
}
