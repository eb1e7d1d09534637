// @ts-check
// Calls of the page's own tools; loaded with the first.
/** @import { Client } from './client.js' */
/** @import { KnownCall, PageTool, SubmitToolResultPayload } from './types.d.ts' */

const maxContent = 65_536; // characters
const pause = 500; // milliseconds, before a result is told again
const maxStructured = 262_144; // of its JSON

/** The calls under way, by the ids of their answers and their own. */
const running = new Set();
const keyOf = (message_id, { call_id }) => `${message_id} ${call_id}`;

/** @param {Client} client @param {string} name @returns {PageTool | undefined} */
export function toolOf(client, name) {
  return client.tools.find((tool) => tool.name === name);
}

/** @param {string} message_id @param {KnownCall} call */
export function isRunning(message_id, call) {
  return running.has(keyOf(message_id, call));
}

/**
 * Makes a call, once, and tells the server what came of it.
 * @param {Client} client @param {string} message_id @param {KnownCall} call
 */
export async function run(client, message_id, call) {
  if (isRunning(message_id, call)) return;
  const { call_id } = call;
  const { conversationId } = client; // the reader may open another one meanwhile
  running.add(keyOf(message_id, call));
  try {
    await submit(client, { message_id, call_id, ...(await outcome(client, call)) }, conversationId);
  } finally {
    running.delete(keyOf(message_id, call));
  }
}

/** @param {Client} client @param {KnownCall} call */
async function outcome(client, { name, arguments: values = {} }) {
  try {
    const tool = toolOf(client, name);
    if (!tool) throw new Error(`no tool ${name}`);
    return asResult(await tool.execute(structuredClone(values)));
  } catch (/** @type {any} */ error) {
    return { content: cut(error?.message || String(error)), is_error: true };
  }
}

/** What a tool returned: text, a result as the Model Context Protocol has it, or any JSON. @param {any} value */
function asResult(value) {
  if (typeof value === 'string') return { content: cut(value) };
  if (value === undefined) return { content: 'done' };
  if (!Array.isArray(value?.content)) return { content: cut(JSON.stringify(value)), ...structured(value) };
  const texts = value.content.map(({ type, text }) => (type === 'text' ? text : `[${type}: left out]`));
  return { content: cut(texts.join('\n')), ...(value.structuredContent && structured(value.structuredContent)), ...(value.isError && { is_error: true }) };
}

// Half a character is none.
const cut = (text) => text.slice(0, maxContent).replace(/[\uD800-\uDBFF]$/, '');

const structured = (value) => (JSON.stringify(value).length > maxStructured ? {} : { structured: value });

/** Also after a cut; where somebody else was first, that is all right. @param {Client} client @param {SubmitToolResultPayload} result @param {string} [conversation] */
async function submit(client, result, conversation) {
  for (;;) {
    try {
      return await client.submitResult(result, conversation);
    } catch (/** @type {any} */ error) {
      if (!error.retryable && error.reason !== 'disconnected') {
        if (error.reason !== 'not_waiting') reportError(error);
        return;
      }
      await Promise.all([connected(client), new Promise((resolve) => setTimeout(resolve, error.retryAfter ?? pause))]);
    }
  }
}

/** @param {Client} client */
function connected(client) {
  return new Promise((/** @type {(value?: any) => void} */ resolve) => {
    const check = () => {
      if (client.state !== 'connected') return;
      client.removeEventListener('statechange', check);
      resolve();
    };
    client.addEventListener('statechange', check);
    check();
  });
}
