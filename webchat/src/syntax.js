// @ts-check
// The grammar: marked's CommonMark and GFM, with formulas and footnotes, and without its surprises.
import { Lexer, Tokenizer } from 'marked';
import { formulaAt, formulaBlockAt } from './formula.js';

const unread = new WeakMap(); // the source of what is in lines, by the array that its tokens will be in
const deepest = 16; // blocks within blocks; what is deeper is text

class Blocks extends Tokenizer {
  /** @type {any} */ lexer;
  depth = 0; // of the block that is being read

  nest(read) {
    if (this.depth >= deepest) return;
    this.depth++;
    try {
      return read();
    } finally {
      this.depth--;
    }
  }

  blockquote(src) {
    return this.nest(() => super.blockquote(src));
  }

  list(src) {
    return this.nest(() => super.list(src));
  }

  // Its title contains no blank line.
  def(src) {
    const end = src.search(/\n[ \t]*\n/);
    return super.def(end < 0 ? src : src.slice(0, end + 1));
  }

  // A line that begins another block is no heading's.
  lheading(src) {
    const starts = [formula, footnote].map(({ startBlock }) => startBlock.call({ lexer: this.lexer }, src.slice(1)) ?? Infinity);
    return super.lheading(src.slice(0, Math.min(...starts) + 1));
  }

  // All HTML is text, with Markdown in it, but for what is within scripts, comments and the like.
  html(src) {
    const token = /** @type {any} */ (super.html(src));
    if (!token) return;
    const [literal] = /^ {0,3}<(?:(script|pre|style|textarea)(?![\w-])(?:[^]*?<\/\1>|[^]*$)|!--(?:[^]*?-->|[^]*$)|\?(?:[^]*?\?>|[^]*$)|![A-Z](?:[^]*?>|[^]*$)|!\[CDATA\[(?:[^]*?\]\]>|[^]*$))/i.exec(token.raw) ?? [''];
    return { ...token, literal, tokens: this.lexer.inline(token.raw.slice(literal.length).replace(/\n+$/, '')) };
  }

  // "10~20 and 30~40" has nothing struck.
  del(src, masked, before) {
    const token = super.del(src, masked, before);
    const isWithinWords = () => /[\p{L}\p{N}]/u.test(this.lexer.before(src) + (src[token.raw.length] ?? ''));
    return token?.raw[1] === '~' || (token && !isWithinWords()) ? token : undefined;
  }

  // No tag changes what is after it.
  tag(src) {
    const token = super.tag(src);
    this.lexer.state.inLink = this.lexer.state.inRawBlock = false;
    return token;
  }
}

