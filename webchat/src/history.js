// @ts-check
// What stored messages tell in another way than live ones, or alone; loaded for those that do.
import { h } from './dom.js';
import sentences from './texts/reasons.js';
/** @import { Texts } from './texts.js' */
/** @import { Message } from '../client/types.d.ts' */

/** Reasons of failures that would only happen again. */
const final = new Set([
  'conversation_full',
  'unauthorized',
  'unknown_topic',
  'not_subscribed',
  'not_found',
  'nothing_to_regenerate',
  'provider_rejected',
  'context_overflow',
  'content_filtered',
  'tools_unsupported',
]);

/**
 * Completes a message that is shown with its text alone.
 * @param {{ reason: (text: string, isLive: boolean) => void }} turn
 * @param {HTMLElement} message of the turn
 * @param {NonNullable<Message['parts']>} parts
 * @param {HTMLElement | false} problem of the turn
 * @param {string} reason of the problem, if it is known
 * @param {Texts} texts
 */
export function recall(turn, message, parts = [], problem, reason = '', texts) {
  const reasoning = parts.filter(({ type }) => type === 'reasoning').map(({ text }) => text ?? '');
  if (reasoning.length) turn.reason(reasoning.join(''), false);
  if (parts.some(({ type }) => type !== 'reasoning' && type !== 'text')) {
    message.querySelector('.meta')?.before(h('p', { className: 'notice' }, texts.say('unshown')));
  }
  if (!problem) return;
  const [sentence, retry] = /** @type {any} */ (problem.children);
  sentence.textContent = texts.explain({ reason, detail: sentences[`error.${reason}`] });
  retry.hidden = final.has(reason);
}
