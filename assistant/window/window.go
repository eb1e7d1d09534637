// Package window selects what of a conversation a model receives.
package window

import (
	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
)

// Select selects what the model receives of a conversation: the newest whole turns that fit into limit
// tokens together with what has been used already. Questions without an answer are left out, also those whose
// answer shows nothing: many models insist that roles alternate and that messages have text, and what failed once
// would fail again.
func Select(messages []assistant.Message, used, limit int) (turns []assistant.Turn, trimmed bool) {
	first := len(messages)
	for i := len(messages) - 1; i > 0; i-- {
		question, answer := messages[i-1], messages[i]
		if !answers(question, answer) {
			continue
		}
		used += limits.TokensOf(question.Content, question.Parts) + limits.TokensOf(answer.Content, answer.Parts)
		if used > limit {
			trimmed = true
			break
		}
		i--
		first = i
	}
	for i := first; i+1 < len(messages); i++ {
		if answers(messages[i], messages[i+1]) {
			turns = append(turns, Turn(messages[i]), Turn(messages[i+1]))
		}
	}
	return turns, trimmed
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
func Tokens(turns []assistant.Turn) (n int) {
	for _, t := range turns {
		n += limits.TokensOf(t.Content, t.Parts)
	}
	return n
}
