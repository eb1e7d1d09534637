// @ts-check
// Character references such as &amp;: the common ones are known, the others' table is loaded when there is one.

let known = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };
let loading;

const reference = /&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([a-zA-Z][a-zA-Z\d]*));/g;

/**
 * Calls back with the text that is meant, and again when more is known of it.
 * @param {string} text @param {(decoded: string) => void} use
 */
export function decode(text, use) {
  let isWhole = true;
  const replace = (whole, decimal, hexadecimal, name) => {
    if (!name) return character(decimal ? parseInt(decimal, 10) : parseInt(hexadecimal, 16));
    isWhole &&= Object.hasOwn(known, name);
    return Object.hasOwn(known, name) ? known[name] : whole;
  };
  use(text.includes('&') ? text.replace(reference, replace) : text);
  if (isWhole || loading?.isDone) return;
  loading ??= load();
  loading.then(() => use(text.replace(reference, replace)));
}

async function load() {
  await import('./entities.js').then(
    ({ characterEntities }) => (known = characterEntities),
    () => {}, // it cannot be loaded now: such a reference is as it was written
  );
  loading.isDone = true;
}

function character(code) {
  const isNone = !code || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff);
  return isNone ? '\ufffd' : String.fromCodePoint(code);
}
