// @ts-check
// What is seldom wanted, behind one button, and the list of keys; loaded when it is asked for.
import css from './menu.css';
import { adopt, h } from './dom.js';
import { areKeysOn, keys, switchKeys } from './keys.js';
import english from './texts/menu.js';
import { chooseTheme, chosenTheme, themes } from './theme.js';
/** @import { Texts } from './texts.js' */

let isClosing = false; // the button was pressed while its menu was open: that closes it, as pressing anything else does

/**
 * @param {HTMLElement} button below which it opens @param {Texts} texts
 * @param {[key: string, action: () => void][]} entries
 * @param {HTMLElement} [page] whose colours can be chosen
 */
export function showMenu(button, texts, entries, page) {
  const { say } = texts.with(english);
  if (isClosing) {
    isClosing = false;
    return;
  }
  button.onpointerdown = () => (isClosing = button.ariaExpanded === 'true');
  adopt(button, css);
  const entry = ([key, action]) => h('button', { className: key, onclick: () => (menu.hidePopover(), action()) }, say(key));
  const menu = h('div', { id: 'options', popover: 'auto' }, ...entries.map(entry), ...(page ? [appearance(page, say)] : []));
  menu.ontoggle = ({ newState }) => {
    button.ariaExpanded = String(newState === 'open');
    if (newState === 'closed') menu.remove();
  };
  button.after(menu);
  menu.showPopover();
  const { bottom, left, right } = button.getBoundingClientRect();
  menu.style.top = `${bottom + 4}px`;
  menu.style.maxHeight = `${innerHeight - bottom - 12}px`;
  menu.style.insetInlineEnd = `${button.matches(':dir(rtl)') ? left : document.documentElement.clientWidth - right}px`;
  menu.querySelector('button')?.focus();
}

/** @param {HTMLElement} page @param {Texts['say']} say */
function appearance(page, say) {
  const choices = themes.map((theme) =>
    h('label', {}, h('input', { type: 'radio', name: 'theme', value: theme, checked: theme === chosenTheme(), onchange: () => chooseTheme(page, theme) }), say(`theme.${theme}`)),
  );
  return h('fieldset', { id: 'appearance' }, h('legend', {}, say('appearance')), ...choices);
}

/** @param {Element} chat @param {Texts} texts @param {boolean} isTouched Enter makes a new line */
export function showShortcuts(chat, texts, isTouched) {
  const { say } = texts.with(english);
  adopt(chat, css);
  const [control, enter, shift, escape] = ['key_control', 'key_enter', 'key_shift', 'key_escape'].map((key) => say(key));
  const row = (does, ...pressed) => h('div', {}, h('dt', {}, say(does)), h('dd', {}, ...pressed.flatMap((key, i) => [i ? ' + ' : '', h('kbd', {}, key)])));
  const always = [
    row('send', ...(isTouched ? [control, enter] : [enter])),
    row('new_line', ...(isTouched ? [enter] : [shift, enter])),
    row('stop', escape),
    row('shortcuts', control, '/'),
  ];
  const single = h('dl', {}, ...Object.entries(keys).map(([key, does]) => row(does, key)));
  const on = h('input', { type: 'checkbox', id: 'single-keys', checked: areKeysOn(), onchange: () => switchKeys(on.checked) });
  const dialog = h(
    'dialog',
    { id: 'shortcuts', ariaLabel: say('shortcuts'), onclose: () => dialog.remove() },
    h('header', {}, h('h2', {}, say('shortcuts')), h('button', { className: 'close', onclick: () => dialog.close() }, say('close'))),
    h('dl', {}, ...always),
    h('label', {}, on, say('shortcuts_single')),
    single,
  );
  chat.append(dialog);
  dialog.showModal();
}
