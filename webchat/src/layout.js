// @ts-check
// What stands in the element before anybody has said anything.
import { icon, iconButton } from './buttons.js';
import { h } from './dom.js';
/** @import { Texts } from './texts.js' */

/**
 * @param {{ texts: Texts, search: Element, list: Element, dialog?: Element, ask: (question: string) => void }} parts
 * @param {import('./types.d.ts').Looks} looks
 */
export function layout({ texts, search, list, dialog, ask }, { heading, logo, greeting, suggestions, disclaimer, privacy, isPage, isFloating }) {
  const { locale, say } = texts;
  const mark = () => (logo ? h('img', { src: logo, alt: '' }) : icon('mark'));
  return h(
    'div',
    { id: 'chat', lang: locale },
    h(
      'nav',
      { id: 'conversations', ariaLabel: say('conversations') },
      h('button', { id: 'new' }, icon('plus'), say('new')),
      search,
      list,
    ),
    h(
      'section',
      { id: 'panel' },
      h(
        'header',
        {},
        iconButton('menu', say('conversations'), { id: 'menu', ariaExpanded: 'false' }),
        h('div', { id: 'mark' }, mark()),
        slot('heading', h(isPage ? 'h1' : 'h2', {}, heading || say('assistant'))),
        h('p', { id: 'status' }),
        ...(dialog ? [h('button', { id: 'view-logs' }, say('view_logs'))] : []),
        iconButton('close', say('close'), { id: 'close', hidden: !isFloating }),
      ),
      h('p', { id: 'banner', hidden: true }, h('span'), h('button', { id: 'reconnect' }, say('reconnect'))),
      h(
        'div',
        { id: 'middle' },
        // Not live: #announcer reads whole answers.
        h(
          'div',
          { id: 'log', role: 'log', ariaLive: 'off', ariaLabel: say('messages'), tabIndex: 0 },
          h('div', { id: 'messages' }),
          h('div', { id: 'welcome' }, mark(), slot('', h('p', {}, greeting || say('welcome'))), ...suggested(suggestions, ask)),
        ),
        iconButton('down', say('latest'), { id: 'latest', hidden: true }),
      ),
      h('p', { id: 'announcer', className: 'unseen', role: 'status' }),
      h(
        'form',
        { id: 'composer' },
        h('p', { id: 'editing', hidden: true }, say('editing'), h('button', { id: 'cancel', type: 'button' }, say('cancel'))),
        h('textarea', { id: 'input', ariaLabel: say('message'), placeholder: say('message_hint'), enterKeyHint: 'send', rows: 1 }),
        iconButton('send', say('send'), { id: 'send', type: 'submit', title: say('send_key') }),
        iconButton('stop', say('stop'), { id: 'stop', title: say('stop_key'), hidden: true }),
        ...footer(texts, disclaimer, privacy),
      ),
    ),
    ...(dialog ? [dialog] : []),
  );
}

/** @param {string[]} questions @param {(question: string) => void} ask */
function suggested(questions, ask) {
  const buttons = questions.map((question) => h('button', { className: 'suggestion', dir: 'auto', onclick: () => ask(question) }, question));
  return buttons.length ? [h('div', { id: 'suggestions' }, ...buttons)] : [];
}

/** @param {Texts} texts @param {string} disclaimer @param {string} privacy */
function footer(texts, disclaimer, privacy) {
  const href = privacy && URL.canParse(privacy, document.baseURI) ? new URL(privacy, document.baseURI).href : '';
  const link = /^https?:/.test(href) ? [h('a', { id: 'privacy', href, target: '_blank', rel: 'noreferrer' }, texts.say('privacy'))] : [];
  return disclaimer || link.length ? [h('p', { id: 'disclaimer' }, h('span', { dir: 'auto' }, disclaimer), ' ', ...link)] : [];
}

function slot(name, fallback) {
  return h('slot', { name }, fallback);
}
