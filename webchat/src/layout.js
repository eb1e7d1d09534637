// @ts-check
// What stands in the element before anybody has said anything.
import { icon, iconButton } from './buttons.js';
import { h } from './dom.js';

/** @param {{ search: Element, list: Element, dialog: Element, isPage: boolean, isFloating: boolean }} parts */
export function layout({ search, list, dialog, isPage, isFloating }) {
  return h(
    'div',
    { id: 'chat' },
    h(
      'nav',
      { id: 'conversations', ariaLabel: 'Conversations' },
      h('button', { id: 'new' }, icon('plus'), 'New chat'),
      search,
      list,
    ),
    h(
      'section',
      { id: 'panel' },
      h(
        'header',
        {},
        iconButton('menu', 'Conversations', { id: 'menu', ariaExpanded: 'false' }),
        h('div', { id: 'mark' }, icon('mark')),
        slot('heading', h('h2', {}, 'Assistant')),
        h('p', { id: 'status' }),
        h('button', { id: 'view-logs', hidden: !isPage }, 'View Logs'),
        iconButton('close', 'Close', { id: 'close', hidden: !isFloating }),
      ),
      h('p', { id: 'banner', hidden: true }, h('span'), h('button', { id: 'reconnect' }, 'Reconnect')),
      h(
        'div',
        { id: 'middle' },
        // Not live: #announcer reads whole answers.
        h(
          'div',
          { id: 'log', role: 'log', ariaLive: 'off', ariaLabel: 'Messages', tabIndex: 0 },
          h('div', { id: 'messages' }),
          h('div', { id: 'welcome' }, icon('mark'), slot('', h('p', {}, 'How can I help?'))),
        ),
        iconButton('down', 'Jump to latest', { id: 'latest', hidden: true }),
      ),
      h('p', { id: 'announcer', className: 'unseen', role: 'status' }),
      h(
        'form',
        { id: 'composer' },
        h('p', { id: 'editing', hidden: true }, 'Replaces the question and all after it.', h('button', { id: 'cancel', type: 'button' }, 'Cancel')),
        h('textarea', { id: 'input', ariaLabel: 'Your message', placeholder: 'Type your message…', enterKeyHint: 'send', dir: 'auto', rows: 1 }),
        iconButton('send', 'Send', { id: 'send', type: 'submit', title: 'Send (Enter)' }),
        iconButton('stop', 'Stop', { id: 'stop', title: 'Stop (Escape)', hidden: true }),
      ),
    ),
    dialog,
  );
}

function slot(name, fallback) {
  return h('slot', { name }, fallback);
}
