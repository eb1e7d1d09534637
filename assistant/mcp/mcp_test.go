package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/tooltest"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

// ann is a user with a token.
var ann = assistant.Peer{User: "ann", Resolve: strings.NewReplacer("{token}", canary, "{user}", "ann").Replace}

func TestContractHTTP(t *testing.T) {
	for name, o := range map[string]serverOptions{
		"newest": {version: newest}, "older": {version: older}, "newest JSON": {version: newest, json: true}, "older JSON": {version: older, json: true},
	} {
		t.Run(name, func(t *testing.T) {
			tooltest.TestTools(t, func(t *testing.T) tooltest.Subject {
				server := serve(t, o)
				return tooltest.Subject{
					Tools: open(t, Config{URL: server.URL + "/" + canary, Header: map[string]string{"Authorization": "Bearer {token}"}}),
					Peer:  ann,
					Works: toolCall("echo"), Fails: toolCall("fail"), Hangs: toolCall("hang"),
					Begun: func(ctx context.Context) error {
						select {
						case <-server.calls.begun:
							return nil
						case <-ctx.Done():
							return ctx.Err()
						}
					},
					Secrets: []string{canary},
				}
			})
		})
	}
}

func TestContractProgram(t *testing.T) {
	for _, version := range []string{newest, older} {
		t.Run(version, func(t *testing.T) {
			tooltest.TestTools(t, func(t *testing.T) tooltest.Subject {
				c, dir := program(t, "serve "+version)
				return tooltest.Subject{
					Tools: open(t, c), Works: toolCall("echo"), Fails: toolCall("fail"), Hangs: toolCall("hang"),
					Begun: func(context.Context) error {
						eventually(t, "hang is called", func() bool { return len(traces(t, dir, "hang")) > 0 })
						return nil
					},
					Secrets: []string{canary},
				}
			})
		})
	}
}

// toolCall returns a call of the shop's tool.
func toolCall(tool string) assistant.Call {
	return assistant.Call{ID: "call_1", Name: "shop__" + tool, Arguments: json.RawMessage(`{"order":"A-7"}`), Peer: ann}
}

// names returns the names of the tools, as soon as they are known.
func names(t *testing.T, s *Source) []string {
	t.Helper()
	var names []string
	eventually(t, "the tools are known", func() bool {
		tools, err := s.Tools(t.Context(), ann)
		names = nil
		for _, tool := range tools {
			names = append(names, tool.Name)
		}
		return err == nil
	})
	return names
}

func TestResult(t *testing.T) {
	for name, o := range map[string]serverOptions{"newest": {version: newest}, "older": {version: older}} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, o)
			var meta any
			server.calls.seen = func(req *sdk.CallToolRequest) { meta = req.Params.Meta[metaCallID] }
			s := open(t, Config{URL: server.URL})

			echo, err := s.Call(t.Context(), toolCall("echo"))
			if err != nil || echo.Text != `echo {"order":"A-7"}` || string(echo.Structured) != `{"order":"A-7"}` || echo.IsError {
				t.Errorf("echo: got %+v, error %v", echo, err)
			}
			if meta != "call_1" {
				t.Errorf("the call's id came as %v", meta)
			}
			fail, err := s.Call(t.Context(), toolCall("fail"))
			if err != nil || !fail.IsError || !strings.HasPrefix(fail.Text, "out of stock") {
				t.Errorf("fail: got %+v, error %v", fail, err)
			}
			broken, err := s.Call(t.Context(), toolCall("break"))
			if err != nil || !broken.IsError || strings.Contains(broken.Text, "broken with") {
				t.Errorf("break: got %+v, error %v", broken, err)
			}
			look, err := s.Call(t.Context(), toolCall("look"))
			if err != nil || look.Text != "two pages\nPage A: https://example.org/a\nb: javascript:alert(1)\n[image/png, 5 bytes: left out]\ninside" {
				t.Errorf("look: got %q, error %v", look.Text, err)
			}
			if want := (assistant.SourcePart{SourceID: "call_1_1", URL: "https://example.org/a", Title: "Page A"}); len(look.Sources) != 1 || look.Sources[0] != want {
				t.Errorf("look: sources %+v", look.Sources)
			}
		})
	}
}