/** @type {any} */
const formula = {
  block(src) {
    const found = /^ {0,3}[$\\]/.test(src) && formulaBlockAt(src, this.lexer.isComplete);
    return found ? { type: 'formula', ...found, isBlock: true, isOpen: !found.text } : undefined;
  },
  // Within a paragraph: after one of its lines.
  startBlock(src) {
    for (const { index } of paragraphOf(src).matchAll(/\n(?= {0,3}(?:\$\$|\\\[))/g)) {
      if (formulaBlockAt(src.slice(index + 1), this.lexer.isComplete)) return index + 1;
    }
  },
  inline(src) {
    if (src[0] !== '$' && src[0] !== '\\') return;
    const found = formulaAt(src, this.lexer.before(src));
    return found && { type: 'formula', ...found };
  },
  startInline: (src) => src.indexOf('$'),
};

/** @type {any} */
const footnote = {
  block(src) {
    const [beginning, label] = /^ {0,3}\[\^([^\]\s[]+)\]:[ \t]*/.exec(src) ?? [];
    if (!beginning) return;
    const { raw, text } = noteAt(src, beginning.length);
    const token = { type: 'footnote', raw, label: key(label), tokens: this.lexer.options.tokenizer.nest(() => this.lexer.blockTokens(text, [])) ?? [] };
    this.lexer.tokens.links[token.label] ||= token;
    return token;
  },
  startBlock(src) {
    const index = paragraphOf(src).search(/\n {0,3}\[\^[^\]\s[]+\]:/);
    return index < 0 ? undefined : index + 1;
  },
  inline(src) {
    const [raw, label] = /^\[\^([^\]\s[]+)\]/.exec(src) ?? [];
    if (raw && this.lexer.tokens.links[key(label)]) return { type: 'reference', raw, label: key(label) };
  },
};

// No label of a link has a line end in it.
const key = (label) => `\n${label.toLowerCase()}`;

const paragraphOf = (src) => src.slice(0, src.search(/\n[ \t]*\n/) >>> 0);

const interrupts = /^ {0,3}(?:\[\^[^\]\s[]+\]:|[-+*][ \t]|\d{1,9}[.)][ \t]|#{1,6}(?:\s|$)|>|```|~~~|<)/;

// A note goes on in lines that are indented, and in those of its last paragraph.
function noteAt(src, start) {
  const lines = src.match(/[^\n]*(?:\n|$)/g) ?? [];
  const taken = [lines[0].slice(start)];
  let blank = 0; // lines, which belong to it if an indented one follows
  let raw = lines[0];
  for (let i = 1; i < lines.length && lines[i]; i++) {
    const isBlank = !lines[i].trim();
    const isIndented = /^(?: {4}| {0,3}\t)/.test(lines[i]);
    if (!isBlank && !isIndented && (blank || interrupts.test(lines[i]))) break;
    blank = isBlank ? blank + 1 : 0;
    taken.push(lines[i].replace(/^(?: {1,4}|\t)/, ''));
    if (!isBlank) raw = lines.slice(0, i + 1).join('');
  }
  return { raw, text: taken.slice(0, taken.length - blank).join('') };
}

/** Reads text: blocks at once, what is in their lines when it is wanted. */
export class Reader extends Lexer {
  #line = ''; // of which a part is being read
  definitions; // by label: of links, and of footnotes
  #isWhole;
  asked = new Set(); // labels that were looked for

  /**
   * @param {Record<string, any>} definitions those known before @param {boolean} isWhole no more text will come
   */
  constructor(definitions, isWhole) {
    super(/** @type {any} */ ({
      gfm: true,
      tokenizer: new Blocks(),
      extensions: {
        block: [formula.block, footnote.block],
        startBlock: [formula.startBlock, footnote.startBlock],
        inline: [formula.inline, footnote.inline],
        startInline: [formula.startInline],
      },
      hooks: { emStrongMask: (masked) => this.#mask(masked) },
    }));
    this.#isWhole = isWhole;
    const { asked } = this;
    this.definitions = Object.assign(Object.create(null), definitions);
    this.tokens.links = new Proxy(this.definitions, {
      get: (links, label) => (asked.add(label), links[label]),
      getOwnPropertyDescriptor: (links, label) => (asked.add(label), Object.getOwnPropertyDescriptor(links, label)),
    });
  }

  /** No more text will come to the block that is being read. What is within a block is read again with it. */
  get isComplete() {
    return this.#isWhole || /** @type {Blocks} */ (this.options.tokenizer).depth > 0;
  }

  /** @param {string} src */
  blocks(src) {
    const tokens = this.blockTokens(src, []);
    for (const { src, tokens } of this.inlineQueue.splice(0)) unread.set(tokens, src);
    return tokens;
  }

  /** A block that is whole, for what its labels mean now. @param {string} src */
  again(src) {
    const { tokenizer } = /** @type {any} */ (this.options);
    return tokenizer.nest(() => this.blocks(src))[0];
  }

  /** Tokens for `lines`. @param {string} src */
  later(src) {
    const tokens = [];
    unread.set(tokens, src);
    return tokens;
  }

  /** What is in the lines of a block. @param {any} tokens its own */
  lines(tokens) {
    const src = unread.get(tokens);
    unread.delete(tokens);
    this.state.inLink = this.state.inRawBlock = false;
    return src ? this.inlineTokens(src, tokens) : tokens;
  }

  /** @param {string} src @param {any[]} [tokens] */
  inlineTokens(src, tokens = []) {
    const outer = this.#line;
    this.#line = src;
    try {
      return super.inlineTokens(src, tokens);
    } finally {
      this.#line = outer;
    }
  }

  /** The character before the rest of a line. @param {string} rest */
  before(rest) {
    return this.#line.at(-rest.length - 1) ?? '';
  }

  // Nothing in a formula is emphasis.
  #mask(masked) {
    const line = this.#line;
    const beginnings = /\$|\\[([]/g;
    for (let match; (match = beginnings.exec(line)); ) {
      const { index } = match;
      if (masked[index] !== '$' && masked[index] !== '+') continue; // within code or a link
      const found = formulaAt(line.slice(index), line[index - 1] ?? '');
      if (!found) continue;
      const end = index + found.raw.length;
      masked = masked.slice(0, index) + 'a'.repeat(end - index) + masked.slice(end);
      beginnings.lastIndex = end;
    }
    return masked;
  }
}
