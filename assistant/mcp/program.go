package mcp

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

const (
	// terminateAfter is how long a program has to end by itself when its input is closed, and again when it is asked to
	// terminate. Then it is killed.
	terminateAfter = 2 * time.Second
	// outputDelay is how long is waited for a program's last output when it has ended.
	outputDelay = time.Second
)

// newProgram returns the program, to be started.
func (s *Source) newProgram() *exec.Cmd {
	program := exec.Command(s.command[0], s.command[1:]...) //nolint:gosec // the operator's own
	for _, name := range []string{"PATH", "HOME"} {
		if value, ok := os.LookupEnv(name); ok {
			program.Env = append(program.Env, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.env)) {
		program.Env = append(program.Env, name+"="+s.env[name])
	}
	if program.Env == nil {
		program.Env = []string{} // nil would be all
	}
	program.Stderr = &lineLogger{log: s.log, secrets: s.secrets}
	program.WaitDelay = outputDelay
	ownGroup(program)
	return program
}

// maxLine is how much of a line of a program's standard error is logged, in bytes.
const maxLine = 4 << 10

// lineLogger logs what is written to it, line by line.
type lineLogger struct {
	log     *zap.Logger
	secrets outbound.Secrets
	line    []byte
}

func (l *lineLogger) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		text, after, whole := bytes.Cut(rest, []byte("\n"))
		l.line = append(l.line, text[:min(len(text), maxLine-len(l.line))]...)
		if whole {
			l.log.Debug("standard error of the program", zap.String("line", l.secrets.Shorten(string(l.line))))
			l.line = l.line[:0]
		}
		rest = after
	}
	return len(p), nil
}

const (
	// firstPause and longestPause are how long a program that has died is left alone. Each death doubles the pause.
	firstPause   = time.Second
	longestPause = time.Minute
	// healthyAfter is how long a program must live for its death to be the first.
	healthyAfter = time.Minute
)

// pause is how long a program is not started again.
type pause struct {
	next    time.Duration // after the next death; 0 = firstPause
	started time.Time
	until   time.Time
}

func (p *pause) begin(now time.Time) { p.started = now }

func (p *pause) end(now time.Time) {
	if now.Sub(p.started) >= healthyAfter {
		p.next, p.until = 0, now
		return
	}
	length := max(p.next, firstPause)
	p.next, p.until = min(2*length, longestPause), now.Add(length)
}
