package assistanttest

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Script is a model that follows a text. Each paragraph is an answer; the last one is repeated. The lines:
//
//	text "Hello"           yield a piece, quoted as in Go; text "x" * 500 yields 500 of them
//	reasoning "Hm"         yield a piece of reasoning
//	sleep 2s               wait, or until cancelled
//	wait                   wait for Release, or until cancelled
//	usage 12 3             yield usage: input and output tokens
//	finish stop            yield a finish reason
//	fail provider_timeout  yield an error of that reason, whose text contains a secret; a duration after it
//	                       is how long the service asks clients to wait (1.5s)
//	panic                  panic
//	echo                   yield the whole request as one piece
type Script struct {
	name    string
	answers [][]string
	release chan struct{}

	mu        sync.Mutex
	asked     int
	cancelled int
}

// NewScript reads a script.
func NewScript(text string) *Script { return NewNamedScript("script", text) }

// NewNamedScript reads a script whose provider and model have the name.
func NewNamedScript(name, text string) *Script {
	s := &Script{name: name, release: make(chan struct{})}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		var lines []string
		scanner := bufio.NewScanner(strings.NewReader(paragraph))
		for scanner.Scan() {
			lines = append(lines, scanner.Text())
		}
		s.answers = append(s.answers, lines)
	}
	return s
}

// Accepts returns true: it takes whatever a question has.
func (s *Script) Accepts(assistant.Parts) bool { return true }

// Release ends one wait. It blocks until there is one.
func (s *Script) Release() { s.release <- struct{}{} }

// Asked returns how many answers were begun.
func (s *Script) Asked() int { return s.count(&s.asked, 0) }

// Cancelled returns how many answers were cut by their context or by the consumer.
func (s *Script) Cancelled() int { return s.count(&s.cancelled, 0) }

func (s *Script) count(n *int, add int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n += add
	return *n
}

// Source returns the script's name, twice.
func (s *Script) Source() assistant.Source {
	return assistant.Source{Provider: s.name, Model: s.name}
}

// Stream plays the next answer.
func (s *Script) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		n := min(s.count(&s.asked, 1), len(s.answers))
		for _, line := range s.answers[n-1] {
			deltas, err := s.step(ctx, line, req)
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				if ctx.Err() != nil {
					s.count(&s.cancelled, 1)
				}
				yield(assistant.Delta{}, err)
				return
			}
			for _, d := range deltas {
				if !yield(d, nil) {
					s.count(&s.cancelled, 1)
					return
				}
			}
		}
	}
}

func (s *Script) step(ctx context.Context, line string, req assistant.Request) ([]assistant.Delta, error) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "text":
		text, times := repeated(rest)
		return repeat(assistant.Delta{Text: text}, times), nil
	case "reasoning":
		text, times := repeated(rest)
		return repeat(assistant.Delta{Reasoning: text}, times), nil
	case "echo":
		return []assistant.Delta{{Text: printed(req)}}, nil
	case "finish":
		return []assistant.Delta{{FinishReason: assistant.FinishReason(rest)}}, nil
	case "usage":
		var u assistant.Usage
		_, err := fmt.Sscan(rest, &u.InputTokens, &u.OutputTokens)
		u.TotalTokens = u.InputTokens + u.OutputTokens
		return []assistant.Delta{{Usage: &u}}, err
	case "fail":
		reason, pause, _ := strings.Cut(rest, " ")
		retryAfter, err := time.ParseDuration(cmp.Or(pause, "1.5s"))
		if err != nil {
			return nil, err
		}
		return nil, &assistant.ProviderError{Reason: assistant.Reason(reason), RetryAfter: retryAfter, Err: errors.New("upstream said sk-secret")}
	case "panic":
		panic("script says panic: sk-secret")
	case "sleep":
		d, err := time.ParseDuration(rest)
		return nil, errors.Join(err, until(ctx, time.After(d)))
	case "wait":
		return nil, until(ctx, s.release)
	default:
		return nil, fmt.Errorf("unknown line in script: %q", line)
	}
}

// printed returns the request as text.
func printed(req assistant.Request) string {
	type turn struct {
		Role    assistant.Role
		Content string
	}
	turns := make([]turn, len(req.Turns))
	for i, t := range req.Turns {
		turns[i] = turn{t.Role, t.Content}
	}
	return fmt.Sprintf("{Instructions:%s Turns:%+v}", req.Instructions, turns)
}

func until[T any](ctx context.Context, c <-chan T) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// repeated reads `"text"` or `"text" * n`.
func repeated(rest string) (text string, times int) {
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		panic("script wants a quoted text, not " + rest)
	}
	text, _ = strconv.Unquote(quoted)
	if _, err := fmt.Sscanf(rest[len(quoted):], " * %d", &times); err != nil {
		times = 1
	}
	return text, times
}

func repeat(d assistant.Delta, times int) []assistant.Delta {
	out := make([]assistant.Delta, times)
	for i := range out {
		out[i] = d
	}
	return out
}

var _ assistant.Provider = (*Script)(nil)
