package openai

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// maxAnswer is the longest answer, reasoning included, in bytes.
const maxAnswer = 16 << 20

var errAnswerTooLong = errors.New("answer longer than 16 MiB")

// lenient decodes what servers send: an answer should not die of a name that comes twice or of a byte
// that is no UTF-8, which becomes U+FFFD.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// chunk is the part of a chunk that matters here.
type chunk struct {
	Choices []struct {
		Delta struct {
			Content          string `json:"content"`
			ReasoningContent string `json:"reasoning_content"` // DeepSeek, llama.cpp, vLLM
			Reasoning        string `json:"reasoning"`         // Ollama, OpenRouter, newer vLLM
		} `json:"delta"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage jsontext.Value `json:"usage"`
	Error jsontext.Value `json:"error"`
}

// translator turns the events of one answer into deltas. It does no I/O and knows no time.
type translator struct {
	chunk  chunk // the last one; its memory is used again
	size   int   // of text and reasoning, in bytes
	finish assistant.FinishReason
	usage  *assistant.Usage
	done   bool
}

// translate takes the data of one event and returns the text in it. The finish reason and the usage are
// kept for [translator.end]: they come in any order, and some servers tell the usage in every chunk.
// After an error or the finish reason no more text comes out.
func (t *translator) translate(data []byte) (assistant.Delta, error) {
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
		f := new(fault)
		f.read(t.chunk.Error)
		return assistant.Delta{}, f
	}
	t.count(t.chunk.Usage)
	if len(t.chunk.Choices) == 0 || t.finish != "" {
		return assistant.Delta{}, nil
	}
	return t.choice()
}

func (t *translator) choice() (assistant.Delta, error) {
	choice := &t.chunk.Choices[0]
	delta := assistant.Delta{
		Text:      choice.Delta.Content,
		Reasoning: cmp.Or(choice.Delta.ReasoningContent, choice.Delta.Reasoning),
	}
	if t.size += len(delta.Text) + len(delta.Reasoning); t.size > maxAnswer {
		return assistant.Delta{}, errAnswerTooLong
	}
	var err error
	t.finish, err = finishReason(choice.FinishReason)
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
	default: // stop, tool_calls, and what the future brings
		return assistant.FinishStop, nil
	}
}

// count takes the usage of a chunk. One that cannot be read or is empty counts as none.
func (t *translator) count(value jsontext.Value) {
	var u struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
	}
	if !given(value) || json.Unmarshal(value, &u, lenient) != nil || u.Prompt < 0 || u.Completion < 0 || u.Prompt+u.Completion <= 0 {
		return
	}
	t.usage = &assistant.Usage{InputTokens: u.Prompt, OutputTokens: u.Completion, TotalTokens: u.Prompt + u.Completion}
}

// end takes how the stream ended, io.EOF or worse. Once all has been said that does not matter.
func (t *translator) end(err error) (assistant.Delta, error) {
	switch {
	case t.finish != "":
		return assistant.Delta{FinishReason: t.finish, Usage: t.usage}, nil
	case errors.Is(err, io.EOF):
		return assistant.Delta{}, errCut
	default:
		return assistant.Delta{}, err
	}
}

func (t *translator) phase() phase {
	switch {
	case t.done:
		return draining
	case t.finish != "":
		return finishing
	case t.size > 0:
		return streaming
	default:
		return waiting
	}
}

// given tells whether a member is there and not null.
func given(value jsontext.Value) bool { return len(value) > 0 && value.Kind() != 'n' }
