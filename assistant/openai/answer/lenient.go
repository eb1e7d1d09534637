package answer

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// lenient accepts duplicate names and invalid UTF-8 from servers, so that neither fails an answer. Invalid
// bytes become U+FFFD.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// object is a member that is an object. Any other value leaves V as it is.
type object[T any] struct{ V T }

// UnmarshalJSONFrom reads an object.
func (o *object[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != '{' {
		return d.SkipValue()
	}
	return json.UnmarshalDecode(d, &o.V)
}

// list is a member that is a list of objects. Any other value leaves it empty, and so does any other element.
type list[T any] []object[T]

// UnmarshalJSONFrom reads a list.
func (l *list[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*l = (*l)[:0]
	if d.PeekKind() != '[' {
		return d.SkipValue()
	}
	return json.UnmarshalDecode(d, (*[]object[T])(l))
}

// member is a member of any type. Null leaves it empty, and costs nothing: most members are null in most chunks.
type member struct{ jsontext.Value }

// UnmarshalJSONFrom keeps a copy of the value.
func (m *member) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	m.Value = m.Value[:0]
	value, err := d.ReadValue()
	if err == nil && value.Kind() != 'n' {
		m.Value = append(m.Value, value...)
	}
	return err
}

// plain returns a JSON string's text, and any other value as it is.
func plain(value jsontext.Value) string {
	if value.Kind() != '"' {
		return string(value)
	}
	if inside := value[1 : len(value)-1]; bytes.IndexByte(inside, '\\') < 0 && utf8.Valid(inside) {
		return string(inside)
	}
	var short [256]byte                                 // most texts need no other memory
	text, _ := jsontext.AppendUnquote(short[:0], value) // what is no UTF-8 becomes U+FFFD
	return string(text)
}

// given reports whether a member says something: it is present and not null, empty, false or 0.
func given(value jsontext.Value) bool {
	switch value.Kind() {
	case 0, 'n', 'f':
		return false
	case '0':
		return strings.Trim(string(value), "-0.") != ""
	case '"':
		return !isBlank(value)
	case '{', '[':
		return len(bytes.TrimSpace(value[1:len(value)-1])) > 0
	default:
		return true
	}
}

// isBlank reports whether a JSON string is empty or white space.
func isBlank(value jsontext.Value) bool {
	for _, c := range value[1 : len(value)-1] {
		if c > ' ' && c < utf8.RuneSelf && c != '\\' {
			return false
		}
	}
	return strings.TrimSpace(plain(value)) == ""
}

// half is a part of a character that a server has cut in two, for the next string to begin with: the first half of a
// surrogate pair, or the first bytes of UTF-8.
type half []byte

// text returns the text of a JSON string, without a half at its end.
func (h *half) text(value jsontext.Value) string {
	inside := value[1 : len(value)-1]
	n := whole(inside)
	if len(*h) == 0 && n == len(inside) || len(inside) == 0 {
		return plain(value)
	}
	joined := append(append([]byte{'"'}, *h...), inside...)
	n = 1 + whole(joined[1:])
	*h = append((*h)[:0], joined[n:]...)
	return plain(append(joined[:n], '"'))
}

// whole returns how much of the inside of a JSON string is whole characters, in bytes.
func whole(s []byte) int {
	const escape = len(`\ud83d`)
	if i := len(s) - escape; i >= 0 && isHighSurrogate(s[i:]) && backslashes(s[:i])%2 == 0 {
		return i
	}
	for i := len(s) - 1; i >= 0 && i > len(s)-utf8.UTFMax; i-- {
		if !utf8.RuneStart(s[i]) {
			continue
		}
		if !utf8.FullRune(s[i:]) {
			return i
		}
		break
	}
	return len(s)
}

// isHighSurrogate reports whether s is an escape from \ud800 to \udbff.
func isHighSurrogate(s []byte) bool {
	return s[0] == '\\' && s[1] == 'u' && s[2]|0x20 == 'd' && strings.IndexByte("89abAB", s[3]) >= 0
}

// backslashes counts those at the end of s.
func backslashes(s []byte) int { return len(s) - len(bytes.TrimRight(s, `\`)) }

// maxQuote is how much of a text from outside is kept for an error, in bytes. Whoever logs it shows less, once secrets
// are out of it: here one might be cut in two.
const maxQuote = 1000

func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxQuote)], "\uFFFD")
}
