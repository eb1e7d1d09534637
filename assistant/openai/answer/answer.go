// Package answer reads the stream of an answer into deltas, for each of OpenAI's two APIs as compatible servers
// speak them.
//
// What an answer is, is decided by what it contains. Text that comes before the stream's own end belongs to it,
// whatever a chunk said about finishing. It is complete only with text and the end of the stream, or with a reason
// for its end that says more than stop. An error in any shape is an error, unless the answer was complete before.
// Members of an unexpected type are read as far as they make sense, and skipped otherwise.
package answer

import (
	"errors"
	"io"
	"iter"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/sse"
)

// Why an answer is not complete.
var (
	ErrCut     = errors.New("stream ended without a finish reason")
	ErrEmpty   = errors.New("answer without text")
	ErrTools   = errors.New("the model asked for a tool, and none was offered")
	ErrTooLong = errors.New("answer longer than 16 MiB")
)

// Translator turns the events of one answer into deltas. It does no I/O and does not depend on time.
type Translator interface {
	// Translate returns the text in an event. The finish reason and the usage are kept for End. After an error or
	// the end marker it returns no text.
	Translate(e sse.Event) (assistant.Delta, error)
	// End takes the error that ended the stream, io.EOF or another. It returns what is left to say, and an error
	// when the answer is not complete; a complete answer is not affected by err.
	End(err error) (assistant.Delta, error)
	// Phase returns how far the answer has come.
	Phase() Phase
	// Unknown returns the finish reason that the service gave and nobody knows, cut to 1,000 bytes; "" if there was
	// none. Such a reason counts as stop.
	Unknown() string
}

// Phase is how far an answer has come.
type Phase int

// The phases. Text that comes after all leads back from Finishing to Streaming.
const (
	Waiting   Phase = iota // for the first piece
	Streaming              // pieces come
	Finishing              // the answer is complete, but for its usage
	Draining               // the end marker has come
)

// Read yields the deltas of an answer, as t translates them. The first error is the last value; without one the last
// value is the delta that completes the answer. entered is called after every event.
func Read(r io.Reader, t Translator, entered func(Phase)) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		held := &held{r: r, yield: yield}
		events := sse.NewReader(held)
		defer events.Close()
		for {
			var delta assistant.Delta
			event, err := events.Next()
			if err == nil {
				delta, err = t.Translate(event)
			}
			if err != nil {
				if held.release(false) {
					end(t, err, yield)
				}
				return
			}
			entered(t.Phase())
			if delta != (assistant.Delta{}) {
				if !held.release(true) {
					return
				}
				held.delta, held.isFull = delta, true
			}
		}
	}
}

// held holds a delta back until it is known whether another one has come with it: the next one has been read, or more
// must be read, which may take a while.
type held struct {
	r     io.Reader
	yield func(assistant.Delta, error) bool

	delta  assistant.Delta
	isFull bool // there is one
	isOver bool // yield has returned false
}

// Read implements [io.Reader].
func (h *held) Read(p []byte) (int, error) {
	if !h.release(false) {
		return 0, io.ErrClosedPipe
	}
	return h.r.Read(p)
}

// release yields what is held. It returns false when no more is wanted.
func (h *held) release(more bool) bool {
	if h.isFull {
		h.isFull, h.delta.More = false, more
		h.isOver = !h.yield(h.delta, nil)
	}
	return !h.isOver
}

// end yields what is left to say: with the finish reason, or before the error.
func end(t Translator, err error, yield func(assistant.Delta, error) bool) {
	last, err := t.End(err)
	if err != nil && last != (assistant.Delta{}) {
		if !yield(last, nil) {
			return
		}
		last = assistant.Delta{}
	}
	yield(last, err)
}
