// Shows the document that lies beside the page, at whatever path that is.
import { createRoot } from "react-dom/client";
import { AsyncAPIDocument } from "@asyncapi/parser/esm/models/v3/asyncapi.js";
import { Page } from "./page.jsx";
import { resolve } from "./resolve.js";

async function load() {
  const response = await fetch("asyncapi.json");
  if (!response.ok) throw new Error(`asyncapi.json: ${response.status} ${response.statusText}`);
  const parsed = resolve(await response.json());
  return new AsyncAPIDocument(parsed, { asyncapi: { parsed }, pointer: "/" });
}

const root = createRoot(document.body);
try {
  const spec = await load();
  document.title = spec.info().title();
  root.render(<Page spec={spec} />);
  // The browser looked for the address's fragment while the page was empty.
  requestAnimationFrame(() => document.getElementById(location.hash.slice(1))?.scrollIntoView());
} catch (error) {
  root.render(<p className="problem">The document cannot be shown. {error.message}</p>);
  console.error(error);
}
