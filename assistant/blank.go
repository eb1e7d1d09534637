package assistant

import (
	"strings"
	"unicode"
)

// IsBlank reports whether a text shows nothing: it is empty, or consists of white space, control characters and
// characters without width.
func IsBlank(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return !unicode.IsSpace(r) && !unicode.IsControl(r) && !unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) &&
			r != '\u2800' // a braille pattern without dots
	})
}
