package asyncapitest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// schema is a Schema Object with all its keywords.
type schema map[string]json.RawMessage

// keywords lists those of JSON Schema draft-07 that documents use, and AsyncAPI's own discriminator.
var keywords = []string{
	"$ref", "title", "description", "type", "const", "enum", "format", "minLength", "maxLength", "minimum",
	"maximum", "minItems", "maxItems", "properties", "required", "items", "anyOf", "discriminator",
}

// part is a schema within another one.
type part struct {
	path       string
	schema     schema
	isProperty bool
}

// parts returns s and all schemas in it, without following references.
func (s schema) parts(path string, isProperty bool) []part {
	all := []part{{path, s, isProperty}}
	properties := decode[map[string]schema](s["properties"])
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		all = append(all, properties[name].parts(path+"."+name, true)...)
	}
	if items := decode[schema](s["items"]); items != nil {
		all = append(all, items.parts(path+"[]", false)...)
	}
	for i, alternative := range decode[[]schema](s["anyOf"]) {
		all = append(all, alternative.parts(fmt.Sprintf("%s|%d", path, i), false)...)
	}
	return all
}

// described reports whether s has a description, or is a $ref to a schema that has one. The $ref may be an
// alternative to null.
func (s schema) described() bool {
	isRef := func(s schema) bool { return s["$ref"] != nil }
	return decode[string](s["description"]) != "" || isRef(s) || slices.ContainsFunc(decode[[]schema](s["anyOf"]), isRef)
}

func (s schema) property(name string) schema {
	return decode[map[string]schema](s["properties"])[name]
}

// decode returns the zero value if the value is absent or has another type.
func decode[T any](raw json.RawMessage) T {
	var v T
	if json.Unmarshal(raw, &v) != nil {
		return *new(T)
	}
	return v
}
