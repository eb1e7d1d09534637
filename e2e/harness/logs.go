package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
)

// Logs collects what a process writes, line by line. It is safe for concurrent use.
type Logs struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at each write
}

// Entry is one structured line of Caddy's log.
type Entry map[string]any

func (l *Logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return len(p), nil
}

func (l *Logs) String() string {
	text, _ := l.snapshot()
	return text
}

// Len is how much text there is, for [Logs.Since].
func (l *Logs) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Len()
}

// Since is the text after the first n bytes.
func (l *Logs) Since(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text.Bytes()[n:])
}

// snapshot returns the text so far and a channel that is closed when there is more.
func (l *Logs) snapshot() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.text.String(), l.changed
}

// Wait returns the first entry that match accepts, whether it is there already or still to come.
func (l *Logs) Wait(ctx context.Context, match func(Entry) bool) (found Entry, err error) {
	_, err = l.WaitLine(ctx, 0, func(line string) bool {
		var entry Entry
		ok := json.Unmarshal([]byte(line), &entry) == nil && match(entry)
		if ok {
			found = entry
		}
		return ok
	})
	return found, err
}

// WaitLine returns the first line after the first n bytes that match accepts, whether it is there already or still to
// come.
func (l *Logs) WaitLine(ctx context.Context, n int, match func(line string) bool) (string, error) {
	for {
		text, changed := l.snapshot()
		for line := range strings.Lines(text[n:]) {
			if whole, ended := strings.CutSuffix(line, "\n"); ended && match(whole) {
				return whole, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}
