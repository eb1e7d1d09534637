// Generates TypeScript models of a document's messages by Modelina.
//
//	node models.mjs <file> <folder>
import { TypeScriptFileGenerator } from "@asyncapi/modelina";
import { readFile } from "node:fs/promises";

const [file, folder] = process.argv.slice(2);
const generator = new TypeScriptFileGenerator({ modelType: "interface", enumType: "union", rawPropertyNames: true });
await generator.generateToFiles(JSON.parse(await readFile(file, "utf8")), folder, { exportType: "named" }, true);
