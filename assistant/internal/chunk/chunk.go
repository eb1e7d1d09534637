// Package chunk holds what the stores share: how an answer that is streaming is kept.
//
// A chunk is what one call of assistant.Store.Extend has stored. The chunks of one answer follow each other without a gap
// in the numbers of their events.
package chunk

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// ErrGap says that events neither follow those that are stored nor replace the last of them.
var ErrGap = errors.New("events do not follow those that are stored")

// Chunk is a piece of an answer.
type Chunk struct {
	First, Last uint64 // the numbers of its first and last event
	Parts       assistant.Parts
}

// Of returns what a call of Extend is to store. Its events must be numbered one after the other; there must be one.
func Of(e assistant.Extension) (Chunk, error) {
	if len(e.Events) == 0 {
		return Chunk{}, errors.New("an answer cannot be extended by no events")
	}
	c := Chunk{First: e.Events[0].Seq, Last: e.Events[0].Seq, Parts: e.Parts()}
	for _, next := range e.Events[1:] {
		if c.Last++; next.Seq != c.Last {
			return Chunk{}, fmt.Errorf("event %d stands where event %d is next", next.Seq, c.Last)
		}
	}
	return c, nil
}

// JSON returns the parts as a JSON array. Text is what most answers consist of: it is written without reflection.
func (c Chunk) JSON() (data []byte, err error) {
	text := func(part assistant.Part, text string) {
		data = append(append(data, `{"type":"`...), part.Type()...)
		data, _ = jsontext.AppendQuote(append(data, `","text":`...), text) // an error means only that bytes were replaced
		data = append(data, '}')
	}
	data = append(data, '[')
	for i, part := range c.Parts {
		if i > 0 {
			data = append(data, ',')
		}
		switch p := part.(type) {
		case assistant.TextPart:
			text(p, p.Text)
		case assistant.ReasoningPart:
			text(p, p.Text)
		default:
			other, err := json.Marshal(part)
			if err != nil {
				return nil, fmt.Errorf("encode a part: %w", err)
			}
			data = append(data, other...)
		}
	}
	return append(data, ']'), nil
}

// Join returns what an answer consists of whose chunks have these parts: neighbours of one kind are one part, none is empty,
// and a call of a tool is there once, as it was last.
func Join(chunks ...assistant.Parts) (joined assistant.Parts) {
	var kind string
	var text strings.Builder
	end := func() {
		switch {
		case text.Len() == 0:
		case kind == assistant.ReasoningPart{}.Type():
			joined = append(joined, assistant.ReasoningPart{Text: text.String()})
		default:
			joined = append(joined, assistant.TextPart{Text: text.String()})
		}
		text.Reset()
	}
	for _, parts := range chunks {
		for i, part := range parts {
			switch part.(type) {
			case assistant.TextPart, assistant.ReasoningPart:
			default:
				end()
				kind, joined = part.Type(), joined.With(part)
				continue
			}
			piece := parts[i:i+1].Text() + parts[i:i+1].Reasoning()
			if piece == "" {
				continue
			}
			if part.Type() != kind {
				end()
				kind = part.Type()
			}
			text.WriteString(piece)
		}
	}
	end()
	return joined
}
