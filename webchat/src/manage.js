// @ts-check
// What the list of conversations asks before it renames or deletes one; loaded for the first such wish.
import { adopt, h, isComposing } from './dom.js';
import css from './manage.css';
/** @import { Texts } from './texts.js' */

/**
 * In the place of a conversation's link, if the list has it: Enter takes the new title, Escape leaves the old one.
 * @param {Element} list @param {string} id @param {string} old @param {Texts} texts @returns {Promise<string> | string} empty: the old one
 */
export function askTitle(list, id, old, texts) {
  const link = list.querySelector(`[data-id="${id}"] a.title`);
  if (!link) return '';
  const input = h('input', { className: 'title', value: old, maxLength: 200, ariaLabel: texts.say('title') });
  link.replaceWith(input);
  input.select();
  return new Promise((resolve) => {
    input.onblur = () => resolve(input.value.trim());
    input.onkeydown = (event) => {
      if (isComposing(event) || !['Enter', 'Escape'].includes(event.key)) return;
      event.preventDefault(); // or the button that gets the focus would be pressed
      event.stopPropagation();
      resolve(event.key === 'Enter' ? input.value.trim() : '');
    };
  });
}

/** @param {Element} chat @param {string} name @param {Texts} texts @returns {Promise<boolean>} */
export function askDeletion(chat, name, { say }) {
  adopt(chat, css);
  return new Promise((resolve) => {
    const dialog = h(
      'dialog',
      { id: 'confirm', ariaLabel: say('delete_question'), onclose: () => (dialog.remove(), resolve(dialog.returnValue === 'yes')) },
      h('h2', {}, say('delete_question')),
      h('p', { dir: 'auto' }, name),
      h('button', { className: 'cancel', autofocus: true, onclick: () => dialog.close() }, say('cancel')),
      h('button', { className: 'confirm', onclick: () => dialog.close('yes') }, say('delete')),
    );
    chat.append(dialog);
    dialog.showModal();
  });
}
