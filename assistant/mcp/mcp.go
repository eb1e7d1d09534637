package mcp

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

const (
	// listWait is how long Tools waits for a list; the contract is a second.
	listWait = 700 * time.Millisecond
	// maxLines is how many sessions and lists are kept.
	maxLines = 256
	// maxIdle is how long a session is kept that nobody uses.
	maxIdle = 10 * time.Minute
	// keepAlive is how long an idle connection is kept. It is less than servers usually do: one that the server closes
	// just when a call is sent on it would leave open whether the call was made.
	keepAlive = 3 * time.Second
	// maxStuck is how long a call may still be written to a program after it was cancelled. Then the program is taken
	// for dead.
	maxStuck = 2 * time.Second
)

// metaCallID names the call's id in its _meta.
const metaCallID = "io.caddyassistant/callId"

// Source is the tools of one server. It is safe for concurrent use.
type Source struct {
	label    string
	version  string
	choice   choice
	url      string
	header   map[string]string // templates
	command  []string
	env      map[string]string
	timeout  time.Duration
	refresh  time.Duration
	idle     time.Duration
	maxLines int
	log      *zap.Logger
	secrets  outbound.Secrets // of all users: what an error must not show
	hidden   outbound.Secrets // of all users: what a result must not show
	http     *http.Transport  // nil with a program
	tokens   *tokens          // nil where none are needed
	progress progress

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex // guards what follows, and what lines and sessions say
	closed   bool
	lines    map[[sha256.Size]byte]*line
	sessions map[*session]struct{} // that have not ended
	pause    pause                 // of the program
}

var errClosed = errors.New("the source of tools is closed")

// New returns the tools of a server. It opens no connection and starts no program. The error names every setting that
// is wrong.
func New(c Config) (*Source, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Source{
		label: c.Label, version: c.Version, choice: newChoice(c), url: c.URL, header: maps.Clone(c.Header), command: c.Command, env: maps.Clone(c.Env),
		timeout: c.timeout(), refresh: c.refresh(), idle: maxIdle, maxLines: maxLines, log: cmp.Or(c.Logger, zap.NewNop()),
		lines: map[[sha256.Size]byte]*line{}, sessions: map[*session]struct{}{},
	}
	s.secrets, s.hidden = secretsOf(c)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if c.URL != "" {
		s.http = outbound.NewTransport(s.timeout)
		s.http.IdleConnTimeout = keepAlive
		s.http.MaxIdleConnsPerHost = 16
		s.tokens = newTokens(s.ctx, c.OAuth, s.http, http.Client{Timeout: s.timeout})
	}
	return s, nil
}

// secretsOf returns what errors must not show, which is all values of the configuration, and what results must not.
func secretsOf(c Config) (all, credentials outbound.Secrets) {
	var values, granting []string
	if u, err := outbound.ParseURL(c.URL); err == nil {
		values = append(values, c.URL, u.RequestURI())
		for name, of := range u.Query() {
			values = append(values, of...)
			if outbound.IsCredential(name) {
				granting = append(granting, of...)
			}
		}
	}
	if c.OAuth != nil {
		values, granting = append(values, c.OAuth.ClientSecret, c.OAuth.TokenURL), append(granting, c.OAuth.ClientSecret)
	}
	for name, value := range c.Env {
		values = append(values, value)
		if outbound.IsCredential(name) {
			granting = append(granting, value)
		}
	}
	return outbound.NewSecrets(values...), outbound.NewSecrets(granting...)
}

// Close ends all sessions and the program. Calls under way fail. It returns when everything has ended, after at most
// some ten seconds.
func (s *Source) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, l := range s.lines {
		s.removeLocked(l)
	}
	for session := range s.sessions {
		s.work.Go(session.end)
	}
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	return nil
}

// Warm asks for the list of tools in the background, so that the first question has it: a program may take seconds to start.
// Where a header is another one for each user, it does nothing.
func (s *Source) Warm() {
	for _, value := range s.header {
		if strings.Contains(value, "{") {
			return
		}
	}
	if l, err := s.lineOf(assistant.Peer{}); err == nil {
		s.current(l)
	}
}

// Tools returns the server's tools that are allowed. It waits for them for less than a second. If they are not known
// by then, or the server fails, it returns the last list that p's headers have got, and an error.
func (s *Source) Tools(ctx context.Context, p assistant.Peer) ([]assistant.Tool, error) {
	l, err := s.lineOf(p)
	if err != nil {
		return nil, s.fault(err)
	}
	known, asked := s.current(l)
	if asked == nil {
		return known.copy(), nil
	}
	wait, stop := context.WithTimeout(ctx, listWait)
	defer stop()
	select {
	case <-asked.done:
		if asked.err != nil {
			return known.copy(), s.fault(asked.err)
		}
		s.mu.Lock()
		known = l.list
		s.mu.Unlock()
		return known.copy(), nil
	case <-wait.Done():
		if ctx.Err() != nil {
			return known.copy(), s.fault(context.Cause(ctx))
		}
		return known.copy(), s.fault(fmt.Errorf("no answer within %s", listWait))
	}
}

// copy returns the tools, nil where they are not known.
// copy returns the tools; nil where they are not known.
func (l *list) copy() []assistant.Tool {
	if l == nil {
		return nil
	}
	return append([]assistant.Tool{}, l.tools...)
}

func (s *Source) fault(err error) error { return fmt.Errorf("mcp server %s: %w", s.label, err) }

// notCalled wraps why a call was not made.
func (s *Source) notCalled(err error) error {
	return fmt.Errorf("%w: mcp server %s: %w", assistant.ErrNotCalled, s.label, err)
}

