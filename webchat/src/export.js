// @ts-check
// A conversation as a file; loaded when one is wanted. Nothing leaves the page.
import { h } from './dom.js';
/** @import { Client } from '../client/client.js' */
/** @import { Texts } from './texts.js' */
/** @import { Conversation, Message } from '../client/types.d.ts' */

const pageSize = 100;

/** @typedef {{ conversation: Partial<Conversation>, messages: Message[] }} Whole */

/**
 * @param {Client} client
 * @param {Partial<Conversation>} conversation @returns {Promise<Whole>}
 */
export async function whole(client, conversation) {
  const { conversation_id } = conversation;
  /** @type {Message[]} */ let messages = [];
  for (let hasMore = true; hasMore; ) {
    const page = await client.messages(conversation_id, { limit: pageSize, before: messages[0]?.message_id });
    messages = [...page.items, ...messages];
    hasMore = page.has_more;
  }
  return { conversation, messages };
}

/** As Markdown that people read: who said what when. @param {Whole} whole @param {Texts} texts */
export function asMarkdown({ conversation, messages }, { locale, say }) {
  const at = (time) => new Date(time).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'short' });
  const head = ({ role, model, created_at }) => `## ${[say(role === 'user' ? 'you' : 'assistant'), model, at(created_at)].filter(Boolean).join(' · ')}`;
  const parts = messages.flatMap((message) => [head(message), message.content.trim() || '…']);
  return `${[`# ${conversation.title || say('new')}`, ...parts].join('\n\n')}\n`;
}

/** As JSON, with all that the server told of it. @param {Whole} whole */
export function asJSON(whole) {
  return `${JSON.stringify(whole, null, 2)}\n`;
}

/** @param {string} name of the file, from whatever text @param {string} extension @param {string} type @param {string} text */
export function save(name, extension, type, text) {
  const href = URL.createObjectURL(new Blob([text], { type }));
  h('a', { href, download: `${fileName(name)}.${extension}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser may still read it
}

// What every system takes: Windows has the most rules.
function fileName(name) {
  const safe = name.replace(/[\p{C}\\/:*?"<>|]+/gu, ' ').replace(/\s+/g, ' ').trim();
  const short = Array.from(safe).slice(0, 80).join('').replace(/^[. ]+|[. ]+$/g, '');
  return /^(con|prn|aux|nul|com\d|lpt\d|)$/i.test(short) ? `${short}_` : short;
}
