package recorder

import (
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Text gathers an answer while it streams. The zero Text is empty. One goroutine at a time uses it.
type Text struct {
	text, reasoning strings.Builder
	spans           []span // neighbours differ in kind
}

// span is so many bytes of text, or of reasoning.
type span struct {
	kind  assistant.Kind
	bytes int
}

// Add adds a piece of text or of reasoning.
func (a *Text) Add(kind assistant.Kind, text string) {
	if kind == assistant.KindReasoning {
		a.reasoning.WriteString(text)
	} else {
		a.text.WriteString(text)
	}
	if last := len(a.spans) - 1; last >= 0 && a.spans[last].kind == kind {
		a.spans[last].bytes += len(text)
		return
	}
	a.spans = append(a.spans, span{kind, len(text)})
}

// Parts returns the answer so far, with its reasoning or without. It copies no text.
func (a *Text) Parts(withReasoning bool) (parts assistant.Parts) {
	if !withReasoning {
		if a.text.Len() > 0 {
			parts = assistant.Parts{assistant.TextPart{Text: a.text.String()}}
		}
		return parts
	}
	text, reasoning := a.text.String(), a.reasoning.String()
	for _, s := range a.spans {
		if s.kind == assistant.KindReasoning {
			parts, reasoning = append(parts, assistant.ReasoningPart{Text: reasoning[:s.bytes]}), reasoning[s.bytes:]
		} else {
			parts, text = append(parts, assistant.TextPart{Text: text[:s.bytes]}), text[s.bytes:]
		}
	}
	return parts
}

// Text returns the text so far.
func (a *Text) Text() string { return a.text.String() }

// Reasoning returns the reasoning so far.
func (a *Text) Reasoning() string { return a.reasoning.String() }
