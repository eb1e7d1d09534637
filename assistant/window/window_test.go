package window

import (
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestSelectLeavesOut holds that roles alternate and every message has text, whatever became of earlier answers.
func TestSelectLeavesOut(t *testing.T) {
	const user, model = assistant.RoleUser, assistant.RoleAssistant
	messages := []assistant.Message{
		{Role: model, Content: "Welcome!"}, // a greeting
		{Role: user, Content: "one"}, {Role: model, Content: "first"},
		{Role: user, Content: "two"}, {Role: model, Content: " \n\u200b"},
		{Role: user, Content: "three"}, {Role: model, Content: ""},
		{Role: user, Content: "four"},
		{Role: user, Content: "five"}, {Role: model, Content: "fifth"},
	}
	turns, trimmed := Select(messages, 0, 1000)
	got := ""
	for _, turn := range turns {
		got += string(turn.Role) + " " + turn.Content + "; "
	}
	if want := "user one; assistant first; user five; assistant fifth; "; got != want || trimmed {
		t.Errorf("got %q, trimmed %v, want %q", got, trimmed, want)
	}
}
