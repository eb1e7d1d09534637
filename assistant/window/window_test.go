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
	turns, trimmed := Window{Limit: 1000}.Select(messages, 0)
	got := ""
	for _, turn := range turns {
		got += string(turn.Role) + " " + turn.Content + "; "
	}
	if want := "user one; assistant first; user five; assistant fifth; "; got != want || trimmed {
		t.Errorf("got %q, trimmed %v, want %q", got, trimmed, want)
	}
}

// TestSelectFiles holds that the newest images and PDFs of earlier questions are selected, that of the others their names
// are, and what that counts.
func TestSelectFiles(t *testing.T) {
	image := func(name string) assistant.Part {
		return assistant.ImagePart{FileID: name, MediaType: "image/png", Name: name}
	}
	pdf := assistant.FilePart{FileID: "pdf", MediaType: "application/pdf", Name: "pdf", Pages: 3, Size: 1 << 20}
	csv := assistant.FilePart{FileID: "csv", MediaType: "text/csv", Name: "csv", Size: 400}
	var messages []assistant.Message
	for _, parts := range []assistant.Parts{{image("a")}, {image("b"), image("c"), csv}, {pdf}} {
		question := assistant.Message{Role: assistant.RoleUser}
		question.SetParts(append(parts, assistant.TextPart{Text: "What?"}))
		messages = append(messages, question, assistant.Message{Role: assistant.RoleAssistant, Content: "That."})
	}
	w := Window{Limit: 16000, Files: 2, ImageTokens: 1000}
	turns, trimmed := w.Select(messages, 0)
	got := ""
	for _, turn := range turns {
		for _, part := range turn.Parts {
			if files := (assistant.Parts{part}).FileIDs(); files != nil {
				got += files[0] + " "
			} else {
				got += (assistant.Parts{part}).Text() + " "
			}
		}
	}
	if want := "[image: a] What? [image: b] c csv What? pdf What? "; got != want || trimmed {
		t.Errorf("got %q, trimmed: %v, want %q", got, trimmed, want)
	}
	if got := w.Tokens(turns); got < 5600 || got > 5700 { // 1000 for c, 4500 for the PDF, 100 for the CSV
		t.Errorf("they count %d tokens", got)
	}
	if original := messages[0].Parts[0].Type(); original != "image" {
		t.Error("the message was changed")
	}
	w.Limit = 5000
	if turns, trimmed := w.Select(messages, 0); len(turns) != 2 || !trimmed {
		t.Errorf("%d turns in 5000 tokens, trimmed: %v", len(turns), trimmed)
	}
	w.Files = -1
	if turns, trimmed := w.Select(messages, 0); len(turns) != 6 || trimmed || w.Tokens(turns) > 200 {
		t.Errorf("without files %d turns, trimmed: %v", len(turns), trimmed)
	}
}