// Where a server repeats a secret of ours, neither the text nor the sources of its result nor its questions have it.
func TestSecretsAreHidden(t *testing.T) {
	const secret = "sekrit-token-0123456789"
	s, a := new(Source), attempt{line: &line{hidden: outbound.NewSecrets(secret)}, call: toolCall("echo")}
	result, err := s.convert(a, &sdk.CallToolResult{Content: []sdk.Content{
		&sdk.TextContent{Text: "you are " + secret},
		&sdk.ResourceLink{URI: "https://example.org/?token=" + secret, Name: secret},
	}})
	if got := fmt.Sprint(result.Text, result.Sources); err != nil || strings.Contains(got, secret) || !strings.Contains(got, "you are ") {
		t.Errorf("got %s, error %v", got, err)
	}
	asked, err := s.needs(a, &sdk.CallToolResult{InputRequests: sdk.InputRequestMap{"a": &sdk.ElicitParams{Message: "you are " + secret}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(asked.Needs.Inputs); strings.Contains(got, secret) || !strings.Contains(got, "you are ") {
		t.Errorf("asks %s", got)
	}
}

func TestNeeds(t *testing.T) {
	server := serve(t, serverOptions{version: newest})
	first := open(t, Config{URL: server.URL})
	asked, err := first.Call(t.Context(), toolCall("ask"))
	if err != nil || asked.Needs == nil || len(asked.Needs.Inputs) != 2 || asked.Needs.State != "state-1" {
		t.Fatalf("got %+v, error %v", asked, err)
	}
	pay, size := asked.Needs.Inputs[0], asked.Needs.Inputs[1]
	if pay.ID != "pay" || pay.URL != "https://pay.example.org/1" || pay.Schema != nil {
		t.Errorf("got %+v", pay)
	}
	if size.ID != "size" || size.Message != "Which size?" || !strings.Contains(string(size.Schema), `"integer"`) {
		t.Errorf("got %+v", size)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	// Another process has the answer.
	second := open(t, Config{URL: server.URL})
	answer := toolCall("ask")
	answer.State, answer.Answers = asked.Needs.State, json.RawMessage(`{"size":{"action":"accept","content":{"size":42}},"pay":{"action":"decline"}}`)
	got, err := second.Call(t.Context(), answer)
	if err != nil || got.Text != "state-1 accept 42" {
		t.Errorf("got %+v, error %v", got, err)
	}
	for _, bad := range []string{`[]`, `{"size":{"action":"do"}}`, `{"size":null}`} {
		answer.Answers = json.RawMessage(bad)
		if _, err := second.Call(t.Context(), answer); !errors.Is(err, assistant.ErrNotCalled) {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}

// TestOlderServersAskNobody expects that a server of an older protocol is told that nobody can be asked.
func TestOlderServersAskNobody(t *testing.T) {
	server := serve(t, serverOptions{version: older})
	var offered string
	server.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var message struct {
				Method string
				Params struct{ Capabilities json.RawMessage }
			}
			body, _ := io.ReadAll(r.Body)
			if json.Unmarshal(body, &message) == nil && message.Method == "initialize" {
				offered = string(message.Params.Capabilities)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(w, r)
		})
	})
	s := open(t, Config{URL: server.URL})
	if _, err := s.Call(t.Context(), toolCall("echo")); err != nil {
		t.Fatal(err)
	}
	if offered != `{}` {
		t.Errorf("offered %s", offered)
	}
	got, err := s.Call(t.Context(), toolCall("ask"))
	if err == nil && !got.IsError {
		t.Errorf("got %+v", got)
	}
}

func TestTools(t *testing.T) {
	server := serve(t, serverOptions{})
	server.mcp.AddTool(&sdk.Tool{Name: "order.get", Title: "Get", Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true}, InputSchema: json.RawMessage(`{"type":"object"}`)}, nil)
	server.mcp.AddTool(&sdk.Tool{Name: "order_get", InputSchema: json.RawMessage(`{"type":"object"}`)}, nil)
	server.mcp.AddTool(&sdk.Tool{Name: "lies", InputSchema: json.RawMessage(`{"type":"object","properties":{"a":{"$ref":"file:///etc/passwd"}}}`)}, nil)
	s := open(t, Config{
		URL: server.URL, Allow: []string{"order*", "lies", "echo", "fail", "hang"}, Deny: []string{"h?ng"},
		Approve: []Rule{{Mode: always, Tools: []string{"order*"}}, {Mode: writes, Tools: []string{"order.*"}}, {Mode: never, Tools: []string{"fail"}}}, Repeatable: []string{"fail"},
	})
	tools, err := s.Tools(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]assistant.Tool{}
	for _, tool := range tools {
		got[tool.Name] = tool
	}
	for name, want := range map[string][2]bool{ // approve, repeatable
		"shop__echo": {false, true}, "shop__fail": {false, true},
		nameOf("shop", "order.get"): {false, true}, "shop__order_get": {true, false},
	} {
		tool, ok := got[name]
		if !ok || tool.Approve != want[0] || tool.Repeatable != want[1] || tool.Untrusted || tool.Server != "shop" {
			t.Errorf("%s: %v, got %+v, want approve and repeatable %v", name, ok, tool, want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("also listed: %v", got)
	}
	for _, tool := range tools {
		if tool.Name == "shop__echo" && tool.Title != "Echo" || tool.Name == nameOf("shop", "order.get") && tool.Title != "Get" {
			t.Errorf("%s has the title %q", tool.Name, tool.Title)
		}
	}
	if _, err := s.Call(t.Context(), toolCall("hang")); !errors.Is(err, assistant.ErrNotCalled) {
		t.Errorf("a denied tool: error %v", err)
	}
}

func TestUntrusted(t *testing.T) {
	s := open(t, Config{URL: serve(t, serverOptions{}).URL, Untrusted: true})
	tools, err := s.Tools(t.Context(), ann)
	if err != nil || len(tools) == 0 {
		t.Fatalf("%d tools, error %v", len(tools), err)
	}
	for _, tool := range tools {
		if !tool.Approve || tool.Repeatable || !tool.Untrusted {
			t.Errorf("%+v", tool)
		}
	}
}

// TestSessions expects that users with equal headers share a session and a list, and no others.
func TestSessions(t *testing.T) {
	server := serve(t, serverOptions{version: older})
	s := open(t, Config{URL: server.URL, Header: map[string]string{"X-User": "{user}"}})
	s.maxLines = 3
	call := func(user string) {
		t.Helper()
		c := toolCall("fail")
		c.Peer = assistant.Peer{Resolve: strings.NewReplacer("{user}", user).Replace}
		result, err := s.Call(t.Context(), c)
		if err != nil || !strings.Contains(result.Text, user) {
			t.Errorf("%s: got %+v, error %v", user, result, err)
		}
	}
	for _, user := range []string{"ann", "bob", "ann", "bob", "ann"} {
		call(user)
	}
	if n := server.calls.lists.Load(); n != 2*pages {
		t.Errorf("%d pages of lists, want those of two users", n)
	}
	for _, user := range []string{"cid", "dan", "ann"} { // dan takes bob's place
		call(user)
	}
	if n := server.calls.lists.Load(); n != 4*pages {
		t.Errorf("%d pages of lists, want those of four users", n)
	}
	call("bob")
	if n := server.calls.lists.Load(); n != 5*pages {
		t.Errorf("%d pages of lists, want bob's anew", n)
	}
	eventually(t, "sessions without a place are closed", func() bool {
		n := 0
		for range server.mcp.Sessions() {
			n++
		}
		return n == s.maxLines
	})
}

// pages is how many pages the list of a test's server has.
const pages = 3

func TestIdle(t *testing.T) {
	server := serve(t, serverOptions{version: older})
	s := open(t, Config{URL: server.URL})
	s.idle = 50 * time.Millisecond
	if _, err := s.Call(t.Context(), toolCall("echo")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the idle session is closed", func() bool {
		for range server.mcp.Sessions() {
			return false
		}
		return true
	})
	s.mu.Lock()
	lines := len(s.lines)
	s.mu.Unlock()
	if lines != 0 {
		t.Errorf("%d lines are left", lines)
	}
	if _, err := s.Call(t.Context(), toolCall("echo")); err != nil {
		t.Errorf("after it was idle: %v", err)
	}
}

func TestRefresh(t *testing.T) {
	for _, test := range []struct {
		name string
		o    serverOptions
		c    Config
	}{
		{"refresh", serverOptions{quiet: true}, Config{Refresh: 50 * time.Millisecond}},
		{"ttlMs", serverOptions{version: newest, ttl: 50, quiet: true}, Config{}},
		{"refresh before ttlMs", serverOptions{version: newest, ttl: 1e6, quiet: true}, Config{Refresh: 50 * time.Millisecond}},
		{"list_changed", serverOptions{version: newest}, Config{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := serve(t, test.o)
			test.c.URL = server.URL
			s := open(t, test.c)
			before := len(names(t, s))
			server.mcp.AddTool(&sdk.Tool{Name: "new", InputSchema: json.RawMessage(`{"type":"object"}`)}, nil)
			eventually(t, "the new tool is listed", func() bool { return len(names(t, s)) == before+1 })
		})
	}
	t.Run("kept", func(t *testing.T) {
		server := serve(t, serverOptions{version: newest})
		s := open(t, Config{URL: server.URL})
		for range 5 {
			names(t, s)
		}
		if n := server.calls.lists.Load(); n != pages {
			t.Errorf("asked for %d pages, want %d", n, pages)
		}
	})
}

// TestWarm holds that a list is asked for before the first question, where all users have the same header.
func TestWarm(t *testing.T) {
	server := serve(t, serverOptions{version: newest})
	own := open(t, Config{URL: server.URL, Header: map[string]string{"Authorization": "Bearer {http.auth.user.token}"}})
	own.Warm()
	shared := open(t, Config{URL: server.URL})
	shared.Warm()
	eventually(t, "the list was asked for", func() bool {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		return len(shared.lines) == 1 && slices.ContainsFunc(slices.Collect(maps.Values(shared.lines)), func(l *line) bool { return l.list != nil })
	})
	if n := server.calls.lists.Load(); len(own.lines) > 0 || n == 0 {
		t.Errorf("%d lists were asked for; with a header of each user's own there are %d", n, len(own.lines))
	}
}

// TestProgress holds that what a server says of a call's progress is told, without secrets, and nothing after its end.
func TestProgress(t *testing.T) {
	for name, o := range map[string]serverOptions{"newest": {version: newest}, "older": {version: older}} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, o)
			s := open(t, Config{URL: server.URL, Header: map[string]string{"Authorization": "Bearer {token}"}})
			var mu sync.Mutex
			var told []assistant.Progress
			result, err := s.Call(t.Context(), assistant.Call{ID: "1", Name: "shop__steps", Arguments: json.RawMessage(`{}`), Peer: ann, Progress: func(p assistant.Progress) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, p)
				server.calls.told <- struct{}{}
			}})
			if err != nil || result.Text != "three steps" {
				t.Fatalf("got %+v, error %v", result, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i, p := range told {
				if p.Done != float64(i+1) || p.Total != 3 || !strings.HasPrefix(p.Text, "step, ") || strings.Contains(p.Text, canary) {
					t.Errorf("told %+v", p)
				}
			}
			if len(told) != 3 || len(s.progress.calls) > 0 {
				t.Errorf("told %d times, and %d calls are still followed", len(told), len(s.progress.calls))
			}
		})
	}
}
