// Builds the page from src into dist, which is committed and embedded into the Go program.
//
//	npm ci && npm run build     writes dist
//	npm run check               fails when dist is not what would be written
import { build } from "esbuild";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

process.chdir(import.meta.dirname);

const result = await build({
  entryPoints: ["src/docs.jsx", "src/docs.css"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "eof", // beside the whole licences in NOTICE.txt
  outdir: "dist",
  metafile: true,
  write: false,
});

const files = new Map(result.outputFiles.map((file) => [file.path.split("/").pop(), file.text]));
files.set("index.html", await readFile("src/index.html", "utf8"));
files.set("NOTICE.txt", await notice(Object.values(result.metafile.outputs)));

// notice has the licence of every package of which a byte is in the output.
async function notice(outputs) {
  const inputs = outputs.flatMap((output) => Object.entries(output.inputs));
  const folders = inputs.filter(([, input]) => input.bytesInOutput > 0).map(([path]) => path.match(/.*node_modules\/(@[^/]+\/)?[^/]+/)?.[0]);
  const parts = await Promise.all([...new Set(folders)].filter(Boolean).map(licence));
  return parts.sort().join(`\n${"-".repeat(80)}\n\n`);
}

async function licence(folder) {
  const { name, version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const names = (await readdir(folder)).filter((file) => /^(licen[cs]e|notice)/i.test(file)).sort();
  const texts = await Promise.all(names.map((file) => readFile(join(folder, file), "utf8")));
  return `${name} ${version} (${license})\n\n${texts.map((text) => text.trim()).join("\n\n") || "The package has no licence file."}\n`;
}

if (process.argv.includes("--check")) {
  for (const [name, text] of files) {
    if ((await readFile(join("dist", name), "utf8").catch(() => "")) !== text) {
      console.error(`dist/${name} is not what its source makes: npm run build`);
      process.exitCode = 1;
    }
  }
} else {
  await Promise.all([...files].map(([name, text]) => writeFile(join("dist", name), text)));
}
