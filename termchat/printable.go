package termchat

import (
	"strings"
	"unicode"
)

// Printable is text without what could steer a terminal: control characters, of which newlines and tabs
// stay, and those that change the direction of the text around them.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || isOverride(r)) {
			return -1
		}
		return r
	}, text)
}

// isOverride tells the embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX 9).
func isOverride(r rune) bool { return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 }