// shorten returns the text of an error without secrets.
func (s *Source) shorten(l *line, text string) string {
	return slices.Concat(s.tokens.secrets(), l.secrets).Shorten(text)
}

// redact returns the text of a result without secrets.
func (s *Source) redact(l *line, text string) string {
	return slices.Concat(s.tokens.secrets(), l.hidden).Redact(text)
}

// Call makes a call of one of the tools.
func (s *Source) Call(ctx context.Context, c assistant.Call) (assistant.Result, error) {
	params, err := paramsOf(c)
	if err != nil {
		return assistant.Result{}, s.notCalled(err)
	}
	l, err := s.lineOf(c.Peer)
	if err != nil {
		return assistant.Result{}, s.notCalled(err)
	}
	session, err := s.acquire(ctx, l, c.Name, params)
	if err != nil {
		return assistant.Result{}, s.notCalled(err)
	}
	return s.send(ctx, attempt{line: l, session: session, call: c}, params)
}

// paramsOf returns the parameters but for the tool's name.
func paramsOf(c assistant.Call) (*sdk.CallToolParams, error) {
	params := &sdk.CallToolParams{Meta: sdk.Meta{metaCallID: c.ID}, RequestState: c.State}
	if len(c.Arguments) > 0 {
		if !json.Valid(c.Arguments) {
			return nil, errors.New("the arguments are no JSON")
		}
		params.Arguments = c.Arguments
	}
	var err error
	params.InputResponses, err = responsesOf(c.Answers)
	return params, err
}

// acquire returns the session to call a tool with, and enters the server's name of the tool. The list is asked for
// only where that is not known. The caller must send the call.
func (s *Source) acquire(ctx context.Context, l *line, name string, params *sdk.CallToolParams) (*session, error) {
	for range 2 {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		session, asked, err := s.tryAcquire(l, name, params)
		if asked == nil {
			return session, err
		}
		select {
		case <-asked.done:
			if asked.err != nil {
				return nil, asked.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, errors.New("the session ended before the call")
}

// tryAcquire returns the session, or a question that must be answered before.
func (s *Source) tryAcquire(l *line, name string, params *sdk.CallToolParams) (*session, *asking, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	theirs, known := l.list.theirName(name)
	switch {
	case s.closed:
		return nil, nil, errClosed
	case l.session == nil || !l.session.listed || !known && (l.stale || time.Now().After(l.list.until)):
		return nil, s.askLocked(l), nil
	case !known:
		return nil, nil, errors.New("the server has no such tool, or it is not allowed")
	}
	l.session.users++
	s.work.Add(1) // send says when it is done
	params.Name = theirs
	return l.session, nil, nil
}

// attempt is one call on its way.
type attempt struct {
	line    *line
	session *session
	call    assistant.Call
}

type outcome struct {
	result *sdk.CallToolResult
	err    error
}

// send sends a call, once, and waits for its result, the context's end or the timeout.
func (s *Source) send(ctx context.Context, a attempt, params *sdk.CallToolParams) (assistant.Result, error) {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if a.call.Progress != nil {
		params.SetProgressToken(a.call.ID)
		defer s.progress.follow(a.call.ID, func(p assistant.Progress) {
			p.Text = s.redact(a.line, p.Text)
			a.call.Progress(p)
		})()
	}
	defer context.AfterFunc(s.ctx, cancel)()
	followed, flight := follow(limited)
	ended := make(chan outcome, 1)
	go func() {
		defer s.work.Done()
		defer s.release(a.session)
		defer s.endIfStuck(limited, a)()
		result, err := a.session.CallTool(followed, params)
		ended <- outcome{result, err}
	}()
	select {
	case o := <-ended:
		return s.settle(ctx, limited, a, flight, o)
	case <-limited.Done():
		return assistant.Result{}, s.interrupted(ctx, a, flight)
	}
}

// endIfStuck ends the session of a call that has not returned a while after ctx, unless it is told before that the call
// has returned: a program that does not read its input cannot be told anything, not even that a call is cancelled.
func (s *Source) endIfStuck(ctx context.Context, a attempt) (returned func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(maxStuck)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			s.retire(a.line, a.session)
			a.session.end()
		}
	})
	return func() {
		stop()
		close(done)
	}
}

// settle makes of what came back what the contract asks for.
func (s *Source) settle(ctx, limited context.Context, a attempt, f *flight, o outcome) (assistant.Result, error) {
	switch {
	case o.err == nil:
		return s.convert(a, o.result)
	case limited.Err() != nil:
		return assistant.Result{}, s.interrupted(ctx, a, f)
	}
	if answer := answerOf(o.err); answer != nil {
		return s.answered(a, answer)
	}
	s.retire(a.line, a.session)
	err := errors.New(s.shorten(a.line, o.err.Error()))
	if s.http != nil && (!f.sent.Load() || f.refused()) {
		return assistant.Result{}, s.notCalled(err)
	}
	return assistant.Result{}, s.fault(err)
}

// interrupted is why a call was given up.
func (s *Source) interrupted(ctx context.Context, a attempt, f *flight) error {
	err := context.Cause(ctx)
	switch {
	case err != nil:
	case s.ctx.Err() != nil:
		err = errClosed
	default:
		err = fmt.Errorf("no result within %s: %w", s.timeout, context.DeadlineExceeded)
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		s.mu.Lock()
		a.line.stale = true // the next list finds out whether the server is still there
		s.mu.Unlock()
	}
	if s.http != nil && !f.sent.Load() {
		return s.notCalled(err)
	}
	return s.fault(err)
}

var _ assistant.Tools = (*Source)(nil)
