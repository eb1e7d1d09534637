// Package tooltest checks sources of tools.
package tooltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/schema"
)

// Subject is a source of tools, and what the suite may ask of it. Of the calls, Name and Arguments count.
type Subject struct {
	Tools assistant.Tools
	// Peer is for whom all calls are made. Its Resolve must be safe for concurrent use.
	Peer assistant.Peer
	// Works is a call that succeeds at once with some text.
	Works assistant.Call
	// Fails is a call of a tool that fails. Where the source has secrets, what it asks repeats them all.
	Fails assistant.Call
	// Hangs is a call that has an effect and then never ends by itself.
	Hangs assistant.Call
	// Begun waits until Hangs has had its effect; at most until ctx is done.
	Begun func(ctx context.Context) error
	// Secrets are in no tool, result or error.
	Secrets []string
}

// TestTools checks the contract of [assistant.Tools]. Each call of open makes a source, and registers its cleanup with
// t.Cleanup. Afterwards no goroutine may be left.
func TestTools(t *testing.T, open func(t *testing.T) Subject) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(toolsTest)
	}{
		{"List", toolsTest.lists},
		{"ListCancelled", toolsTest.listsCancelled},
		{"Works", toolsTest.works},
		{"WorksWithoutList", toolsTest.worksWithoutList},
		{"Fails", toolsTest.fails},
		{"Unknown", toolsTest.unknown},
		{"CancelledBefore", toolsTest.cancelledBefore},
		{"CancelledInTheMiddle", toolsTest.cancelledInTheMiddle},
		{"Concurrent", toolsTest.concurrent},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { // runs after open's cleanup
				if err := goleak.Find(before); err != nil {
					t.Errorf("goroutines are left: %v", err)
				}
			})
			test.run(toolsTest{t, open(t)})
		})
	}
}

const (
	// promptly is how soon Tools answers, and how soon a cancelled call ends.
	promptly = time.Second
	// patience is how long the suite waits for what happens without a promise.
	patience = 20 * time.Second
)

type toolsTest struct {
	*testing.T
	Subject
}

func (s toolsTest) lists() {
	tools := s.known()
	seen := map[string]bool{}
	for _, tool := range tools {
		if seen[tool.Name] {
			s.Errorf("%s is listed twice", tool.Name)
		}
		seen[tool.Name] = true
		s.checkTool(tool)
	}
	for _, call := range []assistant.Call{s.Works, s.Fails, s.Hangs} {
		if !seen[call.Name] {
			s.Errorf("%s is not listed", call.Name)
		}
	}
}

var name = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (s toolsTest) checkTool(tool assistant.Tool) {
	s.Helper()
	if !name.MatchString(tool.Name) {
		s.Errorf("name %q, want %s", tool.Name, name)
	}
	if _, err := schema.Compile(tool.Parameters); err != nil {
		s.Errorf("%s: parameters %s: %v", tool.Name, tool.Parameters, err)
	}
	switch tool.Where {
	case assistant.WhereServer, assistant.WhereClient, assistant.WhereProvider:
	default:
		s.Errorf("%s: where %q", tool.Name, tool.Where)
	}
	if tool.Server == "" {
		s.Errorf("%s: no server", tool.Name)
	}
	s.keepsSecrets(tool)
}

// known returns the list, as soon as the source has it.
func (s toolsTest) known() []assistant.Tool {
	s.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		tools, err := s.list(s.Context())
		switch {
		case err == nil && len(tools) > 0:
			return tools
		case time.Since(begin) > patience:
			s.Fatalf("%d tools, error %v", len(tools), err)
		}
	}
}

// list expects an answer within a second.
func (s toolsTest) list(ctx context.Context) ([]assistant.Tool, error) {
	s.Helper()
	begin := time.Now()
	tools, err := s.Tools.Tools(ctx, s.Peer)
	if took := time.Since(begin); took > promptly {
		s.Errorf("the list took %s, more than %s", took, promptly)
	}
	s.keepsSecrets(err)
	return tools, err
}

