package answer

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// part is a part of a content that is no plain text, as Mistral, Anthropic and Cohere write them. Each member is a text,
// or again a part or a list of parts.
type part struct {
	Type      jsontext.Value `json:"type"`
	Text      jsontext.Value `json:"text"`
	Content   jsontext.Value `json:"content"`
	Refusal   jsontext.Value `json:"refusal"`
	Thinking  jsontext.Value `json:"thinking"`
	Reasoning jsontext.Value `json:"reasoning"`
	Summary   jsontext.Value `json:"summary"`
}

// maxNesting is how deep parts may stand in each other.
const maxNesting = 8

// content returns the text and the reasoning in a text, a part, or a list of both. Anything else is neither, but for a
// number, which stands for its digits.
func (p *progress) content(value jsontext.Value) (text, reasoning string) {
	if value.Kind() == '"' {
		return p.textHalf.text(value), ""
	}
	var c contentReader
	c.read(p, value, false, maxNesting)
	return c.text.String(), c.reasoning.String()
}

// textOf returns what is text in a value, without its reasoning.
func (p *progress) textOf(value jsontext.Value) string {
	text, _ := p.content(value)
	return text
}

// reasoningOf returns all of a value as reasoning.
func (p *progress) reasoningOf(value jsontext.Value) string {
	if value.Kind() == '"' {
		return p.reasoningHalf.text(value)
	}
	var c contentReader
	c.read(p, value, true, maxNesting)
	return c.reasoning.String()
}

type contentReader struct{ text, reasoning strings.Builder }

func (c *contentReader) read(p *progress, value jsontext.Value, thinking bool, depth int) {
	if depth == 0 {
		return
	}
	switch value.Kind() {
	case '"':
		if thinking {
			c.reasoning.WriteString(p.reasoningHalf.text(value))
		} else {
			c.text.WriteString(p.textHalf.text(value))
		}
	case '0':
		if thinking {
			c.reasoning.Write(value)
		} else {
			c.text.Write(value)
		}
	case '[':
		var elements []jsontext.Value
		if json.Unmarshal(value, &elements, lenient) == nil {
			for _, element := range elements {
				c.read(p, element, thinking, depth-1)
			}
		}
	case '{':
		var part part
		if json.Unmarshal(value, &part, lenient) != nil {
			return
		}
		kind := plain(part.Type)
		thinking = thinking || strings.Contains(kind, "think") || strings.Contains(kind, "reason")
		p.refused = p.refused || given(part.Refusal)
		for _, member := range []jsontext.Value{part.Text, part.Content, part.Refusal} {
			c.read(p, member, thinking, depth-1)
		}
		for _, member := range []jsontext.Value{part.Thinking, part.Reasoning, part.Summary} {
			c.read(p, member, true, depth-1)
		}
	}
}
