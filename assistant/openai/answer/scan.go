package answer

import (
	"encoding/binary"
	"math/bits"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner reads JSON in one pass, without reflection and without memory of its own. It accepts what the decoder accepts
// with the options lenient, and less. Once it has failed, it reads nothing more, and nothing that it has returned counts:
// the decoder has to look.
type scanner struct {
	data   []byte
	pos    int
	first  bool // no member or element of the innermost object or list has been read
	failed bool
}

// maxSkipped is how deep values may stand in each other that a scanner skips.
const maxSkipped = 32

func (s *scanner) fail() { s.failed = true }

// peek returns the next byte that is no white space, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) && s.data[s.pos] > ' ' {
		return s.data[s.pos]
	}
	return s.peekFar()
}

func (s *scanner) peekFar() byte {
	for ; s.pos < len(s.data); s.pos++ {
		if c := s.data[s.pos]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// take passes over c, which has to come next.
func (s *scanner) take(c byte) {
	if s.peek() != c {
		s.fail()
		return
	}
	s.pos++
}

// open takes the beginning of an object or a list.
func (s *scanner) open(begin byte) {
	s.take(begin)
	s.first = true
}

// more reports whether another member or element follows in the innermost object or list. Otherwise it takes its end.
func (s *scanner) more(end byte) bool {
	first := s.first
	s.first = false
	switch c := s.peek(); {
	case s.failed:
		return false
	case c == end:
		s.pos++
		return false
	case !first:
		s.take(',')
	}
	return !s.failed
}

// name takes a member's name and the colon behind it. It fails for a name with escapes.
func (s *scanner) name() []byte {
	name, plain := s.quoted()
	if !plain {
		s.fail()
		return nil
	}
	s.take(':')
	return name[1 : len(name)-1]
}

// text takes a string, and returns it with its quotes and escapes.
func (s *scanner) text() jsontext.Value {
	text, _ := s.quoted()
	return text
}

// quoted takes a string. It reports whether it is one without escapes.
func (s *scanner) quoted() (text []byte, plain bool) {
	if s.take('"'); s.failed {
		return nil, false
	}
	begin := s.pos - 1
	for plain = true; ; plain = false {
		s.pos += plainPrefix(s.data[s.pos:])
		if s.pos == len(s.data) {
			break
		}
		if s.data[s.pos] == '"' {
			s.pos++
			return s.data[begin:s.pos], plain
		}
		n := escape(s.data[s.pos:])
		if n == 0 {
			break
		}
		s.pos += n
	}
	s.fail()
	return nil, false
}

// plainPrefix returns how many bytes at the start of the rest of a string stand for themselves: they are no quote, no
// backslash, and no control character.
func plainPrefix(s []byte) int {
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		if found := special(binary.LittleEndian.Uint64(s[n:])); found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
	}
	for ; n < len(s) && s[n] >= ' ' && s[n] != '"' && s[n] != '\\'; n++ {
	}
	return n
}

// special returns 0 if all eight bytes of x stand for themselves in a string. Otherwise the lowest bit that it sets is
// in the first byte that does not. A subtraction sets the highest bit of a byte that is less than what is subtracted,
// and may borrow from those above it, whose bits mean nothing then.
func special(x uint64) uint64 {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	quote, slash := x^each*'"', x^each*'\\'
	return ((quote-each)&^quote | (slash-each)&^slash | (x-each*' ')&^x) & highest
}

// escape returns how long the escape at the start of s is, 0 if it is none.
func escape(s []byte) int {
	if len(s) < 2 || s[0] != '\\' {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		const n = len(`\u0000`)
		for i := 2; i < n; i++ {
			if i == len(s) || !isHex(s[i]) {
				return 0
			}
		}
		return n
	}
	return 0
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// textOrNull takes a string or null, for which it returns nil.
func (s *scanner) textOrNull() jsontext.Value {
	if s.peek() == 'n' {
		s.word("null")
		return nil
	}
	return s.text()
}

// null takes null, as the value of a member that would otherwise mean something.
func (s *scanner) null() {
	s.peek()
	s.word("null")
}

// word takes true, false or null.
func (s *scanner) word(word string) {
	end := s.pos + len(word)
	if end > len(s.data) || string(s.data[s.pos:end]) != word {
		s.fail()
		return
	}
	s.pos = end
}

// skip takes a value that means nothing. It fails where more than depth objects and lists stand in each other.
func (s *scanner) skip(depth int) {
	switch c := s.peek(); {
	case c == '"':
		s.text()
	case c == 'n':
		s.word("null")
	case c == 't':
		s.word("true")
	case c == 'f':
		s.word("false")
	case c == '{' && depth > 0:
		for s.open('{'); s.more('}'); {
			s.name()
			s.skip(depth - 1)
		}
	case c == '[' && depth > 0:
		for s.open('['); s.more(']'); {
			s.skip(depth - 1)
		}
	default:
		s.number()
	}
}

// number takes a number, and fails at anything else.
func (s *scanner) number() {
	s.option('-', '-')
	if !s.option('0', '0') {
		s.digits()
	}
	if s.option('.', '.') {
		s.digits()
	}
	if s.option('e', 'E') {
		s.option('+', '-')
		s.digits()
	}
}

// option takes the next byte if it is a or b.
func (s *scanner) option(a, b byte) bool {
	if s.pos < len(s.data) && (s.data[s.pos] == a || s.data[s.pos] == b) {
		s.pos++
		return true
	}
	return false
}

// digits takes one digit or more.
func (s *scanner) digits() {
	begin := s.pos
	for s.pos < len(s.data) && isDigit(s.data[s.pos]) {
		s.pos++
	}
	if s.pos == begin {
		s.fail()
	}
}

// end reports whether all has been read, without a failure.
func (s *scanner) end() bool {
	s.peek()
	return !s.failed && s.pos == len(s.data)
}
