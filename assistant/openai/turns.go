package openai

import (
	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/think"
)

// turnsOf returns the turns to send, so that no service refuses a question because of what came before it. Claude and
// Gemini want text in every message, and the templates of many open models want a user first and then roles that
// alternate.
//
// What an answer holds between <think> and </think> is left out: no model wants its earlier reasoning. A turn without
// text is left out, and so is an answer before the first question, such as a greeting. Turns of one role that meet
// become one.
func turnsOf(req assistant.Request) []assistant.Turn {
	turns := make([]assistant.Turn, 0, len(req.Turns))
	for i, turn := range req.Turns {
		if turn.Role == assistant.RoleAssistant {
			turn.Content = think.Strip(turn.Content)
		}
		last := len(turns) - 1
		switch {
		case assistant.IsBlank(turn.Content) && turn.Parts == nil && i < len(req.Turns)-1:
		case last < 0 && turn.Role == assistant.RoleAssistant:
		case last >= 0 && turns[last].Role == turn.Role && turn.Parts == nil && turns[last].Parts == nil:
			turns[last].Content += "\n\n" + turn.Content
		default:
			turns = append(turns, turn)
		}
	}
	return turns
}
