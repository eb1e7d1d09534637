package assistant

import (
	"strings"
	"unicode"
)

// Title returns a text as a title: one line, without control characters and without those that change the direction
// of what is shown beside it (Unicode's Bidi_Control). White space between words becomes one space.
func Title(text string) string {
	shown := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.Fields(shown), " ")
}
