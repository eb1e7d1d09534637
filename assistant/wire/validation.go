package wire

import (
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
	return Item{"string_too_long", loc, "String should have at most " + characters(limit)}
}

func malformed(item Item) error { return &ValidationError{Items: []Item{item}, Malformed: true} }

func invalidJSON(problem string) Item {
	return Item{"json_invalid", []string{}, "Invalid JSON: " + problem}
}
