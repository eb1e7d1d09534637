package wire

// Description is a [Protocol] as plain data: all that a document generator needs, and all that it sees.
// It is made once from the rows that also dispatch and validate, so it cannot disagree with them.
type Description struct {
	// Operations are the actions a client may send, in the order of the table.
	Operations []OperationDescription
	// Pushed is what the server sends without a request: it has no Action and no Message, and its Replies
	// answer nothing. nil when there is none.
	Pushed *OperationDescription
	// Messages are all messages of both directions: the inbound ones in the order of the table, then
	// the outbound ones in the order in which the operations first name them.
	Messages []MessageDescription
	// Schemas are the named object schemas that payloads refer to, each once, in order of first use.
	Schemas []*Schema
}

// OperationDescription is one action of the client and what may answer it.
type OperationDescription struct {
	Name        string   // "handle_" and the action
	Action      string   // value of "action" on the wire
	Summary     string   // a few words
	Description string   // sentences, CommonMark
	Message     string   // Key of the inbound message
	Replies     []string // Keys of the messages that may answer, in the usual order
	Tags        []string
}

// Direction is who sends a message.
type Direction string

// The two directions of a message.
const (
	FromClient Direction = "client"
	FromServer Direction = "server"
)

// MessageDescription is one message on the wire.
type MessageDescription struct {
	Key         string    // the action, with "_message" at its end: "pong_message"
	Title       string    // the key in Pascal case: "PongMessage"; the name of the message's schema
	Action      string    // value of "action" on the wire
	Description string    // one sentence
	Direction   Direction // who sends it
	// Payload is nil when the payload is always null.
	Payload *Schema
	// PayloadOptional is true when the payload may also be null or absent.
	PayloadOptional bool
	// Example is a payload that validates, ready for encoding/json; nil when Payload is nil.
	Example any
	Topic   string // of an example; "" = none
	Tags    []string
}

// Schema is the part of JSON Schema draft-07 that payloads need.
// A schema with Ref has no other field set.
type Schema struct {
	Ref         string     // Title of a schema in [Description.Schemas]
	Title       string     // set on named schemas only
	Type        string     // "object", "array", "string", "integer" or "boolean"; empty with Ref, with AnyOf, and for any JSON
	Description string     // CommonMark; of an enumeration also what each value means
	Properties  []Property // of an object, in the order of the struct's fields
	Items       *Schema    // of an array
	AnyOf       []*Schema
	Enum        []string
	Const       string // the only value; "" = others are allowed
	Format      string // "date-time", "uuid"
	MinLength   *int   // in characters
	MaxLength   *int   // in characters
	Minimum     *int64
	Maximum     *int64
	MinItems    *int
	MaxItems    *int
}

// Property is one member of an object.
type Property struct {
	Name     string
	Required bool
	Nullable bool // the value may be null
	Schema   *Schema
}
