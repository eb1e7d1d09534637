package answer

import "github.com/go-json-experiment/json/jsontext"

// Nearly all events of an answer are alike: a piece of text, and members that mean nothing. They are scanned. All others
// are decoded, and so is a usual event in which anything is unusual.

// scan reads a chunk that has one choice, and in its delta text or null. Its strings are parts of data.
// It reports false for any other, and for one in which a member that this package reads is of another kind. Of strings
// that are there twice the last counts, as it does for the decoder.
func (c *choice) scan(data []byte) bool {
	c.Delta.V.Content.Value, c.Delta.V.ReasoningContent.Value, c.Delta.V.Reasoning.Value = nil, nil, nil
	s := scanner{data: data}
	found := false
	for s.open('{'); s.more('}'); {
		switch string(s.name()) {
		case "choices":
			s.once(&found)
			s.open('[')
			s.choice(c)
			s.take(']')
		case "usage", "x_groq", "error":
			s.null()
		default:
			s.skip(maxSkipped)
		}
	}
	return found && s.end()
}

// once fails where a member comes for the second time.
func (s *scanner) once(found *bool) {
	if *found {
		s.fail()
	}
	*found = true
}

func (s *scanner) choice(c *choice) {
	found := false
	for s.open('{'); s.more('}'); {
		switch string(s.name()) {
		case "delta":
			s.once(&found)
			s.delta(&c.Delta.V)
		case "index":
			s.take('0') // more fails where this is the start of another number
		case "message", "text", "finish_reason", "usage", "error":
			s.null()
		default:
			s.skip(maxSkipped)
		}
	}
}

func (s *scanner) delta(m *message) {
	for s.open('{'); s.more('}'); {
		switch string(s.name()) {
		case "content":
			m.Content.Value = s.textOrNull()
		case "reasoning_content":
			m.ReasoningContent.Value = s.textOrNull()
		case "reasoning":
			m.Reasoning.Value = s.textOrNull()
		case "refusal", "tool_calls", "function_call", "usage":
			s.null()
		default:
			s.skip(maxSkipped)
		}
	}
}

// scanDelta reads an event of the Responses API whose delta is text, and returns its type and its delta, with their
// quotes. They are parts of data. The other members mean nothing to events of that kind. It returns nil for any other
// event.
func scanDelta(data []byte) (kind, delta jsontext.Value) {
	s := scanner{data: data}
	for s.open('{'); s.more('}'); {
		switch string(s.name()) {
		case "type":
			kind = s.textOrNull()
		case "delta":
			delta = s.textOrNull()
		default:
			s.skip(maxSkipped)
		}
	}
	if !s.end() {
		return nil, nil
	}
	return kind, delta
}
