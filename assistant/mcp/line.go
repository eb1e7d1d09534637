package mcp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

// line is what users with equal headers share: a session and the list of tools.
type line struct {
	key     [sha256.Size]byte // hash of the header
	header  http.Header
	secrets outbound.Secrets // what an error must not show
	hidden  outbound.Secrets // what a result must not show

	// under Source.mu
	used    time.Time
	idle    *time.Timer // nil = none
	session *session    // nil = there is none
	list    *list       // nil = not known yet
	stale   bool        // the list has changed, or may have
	asking  *asking     // nil = the list is not being asked for
}

// asking is a question for the list of tools.
type asking struct {
	done chan struct{}
	err  error // why there is no new list; set before done is closed
}

// lineOf returns the line of a user.
func (s *Source) lineOf(p assistant.Peer) (*line, error) {
	header := http.Header{}
	for name, template := range s.header {
		value := p.Resolved(template)
		if !outbound.ValidValue(value) {
			return nil, fmt.Errorf("header %s: the value has control characters", name)
		}
		header.Set(name, value)
	}
	key := hashOf(header)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	l := s.lines[key]
	if l == nil {
		l = s.newLine(key, header)
	}
	s.useLocked(l)
	return l, nil
}

func hashOf(header http.Header) [sha256.Size]byte {
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(header)) {
		_, _ = fmt.Fprintf(hash, "%q:%q\n", name, header[name])
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// newLine adds a line. The one that was used least recently makes room for it.
func (s *Source) newLine(key [sha256.Size]byte, header http.Header) *line {
	l := &line{key: key, header: header, secrets: s.secrets, hidden: s.hidden}
	for name, values := range header {
		secrets := outbound.NewSecrets(values...)
		l.secrets = slices.Concat(secrets, l.secrets)
		if outbound.IsCredential(name) {
			l.hidden = slices.Concat(secrets, l.hidden)
		}
	}
	for len(s.lines) >= s.maxLines {
		var oldest *line
		for _, other := range s.lines {
			if oldest == nil || other.used.Before(oldest.used) {
				oldest = other
			}
		}
		s.removeLocked(oldest)
	}
	s.lines[key] = l
	return l
}

// useLocked begins the idle time anew. A program has none.
func (s *Source) useLocked(l *line) {
	l.used = time.Now()
	switch {
	case s.http == nil:
	case l.idle == nil:
		l.idle = time.AfterFunc(s.idle, func() { s.removeIdle(l) })
	default:
		l.idle.Reset(s.idle)
	}
}

// removeIdle removes a line that was not used for a while.
func (s *Source) removeIdle(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rest := s.idle - time.Since(l.used); rest > 0 && s.lines[l.key] == l {
		l.idle.Reset(rest) // it was used while the timer fired
		return
	}
	s.removeLocked(l)
}

func (s *Source) removeLocked(l *line) {
	if l.idle != nil {
		l.idle.Stop()
	}
	if s.lines[l.key] == l {
		delete(s.lines, l.key)
	}
	s.retireLocked(l, l.session)
}

// retire gives up a session that has failed.
func (s *Source) retire(l *line, session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retireLocked(l, session)
}

func (s *Source) retireLocked(l *line, session *session) {
	if session == nil || session.retired {
		return
	}
	session.retired = true
	if l.session == session {
		l.session, l.stale = nil, true
	}
	if session.program != nil {
		s.pause.end(time.Now())
	}
	if session.users == 0 {
		s.work.Go(session.end)
	}
}

// release says that a call no longer uses its session.
func (s *Source) release(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session.users--; session.users == 0 && session.retired {
		s.work.Go(session.end)
	}
}

// current returns the list if it needs not be asked for, and otherwise the question for a new one, which it begins
// unless that is under way.
func (s *Source) current(l *line) (*list, *asking) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.list != nil && !l.stale && time.Now().Before(l.list.until) {
		return l.list, nil
	}
	return l.list, s.askLocked(l)
}

func (s *Source) askLocked(l *line) *asking {
	switch {
	case l.asking != nil:
	case s.closed:
		l.asking = &asking{done: make(chan struct{}), err: errClosed}
		close(l.asking.done)
	default:
		l.asking = &asking{done: make(chan struct{})}
		s.work.Go(func() { s.update(l) })
	}
	return l.asking
}

