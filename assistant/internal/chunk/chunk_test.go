package chunk

import (
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
