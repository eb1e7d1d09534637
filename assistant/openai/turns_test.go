package openai

import (
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestTurns holds that no earlier answer makes a service refuse the next question.
func TestTurns(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"as they are", "u:one m:first u:two", "u:one m:first u:two"},
		{"a blank answer", "u:one m:\n\u200b u:two", "u:one\n\ntwo"},
		{"a blank question in the middle", "u:one m:first u:\t m:second u:two", "u:one m:first\n\nsecond u:two"},
		{"a stop before the answer", "u:one u:two", "u:one\n\ntwo"},
		{"a greeting", "m:Welcome! u:one", "u:one"},
		{"reasoning in the text", "u:one m:<think>Hm.</think>first u:two", "u:one m:first u:two"},
		{"reasoning alone", "u:one m:<think>Hm u:two", "u:one\n\ntwo"},
		{"tags in a question", "u:<think>Hm</think>", "u:<think>Hm</think>"},
		{"a blank question at last", "u:one m:first u:\t", "u:one m:first u:\t"},
	} {
		var req assistant.Request
		for turn := range strings.SplitSeq(test.in, " ") {
			who, text, _ := strings.Cut(turn, ":")
			role := map[string]assistant.Role{"u": assistant.RoleUser, "m": assistant.RoleAssistant}[who]
			req.Turns = append(req.Turns, assistant.Turn{Role: role, Content: text})
		}
		var got []string
		for _, turn := range turnsOf(req) {
			got = append(got, map[assistant.Role]string{assistant.RoleUser: "u:", assistant.RoleAssistant: "m:"}[turn.Role]+turn.Content)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %q, want %q", test.name, strings.Join(got, " "), test.want)
		}
	}
}
