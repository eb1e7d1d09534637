package wire

import (
	"iter"
	"strings"
)

// Enum is a string type with a fixed set of values; its schema lists and explains them. A client that
// sends another value, or what is no string, is refused by literal_error, as pydantic does for Literal.
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

// literalError refuses what is none of the values, which it lists in their order: 'a', 'b' or 'c'.
func literalError(values []string, loc []string) Item {
	var msg strings.Builder
	for i, value := range values {
		switch {
		case i == 0:
		case i == len(values)-1:
			msg.WriteString(" or ")
		default:
			msg.WriteString(", ")
		}
		msg.WriteString("'" + value + "'")
	}
	return Item{"literal_error", loc, "Input should be " + msg.String()}
}
