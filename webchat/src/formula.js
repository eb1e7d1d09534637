// @ts-check
// Where a text in dollar signs or TeX's brackets is mathematics, and where it is a price, a shell variable or prose.

const longest = 5000; // characters of a formula

/** What begins a formula, and the formula. A dollar sign needs its other half on the same line, without space inside. */
const forms = [
  { form: /^\$\$(?!\$)((?:\\[^]|[^\\$]|\$(?!\$))+)\$\$(?!\$)/, display: true },
  { form: /^\$(?![\s$])((?:\\.|[^\\$`\n])*?)(?<!\s)\$(?![\p{L}\p{N}$])/u, display: false, isTight: true },
  { form: /^\\\(((?:\\(?!\))[^]|[^\\])+?)\\\)/, display: false },
  { form: /^\\\[((?:\\(?!\])[^]|[^\\])+?)\\\](?![[(:])/, display: true },
];

/**
 * The formula at the start of a text.
 * @param {string} text @param {string} before the character before it, if any
 * @returns {{ raw: string, text: string, display: boolean } | undefined}
 */
export function formulaAt(text, before) {
  const beginning = text.slice(0, longest);
  if (/\n[ \t]*\n/.test(beginning)) return formulaAt(beginning.slice(0, beginning.search(/\n[ \t]*\n/)), before);
  for (const { form, display, isTight } of forms) {
    const match = form.exec(beginning);
    if (!match || (isTight && /[\p{L}\p{N}$]/u.test(before))) continue;
    if (isFormula(match[1], display)) return { raw: match[0], text: match[1].trim(), display };
  }
}

/**
 * A block that is nothing but a formula.
 * @param {string} text @param {boolean} isWhole else a formula that is not closed is one, too, until a line is blank
 */
export function formulaBlockAt(text, isWhole) {
  const [, indent, opening] = /^( {0,3})(\$\$|\\\[)(?!\$)/.exec(text) ?? [];
  if (!opening) return;
  const rest = text.slice(indent.length);
  const formula = formulaAt(rest, '');
  const after = formula && /^[ \t]*(?:\n|$)/.exec(rest.slice(formula.raw.length));
  if (formula && after) return { ...formula, raw: indent + formula.raw + after[0] };
  const closing = opening === '$$' ? '$$' : '\\]';
  if (isWhole || rest.length > longest || rest.includes(closing, 2) || /\n[ \t]*\n/.test(text)) return;
  return { raw: text, text: '', display: true };
}

/** Whether it can be mathematics. */
function isFormula(text, display) {
  if (!/[\p{L}\p{N}]/u.test(text)) return false;
  const named = /\\(?:text\w*|math\w+|operatorname|mbox|tag|label|begin|end)\*?\s*\{[^{}]*\}/g;
  const bare = text.replace(named, ' 1 ').replace(/\\[a-zA-Z]+/g, ' ');
  if (/\p{L}{2,}[,.;:!?]?\s+\p{L}{2,}/u.test(bare)) return false; // prose
  if (/\\[a-zA-Z]/.test(text) || display) return true;
  if (/^(?:[A-Z_][A-Z0-9_]{2,}\b.|env:)/.test(text)) return false; // a variable of a shell
  if (/^[\d.,\s]*\s[\d.,\s]*$/.test(text)) return false; // prices
  if (/^\p{L}{1,3}$/u.test(text)) return true;
  const isPlain = !/[\^_=<>+\-*/|{}]/.test(text);
  return !isPlain || !/\p{L}{2,}/u.test(bare.replace(/\b(?:sin|cos|tan|log|ln|exp|max|min|gcd|lcm|det|mod)\b/g, '1'));
}
