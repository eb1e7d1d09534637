package assistant

import (
	"strings"
	"unicode"
	"unicode/utf8"
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

// maxTitle is the length of a title made of a question, in characters.
const maxTitle = 60

// TitleOf returns a title made of a conversation's first question: at most 60 characters, cut at a word.
func TitleOf(question string) string {
	title := Title(question)
	if utf8.RuneCountInString(title) <= maxTitle {
		return title
	}
	runes := []rune(title)[:maxTitle]
	for i := len(runes) - 1; i > maxTitle/2; i-- {
		if unicode.IsSpace(runes[i]) {
			return string(runes[:i]) + "…"
		}
	}
	return string(runes) + "…"
}
