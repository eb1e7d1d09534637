package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// Versions of the protocol that a test's server speaks.
var (
	newest = "2026-07-28"
	older  = "2025-11-25"
)

// canary is a secret of the tests.
const canary = "canary-5f8e2a90"

// serverOptions says how a test's server is.
type serverOptions struct {
	version string // of the protocol; "" = all
	json    bool   // answers with JSON, not with a stream
	ttl     int    // of its lists, in milliseconds
	quiet   bool   // does not say when its list changes
}

// theirs is a test's server over HTTP.
type theirs struct {
	*httptest.Server
	mcp   *sdk.Server
	calls *calls

	mu       sync.Mutex
	wrap     func(next http.Handler) http.Handler // nil = none
	requests []*http.Request                      // all that came
}

// calls counts what reached the tools.
type calls struct {
	made  atomic.Int64
	lists atomic.Int64
	begun chan struct{} // gets a value when hang is called
	told  chan struct{} // gets a value when the client was told of a step
	end   chan struct{} // lets hang end when it is closed; nil = it does not
	seen  func(req *sdk.CallToolRequest)
}

func newServer(o serverOptions, c *calls, secret func(*sdk.CallToolRequest) string) *sdk.Server {
	options := &sdk.ServerOptions{PageSize: 3, SetCacheable: func(_ context.Context, _ sdk.Request, c *sdk.Cacheable) { c.TTLMs = o.ttl }}
	if o.version != "" {
		options.SupportedProtocolVersions = []string{o.version}
	}
	if o.quiet {
		options.Capabilities = &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{}}
	}
	s := sdk.NewServer(&sdk.Implementation{Name: "test", Version: "1"}, options)
	s.AddReceivingMiddleware(func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
			switch method {
			case "tools/list":
				c.lists.Add(1)
			case "tools/call":
				c.made.Add(1)
				if call, ok := req.(*sdk.CallToolRequest); ok && c.seen != nil {
					c.seen(call)
				}
			}
			return next(ctx, method, req)
		}
	})
	add := func(name string, annotations *sdk.ToolAnnotations, run func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error)) {
		s.AddTool(&sdk.Tool{Name: name, Description: "does " + name, Annotations: annotations, InputSchema: json.RawMessage(`{"type":"object"}`)}, run)
	}
	add("echo", &sdk.ToolAnnotations{ReadOnlyHint: true, Title: "Echo"}, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{
			Content:           []sdk.Content{&sdk.TextContent{Text: "echo " + string(req.Params.Arguments)}},
			StructuredContent: req.Params.Arguments,
		}, nil
	})
	add("fail", nil, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: "out of stock, " + secret(req)}}, StructuredContent: map[string]string{"secret": secret(req)}}, nil
	})
	add("break", nil, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return nil, errors.New("broken with " + secret(req))
	})
	add("hang", nil, func(ctx context.Context, _ *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		c.begun <- struct{}{}
		select {
		case <-c.end:
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "at last"}}}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	add("steps", nil, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		for i := range 3 {
			if err := req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1), Total: 3, Message: "step, " + secret(req)}); err != nil {
				return nil, err
			}
			select {
			case <-c.told:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "three steps"}}}, nil
	})
	add("huge", nil, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: strings.Repeat("x", 17<<20)}}}, nil
	})
	add("look", nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{
			&sdk.TextContent{Text: "two pages"},
			&sdk.ResourceLink{URI: "https://example.org/a", Name: "a", Title: "Page A"},
			&sdk.ResourceLink{URI: "javascript:alert(1)", Name: "b"},
			&sdk.ImageContent{MIMEType: "image/png", Data: []byte("12345")},
			&sdk.EmbeddedResource{Resource: &sdk.ResourceContents{URI: "file:///c", Text: "inside"}},
		}}, nil
	})
	add("ask", nil, func(_ context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		answer, ok := req.Params.InputResponses["size"].(*sdk.ElicitResult)
		if !ok {
			return &sdk.CallToolResult{RequestState: "state-1", InputRequests: sdk.InputRequestMap{
				"size": &sdk.ElicitParams{Message: "Which size?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{"size":{"type":"integer"}}}`)},
				"pay":  &sdk.ElicitParams{Mode: "url", Message: "Please pay", URL: "https://pay.example.org/1", ElicitationID: "1"},
			}}, nil
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprint(req.Params.RequestState, " ", answer.Action, " ", answer.Content["size"])}}}, nil
	})
	return s
}