// update asks for the list, and once more where a session has failed.
func (s *Source) update(l *line) {
	err := s.updateOnce(l)
	if errors.Is(err, errSessionFailed) && s.ctx.Err() == nil {
		err = s.updateOnce(l)
	}
	s.mu.Lock()
	asked := l.asking
	l.asking = nil
	s.mu.Unlock()
	if err != nil {
		asked.err = errors.New(s.shorten(l, err.Error()))
		s.log.Warn("the server does not tell its tools", zap.String("server", s.label), zap.Error(asked.err))
	}
	close(asked.done)
}

// errSessionFailed says that a session was there and failed.
var errSessionFailed = errors.New("ask for the tools")

func (s *Source) updateOnce(l *line) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	session, err := s.sessionOf(ctx, l)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	s.mu.Lock()
	l.stale = false // a change from now on may be too late for this list
	s.mu.Unlock()
	found, err := s.ask(ctx, session.ClientSession)
	switch {
	case err == nil:
		s.replace(l, session, found)
		return nil
	case isAnswer(err):
		s.mu.Lock()
		l.stale = true
		s.mu.Unlock()
		return err
	default:
		s.retire(l, session)
		return fmt.Errorf("%w: %w", errSessionFailed, err)
	}
}

// isAnswer reports whether an error is the server's, not the transport's.
func isAnswer(err error) bool { return answerOf(err) != nil }

// answerOf returns the error that the server has answered with, nil where it is another. The SDK wraps it once; deeper
// down are errors of its own that have the same type.
func answerOf(err error) *jsonrpc.Error {
	answer, _ := errors.Unwrap(err).(*jsonrpc.Error) //nolint:errorlint // deeper ones must not be found
	return answer
}

// sessionOf returns the session, or a new one. Only update calls it.
func (s *Source) sessionOf(ctx context.Context, l *line) (*session, error) {
	s.mu.Lock()
	present := l.session
	err := s.mayStartLocked(present)
	s.mu.Unlock()
	if present != nil || err != nil {
		return present, err
	}
	opened, err := s.connect(ctx, l.header, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		l.stale = true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		if s.http == nil {
			s.pause.end(time.Now())
		}
		return nil, err
	case s.closed || s.lines[l.key] != l: // removed meanwhile
		s.work.Go(opened.end)
		return nil, errClosed
	}
	l.session = opened
	s.sessions[opened] = struct{}{}
	s.work.Go(func() {
		_ = opened.Wait()
		s.retire(l, opened)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, opened)
	})
	return opened, nil
}

// mayStartLocked returns why a program is not started now.
func (s *Source) mayStartLocked(present *session) error {
	if s.http != nil || present != nil {
		return nil
	}
	now := time.Now()
	if wait := s.pause.until.Sub(now); wait > 0 {
		return fmt.Errorf("the program has ended; it is started again after a pause of %s", wait.Round(100*time.Millisecond))
	}
	s.pause.begin(now)
	return nil
}

// replace sets the list, and reports what is odd about it.
func (s *Source) replace(l *line, session *session, found *list) {
	s.mu.Lock()
	before := l.list
	l.list, session.listed = found, true
	s.mu.Unlock()
	if len(found.faults) > 0 && (before == nil || !slices.Equal(before.faults, found.faults)) {
		s.log.Warn("tools are left out", zap.String("server", s.label), zap.Strings("tools", shortened(slices.Concat(s.tokens.secrets(), l.secrets), found.faults)))
	}
	if changed := changedTools(before, found); len(changed) > 0 {
		s.log.Warn("tools have changed their description or parameters", zap.String("server", s.label), zap.Strings("tools", changed))
	}
}

func shortened(secrets outbound.Secrets, texts []string) []string {
	const most = 20
	var short []string
	for _, text := range texts[:min(len(texts), most)] {
		short = append(short, secrets.Shorten(text))
	}
	return short
}

// changedTools returns the names of tools that are not what they were.
func changedTools(before, now *list) []string {
	if before == nil {
		return nil
	}
	was := map[string]assistant.Tool{}
	for _, tool := range before.tools {
		was[tool.Name] = tool
	}
	var changed []string
	for _, tool := range now.tools {
		old, known := was[tool.Name]
		if known && (old.Description != tool.Description || string(old.Parameters) != string(tool.Parameters)) {
			changed = append(changed, tool.Name)
		}
	}
	return changed
}
