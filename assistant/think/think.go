// Package think separates the reasoning that a model writes into its text, between <think> and </think>.
package think

import "strings"

const (
	begin = "<think>"
	end   = "</think>"
	space = " \t\r\n"
	// maxSpace is about how much white space is held back for a tag to follow, in bytes.
	maxSpace = 1 << 10
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
	opened              // white space after <think>
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
	if s.state == opened {
		if s.held = strings.TrimLeft(s.held, space); s.held != "" {
			s.state = inside
		}
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
		s.held, s.state = rest, opened
		return true
	}
	if strings.HasPrefix(begin, start) && len(s.held) < maxSpace {
		return true
	}
	s.state = done
	return false
}

// reasoning returns what cannot be a part of </think>, or white space before it.
func (s *Splitter) reasoning() string {
	reasoning, rest, found := strings.Cut(s.held, end)
	if found {
		s.held, s.state = rest, behind
		return strings.TrimRight(reasoning, space)
	}
	n := min(len(end)-1, len(s.held))
	for n > 0 && !strings.HasPrefix(end, s.held[len(s.held)-n:]) {
		n--
	}
	sure := s.held[:len(s.held)-n]
	if trimmed := strings.TrimRight(sure, space); len(sure)-len(trimmed) < maxSpace {
		sure = trimmed
	}
	s.held = s.held[len(sure):]
	return sure
}

// Rest returns what is still held back when the answer has ended.
func (s *Splitter) Rest() (text, reasoning string) {
	switch s.state {
	case before:
		return s.take(), ""
	case opened, inside:
		return "", strings.TrimRight(s.take(), space)
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
