package openai

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// errCut is returned for a stream that ends before its answer is complete.
var errCut = errors.New("stream ended without a finish reason")

// deltas yields the deltas of an answer, as t translates them. The first error is the last value; without one
// the last value is the delta that completes the answer. entered is called after every event.
func deltas(r io.Reader, t translator, entered func(phase)) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		events := newEvents(r)
		for {
			var delta assistant.Delta
			data, err := events.next()
			if err == nil {
				delta, err = t.translate(data)
			}
			if err != nil {
				yield(t.end(err))
				return
			}
			entered(t.phase())
			if delta != (assistant.Delta{}) && !yield(delta, nil) {
				return
			}
		}
	}
}

// maxEvent is the longest event, and the longest line, of a stream, in bytes.
const maxEvent = 1 << 20

var errEventTooLong = errors.New("event longer than 1 MiB")

// events reads an event stream (WHATWG HTML section 9.2). It ignores names, ids and comments, and skips events
// without data.
type events struct {
	lines *bufio.Scanner
	data  []byte
}

func newEvents(r io.Reader) *events {
	e := &events{lines: bufio.NewScanner(r)}
	e.lines.Buffer(nil, maxEvent)
	e.lines.Split(new(lineEnds).split)
	return e
}

// next returns the data of the next event, valid until the next call, or io.EOF at the end. Unlike a browser it
// also returns an event that the end of the stream has cut: a whole chunk is still useful, and a partial one
// is not valid JSON.
func (e *events) next() ([]byte, error) {
	e.data = e.data[:0]
	for e.lines.Scan() {
		line := e.lines.Bytes()
		if len(line) == 0 && len(e.data) > 0 {
			return e.data, nil
		}
		if err := e.take(line); err != nil {
			return nil, err
		}
	}
	switch err := e.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, errEventTooLong
	case err != nil:
		return nil, fmt.Errorf("read stream: %w", err)
	case len(e.data) > 0:
		return e.data, nil
	default:
		return nil, io.EOF
	}
}

func (e *events) take(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	if string(name) != "data" {
		return nil
	}
	if len(e.data) > 0 {
		e.data = append(e.data, '\n')
	}
	e.data = append(e.data, bytes.TrimPrefix(value, []byte(" "))...)
	if len(e.data) > maxEvent {
		return errEventTooLong
	}
	return nil
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
