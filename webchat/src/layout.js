// @ts-check
// What stands in the element before anybody has said anything.
import { icon, iconButton } from './buttons.js';
import { h } from './dom.js';
/** @import { Texts } from './texts.js' */

/** @param {{ texts: Texts, search: Element, list: Element, dialog: Element, isPage: boolean, isFloating: boolean }} parts */
export function layout({ texts, search, list, dialog, isPage, isFloating }) {
  const { locale, say } = texts;
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
        h('div', { id: 'mark' }, icon('mark')),
        slot('heading', h(isPage ? 'h1' : 'h2', {}, say('assistant'))),
        h('p', { id: 'status' }),
        h('button', { id: 'view-logs', hidden: !isPage }, say('view_logs')),
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
          h('div', { id: 'welcome' }, icon('mark'), slot('', h('p', {}, say('welcome')))),
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
      ),
    ),
    dialog,
  );
}

function slot(name, fallback) {
  return h('slot', { name }, fallback);
}
