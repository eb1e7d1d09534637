// @ts-check
// What stored messages tell in another way than live ones, or alone; loaded for those that do.
import { h } from './dom.js';
import sentences from './texts/reasons.js';
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
]);

/**
 * Completes a message that is shown with what the page knows of it.
 * @param {HTMLElement} message of the turn
 * @param {boolean} isPartial it has parts that the page does not know
 * @param {HTMLElement | false} problem of the turn
 * @param {string} reason of the problem, if it is known
 * @param {Texts} texts
 */
export function recall(message, isPartial, problem, reason = '', texts) {
  if (isPartial) message.querySelector('.meta')?.before(h('p', { className: 'notice' }, texts.say('unshown')));
  if (!problem) return;
  const [sentence, retry] = /** @type {any} */ (problem.children);
  sentence.textContent = texts.explain({ reason, detail: sentences[`error.${reason}`] });
  retry.hidden = final.has(reason);
}
