package demo_test

import (
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/demo"
)

func TestContract(t *testing.T) {
	assistanttest.TestProvider(t, func(*testing.T) assistant.Provider { return new(demo.Provider) })
}

// TestAnswer checks that the answer quotes the question, shortened where it is long.
func TestAnswer(t *testing.T) {
	for _, question := range []string{"What is Python?", "two\nlines", "", strings.Repeat("é", 5000)} {
		var text strings.Builder
		req := assistant.Request{Turns: []assistant.Turn{{Role: assistant.RoleUser, Content: question}}}
		for d, err := range new(demo.Provider).Stream(t.Context(), req) {
			if err != nil {
				t.Fatal(err)
			}
			text.WriteString(d.Text)
		}
		got := text.String()
		for line := range strings.Lines(question) {
			if want := "> " + strings.TrimSuffix(line, "\n"); len(line) < 2000 && !strings.Contains(got, want) {
				t.Errorf("the answer does not quote %q", want)
			}
		}
		if len(got) > 5000 || !strings.Contains(got, "provider openai") {
			t.Errorf("the answer is %q", got)
		}
	}
}
