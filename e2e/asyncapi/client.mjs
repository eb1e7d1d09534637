// Generates a Python client of a document in the client's view by AsyncAPI's own template.
//
//	node client.mjs <file> <folder> <server>
import Generator from "@asyncapi/generator";
import { readFile } from "node:fs/promises";

const [file, folder, server] = process.argv.slice(2);
const generator = new Generator("core-template-client-websocket-python", folder, { templateParams: { server } });
await generator.generateFromString(await readFile(file, "utf8"));
