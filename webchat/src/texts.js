// @ts-check
// The words of the chat, in the language of the page or of its reader.
import english from './texts/en.js';
/** @import { Notice, Problem, Rejection } from '../client/types.d.ts' */
/** @import { Words } from './types.d.ts' */

/** Languages besides English, loaded when one is chosen. @type {Record<string, () => Promise<{ default: Words }>>} */
const built = {
  ar: () => import('./texts/ar.js'),
  de: () => import('./texts/de.js'),
  es: () => import('./texts/es.js'),
  fr: () => import('./texts/fr.js'),
  ja: () => import('./texts/ja.js'),
  pt: () => import('./texts/pt.js'),
  zh: () => import('./texts/zh.js'),
};

const units = /** @type {const} */ ([['day', 86_400_000], ['hour', 3_600_000], ['minute', 60_000], ['second', 1000]]);
const rightToLeft = ['Adlm', 'Arab', 'Hebr', 'Nkoo', 'Rohg', 'Syrc', 'Thaa'];

/** Says everything in one language; what a language lacks is said in English. */
export class Texts {
  #words;
  #rules;

  /** @param {string} [locale] a BCP 47 tag @param {Words} [words] */
  constructor(locale = 'en', words = {}) {
    this.locale = locale;
    this.#words = { ...english, ...words };
    this.#rules = new Intl.PluralRules(locale);
  }

  /** With more words, of English: what the language has of its own wins. @param {Words} words */
  with(words) {
    return new Texts(this.locale, { ...words, ...this.#words });
  }

  get direction() {
    return rightToLeft.includes(new Intl.Locale(this.locale).maximize().script ?? '') ? 'rtl' : 'ltr';
  }

  /**
   * The text of a key. {name} in it stands for a value; a text with plural forms is chosen by the value named count.
   * @param {string} key @param {Record<string, any>} [values]
   */
  say = (key, values) => this.#fill(key, values) ?? '';

  // Undefined when there is no such text, or a value that it needs is missing.
  #fill(key, values = {}) {
    const found = this.#words[key];
    const text = typeof found === 'object' ? found[this.#rules.select(values.count)] ?? found.other : found;
    const names = text?.match(/(?<={)\w+(?=})/g) ?? [];
    if (names.every((name) => values[name] != null)) return text?.replace(/{(\w+)}/g, (_, name) => this.#show(values[name]));
  }

  // Somebody's words must not turn the sentence around them.
  #show(value) {
    if (typeof value === 'number') return value.toLocaleString(this.locale);
    return this.direction === 'rtl' ? `\u2068${value}\u2069` : value;
  }

  /** How long from now, as in "in 2 minutes"; rounded up. @param {number} ms */
  when(ms) {
    const [unit, size] = units.find(([, size]) => ms >= size) ?? units[3];
    return new Intl.RelativeTimeFormat(this.locale).format(Math.max(0, Math.ceil(ms / size)), unit);
  }

  /** How an answer ended, if that is worth a word. @param {string} reason */
  ending(reason) {
    return this.#fill(`ending.${reason}`) ?? reason;
  }

  /** A sentence for what is known by its reason; the server's own for what is not. @param {Notice} notice */
  notice(notice) {
    return this.#fill(`notice.${notice.reason}`, notice) ?? notice.detail ?? '';
  }

  /** The same. What a validator says is for programs. @param {Problem | Rejection[]} problem */
  explain(problem) {
    if (Array.isArray(problem)) return this.#reject(problem[0]);
    return this.#fill(`error.${problem.reason}`, problem) ?? (problem.detail || this.say('error.unanswered'));
  }

  /** @param {Rejection} rejection */
  #reject({ type, ctx, msg }) {
    if (type === 'string_too_long') {
      const count = Number(ctx?.max_length ?? msg.match(/\d+/)?.[0]); // the tutorial's server says it in a sentence alone
      return this.#fill('invalid.string_too_long', { count: count || null }) ?? this.say('error.message_too_large');
    }
    return this.#fill(`invalid.${type}`) ?? this.say('invalid.other');
  }
}

/**
 * Chooses the language of an element: that of the nearest `lang`, else the first of the reader's for which there
 * are words. A site's own words, by language, win over those built in.
 * @param {Element} element @param {Record<string, Words>} [own] @returns {Promise<Texts>}
 */
export async function textsFor(element, own = {}) {
  const { lang } = inherited(element, 'lang') ?? {};
  for (const tag of (lang ? [lang] : navigator.languages).flatMap(canonical)) {
    const tags = generalized(tag).filter((tag) => tag === 'en' || built[tag] || own[tag]);
    if (!tags.length) continue;
    try {
      const words = await Promise.all(tags.map(async (tag) => ({ ...(await built[tag]?.())?.default, ...own[tag] })));
      return new Texts(tag, Object.assign({}, ...words.reverse()));
    } catch (error) {
      reportError(error); // a language cannot be loaded now: the next will do
    }
  }
  return new Texts('en', own.en);
}

/** The nearest element with an attribute, out of shadow roots too. @param {Element} element @returns {any} */
export function inherited(element, attribute) {
  const host = /** @type {ShadowRoot} */ (element.getRootNode()).host;
  return element.closest(`[${attribute}]:not([${attribute}=""])`) ?? (host && inherited(host, attribute));
}

// None for what is no tag, such as x-default.
function canonical(tag) {
  try {
    return Intl.getCanonicalLocales(tag.replaceAll('_', '-'));
  } catch {
    return [];
  }
}

// zh-Hans-CN, zh-Hans, zh
function generalized(tag) {
  const parts = tag.split('-');
  return parts.map((_, i) => parts.slice(0, parts.length - i).join('-'));
}