func (s toolsTest) listsCancelled() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if tools, err := s.list(ctx); err == nil && len(tools) == 0 {
		s.Error("neither tools nor an error")
	}
	s.known()
}

func (s toolsTest) works() {
	s.known()
	s.succeeds("works")
}

func (s toolsTest) worksWithoutList() { s.succeeds("without-list") }

func (s toolsTest) succeeds(id string) {
	s.Helper()
	result, err := s.call(s.Context(), s.Works, id)
	if err != nil || result.IsError || result.Text == "" || result.Needs != nil {
		s.Errorf("got %+v, error %v, want a text", result, err)
	}
	if result.Structured != nil && !json.Valid(result.Structured) {
		s.Errorf("structured is no JSON: %s", result.Structured)
	}
}

func (s toolsTest) fails() {
	result, err := s.call(s.Context(), s.Fails, "fails")
	if err != nil || !result.IsError || result.Text == "" {
		s.Errorf("got %+v, error %v, want a result that says why", result, err)
	}
}

func (s toolsTest) unknown() {
	for _, name := range []string{"", "no_such_tool", s.Works.Name + "x", strings.Repeat("x", 1000)} {
		c := s.Works
		c.Name = name
		if result, err := s.call(s.Context(), c, "unknown"); !errors.Is(err, assistant.ErrNotCalled) {
			s.Errorf("%.20q: got %+v, error %v, want ErrNotCalled", name, result, err)
		}
	}
}

func (s toolsTest) cancelledBefore() {
	s.known()
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if result, err := s.call(ctx, s.Hangs, "cancelled-before"); !errors.Is(err, assistant.ErrNotCalled) {
		s.Errorf("got %+v, error %v, want ErrNotCalled", result, err)
	}
	s.succeeds("after-cancelled-before")
}

// cancelledInTheMiddle expects that a call that may have had an effect is not taken for one that was not made.
func (s toolsTest) cancelledInTheMiddle() {
	s.known()
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	type outcome struct {
		result assistant.Result
		err    error
		at     time.Time
	}
	ended := make(chan outcome, 1)
	go func() {
		result, err := s.call(ctx, s.Hangs, "cancelled")
		ended <- outcome{result, err, time.Now()}
	}()
	begun, stop := context.WithTimeout(s.Context(), patience)
	defer stop()
	if err := s.Begun(begun); err != nil {
		s.Fatalf("the call has not begun: %v", err)
	}
	cancelled := time.Now()
	cancel()
	select {
	case o := <-ended:
		if o.err == nil || errors.Is(o.err, assistant.ErrNotCalled) {
			s.Errorf("got %+v, error %v, want an error other than ErrNotCalled", o.result, o.err)
		}
		if after := o.at.Sub(cancelled); after > promptly {
			s.Errorf("ended after %s, more than %s", after, promptly)
		}
	case <-time.After(patience):
		s.Fatal("the call does not end")
	}
	s.succeeds("after-cancelled")
}

func (s toolsTest) concurrent() {
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() { _, _ = s.list(s.Context()) })
		group.Go(func() { s.succeeds(fmt.Sprint("concurrent-", i)) })
	}
	group.Wait()
}

func (s toolsTest) call(ctx context.Context, c assistant.Call, id string) (assistant.Result, error) {
	s.Helper()
	c.ID, c.Peer, c.MessageID = id, s.Peer, "message"
	result, err := s.Tools.Call(ctx, c)
	s.keepsSecrets(result)
	s.keepsSecrets(err)
	return result, err
}

// keepsSecrets expects that a value shows no secret, however it is written.
func (s toolsTest) keepsSecrets(value any) {
	s.Helper()
	text := fmt.Sprintf("%+v", value)
	if encoded, err := json.Marshal(value); err == nil {
		text += string(encoded)
	}
	for _, secret := range s.Secrets {
		if strings.Contains(text, secret) {
			s.Errorf("%s shows the secret %s", text, secret)
		}
	}
}