// serve starts a server. It ends with the test.
func serve(t *testing.T, o serverOptions) *theirs {
	t.Helper()
	s := &theirs{calls: &calls{begun: make(chan struct{}, 100), told: make(chan struct{}, 100)}}
	s.mcp = newServer(o, s.calls, func(req *sdk.CallToolRequest) string {
		return strings.Join(req.Extra.Header["Authorization"], " ") + strings.Join(req.Extra.Header["X-User"], " ")
	})
	handler := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s.mcp },
		&sdk.StreamableHTTPOptions{Stateless: o.version == newest, JSONResponse: o.json, PropagateRequestCancellation: true})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		wrap := s.wrap
		s.mu.Unlock()
		if wrap != nil {
			wrap(handler).ServeHTTP(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		for session := range s.mcp.Sessions() {
			session.Close()
		}
		s.Close()
	})
	return s
}

// between puts a handler between the server and its clients; nil takes it out.
func (s *theirs) between(wrap func(next http.Handler) http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrap = wrap
}

// open makes a source. It is closed with the test.
func open(t *testing.T, c Config) *Source {
	t.Helper()
	if c.Label == "" {
		c.Label = "shop"
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The variables of a test's program.
const (
	variableServe = "MCP_TEST_SERVER" // how it behaves
	variableKey   = "MCP_TEST_KEY"
	variableDir   = "MCP_TEST_DIR" // where it leaves traces
)

func TestMain(m *testing.M) {
	if behaviour := os.Getenv(variableServe); behaviour != "" {
		os.Exit(serveProgram(behaviour))
	}
	os.Exit(m.Run())
}

// serveProgram is the test's program: an MCP server on its standard input and output.
func serveProgram(behaviour string) int {
	dir := os.Getenv(variableDir)
	mark := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name+"-"+strconv.Itoa(os.Getpid())), []byte(text), 0o600); err != nil {
			panic(err)
		}
	}
	mark("started", strings.Join(os.Environ(), "\n"))
	fmt.Fprintln(os.Stderr, "ready with", os.Getenv(variableKey))
	switch behaviour {
	case "die":
		return 1
	case "parent": // leaves a program of its own behind, which holds its standard error
		child := exec.Command("sleep", "1000")
		child.Stderr = os.Stderr
		if err := child.Start(); err != nil {
			panic(err)
		}
		mark("child", strconv.Itoa(child.Process.Pid))
		behaviour = "serve "
	case "deaf": // reads nothing, and stays when its input is closed
		time.Sleep(time.Hour)
	}
	c := &calls{begun: make(chan struct{}, 100)}
	go func() {
		for range c.begun {
			mark("hang", "")
		}
	}()
	s := newServer(serverOptions{version: strings.TrimPrefix(behaviour, "serve ")}, c, func(*sdk.CallToolRequest) string { return os.Getenv(variableKey) })
	s.AddTool(&sdk.Tool{Name: "exit", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		os.Exit(1)
		return nil, nil
	})
	s.AddTool(&sdk.Tool{Name: "noise", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		fmt.Println("this is no JSON")
		select {}
	})
	if err := s.Run(context.Background(), &sdk.StdioTransport{}); err != nil {
		return 1
	}
	return 0
}

// program returns the configuration of a test's program, and the folder of its traces.
func program(t *testing.T, behaviour string) (Config, string) {
	t.Helper()
	dir := t.TempDir()
	return Config{
		Label: "shop", Command: []string{os.Args[0]},
		Env: map[string]string{variableServe: behaviour, variableKey: canary, variableDir: dir},
	}, dir
}

// traces returns the names of a program's traces of a kind.
func traces(t *testing.T, dir, kind string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, kind+"-*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("not in 20 seconds: %s", what)
		}
	}
}
