package answer

import (
	"math"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// maxTokens bounds what a service can report for one answer.
const maxTokens = 1_000_000_000

// count records the last usage of values that says something. Some servers send one in every chunk.
func (p *progress) count(values ...jsontext.Value) {
	for _, value := range values {
		if u := usageOf(value); u != nil {
			p.usage = u
		}
	}
}

// usageOf reads a usage object, with the names of either API. It returns nil for one that says nothing or cannot be
// true.
//
// Output is all that the service charged beyond the input. Some services count the reasoning in the total alone, or in
// the details alone.
func usageOf(value jsontext.Value) *assistant.Usage {
	if value.Kind() != '{' {
		return nil
	}
	type details = object[struct {
		Reasoning number `json:"reasoning_tokens"`
	}]
	var u struct {
		Prompt     number  `json:"prompt_tokens"`
		Input      number  `json:"input_tokens"`
		Completion number  `json:"completion_tokens"`
		Output     number  `json:"output_tokens"`
		Total      number  `json:"total_tokens"`
		OfChat     details `json:"completion_tokens_details"`
		OfOutput   details `json:"output_tokens_details"`
	}
	if json.Unmarshal(value, &u, lenient) != nil {
		return nil
	}
	for _, n := range []number{u.Prompt, u.Input, u.Completion, u.Output, u.Total} {
		if n < 0 || n > maxTokens {
			return nil
		}
	}
	input, output := int(max(u.Prompt, u.Input)), int(max(u.Completion, u.Output))
	if reasoning := int(max(u.OfChat.V.Reasoning, u.OfOutput.V.Reasoning)); reasoning > output && reasoning <= maxTokens {
		output += reasoning
	}
	output = max(output, int(u.Total)-input)
	if input+output == 0 {
		return nil
	}
	return &assistant.Usage{InputTokens: input, OutputTokens: output, TotalTokens: input + output}
}

// number is a number in any form: 19, 19.0, 1.9e1, "19". Any other value leaves it 0.
type number float64

// UnmarshalJSONFrom reads a number or a text.
func (n *number) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*n = 0
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	if len(value) == 1 { // an index
		*n = number(value[0] - '0')
	} else if x, err := strconv.ParseFloat(plain(value), 64); err == nil && !math.IsNaN(x) {
		*n = number(x)
	}
	return nil
}
