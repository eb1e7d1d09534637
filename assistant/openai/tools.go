package openai

import (
	"encoding/json"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/think"
)

// step is what a model said and called before it got what the calls returned.
type step struct {
	text  string
	calls []assistant.ToolCallPart
}

// stepsOf divides an answer into steps. The last one may have no calls.
func stepsOf(parts assistant.Parts) (steps []step) {
	returned := true
	for _, part := range parts {
		switch p := part.(type) {
		case assistant.ToolResultPart:
			returned = true
			continue
		case assistant.TextPart, assistant.ToolCallPart:
			if call, ok := p.(assistant.ToolCallPart); ok && call.Where == assistant.WhereProvider {
				continue // the service has made it, and has told in its text what came of it
			}
			if returned {
				steps = append(steps, step{})
			}
			returned = false
			s := &steps[len(steps)-1]
			if call, ok := p.(assistant.ToolCallPart); ok {
				s.calls = append(s.calls, call)
			} else {
				s.text += p.(assistant.TextPart).Text
			}
		}
	}
	for i := range steps {
		steps[i].text = think.Strip(steps[i].text)
	}
	return steps
}

// resultOf is what the model is told of a call. Services refuse a call without a result.
func resultOf(parts assistant.Parts, c assistant.ToolCallPart) string {
	if r, ok := parts.Result(c.CallID); ok {
		return r.ForModel()
	}
	return assistant.OutcomeUnknown
}

// schemaOf is the schema of a tool's arguments. One that is no object stands for any arguments.
func schemaOf(t assistant.Tool) (schema map[string]any) {
	if err := json.Unmarshal(t.Parameters, &schema); err != nil || schema == nil {
		return map[string]any{"type": "object", "properties": map[string]any{}}
	}
	return schema
}

func nonempty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
