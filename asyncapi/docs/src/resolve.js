// resolve makes of a document what @asyncapi/parser would: every $ref is replaced by the object that it
// names, and named objects know their names. The document is known to be valid and without cycles.
export function resolve(document) {
  name(document.channels, idKey);
  name(document.operations, idKey);
  name(document.components?.messages, idKey);
  name(document.components?.schemas, schemaKey);
  dereference(document, document, new Set());
  return document;
}

const idKey = "x-parser-unique-object-id";
const schemaKey = "x-parser-schema-id";

function name(objects = {}, key) {
  for (const [id, object] of Object.entries(objects)) object[key] = id;
}

function dereference(value, document, seen) {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  for (const key of Object.keys(value)) {
    while (value[key]?.$ref) value[key] = lookup(document, value[key].$ref);
    dereference(value[key], document, seen);
  }
  value.anyOf?.forEach((schema) => (schema[schemaKey] ??= schema.type)); // each is shown with a name
}

// lookup follows a local reference (RFC 6901).
function lookup(document, ref) {
  const path = ref.slice(2).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return path.reduce((object, part) => object[part], document);
}
