package chunk

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

func text(s string) assistant.Part      { return assistant.TextPart{Text: s} }
func reasoning(s string) assistant.Part { return assistant.ReasoningPart{Text: s} }

// events returns pieces of text that have these numbers.
func events(numbers ...uint64) (events []assistant.Event) {
	for _, n := range numbers {
		events = append(events, assistant.Event{Seq: n, Kind: assistant.KindPiece, Text: "x"})
	}
	return events
}

func TestOf(t *testing.T) {
	c, err := Of(assistant.Extension{Events: events(7, 8, 9)})
	if want := (Chunk{7, 9, assistant.Parts{text("xxx")}}); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("got %v, want %v: %v", c, want, err)
	}
	live := assistant.Extension{Events: []assistant.Event{{Seq: 1, Kind: assistant.KindReasoning, Text: "Hm"}}, ReasoningLive: true}
	if c, err := Of(live); err != nil || !reflect.DeepEqual(c, Chunk{1, 1, nil}) {
		t.Errorf("got %v: %v", c, err)
	}
	for _, numbers := range [][]uint64{nil, {1, 1}, {1, 3}, {2, 1}, {1, 2, 4}} {
		if c, err := Of(assistant.Extension{Events: events(numbers...)}); err == nil {
			t.Errorf("events %d are %v", numbers, c)
		}
	}
}

func TestJoin(t *testing.T) {
	for name, test := range map[string]struct {
		chunks []assistant.Parts
		want   assistant.Parts
	}{
		"nothing":    {},
		"empty":      {chunks: []assistant.Parts{nil, {text(""), reasoning("")}, {}}},
		"text":       {[]assistant.Parts{{text("é")}}, assistant.Parts{text("é")}},
		"neighbours": {[]assistant.Parts{{text("a"), reasoning(""), text("b")}, nil, {text("c")}}, assistant.Parts{text("abc")}},
		"mixed": {
			[]assistant.Parts{{reasoning("H"), reasoning("m")}, {reasoning("."), text("a")}, {reasoning("m")}, {text(""), reasoning("m")}},
			assistant.Parts{reasoning("Hm."), text("a"), reasoning("mm")},
		},
	} {
		if got := Join(test.chunks...); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: joined %v, want %v", name, got, test.want)
		}
	}
}

// What is written without reflection is what encoding/json reads and writes.
func TestJSON(t *testing.T) {
	for name, parts := range map[string]assistant.Parts{
		"nothing": nil,
		"text":    {text("a \"b\"\n<c> \u2028 é 👩‍👩‍👧‍👦\x00")},
		"half":    {text("\xf0\x9f"), reasoning("\xff")},
		"mixed":   {reasoning("Hm."), assistant.ToolCallPart{CallID: "1", Name: "look", State: assistant.CallDone}, text("")},
	} {
		data, err := Chunk{Parts: parts}.JSON()
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(append(assistant.Parts{}, parts...))
		if err != nil {
			t.Fatal(err)
		}
		var got, wanted assistant.Parts
		if err := errors.Join(json.Unmarshal(data, &got), json.Unmarshal(want, &wanted)); err != nil || !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s: %s is read as %v, want %v: %v", name, data, got, wanted, err)
		}
	}
}
