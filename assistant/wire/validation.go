package wire

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Item is one reason why a frame was refused, in pydantic's shape.
type Item struct {
	Type string   `json:"type" doc:"What kind of problem it is, for programs."`
	Loc  []string `json:"loc" doc:"Where it is: the action, then payload, then the fields."`
	Msg  string   `json:"msg" doc:"What is wrong, for people."`
}

// Doc describes items for documents.
func (Item) Doc() string { return "One reason why a frame was refused." }

// ValidationError says why a frame reached no handler.
type ValidationError struct {
	Items []Item
	// Malformed is true when no message could be read from the frame at all: bad JSON, no object, or
	// an action that is missing or no string.
	Malformed bool
}

func (e *ValidationError) Error() string {
	msgs := make([]string, len(e.Items))
	for i, item := range e.Items {
		msgs[i] = strings.Join(append(slices.Clip(item.Loc), item.Type), ".")
	}
	return "invalid frame: " + strings.Join(msgs, ", ")
}

// TooLong refuses a text of more than limit characters, where the limit is no fixed one of the type.
func TooLong(limit int, loc []string) error {
	return &ValidationError{Items: []Item{tooLong(limit, loc)}}
}

func tooLong(limit int, loc []string) Item {
	return Item{"string_too_long", loc, "String should have at most " + count(limit, "character")}
}

// TooShort refuses a text that shows nothing.
func TooShort(loc []string) error {
	return &ValidationError{Items: []Item{tooShort(1, loc)}}
}

func tooShort(limit int, loc []string) Item {
	return Item{"string_too_short", loc, "String should have at least " + count(limit, "character")}
}

// NotJSON refuses a frame that cannot be JSON, and says why.
func NotJSON(problem string) *ValidationError {
	return &ValidationError{Items: []Item{invalidJSON(problem)}, Malformed: true}
}

func malformed(item Item) error { return &ValidationError{Items: []Item{item}, Malformed: true} }

// noObject refuses what is no object where t is expected.
func noObject(t reflect.Type, loc []string) Item {
	return Item{"model_type", loc, "Input should be a valid dictionary or instance of " + t.Name()}
}

func tagNotFound(tag string, loc []string) Item {
	return Item{"union_tag_not_found", loc, "Unable to extract tag using discriminator '" + tag + "'"}
}

// tagInvalid refuses the value got of a tag. It is shown, up to 64 characters of it, so that what a newer
// client asked for can be found; expected is what [quoted] makes of the values that there are.
func tagInvalid(got, tag, expected string, loc []string) Item {
	return Item{"union_tag_invalid", loc, fmt.Sprintf(
		"Input tag '%s' found using '%s' does not match any of the expected tags: %s", cut(got, 64), tag, expected)}
}

// quoted lists the values of a tag in the alphabet's order, for errors.
func quoted(values []string) string {
	return "'" + strings.Join(slices.Sorted(slices.Values(values)), "', '") + "'"
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}

func invalidJSON(problem string) Item {
	return Item{"json_invalid", []string{}, "Invalid JSON: " + problem}
}
