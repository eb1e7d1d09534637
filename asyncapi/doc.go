// Package asyncapi writes the AsyncAPI 3.0 document of the assistant's WebSocket channels and serves it,
// with a page that shows it.
//
// A document is built from a [wire.Description], that is, from the rows that also dispatch and validate, so it
// cannot promise what the server does not do. [Build] depends only on its arguments, and equal arguments give
// equal bytes.
//
// Channels, operations, messages and schemas are named as Chanx names them for the assistants tutorial, so
// that its client generators work with either server. Documents are flat for the sake of these and other
// generators: $ref refers only to channels, messages and schemas, there are no traits, channels name no
// servers, and a payload that is always null is left out.
//
// There are no security schemes either. The site decides who may connect, with directives before the handler
// (basic_auth, forward_auth, a cookie of its own). The handler does not know them, so a scheme would be a
// guess. Besides, Chanx's generator fails on the list of references that AsyncAPI 3 requires. The reasons for
// refusing a handshake are in x-handshake-refusals.
package asyncapi
