// What the chat page says in which language: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Texts, textsFor } from '../../webchat/src/texts.js';
import english from '../../webchat/src/texts/en.js';
import attach from '../../webchat/src/texts/attach.js';
import calls from '../../webchat/src/texts/calls.js';
import logs from '../../webchat/src/texts/logs.js';
import menu from '../../webchat/src/texts/menu.js';
import reasons from '../../webchat/src/texts/reasons.js';

const src = new URL('../../webchat/src/', import.meta.url);
const used = { ...english, ...attach, ...calls, ...logs, ...menu };
const all = { ...used, ...reasons };
const languages = {};
for (const name of await readdir(new URL('texts', src))) {
  if (!['attach.js', 'en.js', 'calls.js', 'logs.js', 'menu.js', 'reasons.js'].includes(name)) languages[name.slice(0, -3)] = (await import(new URL(`texts/${name}`, src))).default;
}

const forms = (text) => (typeof text === 'string' ? { other: text } : text);
const placeholders = (text) => [...new Set(text.match(/{\w+}/g))].sort();

test('every language has the texts of English, their values and its own plural forms', () => {
  assert.deepEqual(Object.keys(languages).sort(), ['ar', 'de', 'es', 'fr', 'ja', 'pt', 'zh']);
  for (const [language, texts] of Object.entries(languages)) {
    assert.deepEqual(Object.keys(texts).sort(), Object.keys(all).sort(), language);
    const { pluralCategories } = new Intl.PluralRules(language).resolvedOptions();
    for (const [key, text] of Object.entries(texts)) {
      const where = `${language} ${key}`;
      assert.equal(typeof text, typeof all[key], where);
      if (typeof text === 'object') assert.deepEqual(Object.keys(text).sort(), [...pluralCategories].sort(), where);
      for (const form of Object.values(forms(text))) {
        assert.deepEqual(placeholders(form), placeholders(forms(all[key]).other), where);
        assert.equal(Boolean(form), Boolean(forms(all[key]).other), where);
        assert.equal(form, form.trim(), where);
      }
    }
  }
});

test('what is right to left begins so, whatever it is about', () => {
  for (const [key, text] of Object.entries(languages.ar)) {
    for (const form of Object.values(forms(text))) assert.match(form, /^(\p{Script=Arabic}|$)/u, key);
  }
});

test('every text is used', async () => {
  const names = (await readdir(src)).filter((name) => name.endsWith('.js'));
  const sources = (await Promise.all(names.map((name) => readFile(new URL(name, src), 'utf8')))).join('');
  for (const key of Object.keys(used)) {
    const group = key.replace(/\..*/, '.${');
    assert.ok(sources.includes(`'${key}'`) || (key.includes('.') && sources.includes(group)), key);
  }
});

test('values are filled in, numbers as the language writes them, with its plural', () => {
  const german = new Texts('de', languages.de);
  assert.equal(german.say('tokens', { input: 12345, output: 6 }), 'Tokens: 12.345 Eingabe, 6 Ausgabe');
  assert.equal(german.say('rename', { title: '{input}' }), '{input} umbenennen');
  const tooLong = (texts, count) => texts.explain([{ type: 'string_too_long', loc: ['send_message'], msg: `String should have at most ${count} characters` }]);
  assert.equal(tooLong(german, 5000), 'Der Text ist zu lang: Erlaubt sind höchstens 5.000 Zeichen.');
  assert.equal(tooLong(new Texts(), 1), 'This is too long: at most 1 character is allowed.');
  assert.equal(tooLong(new Texts(), 5000), 'This is too long: at most 5,000 characters are allowed.');
  assert.equal(tooLong(new Texts('ar', languages.ar), 5), 'النص طويل جدًا: الحد الأقصى 5 أحرف.');
  assert.equal(new Texts('ar', languages.ar).say('rename', { title: 'Go' }), 'إعادة تسمية \u2068Go\u2069');
});

test('times from now are rounded up, in the language', () => {
  const english = new Texts();
  for (const [ms, want] of [[-5, 'in 0 seconds'], [1, 'in 1 second'], [4001, 'in 5 seconds'], [60_000, 'in 1 minute'], [61_000, 'in 2 minutes'], [7_200_000, 'in 2 hours'], [30 * 86_400_000, 'in 30 days']]) {
    assert.equal(english.when(ms), want);
  }
  assert.equal(new Texts('de', languages.de).say('retry_later', { when: new Texts('de').when(3 * 86_400_000) }), 'Erneut versuchen in 3 Tagen');
});

