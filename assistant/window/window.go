// Package window selects what of a conversation a model receives.
package window

import (
	"slices"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
)

// pageTokens is what a page of a PDF costs, about.
const pageTokens = 1500

// Window is how much of a conversation a model receives.
type Window struct {
	Limit       int // tokens
	Files       int // images and PDFs of earlier questions, the newest; of the others it gets their names
	ImageTokens int // what an image costs
}

// Select selects what the model receives of a conversation: the newest whole turns that fit into the limit
// together with what has been used already. Questions without an answer are left out, also those whose
// answer shows nothing: many models insist that roles alternate and that messages have text, and what failed once
// would fail again.
func (w Window) Select(messages []assistant.Message, used int) (turns []assistant.Turn, trimmed bool) {
	files := w.Files
	for i := len(messages) - 1; i > 0; i-- {
		if !answers(messages[i-1], messages[i]) {
			continue
		}
		question, answer := Turn(messages[i-1]), Turn(messages[i])
		question.Parts = mentioned(question.Parts, &files)
		used += w.TokensOf(question.Content, question.Parts) + w.TokensOf(answer.Content, answer.Parts)
		if used > w.Limit {
			trimmed = true
			break
		}
		turns = append(turns, answer, question)
		i--
	}
	slices.Reverse(turns)
	return turns, trimmed
}

// mentioned returns the parts with what is said of images and PDFs in the place of all but the last of them, of which so
// many are left.
func mentioned(parts assistant.Parts, left *int) assistant.Parts {
	isCloned := false
	for i, part := range slices.Backward(parts) {
		if assistant.ContentOf(part) == assistant.ContentText {
			continue
		}
		if *left > 0 {
			*left--
			continue
		}
		if !isCloned {
			parts, isCloned = slices.Clone(parts), true
		}
		parts[i] = assistant.TextPart{Text: assistant.Mention(part)}
	}
	return parts
}

// TokensOf estimates the tokens of a message or a turn, of which the model gets the images and PDFs.
func (w Window) TokensOf(content string, parts assistant.Parts) int {
	n := limits.TokensOf(content, parts)
	for _, part := range parts {
		switch p := part.(type) {
		case assistant.ImagePart:
			n += w.ImageTokens
		case assistant.FilePart:
			if !p.IsText() {
				n += pageTokens * max(p.Pages, 1)
			}
		}
	}
	return n
}

// Turn is what a model receives of a message. Reasoning is left out: models want none back.
func Turn(m assistant.Message) assistant.Turn {
	t := assistant.Turn{Role: m.Role, Content: m.Content}
	for _, p := range m.Parts {
		switch p.(type) {
		case assistant.TextPart, assistant.ReasoningPart:
		default:
			t.Parts = m.Parts
		}
	}
	return t
}

func answers(question, answer assistant.Message) bool {
	return question.Role == assistant.RoleUser && answer.Role == assistant.RoleAssistant && (answer.Parts.HasCalls() || !assistant.IsBlank(answer.Content))
}

// Tokens estimates the tokens of all turns.
func (w Window) Tokens(turns []assistant.Turn) (n int) {
	for _, t := range turns {
		n += w.TokensOf(t.Content, t.Parts)
	}
	return n
}
