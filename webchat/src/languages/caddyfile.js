// @ts-check
// The Caddyfile, which highlight.js does not know: https://caddyserver.com/docs/caddyfile/concepts

/** @param {any} hljs */
export default function caddyfile(hljs) {
  const placeholder = { scope: 'variable', begin: /\{\$?[\w.:/*+-]+\}/ };
  const escape = { scope: 'char.escape', begin: /\\./ };
  const heredoc = hljs.END_SAME_AS_BEGIN({ scope: 'string', begin: /<<([\w-]+)$/, end: /^[ \t]*([\w-]+)/, contains: [placeholder] });
  const quoted = { scope: 'string', begin: /"/, end: /"/, contains: [escape, placeholder] };
  const raw = { scope: 'string', begin: /`/, end: /`/ };
  const comment = hljs.COMMENT(/(?:^|(?<=\s))#/, /$/);
  const values = [
    { scope: 'number', begin: /(?<=\s)\d+(?:\.\d+)?(?:[kmgt]i?b|ns|[uµm]s|[smhd]|%)?(?=\s|$)/i },
    { scope: 'literal', begin: /(?<=\s)(?:on|off|true|false|internal)(?=\s|$)/ },
    { scope: 'symbol', begin: /(?<=\s)@[\w-]+/ },
    { scope: 'string', begin: /(?<=\s)(?:\/[^\s{}]*|https?:\/\/\S+|\*)(?=\s|$)/ },
  ];
  const text = [comment, heredoc, quoted, raw, placeholder, ...values];
  return {
    name: 'Caddyfile',
    contains: [
      comment,
      { scope: 'section', begin: /^\((?:&\()?[\w-]+\)?\)/ }, // a snippet or a named route
      { scope: 'symbol', begin: /^[ \t]*@[\w-]+/ }, // a matcher
      { scope: 'title', begin: /^[^\s{}#"`(@][^{}#\n]*(?=\{[ \t]*$)/, contains: [placeholder] }, // a site's addresses
      { scope: 'title', begin: /^(?:https?:\/\/\S+|:\d+|[\w*-]+(?:\.[\w*-]+)+(?::\d+)?|localhost(?::\d+)?),?(?=\s|$)/ },
      { begin: /^[ \t]*(?=[a-z_])/, contains: [{ scope: 'keyword', begin: /[a-z_]\w*(?:\.\w+)*/, endsParent: true }] }, // a directive
      ...text,
    ],
  };
}
