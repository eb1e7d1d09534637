// In place of what the components import and this page does not need.

// @asyncapi/parser: of its functions only this class is used, to describe extensions and bindings.
export { Schema as SchemaV2 } from "@asyncapi/parser/esm/models/v2/schema.js";
export const isAsyncAPIDocument = undefined;
export const isOldAsyncAPIDocument = undefined;
export const isStringifiedDocument = undefined;
export const toAsyncAPIDocument = undefined;
export const unstringify = undefined;

// openapi-sampler: it would make up an example where a message has none; ours have.
export const sample = undefined;

// helpers/parser.js of @asyncapi/react-component.
export const Parser = undefined;
