// Shows the document that lies beside the page, at whatever path that is.
import { render } from "preact";
import { Page } from "./page.jsx";
import { resolve } from "./resolve.js";

async function load() {
  const response = await fetch("asyncapi.json");
  if (!response.ok) throw new Error(`asyncapi.json: ${response.status} ${response.statusText}`);
  return resolve(await response.json());
}

document.querySelector("noscript").remove();
try {
  const spec = await load();
  document.title = spec.info.title;
  render(<Page spec={spec} mayTry={document.body.dataset.tryIt === "on"} />, document.body);
  // The browser looked for the address's fragment while the page was empty.
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
} catch (error) {
  render(<p class="problem">The document cannot be shown. {error.message}</p>, document.body);
  console.error(error);
}
