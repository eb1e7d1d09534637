package answer

import (
	"errors"
	"fmt"
	"io"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/think"
)

// maxAnswer is the longest answer, reasoning included, in bytes.
const maxAnswer = 16 << 20

// maxBlank is about how much white space before the text is kept, in bytes; the rest is dropped.
const maxBlank = 1 << 10

// progress is the part of a translator that both APIs share.
type progress struct {
	textHalf, reasoningHalf half            // of characters
	tags                    *think.Splitter // nil: tags are text
	size, pieces            int             // of text and reasoning; the size in bytes
	blank                   string          // held back until text follows, or for ever
	said                    bool            // text has been shown
	refused                 bool            // by the model, in the text
	called                  bool            // a tool
	tools                   bool            // it may call some
	calls                   int             // pieces of calls

	ending ending
	reason string // the finish reason, as it came
	vague  bool   // what finish reasons say of the stream's end means nothing, since text came with or after them
	done   bool   // the end marker has come
	usage  *assistant.Usage
	stray  string // the beginning of the first event that means nothing
}

func newProgress(thinkTags, tools bool) progress {
	p := progress{tools: tools}
	if thinkTags {
		p.tags = new(think.Splitter)
	}
	return p
}

// addCalls counts pieces of calls, and adds them to a delta.
func (p *progress) addCalls(d *assistant.Delta, pieces []assistant.CallPiece) error {
	if len(pieces) == 0 || !p.tools {
		return nil
	}
	for _, c := range pieces {
		p.size += len(c.Name) + len(c.Arguments)
	}
	if p.calls += len(pieces); p.size > maxAnswer {
		return ErrTooLong
	}
	d.Calls = &pieces
	return nil
}

// add counts a piece and returns what of it is to be shown. White space waits until it is known to be a part of
// something: an answer of it alone is none.
func (p *progress) add(text, reasoning string) (assistant.Delta, error) {
	if text == "" && reasoning == "" {
		return assistant.Delta{}, nil
	}
	p.pieces++
	if p.size += len(text) + len(reasoning); p.size > maxAnswer {
		return assistant.Delta{}, ErrTooLong
	}
	if p.tags != nil {
		shown, thought := p.tags.Split(text)
		text, reasoning = shown, reasoning+thought
	}
	return assistant.Delta{Text: p.show(text), Reasoning: reasoning}, nil
}

func (p *progress) show(text string) string {
	if p.said || text == "" {
		return text
	}
	if assistant.IsBlank(text) {
		if len(p.blank) < maxBlank {
			p.blank += text
		}
		return ""
	}
	text = p.blank + text
	p.blank, p.said = "", true
	return text
}

// finish takes a finish reason, "" if an event has none, that came with that many pieces. The last one counts.
//
// Gateways to Gemini write stop into every chunk, others already at the end of the reasoning. Their finish reasons
// do not say that the stream ends.
func (p *progress) finish(reason string, pieces int) {
	e := endingOf(reason)
	first := pieces > 0 && pieces == p.pieces
	p.vague = p.vague || pieces > 0 && p.ending != endNone || first && e != endNone
	if e == endNone {
		return
	}
	p.ending, p.reason = e, cut(reason)
}

func (p *progress) Unknown() string {
	if p.ending != endUnknown {
		return ""
	}
	return p.reason
}

// complete reports whether a finish reason has said that nothing follows.
func (p *progress) complete() bool {
	explains := p.ending == endLength || p.ending == endFilter || p.calls > 0
	return p.ending != endNone && !p.vague && (p.said || explains)
}

func (p *progress) End(err error) (assistant.Delta, error) {
	last := assistant.Delta{Usage: p.usage}
	if p.tags != nil {
		last.Text, last.Reasoning = p.tags.Rest()
		last.Text = p.show(last.Text)
	}
	finish, err := p.verdict(err)
	last.FinishReason = finish
	return last, err
}

// verdict returns how the answer ended, given the error that ended the stream.
func (p *progress) verdict(err error) (assistant.FinishReason, error) {
	stopped := p.ending == endStop || p.ending == endNone || p.ending == endUnknown
	switch {
	case !p.complete() && !p.done && !errors.Is(err, io.EOF):
		return "", err // it broke off, or is an error that the service reports
	case p.calls > 0 && (stopped || p.ending == endTools): // some servers say stop
		return assistant.FinishToolCalls, nil
	case p.ending == endTools, stopped && p.called && !p.said:
		return "", ErrTools
	case p.ending == endFailure:
		return "", fmt.Errorf("finish reason %q", p.reason)
	case p.ending == endNone && !p.done:
		return "", p.explain(ErrCut)
	case stopped && !p.said:
		return "", p.explain(ErrEmpty)
	case stopped && p.refused:
		return assistant.FinishContentFilter, nil
	default:
		return p.ending.finishReason(), nil
	}
}

// explain adds the event that means nothing: it may be the cause.
func (p *progress) explain(err error) error {
	if p.stray == "" {
		return err
	}
	return fmt.Errorf("%w; unknown event: %s", err, p.stray)
}

// ignore keeps the first event that means nothing.
func (p *progress) ignore(data []byte) {
	if p.stray == "" {
		p.stray = cut(string(data))
	}
}

func (p *progress) Phase() Phase {
	switch {
	case p.done:
		return Draining
	case p.complete():
		return Finishing
	case p.size > 0:
		return Streaming
	default:
		return Waiting
	}
}
