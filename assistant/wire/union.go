package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Union is a named slice or struct type that holds values of an interface type: as its elements, or in its
// fields. Such a value is one of a closed set of structs, the variants. On the wire each of them is an
// object with a tag, a member that has another text in each variant:
//
//	type Parts []Part // Part is an interface
//
//	func (Parts) Variants() (tag string, variants []any) { return "type", []any{ImagePart{}, FilePart{}} }
//
// Variants have no field for their tag. They write it themselves, by MarshalJSON, as the first member of
// their JSON; that is also where their tag's value is read from, once, when a table is built. Their other
// members, in schemas and in what clients send, are their fields. Items about these have no tag in Loc.
type Union interface {
	// Variants returns the name of the tag and a value of each variant.
	Variants() (tag string, variants []any)
}

// union is what is known of an interface type within a [Union].
type union struct {
	tag      string
	variants []variant
	expected string // the tag's values, sorted and quoted, for errors
}

type variant struct {
	value string // of the tag
	in    reflect.Type
	shape *shape
}

// variants derives the shape of interface type t from the hook of what stands around it.
func (d deriver) variants(t reflect.Type) *shape {
	if d.union == nil {
		panic(fmt.Sprintf("wire: %v cannot be part of a payload: nothing around it lists its variants", t))
	}
	tag, all := d.union.Variants()
	u, schema, values := &union{tag: tag}, &Schema{}, make([]string, len(all))
	for i, example := range all {
		in := reflect.TypeOf(example)
		if in.Kind() != reflect.Struct || !in.Implements(t) {
			panic(fmt.Sprintf("wire: %v is no struct that is a %v", in, t))
		}
		values[i] = tagOf(tag, example)
		if slices.Contains(values[:i], values[i]) {
			panic(fmt.Sprintf("wire: two variants of %v have the %s %s", t, tag, values[i]))
		}
		v := variant{values[i], in, d.shape(in)}
		v.shape.tagged(tag, v.value)
		u.variants = append(u.variants, v)
		schema.AnyOf = append(schema.AnyOf, v.shape.schema)
	}
	u.expected = quoted(values)
	return &shape{kind: reflect.Interface, schema: schema, union: u}
}

// tagOf returns the value of the tag in the JSON of v.
func tagOf(tag string, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wire: encode %T: %v", v, err))
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	_, _ = dec.ReadToken()
	name, _ := dec.ReadToken()
	if name.Kind() == '"' && name.String() == tag {
		if value, _ := dec.ReadToken(); value.Kind() == '"' && value.String() != "" {
			return value.String()
		}
	}
	panic(fmt.Sprintf("wire: the JSON of %T does not begin with a text %q", v, tag))
}

// tagged adds the tag to the properties of a variant.
func (s *shape) tagged(tag, value string) {
	if slices.ContainsFunc(s.fields, func(m member) bool { return m.Name == tag }) {
		panic(fmt.Sprintf("wire: %s has a field for its tag %q", s.named.Title, tag))
	}
	property := Property{Name: tag, Required: true, Schema: &Schema{Type: "string", Const: value, Description: "Selects this kind."}}
	s.named.Properties = slices.Insert(s.named.Properties, 0, property)
}

// decode reads raw into the interface dst.
func (u *union) decode(raw jsontext.Value, dst reflect.Value, loc []string, items *[]Item) {
	if raw.Kind() != '{' {
		*items = append(*items, noObject(dst.Type(), loc))
		return
	}
	members := membersOf(raw)
	tag, ok := members[u.tag]
	if !ok {
		*items = append(*items, tagNotFound(u.tag, loc))
		return
	}
	value := tagText(tag)
	i := slices.IndexFunc(u.variants, func(v variant) bool { return v.value == value })
	if i < 0 || tag.Kind() != '"' {
		*items = append(*items, tagInvalid(value, u.tag, u.expected, loc))
		return
	}
	v := reflect.New(u.variants[i].in).Elem()
	u.variants[i].shape.decodeMembers(members, v, loc, items)
	dst.Set(v)
}

// tagText returns how errors show the value of a tag. Like pydantic they show what is no text as Python
// has it, except for what objects and arrays hold.
func tagText(raw jsontext.Value) string {
	switch raw.Kind() {
	case '"':
		return unquote(raw)
	case 'n':
		return "None"
	case 't':
		return "True"
	case 'f':
		return "False"
	case '{':
		return "{}"
	case '[':
		return "[]"
	}
	return string(raw)
}
