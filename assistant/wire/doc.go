// Package wire turns one table of typed rows into a dispatcher, a strict validator and a description
// for documents.
//
// A row is made by [On]: it binds an action to a method whose parameter type is the payload. [Sends]
// declares a message that the server may send; [Out.With] is the only way to make a [Frame], so a
// message that is not declared cannot be written. [New] collects the rows:
//
//	protocol := wire.New((*Session).admit,
//		wire.On("ping", (*Session).onPing).Doc("Handle ping requests", "…").Answers(pong),
//		wire.On("assistant_message", (*Session).onAssistantMessage).Answers(start, piece, complete, failure),
//	)
//	envelope, err := protocol.Dispatch(ctx, session, frame) // find, decode, validate, call
//	description := protocol.Describe()                      // the same rows as plain data
//
// Frames are JSON objects {"action", "payload", "version", "topic", "ref", "seq"}. Input is read
// strictly (RFC 8259 without its leniencies): no duplicate keys, exact case, valid UTF-8, no lone
// surrogate, no trailing data, at most [MaxDepth] levels, no coercion between types. Unknown keys are
// ignored. Whatever does not fit is a [*ValidationError] with items in the shape and with the type names
// of pydantic, as clients of the assistants tutorial know them; input values are never repeated in it.
//
// Payload types need nothing of this package. What their fields do not say, methods of theirs say: [Enum],
// [Union] and [Documented] are found by their shape.
//
// Nothing in this package does I/O, and a Protocol is safe for concurrent use once made.
package wire
