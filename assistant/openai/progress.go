package openai

import (
	"errors"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// translator turns the events of one answer into deltas. It does no I/O and does not depend on time.
type translator interface {
	// translate takes the data of one event and returns the text in it. The finish reason and the usage are
	// kept for end. After an error or the finish reason it returns no text.
	translate(data []byte) (assistant.Delta, error)
	// end takes the error that ended the stream, io.EOF or another. It returns the last delta, or an error
	// when the answer is not complete; a complete answer is not affected by err.
	end(err error) (assistant.Delta, error)
	// phase returns how far the answer has come.
	phase() phase
}

// maxAnswer is the longest answer, reasoning included, in bytes.
const maxAnswer = 16 << 20

var errAnswerTooLong = errors.New("answer longer than 16 MiB")

// progress is the part of a translator that both APIs share.
type progress struct {
	size   int // of text and reasoning, in bytes
	finish assistant.FinishReason
	usage  *assistant.Usage
	done   bool // the end marker has come
}

// add counts a delta.
func (p *progress) add(d assistant.Delta) (assistant.Delta, error) {
	if p.size += len(d.Text) + len(d.Reasoning); p.size > maxAnswer {
		return assistant.Delta{}, errAnswerTooLong
	}
	return d, nil
}

// count records the usage that the service reports. Zero and negative values are ignored.
func (p *progress) count(input, output int) {
	if input >= 0 && output >= 0 && input+output > 0 {
		p.usage = &assistant.Usage{InputTokens: input, OutputTokens: output, TotalTokens: input + output}
	}
}

func (p *progress) end(err error) (assistant.Delta, error) {
	switch {
	case p.finish != "":
		return assistant.Delta{FinishReason: p.finish, Usage: p.usage}, nil
	case errors.Is(err, io.EOF):
		return assistant.Delta{}, errCut
	default:
		return assistant.Delta{}, err
	}
}

func (p *progress) phase() phase {
	switch {
	case p.done:
		return draining
	case p.finish != "":
		return finishing
	case p.size > 0:
		return streaming
	default:
		return waiting
	}
}

// lenient accepts duplicate names and invalid UTF-8 from servers, so that neither fails an answer. Invalid
// bytes become U+FFFD.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// given reports whether a member is present and not null.
func given(value jsontext.Value) bool { return len(value) > 0 && value.Kind() != 'n' }
