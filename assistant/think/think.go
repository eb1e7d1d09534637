// Package think separates the reasoning that a model writes into its text, between <think> and </think>.
package think

import "strings"

const (
	begin = "<think>"
	end   = "</think>"
	space = " \t\r\n"
)

// Splitter separates one answer while it arrives. Only tags at the start of the text count, after white space:
// further on a model may write about them. The zero value is ready for use.
type Splitter struct {
	state state
	held  string // may be the beginning of a tag; before the text, also white space
}

type state int

const (
	before state = iota // the text or <think> may come
	inside              // the reasoning
	behind              // white space after </think>
	done                // the text
)

// Split returns what of the next piece, and of what was held back before, is text and what is reasoning. The white
// space around the reasoning belongs to neither.
func (s *Splitter) Split(piece string) (text, reasoning string) {
	if s.state == done {
		return piece, ""
	}
	s.held += piece
	if s.state == before && !s.begin() {
		return s.take(), ""
	}
	if s.state == inside {
		reasoning = s.reasoning()
	}
	if s.state == behind {
		s.held = strings.TrimLeft(s.held, space)
		if s.held != "" {
			s.state = done
			text = s.take()
		}
	}
	return text, reasoning
}

// begin reports whether the text begins with <think>, or may still do so.
func (s *Splitter) begin() bool {
	start := strings.TrimLeft(s.held, space)
	if rest, found := strings.CutPrefix(start, begin); found {
		s.held, s.state = rest, inside
		return true
	}
	if strings.HasPrefix(begin, start) {
		return true
	}
	s.state = done
	return false
}

// reasoning returns what cannot be a part of </think>.
func (s *Splitter) reasoning() string {
	reasoning, rest, found := strings.Cut(s.held, end)
	if found {
		s.held, s.state = rest, behind
		return reasoning
	}
	n := min(len(end)-1, len(s.held))
	for n > 0 && !strings.HasPrefix(end, s.held[len(s.held)-n:]) {
		n--
	}
	reasoning, s.held = s.held[:len(s.held)-n], s.held[len(s.held)-n:]
	return reasoning
}

// Rest returns what is still held back when the answer has ended.
func (s *Splitter) Rest() (text, reasoning string) {
	switch s.state {
	case before:
		return s.take(), ""
	case inside:
		return "", s.take()
	default:
		return "", ""
	}
}

func (s *Splitter) take() string {
	held := s.held
	s.held = ""
	return held
}

// Strip returns a whole answer without the reasoning at its start.
func Strip(answer string) string {
	var s Splitter
	text, _ := s.Split(answer)
	rest, _ := s.Rest()
	return text + rest
}
