// @ts-check
// Markdown as it comes. HTML in it stays text; nothing is loaded, and no link runs code.
import { default_renderer, HREF, IMAGE, LINK, parser, parser_end, parser_write, SRC } from './streaming-markdown.js';

/** Shows text within an element: write takes pieces, end what the last piece left open. @param {Element} element */
export function markdown(element) {
  const renderer = default_renderer(element);
  const { add_token, set_attr } = renderer;
  renderer.set_attr = (data, attribute, value) => {
    if (attribute === HREF || attribute === SRC) link(data.nodes[data.index], value);
    else set_attr(data, attribute, value);
  };
  // An image would tell its host who reads this, so it is a link.
  renderer.add_token = (data, token) => add_token(data, token === IMAGE ? LINK : token);
  const parsing = parser(renderer);
  return {
    write: (piece) => parser_write(parsing, piece),
    end: () => parser_end(parsing),
  };
}

function link(element, url) {
  if (!/^(https?|mailto):/i.test(url)) return;
  element.href = url;
  element.target = '_blank';
  element.rel = 'noopener';
}
