package wire

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// decodeList reads an array into the slice dst. Like pydantic, it does not look into a list that is too
// long, and does not count one with faults in it.
func (s *shape) decodeList(raw jsontext.Value, dst reflect.Value, loc []string, items *[]Item) {
	report := func(kind, format string, args ...any) {
		*items = append(*items, Item{kind, loc, fmt.Sprintf(format, args...)})
	}
	if raw.Kind() != '[' {
		report("list_type", "Input should be a valid list")
		return
	}
	limit := math.MaxInt
	if s.schema.MaxItems != nil {
		limit = *s.schema.MaxItems
	}
	elements, n := elementsOf(raw, limit)
	if n > limit {
		report("too_long", "List should have at most %s after validation, not %d", count(limit, "item"), n)
		return
	}
	before := len(*items)
	dst.Set(reflect.MakeSlice(dst.Type(), n, n))
	for i, element := range elements {
		s.elem.decode(element, dst.Index(i), append(slices.Clone(loc), strconv.Itoa(i)), items)
	}
	if s.schema.MinItems != nil && n < *s.schema.MinItems && len(*items) == before {
		report("too_short", "List should have at least %s after validation, not %d", count(*s.schema.MinItems, "item"), n)
	}
}

// elementsOf splits an array that has already been checked. It returns at most limit elements, and how
// many there are.
func elementsOf(array jsontext.Value, limit int) (elements []jsontext.Value, n int) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(array), jsontext.AllowDuplicateNames(true))
	_, _ = dec.ReadToken()
	for ; dec.PeekKind() != ']'; n++ {
		value, err := readValue(dec, array)
		if err != nil {
			return elements, n // cannot be: the array has been checked
		}
		if n < limit {
			elements = append(elements, value)
		}
	}
	return elements, n
}
