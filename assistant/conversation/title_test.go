package conversation_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// TestTitleHasNoReasoning holds that a title contains nothing of what a model writes between <think> tags, however
// long that is; where nothing else comes, the question stays the title.
func TestTitleHasNoReasoning(t *testing.T) {
	const question = "how do tides work"
	for _, test := range []struct{ answer, title string }{
		{"<think>\nThe user wants a title.\n</think>\n\nTides Explained", "Tides Explained"},
		{"<think>" + strings.Repeat("Hm. ", 2000) + "</think>Tides Explained", "Tides Explained"},
		{"<think>only this</think>\n", question},
		{"<think>never closed", question},
		{"<Tides>", "<Tides>"},
		{"<thi", "<thi"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{ModelTitles: true, Provider: assistanttest.Model(
				func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
					for piece := range strings.SplitAfterSeq(test.answer, " ") {
						if !yield(assistant.Delta{Text: piece}) {
							return nil
						}
					}
					yield(assistanttest.Finished)
					return nil
				})})
			w.ask(question)
			time.Sleep(time.Minute) // the bubble's time
			stored, err := w.store.Conversation(t.Context(), "ann", w.id)
			if err != nil || stored.Title != test.title {
				t.Errorf("after %.40q the title is %q, %v; want %q", test.answer, stored.Title, err, test.title)
			}
		})
	}
}
