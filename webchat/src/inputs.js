// @ts-check
// What a tool asks a person before its call can end: a form for each question, or a page to open.
import { h } from './dom.js';
import { Reply } from './reply.js';
import { visible, visibleText } from './visible.js';
/** @import { Input, KnownCall, SubmitToolInputPayload } from '../client/types.d.ts' */
/** @import { Texts } from './texts.js' */

export class Inputs extends Reply {
  #send;
  /** @type {(() => [string, unknown])[]} */ #answers = []; // by the id of each question

  /** @param {KnownCall} call @param {(input: Omit<SubmitToolInputPayload, 'message_id'>) => Promise<unknown>} send @param {Texts} texts */
  constructor(call, send, texts) {
    super(call, texts);
    this.#send = send;
    const inputs = call.inputs ?? [];
    const fields = inputs.flatMap((input) => this.#ask(input));
    this.show(h(
      'form',
      { onsubmit: (event) => (event.preventDefault(), this.#accept()) },
      ...fields,
      this.button('send_input', undefined, 'approve'),
      this.button('decline', () => this.#submit(inputs.map(({ id }) => [id, { action: 'decline' }])), 'deny'),
    ));
  }

  /** @param {Input} input */
  #ask({ id, message, schema, url }) {
    const question = h('p', { dir: 'auto' }, ...visible(message));
    if (url) {
      this.#answers.push(() => [id, { action: 'accept' }]);
      return [question, this.#link(url)];
    }
    const fields = safeFieldsOf(schema, this.texts);
    this.#answers.push(() => [id, { action: 'accept', content: Object.fromEntries(fields.map(({ name, value }) => [name, value()]).filter(([, value]) => value !== undefined)) }]);
    return [question, ...fields.flatMap(({ label, field }) => [label, field])];
  }

  // Nothing opens it but the reader, who sees where it leads.
  #link(url) {
    const text = h('p', { dir: 'ltr' });
    const { protocol, host } = URL.canParse(url) ? new URL(url) : { protocol: '', host: '' };
    if (!/^https?:$/.test(protocol)) return Object.assign(text, { textContent: visibleText(url) });
    const [before, ...after] = url.split(host);
    text.append(h('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, ...visible(before), h('strong', {}, host), ...visible(after.join(host))));
    return text;
  }

  #accept() {
    this.#submit(this.#answers.map((answer) => answer()));
  }

  #submit(answers) {
    this.send(() => this.#send({ call_id: this.call.call_id, responses: Object.fromEntries(answers) }));
  }
}

let count = 0; // of fields, for their ids

/** None of a schema that is none: then it can still be declined. @param {any} schema @param {Texts} texts */
function safeFieldsOf(schema, texts) {
  try {
    return fieldsOf(schema, texts);
  } catch (error) {
    reportError(error);
    return [];
  }
}

/** The fields of a flat object, as the Model Context Protocol allows them. @param {any} schema @param {Texts} texts */
function fieldsOf(schema, texts) {
  const { properties = {}, required = [] } = schema ?? {};
  return Object.entries(properties).map(([name, property]) => {
    const id = `input-${++count}`;
    const isRequired = required.includes(name);
    const { field, value } = fieldOf(property, isRequired, texts);
    Object.assign(field, { id, required: isRequired && property.type !== 'boolean' });
    const { title = name, description } = property;
    return { name, field, value, label: h('label', { htmlFor: id, dir: 'auto' }, ...visible(String(title)), ...(description ? [' ', h('span', { className: 'none' }, ...visible(String(description)))] : [])) };
  });
}

const formats = { email: 'email', uri: 'url', date: 'date' };

function fieldOf({ type, format, enum: values, oneOf, default: preset, minLength, maxLength, minimum, maximum }, isRequired, texts) {
  const choices = values?.map((value) => ({ const: value, title: String(value) })) ?? oneOf;
  if (choices) {
    const select = h('select', {}, ...(isRequired ? [] : [h('option', { value: '' }, texts.say('no_choice'))]),
      ...choices.map(({ const: value, title = value }, i) => h('option', { value: String(i), selected: value === preset }, visibleText(String(title)))));
    return { field: select, value: () => choices[Number(select.value || NaN)]?.const };
  }
  if (type === 'boolean') {
    const box = h('input', { type: 'checkbox', checked: preset === true });
    return { field: box, value: () => box.checked };
  }
  const isNumber = type === 'number' || type === 'integer';
  const field = h('input', { type: isNumber ? 'number' : formats[format] ?? 'text', dir: 'auto', autocomplete: 'off', value: preset ?? '' });
  const bounds = isNumber ? { step: type === 'integer' ? '1' : 'any', min: minimum, max: maximum } : { minLength, maxLength };
  for (const [name, bound] of Object.entries(bounds)) if (bound !== undefined) field[name] = bound;
  return { field, value: () => (field.value === '' && (isNumber || !isRequired) ? undefined : isNumber ? field.valueAsNumber : field.value) };
}
