package wire

import (
	"iter"
	"strings"
)

// Enum is a string type with a fixed set of values; its schema lists and explains them.
type Enum interface {
	// Values yields each value and, as CommonMark, what it means.
	Values() iter.Seq2[string, string]
}

// enum lists values. JSON Schema has no place for what each of them means, so the description has it.
func enum(values iter.Seq2[string, string]) *Schema {
	s := &Schema{Type: "string"}
	var lines []string
	for value, meaning := range values {
		s.Enum = append(s.Enum, value)
		lines = append(lines, "- `"+value+"`: "+meaning)
	}
	s.Description = strings.Join(lines, "\n")
	return s
}
