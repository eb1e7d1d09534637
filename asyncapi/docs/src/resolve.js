// resolve replaces every $ref of a document by the object that it names, which is shared then. The document
// is known to be valid, and its references to have no cycles.
export function resolve(document) {
  dereference(document, document, new Set());
  return document;
}

function dereference(value, document, seen) {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  for (const key of Object.keys(value)) {
    while (value[key]?.$ref) value[key] = lookup(document, value[key].$ref);
    dereference(value[key], document, seen);
  }
}

// lookup follows a local reference (RFC 6901).
function lookup(document, ref) {
  const path = ref.slice(2).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return path.reduce((object, part) => object[part], document);
}
