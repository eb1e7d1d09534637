package wire

import (
	"cmp"
	"fmt"
	"iter"
	"reflect"
	"slices"
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
	free     bool     // any JSON, kept as it is
	elem     *shape   // of a pointer or slice
	fields   []member // of a struct
	union    *union   // of an interface
}

type member struct {
	Property
	index int
	shape *shape
}

// shapeOf derives the shape of t. It panics on a type that payloads must not have: that is a mistake in
// the table, found by the first test that builds it.
func shapeOf(t reflect.Type) *shape { return deriver{}.shape(t) }

// deriver derives shapes. It knows what stands around the type at hand.
type deriver struct {
	within []reflect.Type // the structs, outermost first
	union  Union          // the innermost named type, if it is one
}

func (d deriver) shape(t reflect.Type) *shape {
	switch {
	case t == reflect.TypeFor[Null]():
		return nil
	case t == reflect.TypeFor[time.Time]():
		return &shape{kind: reflect.Struct, schema: &Schema{Type: "string", Format: "date-time"}}
	case isFree(t):
		return &shape{kind: reflect.Slice, free: true, schema: &Schema{}}
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
	case reflect.Float64:
		s.schema = &Schema{Type: "number"}
	case reflect.Pointer:
		s.elem = d.shape(t.Elem())
		s.schema, s.nullable = s.elem.schema, true
	case reflect.Slice:
		s.elem = d.inside(t).shape(t.Elem())
		s.schema = &Schema{Type: "array", Items: s.elem.schema}
	case reflect.Struct:
		d.object(s, t)
	case reflect.Interface:
		return d.variants(t)
	default:
		panic(fmt.Sprintf("wire: %v cannot be part of a payload", t))
	}
	return s
}

// inside returns the deriver for what stands in t, a slice or struct.
func (d deriver) inside(t reflect.Type) deriver {
	if t.Kind() == reflect.Struct {
		if slices.Contains(d.within, t) {
			panic(fmt.Sprintf("wire: %v contains itself", t))
		}
		d = deriver{within: append(slices.Clip(d.within), t)}
	}
	if u, ok := reflect.TypeAssert[Union](reflect.Zero(t)); ok {
		d.union = u
	}
	return d
}

// mustDecode panics on what decode does not know, because only the server sends it, and on what would let
// a client send lists without end.
func (s *shape) mustDecode(t reflect.Type) {
	if s == nil {
		return
	}
	if isTime := s.kind == reflect.Struct && s.named == nil; isTime || s.kind == reflect.Float64 {
		panic(fmt.Sprintf("wire: %v has a part that clients cannot send", t))
	}
	if s.kind == reflect.Slice && !s.free && s.schema.MaxItems == nil {
		panic(fmt.Sprintf("wire: %v has a list without maxItems, which clients cannot send", t))
	}
	for inner := range s.inner() {
		inner.mustDecode(t)
	}
}

// inner yields the shapes directly within s.
func (s *shape) inner() iter.Seq[*shape] {
	return func(yield func(*shape) bool) {
		if s.elem != nil && !yield(s.elem) {
			return
		}
		for _, m := range s.fields {
			if !yield(m.shape) {
				return
			}
		}
		if s.union == nil {
			return
		}
		for _, v := range s.union.variants {
			if !yield(v.shape) {
				return
			}
		}
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

// object reads the fields of struct t into s. Their tags are the schema keywords of the same names. A member with
// required:"false" is always written, and may be absent by the document: generators make a value of their own of what
// is required and may be null.
func (d deriver) object(s *shape, t reflect.Type) {
	d = d.inside(t)
	definition := &Schema{Type: "object"}
	for f := range t.Fields() {
		if f.Anonymous {
			panic(fmt.Sprintf("wire: %v embeds %v: encoding/json would flatten it", t, f.Type))
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		m := member{index: f.Index[0], shape: d.shape(f.Type)}
		optional := strings.Contains(options, "omit")
		m.shape.nullable = m.shape.nullable || optional
		m.shape.schema = constrain(m.shape.schema, f.Tag)
		m.Property = Property{
			Name: cmp.Or(name, f.Name), Required: !optional && f.Tag.Get("required") != "false", Nullable: f.Type.Kind() == reflect.Pointer && !optional,
			Schema: m.shape.schema,
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
	c.Type = freeType(schema, tag)
	c.Format = cmp.Or(tag.Get("format"), c.Format)
	c.MinLength, c.MaxLength = intTag[int](tag, "minLength"), intTag[int](tag, "maxLength")
	c.Minimum, c.Maximum = intTag[int64](tag, "minimum"), intTag[int64](tag, "maximum")
	c.MinItems, c.MaxItems = intTag[int](tag, "minItems"), intTag[int](tag, "maxItems")
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
	for inner := range s.inner() {
		inner.definitions(yield)
	}
	if s.named != nil {
		yield(s.named)
	}
}
