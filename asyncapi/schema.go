package asyncapi

import (
	"cmp"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// schemas returns the schemas of frames, one for each message, and then those of payloads.
func (b builder) schemas() object {
	var schemas object
	for _, m := range b.Protocol.Messages {
		schemas = append(schemas, member{m.Title, b.frameSchema(m)})
	}
	for _, s := range b.Protocol.Schemas {
		schemas = append(schemas, member{s.Title, schema(s)})
	}
	return schemas
}

func (b builder) frameSchema(m wire.MessageDescription) object {
	properties := object{{"action", object{
		{"description", "Selects this message."},
		{"type", "string"},
		{"const", m.Action},
	}}}
	required := []string{"action"}
	if m.Payload != nil {
		properties = append(properties, member{"payload", payloadSchema(m)})
		if !m.PayloadOptional {
			required = append(required, "payload")
		}
	}
	for _, p := range envelope[m.Direction] {
		properties = append(properties, member{p.Name, schema(p.Schema)})
	}
	frame := object{{"title", m.Title}, {"description", m.Description}, {"type", "object"}}
	if b.view == ClientView {
		frame = append(frame, member{"discriminator", "action"})
	}
	return append(frame, member{"required", required}, member{"properties", properties})
}

// payloadSchema returns the schema of a payload, with the description of its message unless it has its own.
// The server writes an absent payload as null. A client may do so too, but the document omits that because
// generators cope badly with null.
func payloadSchema(m wire.MessageDescription) object {
	s := *m.Payload
	s.Description = cmp.Or(s.Description, m.Description)
	if m.PayloadOptional && m.Direction == wire.FromServer {
		return orNull(&s)
	}
	return schema(&s)
}

// envelope lists the members of a frame other than action and payload.
var envelope = map[wire.Direction][]wire.Property{
	wire.FromClient: {
		{Name: "version", Schema: &wire.Schema{Type: "integer", Description: "The protocol's version. Accepted and ignored."}},
		{Name: "topic", Schema: &wire.Schema{Type: "string", Description: "The conversation addressed: `conversation:` and its id. Default: the connection's own."}},
		{Name: "ref", Schema: &wire.Schema{Type: "string", MaxLength: new(wire.MaxRef), Description: "Chosen by the client; every frame of the answer repeats it."}},
	},
	wire.FromServer: {
		{Name: "version", Schema: &wire.Schema{Type: "integer", Description: "The protocol's version, on frames with a ref or a topic."}},
		{Name: "topic", Schema: &wire.Schema{Type: "string", Description: "The conversation that the frame belongs to. Absent: the connection's own."}},
		{Name: "ref", Schema: &wire.Schema{Type: "string", MaxLength: new(wire.MaxRef), Description: "The ref of the request that the frame answers."}},
		{Name: "seq", Schema: &wire.Schema{Type: "integer", Minimum: new(int64(1)), Description: "The event's number in its conversation, counted without gaps."}},
	},
}

// schema writes s in the keywords of JSON Schema draft-07, which AsyncAPI's Schema Object extends.
func schema(s *wire.Schema) object {
	if s.Ref != "" {
		return ref("components", "schemas", s.Ref)
	}
	o := object{
		{"title", s.Title},
		{"description", s.Description},
		{"type", s.Type},
		{"const", s.Const},
		{"anyOf", schemaList(s.AnyOf)},
		{"enum", s.Enum},
		{"format", s.Format},
		{"minLength", s.MinLength},
		{"maxLength", s.MaxLength},
		{"minimum", s.Minimum},
		{"maximum", s.Maximum},
		{"minItems", s.MinItems},
		{"maxItems", s.MaxItems},
	}
	if s.Items != nil {
		o = append(o, member{"items", schema(s.Items)})
	}
	return append(o, members(s.Properties)...)
}

func schemaList(schemas []*wire.Schema) []object {
	objects := make([]object, len(schemas))
	for i, s := range schemas {
		objects[i] = schema(s)
	}
	return objects
}

// members returns the keywords that describe an object's members. Other members are allowed: both sides ignore
// unknown ones, so that the protocol can grow.
func members(properties []wire.Property) object {
	var required []string
	var schemas object
	for _, p := range properties {
		if p.Required {
			required = append(required, p.Name)
		}
		write := schema
		if p.Nullable {
			write = orNull
		}
		schemas = append(schemas, member{p.Name, write(p.Schema)})
	}
	return object{{"required", required}, {"properties", schemas}}
}

// orNull returns a schema for s or null.
func orNull(s *wire.Schema) object {
	value := *s
	value.Description = ""
	return object{{"description", s.Description}, {"anyOf", []object{schema(&value), {{"type", "null"}}}}}
}
