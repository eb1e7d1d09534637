package think

import (
	"strings"
	"testing"
	"testing/quick"
)

// TestSplitter reads answers whole and in pieces of every size.
func TestSplitter(t *testing.T) {
	for _, test := range []struct{ answer, text, reasoning string }{
		{"", "", ""},
		{"The sky.", "The sky.", ""},
		{"  The sky.", "  The sky.", ""},
		{"<think>Blue?</think>The sky.", "The sky.", "Blue?"},
		{"\n \t<think>\nBlue?\n</think>\n\nThe sky.\n", "The sky.\n", "Blue?"},
		{"<think></think>The sky.", "The sky.", ""},
		{"<think>a < b, </thin k></think>so", "so", "a < b, </thin k>"},
		{"<think>one</think><think>two</think>", "<think>two</think>", "one"}, // only the first
		{"<think>one</think> ", "", "one"},
		{"<think> \n</think>so", "so", ""},
		{"<think>one\n\n two </think", "", "one\n\n two </think"},
		{"<think>never closed", "", "never closed"},
		{"<think>almost closed</think", "", "almost closed</think"},
		{"<thin", "<thin", ""},
		{"<thinking>no</thinking>", "<thinking>no</thinking>", ""},
		{"Use <think>this</think>.", "Use <think>this</think>.", ""},
		{"</think>only the end", "</think>only the end", ""},
		{"   ", "   ", ""},
	} {
		for size := 1; size <= max(len(test.answer), 1); size++ {
			var s Splitter
			var text, reasoning string
			add := func(t, r string) { text, reasoning = text+t, reasoning+r }
			for rest := test.answer; rest != ""; {
				n := min(size, len(rest))
				add(s.Split(rest[:n]))
				rest = rest[n:]
			}
			add(s.Rest())
			if text != test.text || reasoning != test.reasoning {
				t.Errorf("%q in pieces of %d: text %q, reasoning %q; want %q, %q", test.answer, size, text, reasoning, test.text, test.reasoning)
			}
		}
		if got := Strip(test.answer); got != test.text {
			t.Errorf("Strip(%q) = %q, want %q", test.answer, got, test.text)
		}
	}
}

// TestSplitterKeepsText holds that text without tags at its start comes out as it went in.
func TestSplitterKeepsText(t *testing.T) {
	if err := quick.Check(func(pieces []string) bool {
		var s Splitter
		var got strings.Builder
		for _, piece := range pieces {
			text, reasoning := s.Split("x" + piece)
			if reasoning != "" {
				return false
			}
			got.WriteString(text)
		}
		text, _ := s.Rest()
		want := ""
		for _, piece := range pieces {
			want += "x" + piece
		}
		return got.String()+text == want
	}, nil); err != nil {
		t.Error(err)
	}
}
