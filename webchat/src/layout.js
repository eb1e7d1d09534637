// @ts-check
// What stands in the element before anybody has said anything.
import { icon, iconButton } from './buttons.js';
import { h } from './dom.js';
/** @import { Texts } from './texts.js' */

/**
 * @param {{ texts: Texts, search: Element, list: Element, none: Element, ask: (question: string) => void }} parts
 * @param {import('./types.d.ts').Looks} looks
 */
export function layout({ texts, search, list, none, ask }, looks) {
  const { locale, say } = texts;
  const { isPage, isFloating } = looks;
  const chat = h(
    'div',
    { id: 'chat', part: 'chat', lang: locale },
    h(
      'nav',
      { id: 'conversations', part: 'conversations', ariaLabel: say('conversations') },
      h('button', { id: 'new', part: 'new' }, icon('plus'), say('new')),
      search,
      none,
      list,
    ),
    h(
      'section',
      { id: 'panel' },
      h(
        'header',
        { part: 'header' },
        iconButton('menu', say('conversations'), { id: 'menu', ariaExpanded: 'false' }),
        h('div', { id: 'mark', part: 'logo' }),
        slot('heading', h(isPage ? 'h1' : 'h2', { part: 'heading' })),
        h('p', { id: 'status', part: 'status' }),
        iconButton('more', say('more'), { id: 'more', ariaHasPopup: 'true', ariaExpanded: 'false' }),
        iconButton('close', say('close'), { id: 'close', part: 'close', hidden: !isFloating }),
      ),
      h(
        'p',
        { id: 'banner', part: 'banner', hidden: true },
        h('span', { dir: 'auto' }),
        h('a', { id: 'sign-in', hidden: true, target: '_blank', rel: 'noreferrer' }, say('sign_in')),
        h('button', { id: 'reconnect' }, say('reconnect')),
      ),
      h(
        'div',
        { id: 'middle' },
        // Not live: #announcer reads whole answers.
        h(
          'div',
          { id: 'log', part: 'messages', role: 'log', ariaLive: 'off', ariaLabel: say('messages'), tabIndex: 0 },
          h('div', { id: 'messages' }),
          h('div', { id: 'welcome', part: 'welcome' }, slot('', h('p'))),
        ),
        iconButton('down', say('latest'), { id: 'latest', hidden: true }),
      ),
      h('p', { id: 'announcer', className: 'unseen', role: 'status' }),
      h(
        'form',
        { id: 'composer', part: 'composer' },
        h('p', { id: 'editing', hidden: true }, say('editing'), h('button', { id: 'cancel', type: 'button' }, say('cancel'))),
        h('textarea', { id: 'input', part: 'input', ariaLabel: say('message'), placeholder: say('message_hint'), rows: 1 }),
        iconButton('send', say('send'), { id: 'send', part: 'send', type: 'submit', title: say('send_key') }),
        iconButton('stop', say('stop'), { id: 'stop', part: 'stop', title: say('stop_key'), hidden: true }),
        h('p', { id: 'hint', dir: 'auto' }),
        h('p', { id: 'counter', dir: 'auto', hidden: true }),
        slot('footer'),
      ),
    ),
  );
  dress(chat, { texts, ask }, looks);
  return chat;
}

/**
 * Shows what the page's author says, at first and whenever that changes.
 * @param {ParentNode} root
 * @param {{ texts: Texts, ask: (question: string) => void }} parts
 * @param {import('./types.d.ts').Looks} looks
 */
export function dress(root, { texts, ask }, { heading, logo, greeting, suggestions, disclaimer, privacy }) {
  const find = (selector) => /** @type {HTMLElement} */ (root.querySelector(selector));
  const mark = () => (logo ? h('img', { src: logo, alt: '' }) : icon('mark'));
  find('#mark').replaceChildren(mark());
  find('[part=heading]').textContent = heading || texts.say('assistant');
  const content = find('#welcome > slot');
  content.firstChild.textContent = greeting || texts.say('welcome');
  find('#welcome').replaceChildren(mark(), content, ...suggested(suggestions, ask));
  find('[name=footer]').replaceChildren(...footer(texts, disclaimer, privacy));
}

/** @param {string[]} questions @param {(question: string) => void} ask */
function suggested(questions, ask) {
  const buttons = questions.map((question) => h('button', { className: 'suggestion', part: 'suggestion', dir: 'auto', onclick: () => ask(question) }, question));
  return buttons.length ? [h('div', { id: 'suggestions' }, ...buttons)] : [];
}

/** @param {Texts} texts @param {string} disclaimer @param {string} privacy */
function footer(texts, disclaimer, privacy) {
  const href = privacy && URL.canParse(privacy, document.baseURI) ? new URL(privacy, document.baseURI).href : '';
  const link = /^https?:/.test(href) ? [h('a', { id: 'privacy', href, target: '_blank', rel: 'noreferrer' }, texts.say('privacy'))] : [];
  return disclaimer || link.length ? [h('p', { id: 'disclaimer', part: 'footer' }, h('span', { dir: 'auto' }, disclaimer), ' ', ...link)] : [];
}

/** @param {string} name @param {Node[]} fallback */
export function slot(name, ...fallback) {
  return h('slot', { name }, ...fallback);
}
