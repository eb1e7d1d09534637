package chunk

import (
	"errors"
	"reflect"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

func text(s string) assistant.Part      { return assistant.TextPart{Text: s} }
func reasoning(s string) assistant.Part { return assistant.ReasoningPart{Text: s} }

func TestSplitAndJoin(t *testing.T) {
	for name, test := range map[string]struct {
		parts  assistant.Parts
		chunks []Chunk
		joined assistant.Parts
	}{
		"nothing":    {},
		"empty":      {parts: assistant.Parts{text(""), reasoning("")}},
		"text":       {assistant.Parts{text("é")}, []Chunk{{Text, "é", 7, 9}}, assistant.Parts{text("é")}},
		"neighbours": {assistant.Parts{text("a"), text("b"), reasoning(""), text("c")}, []Chunk{{Text, "abc", 7, 10}}, assistant.Parts{text("abc")}},
		"mixed": {
			assistant.Parts{reasoning("Hm"), text("a"), reasoning("m"), reasoning("m")},
			[]Chunk{{Reasoning, "Hm", 7, 9}, {Text, "a", 9, 10}, {Reasoning, "mm", 10, 12}},
			assistant.Parts{reasoning("Hm"), text("a"), reasoning("mm")},
		},
	} {
		chunks, err := Split(7, test.parts)
		if err != nil || !reflect.DeepEqual(chunks, test.chunks) {
			t.Errorf("%s: split into %v, want %v: %v", name, chunks, test.chunks, err)
		}
		if got := Join(chunks); !reflect.DeepEqual(got, test.joined) {
			t.Errorf("%s: joined %v, want %v", name, got, test.joined)
		}
	}
	if got := Join([]Chunk{{Kind: Text, Text: "a"}, {Kind: Text, Text: "b"}}); !reflect.DeepEqual(got, assistant.Parts{text("ab")}) {
		t.Errorf("joined %v", got)
	}
	for _, part := range []assistant.Part{assistant.SourcePart{}, assistant.ToolCallPart{}, assistant.ImagePart{}} {
		if _, err := Split(0, assistant.Parts{part}); err == nil {
			t.Errorf("split a part of type %s", part.Type())
		}
	}
	if _, err := Split(-1, nil); err == nil {
		t.Error("split at a negative offset")
	}
}

func TestReplace(t *testing.T) {
	next := []Chunk{{Text, "new", 4, 7}}
	old := []Chunk{{Reasoning, "aéb", 2, 6}, {Text, "c", 6, 7}}
	for name, test := range map[string]struct {
		before int
		cut    []Chunk
		offset int
		want   []Chunk
		fails  bool
	}{
		"at the end":            {4, nil, 4, next, false},
		"at a boundary":         {2, old, 2, next, false},
		"at the last":           {6, old[1:], 6, next, false},
		"inside":                {2, old, 3, []Chunk{{Reasoning, "a", 2, 3}, next[0]}, false},
		"inside, later":         {2, old, 5, []Chunk{{Reasoning, "aé", 2, 5}, next[0]}, false},
		"inside a character":    {2, old, 4, nil, true},
		"with other bytes":      {2, []Chunk{{Text, "\uFFFD", 2, 4}}, 3, nil, true},
		"gap":                   {3, nil, 4, nil, true},
		"gap before everything": {0, nil, 4, nil, true},
	} {
		got, err := Replace(test.before, test.cut, test.offset, next)
		if (err != nil) != test.fails || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %v, want %v: %v", name, got, test.want, err)
		}
	}
	if _, err := Replace(3, nil, 4, next); !errors.Is(err, ErrGap) {
		t.Errorf("got error %v", err)
	}
}
