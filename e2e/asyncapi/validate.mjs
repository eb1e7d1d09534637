// Checks an AsyncAPI document with AsyncAPI's own parser and with all of Spectral's rules for AsyncAPI. Any
// error or warning fails it; information, such as that there is a newer version of the specification, does
// not.
//
//	node validate.mjs <file or URL>...
import { Parser } from "@asyncapi/parser";
import spectral from "@stoplight/spectral-core";
import rulesets from "@stoplight/spectral-rulesets";
import { readFile } from "node:fs/promises";

const linter = new spectral.Spectral();
linter.setRuleset({
  extends: [[rulesets.asyncapi, "all"]],
  // Sites mount their channels where they like, and the tutorial's address ends with a slash.
  rules: { "asyncapi-3-channel-no-trailing-slash": "off" },
});

for (const source of process.argv.slice(2)) {
  const document = await read(source);
  const { diagnostics } = await new Parser().parse(document, { source });
  for (const finding of [...diagnostics, ...(await linter.run(document))]) report(source, finding);
}

function report(source, { severity, code, path, range, message }) {
  const place = path.length > 0 ? path.join("/") : `line ${range.start.line + 1}`;
  console.error(`${source}: ${["error", "warning", "information", "hint"][severity]}: ${place}: ${message} (${code})`);
  if (severity <= 1) process.exitCode = 1;
}

async function read(source) {
  if (!/^https?:/.test(source)) return readFile(source, "utf8");
  const response = await fetch(source);
  if (!response.ok) throw new Error(`${source}: ${response.status} ${response.statusText}`);
  return response.text();
}
