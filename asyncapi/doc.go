// Package asyncapi writes the AsyncAPI 3.0 document of the assistant's WebSocket channels and serves it,
// with a page that shows it.
//
// A document comes from a [wire.Description], so from the rows that also dispatch and validate: it cannot
// promise what the server does not do. [Build] depends on nothing but its arguments, and equal arguments
// give equal bytes.
//
// Channels, operations, messages and schemas are named as Chanx names them for the assistants tutorial, so
// that its client generators work with either server. Those generators, and others, are also why documents
// are flat: $ref leads to channels, messages and schemas only; there are no traits, no servers of channels
// and no security; a payload that is always null is left out.
package asyncapi
