// Package sse reads event streams (WHATWG HTML section 9.2) as the servers of language models write them.
//
// It is our own because what these servers write is not always a stream that a library for browsers reads, though
// its meaning is plain: events without an empty line between them, white space before and behind, a byte-order
// mark, a JSON value or one in each line instead of events, an event at the end without a line end. It returns each
// event as soon as its last byte has come, and bounds what an event may take.
package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxEvent is the longest event, and the longest line, of a stream, in bytes.
const MaxEvent = 1 << 20

const (
	// maxStart is how much is kept of what is no event stream, in bytes.
	maxStart = 1000
	// maxSkipped is how much may come before an event stream begins, in bytes.
	maxSkipped = 64 << 10
)

// ErrTooLong is returned for an event that is longer than MaxEvent.
var ErrTooLong = errors.New("event longer than 1 MiB")

// NoStreamError is returned for what is no event stream, such as a page of HTML.
type NoStreamError struct{ Start string }

func (e *NoStreamError) Error() string { return fmt.Sprintf("no event stream: %s", e.Start) }

// Event is one event. Its bytes are valid until the next one is read.
type Event struct {
	Name []byte // empty means message
	Data []byte // never empty, without white space around it
}

// Reader reads events. It ignores ids and comments, and skips events without data.
type Reader struct {
	lines   lines
	name    []byte
	data    []byte
	ahead   []byte // data that begins the next event
	start   []byte // of what is no event stream
	skipped int    // bytes of it
	begun   bool   // a line of an event stream has come
	bare    bool   // JSON stands there without events
}

// NewReader returns a reader of the events in r. It reads ahead. Close returns its memory.
func NewReader(r io.Reader) *Reader { return &Reader{lines: newLines(r)} }

// Close gives the reader's memory to later ones. The last event is not valid any more, and no other follows. It does
// not close the stream.
func (r *Reader) Close() {
	r.lines.free()
	*r = Reader{lines: r.lines}
}

// Next returns the next event, or io.EOF at the end. Unlike a browser it also returns an event that the end of the
// stream has cut: a whole chunk is still useful, and a partial one is not valid JSON.
func (r *Reader) Next() (Event, error) {
	r.name, r.data, r.ahead = r.name[:0], append(r.data[:0], r.ahead...), r.ahead[:0]
	for {
		line, err := r.lines.next()
		if err != nil {
			return r.end(err)
		}
		data, err := r.take(line)
		switch {
		case err != nil:
			return Event{}, err
		case data != nil:
			return Event{r.name, data}, nil
		}
	}
}

// end returns what is left when the stream has ended with err.
func (r *Reader) end(err error) (Event, error) {
	switch {
	case errors.Is(err, ErrTooLong):
		return Event{}, err
	case !errors.Is(err, io.EOF):
		return Event{}, fmt.Errorf("read stream: %w", err)
	case len(r.data) > 0:
		return Event{r.name, r.data}, nil
	case !r.begun && len(r.start) > 0:
		return Event{}, &NoStreamError{string(r.start)}
	default:
		return Event{}, io.EOF
	}
}

var byteOrderMark = []byte("\uFEFF")

// take reads a line. It returns the data of an event that ends with it, or ended before it.
func (r *Reader) take(line []byte) (data []byte, err error) {
	line = bytes.TrimSpace(line)
	if rest, ok := bytes.CutPrefix(line, byteOrderMark); ok {
		line = bytes.TrimSpace(rest)
	}
	if len(line) == 0 {
		if len(r.data) > 0 && !r.bare {
			return r.data, nil
		}
		r.name = r.name[:0]
		return nil, nil
	}
	if r.bare = r.bare || !r.begun && (line[0] == '{' || line[0] == '['); r.bare {
		return r.add(line)
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	switch string(name) {
	case "data":
		r.begun = true
		return r.add(value)
	case "error": // llama.cpp of old writes an error so, instead of data
		r.begun = true
		r.name = append(r.name[:0], name...)
		return r.add(value)
	case "event":
		r.begun = true
		r.name = append(r.name[:0], value...)
	case "", "id", "retry":
		r.begun = true
	default:
		if !r.begun {
			return nil, r.skip(line)
		}
	}
	return nil, nil
}

// skip passes over a line before the event stream begins.
func (r *Reader) skip(line []byte) error {
	if len(r.start) < maxStart {
		r.start = append(append(r.start, line[:min(len(line), maxStart-len(r.start))]...), '\n')
	}
	if r.skipped += len(line) + 1; r.skipped > maxSkipped {
		return &NoStreamError{string(r.start)}
	}
	return nil
}

// add adds a line of data, and returns what take does. Where no JSON value can go on with it, it begins the next event.
func (r *Reader) add(line []byte) (data []byte, err error) {
	switch {
	case len(line) == 0:
		return nil, nil
	case len(r.data) == 0:
		if !r.bare && r.lines.endsHere() {
			return line, nil // a whole event, which need not be copied
		}
	case closes(r.data) && (line[0] == '{' || line[0] == '['):
		r.ahead = append(r.ahead, line...)
		return r.data, nil
	default:
		r.data = append(r.data, '\n')
	}
	if r.data = append(r.data, line...); len(r.data) > MaxEvent {
		return nil, ErrTooLong
	}
	return nil, nil
}

// closes reports whether an object or a list may end with data.
func closes(data []byte) bool {
	last := data[len(data)-1]
	return last == '}' || last == ']'
}
