// Package asyncapi writes the AsyncAPI 3.0 document of the assistant's WebSocket channels and serves it,
// with a page that shows it.
//
// A document comes from a [wire.Description], so from the rows that also dispatch and validate: it cannot
// promise what the server does not do. [Build] depends on nothing but its arguments, and equal arguments
// give equal bytes.
//
// Channels, operations, messages and schemas are named as Chanx names them for the assistants tutorial, so
// that its client generators work with either server. Those generators, and others, are also why documents
// are flat: $ref leads to channels, messages and schemas only; there are no traits and no servers of
// channels; a payload that is always null is left out.
//
// There are no security schemes either. Who may connect is decided by what a site puts before the handler
// (basic_auth, forward_auth, a cookie of the site's own), which the handler does not know, so a scheme would
// be a guess; and Chanx's generator fails on the list of references that AsyncAPI 3 wants. What a handshake
// is refused for is in x-handshake-refusals.
package asyncapi
