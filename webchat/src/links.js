// @ts-check
// Where links may lead.

const schemes = ['http:', 'https:', 'mailto:', 'tel:'];

/**
 * The properties of a link, or nothing when it leads where no link may: there it is text.
 * @param {string} href absolute, or relative to the page
 * @returns {{ href: string, target?: string, rel?: string } | undefined}
 */
export function linkTo(href) {
  const url = URL.parse?.(href, document.baseURI) ?? parse(href);
  if (!url || !schemes.includes(url.protocol)) return;
  const isElsewhere = url.protocol.startsWith('http') && url.origin !== location.origin;
  return isElsewhere ? { href, target: '_blank', rel: 'noopener' } : { href };
}

function parse(href) {
  try {
    return new URL(href, document.baseURI);
  } catch {}
}

/**
 * Lets the links to places in an element lead there. The URL stays: its hash names the conversation.
 * @param {HTMLElement} element
 */
export function followAnchors(element) {
  element.addEventListener('click', (event) => {
    const link = /** @type {HTMLElement} */ (event.target).closest('a[href^="#"]');
    if (!link) return;
    const name = decode(/** @type {string} */ (link.getAttribute('href')).slice(1));
    const target = name && placeOf(element, name);
    const { host } = /** @type {ShadowRoot} */ (element.getRootNode());
    if (target || host?.hasAttribute('page')) event.preventDefault(); // elsewhere it may be a place of the site's
    if (!target) return;
    target.scrollIntoView({ block: 'nearest' });
    target.tabIndex = target.tabIndex < 0 ? -1 : target.tabIndex;
    target.focus({ preventScroll: true });
  });
}

/** By its id, or a heading by its words, as GitHub names it. @returns {HTMLElement | undefined} */
function placeOf(element, name) {
  const places = /** @type {HTMLElement[]} */ ([...element.querySelectorAll('[id], h3, h4, h5, h6')]);
  return places.find(({ id, textContent }) => id === name || (!id && slug(textContent) === name));
}

const slug = (text) => text.trim().toLowerCase().replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-');

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
