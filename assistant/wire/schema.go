package wire

import (
	"cmp"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Null is the payload of a message that has none: null on the wire.
type Null struct{}

// Documented is a type that says what its values are, for documents: a sentence, CommonMark. Types that
// are payloads and nothing else need not: they are described by their messages.
type Documented interface{ Doc() string }

// shape is what is known of a payload type: its schema, and how to decode into it.
type shape struct {
	schema   *Schema // as used in place: a Ref where the type has a named schema
	named    *Schema // the definition behind schema.Ref, nil for unnamed types
	kind     reflect.Kind
	nullable bool     // null and absence are allowed and give the zero value
	elem     *shape   // of a pointer or slice
	fields   []member // of a struct
}

type member struct {
	Property
	index int
	shape *shape
}

// shapeOf derives the shape of t. It panics on a type that payloads must not have: that is a mistake in
// the table, found by the first test that builds it.
func shapeOf(t reflect.Type) *shape {
	switch {
	case t == reflect.TypeFor[Null]():
		return nil
	case t == reflect.TypeFor[time.Time]():
		return &shape{kind: reflect.Struct, schema: &Schema{Type: "string", Format: "date-time"}}
	}
	s := &shape{kind: t.Kind()}
	switch t.Kind() {
	case reflect.String:
		s.schema = &Schema{Type: "string"}
		if e, ok := reflect.TypeAssert[Enum](reflect.Zero(t)); ok {
			s.name(t, enum(e.Values()))
		}
	case reflect.Bool:
		s.schema = &Schema{Type: "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		s.schema = &Schema{Type: "integer"}
	case reflect.Pointer:
		s.elem = shapeOf(t.Elem())
		s.schema, s.nullable = s.elem.schema, true
	case reflect.Slice:
		s.elem = shapeOf(t.Elem())
		s.schema = &Schema{Type: "array", Items: s.elem.schema}
	case reflect.Struct:
		s.object(t)
	default:
		panic(fmt.Sprintf("wire: %v cannot be part of a payload", t))
	}
	return s
}

// mustDecode panics on what decode does not know, because only the server sends it.
func (s *shape) mustDecode(t reflect.Type) {
	if s == nil {
		return
	}
	isTime, isEnum := s.kind == reflect.Struct && s.named == nil, s.kind == reflect.String && s.named != nil
	if s.kind == reflect.Slice || isTime || isEnum {
		panic(fmt.Sprintf("wire: %v has a part that clients cannot send", t))
	}
	s.elem.mustDecode(t)
	for _, m := range s.fields {
		m.shape.mustDecode(t)
	}
}

// name makes definition the schema of t.
func (s *shape) name(t reflect.Type, definition *Schema) {
	definition.Title = t.Name()
	if d, ok := reflect.TypeAssert[Documented](reflect.Zero(t)); ok {
		definition.Description = strings.TrimSpace(d.Doc() + "\n\n" + definition.Description)
	}
	s.schema, s.named = &Schema{Ref: t.Name()}, definition
}

// object reads the fields of struct t. Their tags are the schema keywords of the same names.
func (s *shape) object(t reflect.Type) {
	definition := &Schema{Type: "object"}
	for f := range t.Fields() {
		if f.Anonymous {
			panic(fmt.Sprintf("wire: %v embeds %v: encoding/json would flatten it", t, f.Type))
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		m := member{index: f.Index[0], shape: shapeOf(f.Type)}
		optional := strings.Contains(options, "omit")
		m.shape.nullable = m.shape.nullable || optional
		m.Property = Property{
			Name: cmp.Or(name, f.Name), Required: !optional, Nullable: f.Type.Kind() == reflect.Pointer && !optional,
			Schema: constrain(m.shape.schema, f.Tag),
		}
		s.fields = append(s.fields, m)
		definition.Properties = append(definition.Properties, m.Property)
	}
	s.name(t, definition)
}

// constrain is schema with the keywords of a field's tag. A reference stays bare: draft-07 ignores
// whatever stands beside $ref.
func constrain(schema *Schema, tag reflect.StructTag) *Schema {
	if schema.Ref != "" {
		return schema
	}
	c := *schema
	c.Description = tag.Get("doc")
	c.Format = cmp.Or(tag.Get("format"), c.Format)
	c.MinLength, c.MaxLength = intTag[int](tag, "minLength"), intTag[int](tag, "maxLength")
	c.Minimum, c.Maximum = intTag[int64](tag, "minimum"), intTag[int64](tag, "maximum")
	return &c
}

func intTag[T int | int64](tag reflect.StructTag, key string) *T {
	text, ok := tag.Lookup(key)
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(fmt.Sprintf("wire: tag %s:%q is no number", key, text))
	}
	v := T(n)
	return &v
}

// definitions calls yield for every named schema below s, inner ones first.
func (s *shape) definitions(yield func(*Schema)) {
	if s == nil {
		return
	}
	s.elem.definitions(yield)
	for _, m := range s.fields {
		m.shape.definitions(yield)
	}
	if s.named != nil {
		yield(s.named)
	}
}
