package wire

import (
	"context"
	"fmt"
	"reflect"
)

// Operation is one row of the table: an action of the client, its handler and what may answer it.
type Operation[S any] struct {
	action               string
	summary, description string
	messageDescription   string
	example              any
	topic                string // of the example
	tags                 []string
	in                   reflect.Type
	shape                *shape
	answers              []declaration
	call                 func(ctx context.Context, s S, payload any) error
}

// On binds an action to handler, which is usually a method expression. The payload's type is In:
// [Null], a string, a struct, or a pointer to a struct where the payload may also be null.
//
// Fields of structs are named by their json tag; omitempty or omitzero makes them optional. Limits and
// texts come from the tags doc, minLength, maxLength, minimum, maximum, minItems, maxItems and format.
// Beside plain values, fields can be structs, pointers, lists, an [Enum], values of a [Union] and
// [encoding/json.RawMessage],
// which keeps any JSON, or any object where the tag jsonType:"object" demands one.
//
// On panics on types that have no strict decoder here, such as times, and on lists without maxItems: a
// frame of many wrong elements would be answered by as many errors.
func On[S, In any](action string, handler func(S, context.Context, In) error) *Operation[S] {
	t := reflect.TypeFor[In]()
	s := shapeOf(t)
	s.mustDecode(t)
	return &Operation[S]{
		action: action, in: t, shape: s,
		call: func(ctx context.Context, s S, payload any) error { return handler(s, ctx, payload.(In)) },
	}
}

// Doc sets the operation's summary and description for documents.
func (op *Operation[S]) Doc(summary, description string) *Operation[S] {
	op.summary, op.description = summary, description
	return op
}

// Takes describes the client's message and gives an example of its payload, of type In; nil for [Null].
func (op *Operation[S]) Takes(description string, example any) *Operation[S] {
	if op.shape != nil && reflect.TypeOf(example) != op.in {
		panic(fmt.Sprintf("wire: the example of %s is a %T, want %v", op.action, example, op.in))
	}
	op.messageDescription, op.example = description, example
	return op
}

// About gives the example a topic, without which it would be refused.
func (op *Operation[S]) About(topic string) *Operation[S] {
	op.topic = topic
	return op
}

// Tags sets the operation's tags for documents.
func (op *Operation[S]) Tags(tags ...string) *Operation[S] {
	op.tags = tags
	return op
}

// Answers names the messages that may answer the operation, in their usual order.
func (op *Operation[S]) Answers(outs ...Sendable) *Operation[S] {
	for _, out := range outs {
		op.answers = append(op.answers, out.declared())
	}
	return op
}

// Protocol is the table: every action that a client may send.
type Protocol[S any] struct {
	admit      func(s S, ctx context.Context, e Envelope, payload any) error
	operations []*Operation[S]
	pushed     *Operation[S] // for documents only; nil: nothing
	byAction   map[string]*Operation[S]
	expected   string // the known actions, sorted and quoted, for errors
}

// New makes a Protocol of its rows. It panics when an action has two rows.
//
// Every valid frame is shown to admit before its handler is called; an error of admit is the answer then.
// So what all handlers need is done, and what all of them must check is checked, in one place.
func New[S any](admit func(s S, ctx context.Context, e Envelope, payload any) error, operations ...*Operation[S]) *Protocol[S] {
	p := &Protocol[S]{admit: admit, operations: operations, byAction: make(map[string]*Operation[S], len(operations))}
	actions := make([]string, len(operations))
	for i, op := range operations {
		if p.byAction[op.action] != nil {
			panic("wire: two rows for " + op.action)
		}
		p.byAction[op.action] = op
		actions[i] = op.action
	}
	p.expected = quoted(actions)
	return p
}

// Pushes names what the server may send without a request of the same connection, and says when.
func (p *Protocol[S]) Pushes(summary, description string, outs ...Sendable) *Protocol[S] {
	p.pushed = new(Operation[S]).Doc(summary, description).Answers(outs...)
	return p
}

// Dispatch reads one frame, validates it and calls its handler with s.
//
// The error is a [*ValidationError] when the frame is not valid, and else that of admit or the handler.
// The Envelope is returned as far as it could be read, also with an error, so that the answer can carry
// the client's ref and topic.
func (p *Protocol[S]) Dispatch(ctx context.Context, s S, frame []byte) (Envelope, error) {
	e, raw, err := decodeEnvelope(frame)
	if err != nil {
		return e, err
	}
	op := p.byAction[e.Action]
	if op == nil {
		return e, &ValidationError{Items: []Item{tagInvalid(e.Action, "action", p.expected, []string{})}}
	}
	payload := reflect.New(op.in).Elem()
	var items []Item
	loc := []string{op.action, "payload"}
	if op.shape != nil {
		op.shape.decode(raw, payload, loc, &items)
	} else if raw != nil && raw.Kind() != 'n' {
		items = []Item{{"none_required", loc, "Input should be None"}}
	}
	if items != nil {
		return e, &ValidationError{Items: items}
	}
	if err := p.admit(s, ctx, e, payload.Interface()); err != nil {
		return e, err
	}
	return e, op.call(ctx, s, payload.Interface())
}
