// Validates an AsyncAPI document with AsyncAPI's own parser. Any error or warning fails it; information,
// such as that there is a newer version of the specification, does not.
//
//	node validate.mjs [file or URL]     # without it, standard input
import { DiagnosticSeverity, Parser } from "@asyncapi/parser";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

const source = process.argv[2];
const { document, diagnostics } = await new Parser().parse(await read(source), { source });
for (const { severity, code, path, range, message } of diagnostics) {
  const place = path.length > 0 ? path.join("/") : `line ${range.start.line + 1}`;
  console.error(`${DiagnosticSeverity[severity].toLowerCase()}: ${place}: ${message} (${code})`);
}
// Smaller is more severe.
if (!document || diagnostics.some(({ severity }) => severity <= DiagnosticSeverity.Warning)) process.exitCode = 1;

async function read(source) {
  if (!source) return text(process.stdin);
  if (!/^https?:/.test(source)) return readFile(source, "utf8");
  const response = await fetch(source);
  if (!response.ok) throw new Error(`${source}: ${response.status} ${response.statusText}`);
  return response.text();
}
