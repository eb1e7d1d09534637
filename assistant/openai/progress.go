package openai

import (
	"errors"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// translator turns the events of one answer into deltas. It does no I/O and knows no time.
type translator interface {
	// translate takes the data of one event and returns the text in it. The finish reason and the usage are
	// kept for end. After an error or the finish reason no more text comes out.
	translate(data []byte) (assistant.Delta, error)
	// end takes how the stream ended, io.EOF or worse. Once all has been said that does not matter.
	end(err error) (assistant.Delta, error)
	// phase is how far the answer has come.
	phase() phase
}

// maxAnswer is the longest answer, reasoning included, in bytes.
const maxAnswer = 16 << 20

var errAnswerTooLong = errors.New("answer longer than 16 MiB")

// progress is how far an answer has come, whatever the API.
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

// count takes what the service counted. Nothing, and nonsense, count as none.
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

// lenient decodes what servers send: an answer should not die of a name that comes twice or of a byte
// that is no UTF-8, which becomes U+FFFD.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// given tells whether a member is there and not null.
func given(value jsontext.Value) bool { return len(value) > 0 && value.Kind() != 'n' }
