package wire

import (
	"reflect"
	"slices"
	"strings"
)

// Describe is the table as plain data. It panics when two payload types share a name but not a shape, and
// when two messages do.
func (p *Protocol[S]) Describe() Description {
	d := &describer{}
	for _, op := range p.operations {
		d.message(FromClient, declaration{op.action, op.messageDescription, op.shape, op.example, op.topic}, op.tags)
	}
	for _, op := range p.operations {
		od := OperationDescription{
			Name: "handle_" + op.action, Action: op.action, Summary: op.summary, Description: op.description,
			Message: messageKey(op.action), Tags: op.tags,
		}
		od.Replies = d.outbound(op.answers, op.tags)
		d.Operations = append(d.Operations, od)
	}
	if p.pushed != nil {
		d.Pushed = &OperationDescription{
			Name: "push", Summary: p.pushed.summary, Description: p.pushed.description, Replies: d.outbound(p.pushed.answers, nil),
		}
	}
	d.describePayloads()
	return d.Description
}

type describer struct {
	Description
}

// outbound adds the messages and returns their keys.
func (d *describer) outbound(outs []declaration, tags []string) []string {
	var keys []string
	for _, out := range outs {
		d.message(FromServer, out, tags)
		if key := messageKey(out.action); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// message adds a message, or another form of the payload to one that is there.
func (d *describer) message(from Direction, decl declaration, tags []string) {
	decl.shape.definitions(d.define)
	key := messageKey(decl.action)
	i := slices.IndexFunc(d.Messages, func(m MessageDescription) bool { return m.Key == key })
	if i >= 0 {
		if known := d.Messages[i]; known.Action != decl.action || known.Direction != from {
			panic("wire: two messages are named " + key)
		}
		d.alternative(&d.Messages[i], decl.shape, decl.example)
		return
	}
	m := MessageDescription{
		Key: key, Title: pascal(key), Action: decl.action, Description: decl.description, Direction: from, Topic: decl.topic, Tags: tags,
	}
	if s := decl.shape; s != nil {
		m.Payload, m.PayloadOptional, m.Example = s.schema, s.nullable, decl.example
	}
	d.Messages = append(d.Messages, m)
}

func (d *describer) alternative(m *MessageDescription, s *shape, example any) {
	switch {
	case s == nil:
		m.PayloadOptional = m.Payload != nil
		return
	case m.Payload == nil:
		m.Payload, m.PayloadOptional, m.Example = s.schema, true, example
		return
	case sameSchema(m.Payload, s.schema):
		return
	}
	if m.Payload.AnyOf == nil {
		m.Payload = &Schema{AnyOf: []*Schema{m.Payload}}
	}
	if !slices.ContainsFunc(m.Payload.AnyOf, func(known *Schema) bool { return sameSchema(known, s.schema) }) {
		m.Payload.AnyOf = append(m.Payload.AnyOf, s.schema)
	}
}

// sameSchema compares payload schemas in place: by name, or as arrays or unions of the same names.
func sameSchema(a, b *Schema) bool {
	if a.Items != nil && b.Items != nil {
		return sameSchema(a.Items, b.Items)
	}
	return a.Ref == b.Ref && a.Type == b.Type && slices.EqualFunc(a.AnyOf, b.AnyOf, sameSchema)
}

func (d *describer) define(s *Schema) {
	i := slices.IndexFunc(d.Schemas, func(known *Schema) bool { return known.Title == s.Title })
	switch {
	case i < 0:
		d.Schemas = append(d.Schemas, s)
	case !reflect.DeepEqual(d.Schemas[i], s):
		panic("wire: two payload types are named " + s.Title)
	}
}

// describePayloads says of types that do not describe themselves what they are the payload of.
func (d *describer) describePayloads() {
	for i, s := range d.Schemas {
		var actions []string
		for _, m := range d.Messages {
			if m.Payload.refersTo(s.Title) {
				actions = append(actions, "`"+m.Action+"`")
			}
		}
		if s.Description == "" && actions != nil {
			described := *s // the shape's own stays as it is: tables may be described again
			described.Description = "The payload of " + strings.Join(actions, " and ") + "."
			d.Schemas[i] = &described
		}
	}
}

// refersTo reports whether s is the named schema, or may be.
func (s *Schema) refersTo(title string) bool {
	return s != nil && (s.Ref == title || slices.ContainsFunc(s.AnyOf, func(a *Schema) bool { return a.refersTo(title) }))
}

// messageKey names a message as Chanx does: the class name in snake case, which ends in "message".
func messageKey(action string) string {
	if strings.HasSuffix(action, "_message") {
		return action
	}
	return action + "_message"
}

func pascal(key string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(key, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
