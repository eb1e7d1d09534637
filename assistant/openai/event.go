package openai

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// event is an event of the Responses API, with the fields that are used here.
type event struct {
	Type     string         `json:"type"`
	Delta    text           `json:"delta"`
	Error    jsontext.Value `json:"error"`
	Response response       `json:"response"`
}

type response struct {
	Error      jsontext.Value `json:"error"`
	Incomplete struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
	Usage jsontext.Value `json:"usage"`
}

// text is a member that is text in the events that are used here, and may be anything in others.
type text string

// UnmarshalJSONFrom reads a text. Any other value leaves t empty.
func (t *text) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != '"' {
		return d.SkipValue()
	}
	token, err := d.ReadToken()
	*t = text(token.String())
	return err
}

// responseEvents is the translator of the Responses API. Only response.completed and response.incomplete
// complete an answer. Events after them are ignored.
type responseEvents struct {
	progress
	event event // the last one; its memory is reused
	parts int   // of the reasoning's summary
}

func (t *responseEvents) translate(data []byte) (assistant.Delta, error) {
	if t.done || string(data) == "[DONE]" { // which some servers send out of habit
		return assistant.Delta{}, nil
	}
	t.event = event{Error: t.event.Error[:0], Response: response{Error: t.event.Response.Error[:0], Usage: t.event.Response.Usage[:0]}}
	if err := json.Unmarshal(data, &t.event, lenient); err != nil {
		return assistant.Delta{}, fmt.Errorf("decode event: %w", err)
	}
	switch e := &t.event; e.Type {
	case "response.output_text.delta", "response.refusal.delta":
		return t.add(assistant.Delta{Text: string(e.Delta)})
	case "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
		return t.add(assistant.Delta{Reasoning: string(e.Delta)})
	case "response.reasoning_summary_part.added":
		return t.nextPart()
	case "response.completed":
		return assistant.Delta{}, t.complete(assistant.FinishStop)
	case "response.incomplete":
		return assistant.Delta{}, t.incomplete()
	case "response.failed", "response.cancelled":
		return assistant.Delta{}, t.failed(e.Response.Error)
	case "error":
		return assistant.Delta{}, t.failed(e.Error, data)
	default:
		if given(e.Error) { // from a server that fails before it sends events
			return assistant.Delta{}, faultOf(e.Error)
		}
		return assistant.Delta{}, nil
	}
}

// nextPart separates the parts of the reasoning's summary. Each part is one or more paragraphs.
func (t *responseEvents) nextPart() (assistant.Delta, error) {
	if t.parts++; t.parts == 1 {
		return assistant.Delta{}, nil
	}
	return t.add(assistant.Delta{Reasoning: "\n\n"})
}

func (t *responseEvents) incomplete() error {
	switch reason := t.event.Response.Incomplete.Reason; reason {
	case "max_output_tokens":
		return t.complete(assistant.FinishLength)
	case "content_filter":
		return t.complete(assistant.FinishContentFilter)
	default:
		return fmt.Errorf("incomplete for reason %q", reason)
	}
}

func (t *responseEvents) complete(finish assistant.FinishReason) error {
	var u struct {
		Input  int `json:"input_tokens"`
		Output int `json:"output_tokens"`
	}
	if given(t.event.Response.Usage) && json.Unmarshal(t.event.Response.Usage, &u, lenient) == nil {
		t.count(u.Input, u.Output)
	}
	t.finish, t.done = finish, true
	return nil
}

// failed returns the fault in the first value that is present and not null.
func (t *responseEvents) failed(values ...jsontext.Value) error {
	for _, value := range values {
		if given(value) {
			return faultOf(value)
		}
	}
	return fmt.Errorf("%s without an error", t.event.Type)
}
