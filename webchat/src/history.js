// @ts-check
// What stored messages tell in another way than live ones, or alone; loaded for those that do.
import { h } from './dom.js';
/** @import { Message } from './types.d.ts' */

/** The server's sentences for answers that failed, by reason. */
const sentences = {
  provider_unavailable: 'The language model could not be reached, or stopped in mid-answer.',
  provider_timeout: 'The language model did not answer in time.',
  provider_rate_limited: 'The language model is handling too many requests.',
  storage_unavailable: 'The conversation cannot be stored right now.',
  internal: 'Something went wrong on the server.',
};

/** The same, where trying again cannot help. */
const final = {
  provider_rejected: "The language model refused the request. The site's operator can find out why.",
  context_overflow: 'The question is too long for the language model.',
  content_filtered: "The language model's content filter refused the question.",
};

/**
 * Completes a message that is shown with its text alone.
 * @param {{ reason: (text: string) => void }} turn
 * @param {HTMLElement} message of the turn
 * @param {NonNullable<Message['parts']>} parts
 * @param {HTMLElement | false} problem of the turn
 * @param {string} reason of the problem, if it is known
 */
export function recall(turn, message, parts = [], problem, reason = '') {
  for (const { type, text } of parts) if (type === 'reasoning') turn.reason(text ?? '');
  if (parts.some(({ type }) => type !== 'reasoning' && type !== 'text')) {
    message.querySelector('.meta')?.before(h('p', { className: 'notice' }, 'There is something this page cannot show.'));
  }
  if (!problem) return;
  const [sentence, retry] = /** @type {any} */ (problem.children);
  sentence.textContent = sentences[reason] ?? final[reason] ?? 'The question was not answered, or not to the end.';
  retry.hidden = reason in final;
}
