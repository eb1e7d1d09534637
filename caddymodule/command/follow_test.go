package command

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestPrintAnswer prints the text alone, without what a terminal would obey, and returns the end; an answer without
// one is an error.
func TestPrintAnswer(t *testing.T) {
	var lines strings.Builder
	for _, e := range []assistant.Event{
		{Seq: 1, Kind: assistant.KindReasoning, Run: "r", Text: "hm"},
		{Seq: 2, Kind: assistant.KindPiece, Run: "r", Text: "Hello\x1b[2J"},
		{Seq: 3, Kind: assistant.KindPiece, Run: "r", Text: " there"},
		{Seq: 4, Kind: assistant.KindCompleted, Run: "r", Body: assistant.Completed{FinishReason: assistant.FinishLength}},
	} {
		if err := json.NewEncoder(&lines).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	end, err := printAnswer(&out, json.NewDecoder(strings.NewReader(lines.String())))
	if err != nil || end != assistant.FinishLength || out.String() != "Hello[2J there\n" {
		t.Errorf("printed %q, %s, %v", out.String(), end, err)
	}
	cut := lines.String()[:strings.LastIndex(lines.String(), `{"seq":4`)]
	if _, err := printAnswer(&out, json.NewDecoder(strings.NewReader(cut))); err == nil || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("a cut answer: %v", err)
	}
	if _, err := printAnswer(&out, json.NewDecoder(strings.NewReader("{"))); err == nil {
		t.Error("half a line is taken")
	}
}
