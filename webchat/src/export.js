// @ts-check
// A conversation as a file; loaded when one is wanted. Nothing leaves the page.
import { h } from './dom.js';
import calls from './texts/calls.js';
import { visibleJSON, visibleText } from './visible.js';
/** @import { Client } from '../client/client.js' */
/** @import { Texts } from './texts.js' */
/** @import { Conversation, KnownCall, KnownResult, Message } from '../client/types.d.ts' */

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
export function asMarkdown({ conversation, messages }, texts) {
  const { locale, say } = texts.with(calls);
  const at = (time) => new Date(time).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'short' });
  const head = ({ role, model, created_at }) => `## ${[say(role === 'user' ? 'you' : 'assistant'), model, at(created_at)].filter(Boolean).join(' · ')}`;
  const parts = messages.flatMap((message) => [head(message), body(message, say) || '…']);
  return `${[`# ${conversation.title || say('new')}`, ...parts].join('\n\n')}\n`;
}

/** @param {Message} message @param {Texts['say']} say */
function body({ content, parts = [] }, say) {
  if (!parts.some((part) => 'call_id' in part)) return content.trim();
  const shown = (part) => (part.type === 'tool_call' ? call(part, say) : part.type === 'tool_result' ? result(part, say) : part.type === 'text' ? part.text.trim() : '');
  return parts.map(shown).filter(Boolean).join('\n\n');
}

/** @param {KnownCall} call @param {Texts['say']} say */
function call({ title, name, state, arguments: values = {}, edited }, say) {
  const head = `**${escaped(title || name)}** (${fenced(name, ' ')}): ${say(`call.${state}`) || state}`;
  return [head, fenced(visibleJSON(values), '\n', 'json'), ...(edited ? [say('changed')] : [])].join('\n\n');
}

/** @param {KnownResult} result @param {Texts['say']} say */
function result({ content, structured, is_error }, say) {
  const text = content || (structured === undefined ? '' : visibleJSON(structured));
  return [`${say(is_error ? 'problem' : 'result')}:`, fenced(visibleText(text), '\n')].join('\n\n');
}

const escaped = (text) => visibleText(text).replace(/[\\`*_[\]<>#|~&]/g, '\\$&');

// Code, whatever is in it.
function fenced(text, edge, language = '') {
  const longest = Math.max(0, ...(text.match(/`+/g) ?? []).map(({ length }) => length));
  const fence = '`'.repeat(edge === '\n' ? Math.max(3, longest + 1) : longest + 1);
  const pad = edge === ' ' && !longest ? '' : edge;
  return `${fence}${language}${pad}${text}${pad}${fence}`;
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
