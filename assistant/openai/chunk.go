package openai

import (
	"cmp"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// chunk is a chunk of chat completions, with the fields that are used here.
type chunk struct {
	Choices []struct {
		Delta struct {
			Content          content `json:"content"`
			ReasoningContent string  `json:"reasoning_content"` // DeepSeek, llama.cpp, vLLM
			Reasoning        string  `json:"reasoning"`         // Ollama, OpenRouter, newer vLLM
		} `json:"delta"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage jsontext.Value `json:"usage"`
	Error jsontext.Value `json:"error"`
}

// content is text, or the list of parts that Mistral's reasoning models send.
type content struct{ text, reasoning string }

// UnmarshalJSONFrom reads a text, a list of parts or null.
func (c *content) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*c = content{}
	switch d.PeekKind() {
	case '[':
		return c.readParts(d)
	case 'n':
		return d.SkipValue()
	default:
		return json.UnmarshalDecode(d, &c.text)
	}
}

func (c *content) readParts(d *jsontext.Decoder) error {
	var parts []struct {
		Text     string `json:"text"`
		Thinking []struct {
			Text string `json:"text"`
		} `json:"thinking"`
	}
	err := json.UnmarshalDecode(d, &parts)
	for _, part := range parts {
		c.text += part.Text
		for _, thought := range part.Thinking {
			c.reasoning += thought.Text
		}
	}
	return err
}

// chunks is the translator of chat completions. The finish reason and the usage come in any order, and some
// servers send the usage in every chunk.
type chunks struct {
	progress
	chunk chunk // the last one; its memory is reused
}

func (t *chunks) translate(data []byte) (assistant.Delta, error) {
	if string(data) == "[DONE]" {
		t.done = true
		t.finish = cmp.Or(t.finish, assistant.FinishStop) // Ollama may give no reason
		return assistant.Delta{}, nil
	}
	t.chunk = chunk{Choices: t.chunk.Choices[:0], Usage: t.chunk.Usage[:0], Error: t.chunk.Error[:0]}
	if err := json.Unmarshal(data, &t.chunk, lenient); err != nil {
		return assistant.Delta{}, fmt.Errorf("decode chunk: %w", err)
	}
	if given(t.chunk.Error) {
		return assistant.Delta{}, faultOf(t.chunk.Error)
	}
	t.countUsage()
	if len(t.chunk.Choices) == 0 || t.finish != "" {
		return assistant.Delta{}, nil
	}
	return t.choice()
}

func (t *chunks) choice() (assistant.Delta, error) {
	choice := &t.chunk.Choices[0]
	delta, err := t.add(assistant.Delta{
		Text:      choice.Delta.Content.text,
		Reasoning: cmp.Or(choice.Delta.ReasoningContent, choice.Delta.Reasoning, choice.Delta.Content.reasoning),
	})
	if err == nil {
		t.finish, err = finishReason(choice.FinishReason)
	}
	return delta, err
}

func finishReason(reason string) (assistant.FinishReason, error) {
	switch reason {
	case "":
		return "", nil
	case "length":
		return assistant.FinishLength, nil
	case "content_filter":
		return assistant.FinishContentFilter, nil
	case "error", "abort", "insufficient_system_resource": // OpenRouter, vLLM, DeepSeek: cut, not complete
		return "", fmt.Errorf("finish reason %q", reason)
	default: // stop, tool_calls, and reasons still unknown
		return assistant.FinishStop, nil
	}
}

// countUsage records the usage of a chunk. A usage that cannot be read counts as none.
func (t *chunks) countUsage() {
	var u struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
	}
	if given(t.chunk.Usage) && json.Unmarshal(t.chunk.Usage, &u, lenient) == nil {
		t.count(u.Prompt, u.Completion)
	}
}