test('errors and notices are explained by their reason, else by what the server says', () => {
  const [plain, german] = [new Texts(), new Texts('de', languages.de)];
  const busy = { reason: 'busy', detail: 'Busy.' };
  assert.equal(german.explain(busy), languages.de['error.busy']);
  assert.equal(plain.explain(busy), 'Busy.'); // English sentences are the server's
  for (const reason of ['new_reason', '__proto__', 'constructor']) {
    assert.equal(german.explain({ reason, detail: 'Something new.' }), 'Something new.');
    assert.equal(german.notice({ reason, detail: 'Something new.' }), 'Something new.');
  }
  assert.equal(german.explain({ reason: 'new_reason' }), languages.de['error.unanswered']);
  assert.equal(german.explain({ detail: 'Said by a server of the tutorial.' }), 'Said by a server of the tutorial.');
  assert.equal(german.notice({ reason: 'queued', detail: 'Wait.' }), languages.de['notice.queued']);
  const fallback = { reason: 'provider_fallback', detail: 'It cannot answer: m answers instead.' };
  assert.equal(german.notice({ ...fallback, model: 'm' }), 'Das übliche Sprachmodell kann nicht antworten: Stattdessen antwortet m.');
  assert.equal(german.notice(fallback), fallback.detail); // an older server's, which has the name there alone
  assert.equal(german.ending('stopped'), 'Gestoppt');
  assert.equal(german.ending('new_ending'), 'new_ending');
});

test('what a validator says reaches nobody', () => {
  const german = new Texts('de', languages.de);
  for (const type of ['string_too_long', 'string_too_short', 'missing', 'union_tag_invalid', 'other', '__proto__']) {
    const text = german.explain([{ type, loc: ['send_message', 'payload', 'content'], msg: 'Input should be a valid string' }]);
    assert.ok(Object.values(languages.de).includes(text), `${type}: ${text}`);
  }
});

/** The language, direction and a word for an element in a page, whose `lang`s are given from the inside out. */
async function chosen({ lang, reader = [], own }) {
  const owner = lang === undefined ? null : { lang };
  const element = { closest: (selector) => (selector === '[lang]:not([lang=""])' && owner?.lang ? owner : null), getRootNode: () => ({}) };
  Object.defineProperty(globalThis, 'navigator', { value: { languages: reader }, configurable: true });
  const texts = await textsFor(/** @type {any} */ (element), own);
  return [texts.locale, texts.direction, texts.say('send')].join(' ');
}

test('the language is the page\'s, else the reader\'s first that is known', async () => {
  assert.equal(await chosen({ lang: 'de' }), 'de ltr Senden');
  assert.equal(await chosen({ lang: 'de-AT', reader: ['fr'] }), 'de-AT ltr Senden');
  assert.equal(await chosen({ lang: 'pt_BR' }), 'pt-BR ltr Enviar');
  assert.equal(await chosen({ lang: 'ar-EG' }), 'ar-EG rtl إرسال');
  assert.equal(await chosen({ lang: 'zh-Hans-CN' }), 'zh-Hans-CN ltr 发送');
  assert.equal(await chosen({ lang: 'nl', reader: ['fr'] }), 'en ltr Send');
  assert.equal(await chosen({ lang: 'not a tag' }), 'en ltr Send');
  assert.equal(await chosen({ lang: '', reader: ['fr'] }), 'fr ltr Envoyer');
  assert.equal(await chosen({ reader: ['nl', 'x-default', 'en-GB', 'de'] }), 'en-GB ltr Send');
  assert.equal(await chosen({ reader: ['nl', 'es-MX', 'de'] }), 'es-MX ltr Enviar');
  assert.equal(await chosen({}), 'en ltr Send');
});

test('a site adds languages and has other words', async () => {
  const own = { nl: { send: 'Verstuur' }, de: { send: 'Ab damit' }, 'de-CH': { send: 'Los' }, he: { send: 'שלח' }, en: { send: 'Go' } };
  assert.equal(await chosen({ lang: 'nl-BE', own }), 'nl-BE ltr Verstuur');
  assert.equal(await chosen({ lang: 'de', own }), 'de ltr Ab damit');
  assert.equal(await chosen({ lang: 'de-CH', own }), 'de-CH ltr Los');
  assert.equal(await chosen({ lang: 'he', own }), 'he rtl שלח');
  assert.equal(await chosen({ lang: 'da', own }), 'en ltr Go');
  assert.equal(new Texts('nl', own.nl).say('stop'), 'Stop'); // what it lacks is English
});
