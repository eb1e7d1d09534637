package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"
)

// isFree reports whether values of t are JSON of any kind, kept as it is: [json.RawMessage] and
// [jsontext.Value]. They can be demanded to be objects by the tag jsonType:"object".
func isFree(t reflect.Type) bool {
	return t == reflect.TypeFor[json.RawMessage]() || t == reflect.TypeFor[jsontext.Value]()
}

// decodeFree copies raw, which is a part of the frame, to dst.
func (s *shape) decodeFree(raw jsontext.Value, dst reflect.Value, loc []string, items *[]Item) {
	if s.schema.Type == "object" && raw.Kind() != '{' {
		*items = append(*items, Item{"dict_type", loc, "Input should be a valid dictionary"})
		return
	}
	dst.SetBytes(bytes.Clone(raw))
}

// freeType returns the type that the tag jsonType demands of the free JSON that schema describes.
func freeType(schema *Schema, tag reflect.StructTag) string {
	demanded, ok := tag.Lookup("jsonType")
	switch {
	case !ok:
		return schema.Type
	case demanded != "object" || schema.Type != "" || schema.AnyOf != nil:
		panic(fmt.Sprintf("wire: tag jsonType:%q: only raw JSON can be demanded to be an object", demanded))
	}
	return demanded
}
