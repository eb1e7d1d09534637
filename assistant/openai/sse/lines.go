package sse

import (
	"bytes"
	"io"
	"sync"
)

const (
	// bufferSize is how much is read at once, in bytes.
	bufferSize = 16 << 10
	// maxEmptyReads is how often in a row a reader may return neither a byte nor an error.
	maxEmptyReads = 100
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// What follows where an empty line does: with LF, and with CRLF, of which the line before has taken the CR, and this
// one leaves the LF.
var lineFeed, crossed = []byte("\n"), []byte("\n\r")

// lines splits a stream at LF, CRLF and CR. A CR ends its line at once, without waiting for the next byte, which may
// come much later.
type lines struct {
	r      io.Reader
	pooled *[bufferSize]byte // nil once a longer line has needed a buffer of its own
	buf    []byte
	err    error // ends the stream

	// What has been read and not yet returned is from start to end. Before lf it contains no LF and before cr no CR, so
	// that no byte is searched twice.
	start, end, lf, cr int
	afterCR            bool
}

func newLines(r io.Reader) lines {
	pooled := buffers.Get().(*[bufferSize]byte)
	return lines{r: r, pooled: pooled, buf: pooled[:]}
}

// free returns the buffer to the pool. There are no lines after it.
func (l *lines) free() {
	if l.pooled != nil {
		buffers.Put(l.pooled)
	}
	*l = lines{err: io.ErrClosedPipe}
}

// next returns the next line without its end. It is valid until the next call. What comes before the stream's end or
// an error is a line, too.
func (l *lines) next() ([]byte, error) {
	for {
		if line, ok := l.cut(); ok {
			return line, nil
		}
		if l.err != nil {
			line := l.buf[l.start:l.end]
			if l.start = l.end; len(line) > 0 {
				return line, nil
			}
			return nil, l.err
		}
		l.fill()
	}
}

// cut returns the next line if its end has been read.
func (l *lines) cut() (line []byte, ok bool) {
	if l.afterCR && l.start < l.end {
		if l.afterCR = false; l.buf[l.start] == '\n' {
			l.start++
		}
	}
	l.lf = l.find('\n', l.lf, l.end)
	l.cr = l.find('\r', l.cr, l.lf)
	if l.cr == l.end {
		return nil, false
	}
	l.afterCR = l.cr < l.lf
	line = l.buf[l.start:l.cr]
	l.start += len(line) + 1
	return line, true
}

// find returns where the first c is, to when there is none. None is before from.
func (l *lines) find(c byte, from, to int) int {
	from = max(from, l.start)
	if i := bytes.IndexByte(l.buf[from:to], c); i >= 0 {
		return from + i
	}
	return to
}

// endsHere consumes the empty line that ends an event, if it has been read and ends as the last line did.
func (l *lines) endsHere() bool {
	end := lineFeed
	if l.afterCR {
		end = crossed
	}
	if !bytes.HasPrefix(l.buf[l.start:l.end], end) {
		return false
	}
	l.start += len(end)
	return true
}

// fill reads more behind an unfinished line. It sets err when nothing can follow.
func (l *lines) fill() {
	l.end = copy(l.buf, l.buf[l.start:l.end])
	l.start, l.lf, l.cr = 0, l.end, l.end
	if l.end == len(l.buf) && !l.grow() {
		l.end, l.lf, l.cr, l.err = 0, 0, 0, ErrTooLong
		return
	}
	l.err = io.ErrNoProgress
	for range maxEmptyReads {
		n, err := l.r.Read(l.buf[l.end:])
		if n > 0 || err != nil {
			l.end, l.err = l.end+n, err
			return
		}
	}
}

// grow doubles the buffer, up to the longest line.
func (l *lines) grow() bool {
	if len(l.buf) >= MaxEvent {
		return false
	}
	larger := make([]byte, min(2*len(l.buf), MaxEvent))
	copy(larger, l.buf)
	if l.pooled != nil {
		buffers.Put(l.pooled)
	}
	l.pooled, l.buf = nil, larger
	return true
}
