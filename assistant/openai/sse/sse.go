// Package sse reads event streams (WHATWG HTML section 9.2) as the servers of language models write them.
//
// It is our own because what these servers write is not always a stream that a library for browsers reads, though
// its meaning is plain: events without an empty line between them, white space before and behind, a byte-order
// mark, a JSON value or one in each line instead of events, an event at the end without a line end. It returns each
// event as soon as its last byte has come, and bounds what an event may take.
package sse

import (
	"bufio"
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
	lines   *bufio.Scanner
	name    []byte
	data    []byte
	ahead   []byte // data that begins the next event
	start   []byte // of what is no event stream
	skipped int    // bytes of it
	begun   bool   // a line of an event stream has come
	bare    bool   // JSON stands there without events
}

// NewReader returns a reader of the events in r.
func NewReader(r io.Reader) *Reader {
	e := &Reader{lines: bufio.NewScanner(r)}
	e.lines.Buffer(nil, MaxEvent)
	e.lines.Split(new(lineEnds).split)
	return e
}

// Next returns the next event, or io.EOF at the end. Unlike a browser it also returns an event that the end of the
// stream has cut: a whole chunk is still useful, and a partial one is not valid JSON.
func (r *Reader) Next() (Event, error) {
	r.name, r.data, r.ahead = r.name[:0], append(r.data[:0], r.ahead...), r.ahead[:0]
	for r.lines.Scan() {
		line := bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(r.lines.Bytes()), byteOrderMark))
		if len(line) == 0 && len(r.data) > 0 && !r.bare {
			return Event{r.name, r.data}, nil
		}
		ended, err := r.take(line)
		switch {
		case err != nil:
			return Event{}, err
		case ended:
			return Event{r.name, r.data}, nil
		}
	}
	switch err := r.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return Event{}, ErrTooLong
	case err != nil:
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

// take reads a line. It reports whether the line begins another event, so that the last one has ended.
func (r *Reader) take(line []byte) (ended bool, err error) {
	if len(line) == 0 {
		r.name = r.name[:0]
		return false, nil
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
			return false, r.skip(line)
		}
	}
	return false, nil
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

// add adds a line of data. Where no JSON value can go on with it, it begins the next event.
func (r *Reader) add(line []byte) (ended bool, err error) {
	if len(r.data) > 0 && len(line) > 0 {
		last, first := r.data[len(r.data)-1], line[0]
		if (last == '}' || last == ']') && (first == '{' || first == '[') {
			r.ahead = append(r.ahead, line...)
			return true, nil
		}
		r.data = append(r.data, '\n')
	}
	if r.data = append(r.data, line...); len(r.data) > MaxEvent {
		return false, ErrTooLong
	}
	return false, nil
}

// lineEnds splits at LF, CRLF and CR. A CR ends its line at once, without waiting for the next byte, which may
// come much later.
type lineEnds struct {
	afterCR bool
	looked  int // how much of an unfinished line has been scanned, in bytes
}

// split is a [bufio.SplitFunc].
func (l *lineEnds) split(data []byte, atEOF bool) (advance int, line []byte, err error) {
	start := 0
	if l.afterCR && len(data) > 0 && data[0] == '\n' {
		start = 1
	}
	fresh, _, found := bytes.Cut(data[start+l.looked:], []byte("\n"))
	before, _, cr := bytes.Cut(fresh, []byte("\r"))
	line = data[start : start+l.looked+len(before)]
	if found || cr || atEOF && len(line) > 0 {
		l.afterCR, l.looked = cr, 0
		return min(start+len(line)+1, len(data)), line, nil
	}
	if len(data) > 0 {
		l.afterCR, l.looked = false, len(line)
	}
	return start, nil, nil
}
