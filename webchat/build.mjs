// Builds the chat from src into dist, which is committed and embedded into the Go program.
//
//	npm ci && npm run build     writes dist
//	npm run check               fails when dist is not what would be written
import { build } from 'esbuild';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

process.chdir(import.meta.dirname);

const options = {
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  charset: 'utf8',
  drop: ['console'], // what libraries say
  legalComments: 'none', // NOTICE.txt has the whole licences
  outdir: 'dist',
  metafile: true,
  write: false,
};

// A style sheet becomes a string, since its element adopts it.
const minified = {
  name: 'minified',
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { outputFiles } = await build({ entryPoints: [path], minify: true, charset: 'utf8', target: ['chrome123', 'firefox121', 'safari17.5'], write: false });
      return { contents: outputFiles[0].text.trim(), loader: 'text' };
    });
  },
};

const english = ['en.js', 'reasons.js', 'calls.js', 'menu.js', 'logs.js', 'attach.js']; // built in
const translations = (await readdir('src/texts')).filter((name) => !english.includes(name)).map((name) => `src/texts/${name}`);

// marked without its instance, which would bring along what makes HTML.
const lexer = {
  name: 'lexer',
  setup({ onLoad }) {
    onLoad({ filter: /marked\.esm\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const instance = text.match(/var (\w+)=new \w+;(?=function (\w+)\(\w+,\w+\)\{return \1\.parse\()/);
      const names = text.match(/export\{.*?(\w+ as Lexer),.*?(\w+ as Tokenizer),/);
      if (!instance || !names) throw new Error(`${path} is not as expected`);
      return { contents: `${text.slice(0, instance.index)}export{${names[1]},${names[2]}};` };
    });
  },
};

// The first loads the others: when there is an answer to show, with a formula, a rare character, reasoning or calls of
// tools, with images or files, one that failed, code to colour, a conversation to rename, to save, the menu, the frames, a server that knows less,
// a reader of another language.
const lazy = [
  ...['menu', 'export', 'markdown', 'entities', 'math', 'reasoning', 'history', 'highlight', 'manage', 'calls', 'logs', 'attach', 'attachments'].map((name) => `src/${name}.js`),
  'client/tutorial.js',
  'client/tools.js',
  ...translations,
];
const published = (source) => source.replace(/^[^/]+\//, ''); // its name in dist

// They are named where dist has them, and are no part of what imports them.
const apart = {
  name: 'apart',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir, kind }) => {
      const source = relative('.', join(resolveDir, path));
      return kind !== 'entry-point' && lazy.includes(source) ? { path: `./${published(source)}`, external: true } : undefined;
    });
  },
};

const results = await Promise.all(
  ['src/assistant-chat.js', ...lazy].map((source) =>
    build({ ...options, plugins: [minified, lexer, apart], entryPoints: [{ in: source, out: published(source).replace(/\.js$/, '') }] }),
  ),
);

// highlight.js loads the languages, which it names: our own, or the library's.
const { languages } = await import('./src/languages.js');
const own = await readdir('src/languages');
results.push(
  await build({
    ...options,
    outdir: 'dist/languages',
    entryPoints: Object.keys(languages).map((name) => (own.includes(`${name}.js`) ? `./src/languages/${name}.js` : { in: `highlight.js/lib/languages/${name}`, out: name })),
  }),
);

const files = new Map(results.flatMap(({ outputFiles }) => outputFiles).map((file) => [relative('dist', file.path), file.text]));
files.set('index.html', (await readFile('src/index.html', 'utf8')).replace(/\n\s*/g, '\n'));
files.set('manifest.webmanifest', JSON.stringify(JSON.parse(await readFile('src/manifest.webmanifest', 'utf8'))));
for (const name of ['icon.svg', 'icon-192.png', 'icon-512.png']) files.set(name, await readFile(join('src', name)));
files.set('NOTICE.txt', await notice(results.flatMap(({ metafile }) => Object.values(metafile.outputs))));

// notice has the licence of every package of which a byte is in the output.
async function notice(outputs) {
  const inputs = outputs.flatMap((output) => Object.entries(output.inputs));
  const folders = inputs.filter(([, input]) => input.bytesInOutput > 0).map(([path]) => path.match(/.*node_modules\/(@[^/]+\/)?[^/]+/)?.[0]);
  const parts = await Promise.all([...new Set(folders)].filter(Boolean).map(licence));
  return parts.sort().join(`\n${'-'.repeat(80)}\n\n`);
}

async function licence(folder) {
  const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const [file] = (await readdir(folder)).filter((file) => /^licen[cs]e/i.test(file));
  return `${name} ${version} (${license})\n\n${(await readFile(join(folder, file), 'utf8')).trim()}\n`;
}

const stale = (await readdir('dist', { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map(({ parentPath, name }) => relative('dist', join(parentPath, name))).filter((name) => !files.has(name));

if (process.argv.includes('--check')) {
  for (const name of stale) fail(`dist/${name} has no source`);
  for (const [name, text] of files) {
    if (!Buffer.from(text).equals(await readFile(join('dist', name)).catch(() => Buffer.alloc(0)))) fail(`dist/${name} is not what its source makes`);
  }
} else {
  await Promise.all(stale.map((name) => rm(join('dist', name))));
  for (const [name, text] of files) {
    await mkdir(dirname(join('dist', name)), { recursive: true });
    await writeFile(join('dist', name), text);
  }
}

function fail(text) {
  console.error(`${text}: npm run build`);
  process.exitCode = 1;
}
