package httptool

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/tooltest"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

// canary is a secret of the tests.
const canary = "canary-5f8e2a90"

var ann = assistant.Peer{User: "ann", Resolve: strings.NewReplacer("{assistant.user}", "ann & co", "{http.auth.token}", canary).Replace}

// serve starts a service. It ends with the test.
func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

// open makes a tool. Label and description have defaults.
func open(t *testing.T, c Config) *Tool {
	t.Helper()
	if c.Label == "" {
		c.Label = "refund"
	}
	if c.Description == "" {
		c.Description = "Refunds an order."
	}
	tool, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

func call(arguments string) assistant.Call {
	return assistant.Call{ID: "call_1", Name: "refund", Arguments: json.RawMessage(arguments), Peer: ann}
}

// several makes one source of several tools for the contract suite.
type several []*Tool

func (s several) Tools(ctx context.Context, p assistant.Peer) (all []assistant.Tool, err error) {
	for _, tool := range s {
		tools, err := tool.Tools(ctx, p)
		if err != nil {
			return nil, err
		}
		all = append(all, tools...)
	}
	return all, nil
}

func (s several) Call(ctx context.Context, c assistant.Call) (assistant.Result, error) {
	for _, tool := range s {
		if tool.tool.Name == c.Name {
			return tool.Call(ctx, c)
		}
	}
	return s[0].Call(ctx, c)
}

func TestContract(t *testing.T) {
	tooltest.TestTools(t, func(t *testing.T) tooltest.Subject {
		begun := make(chan struct{}, 100)
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch r.URL.Path {
			case "/works":
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"body":`+string(body)+`,"key":"`+r.Header.Get("Authorization")+`"}`)
			case "/fails":
				http.Error(w, "refused for "+r.Header.Get("Authorization"), http.StatusUnprocessableEntity)
			default:
				begun <- struct{}{}
				<-r.Context().Done()
			}
		})
		var s several
		for _, name := range []string{"works", "fails", "hangs"} {
			s = append(s, open(t, Config{Label: name, URL: server.URL + "/" + name + "?key=" + canary, Header: map[string]string{"Authorization": "Bearer {http.auth.token}"}}))
		}
		return tooltest.Subject{
			Tools: s, Peer: ann,
			Works: assistant.Call{Name: "works", Arguments: json.RawMessage(`{}`)}, Fails: assistant.Call{Name: "fails"}, Hangs: assistant.Call{Name: "hangs"},
			Begun: func(ctx context.Context) error {
				select {
				case <-begun:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			},
			Secrets: []string{canary},
		}
	})
}

// TestRequest holds what is sent.
func TestRequest(t *testing.T) {
	var got *http.Request
	var body string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		got, body = r, string(content)
	})
	const anything = `{"type":"object"}`
	for _, test := range []struct {
		name      string
		c         Config
		arguments string
		method    string
		uri, body string
		header    map[string]string
	}{
		{"default", Config{}, `{"order": "A-7"}`, "POST", "/", `{"order": "A-7"}`, map[string]string{"Content-Type": "application/json", "Idempotency-Key": "call_1"}},
		{"no arguments", Config{}, ``, "POST", "/", `{}`, nil},
		{"get", Config{Method: "GET", URL: "/orders/{args.order}?full={args.full}&n={args.n}&by={assistant.user}"}, `{"order":"a/b c","n":2}`,
			"GET", "/orders/a%2Fb%20c?n=2&by=ann%20%26%20co", "", map[string]string{"Content-Type": "", "Idempotency-Key": "call_1"}},
		{"delete", Config{Method: "DELETE", URL: "/orders/{args.order}"}, `{"order":7}`, "DELETE", "/orders/7", "", nil},
		{"json", Config{URL: "/x?a=1?2", Body: `{"order": "no {args.order}", "n": {args.n}, "all": {args.all}, "by": {assistant.user}, "{x}": "{y}"}`},
			`{"order":"\"7\"","n":1.50}`, "POST", "/x?a=1?2", `{"order": "no \"7\"", "n": 1.50, "all": null, "by": "ann \u0026 co", "{x}": "{y}"}`, nil},
		{"form", Config{Header: map[string]string{"content-type": "application/x-www-form-urlencoded"}, Body: "a={args.a}&b={args.b}&c=x"}, `{"a":"1&b=2"}`,
			"POST", "/", "a=1%26b%3D2&c=x", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
		{"text", Config{Header: map[string]string{"Content-Type": "text/plain"}, Body: "hello"}, `{"a":"1"}`, "POST", "/", "hello", nil},
		{"header", Config{Header: map[string]string{"X-Order": "no {args.order}", "X-User": "{assistant.user}"}}, `{"order":"A 7"}`, "POST", "/", `{"order":"A 7"}`,
			map[string]string{"X-Order": "no A 7", "X-User": "ann & co"}},
	} {
		test.c.URL, test.c.Parameters = server.URL+test.c.URL, json.RawMessage(anything)
		result, err := open(t, test.c).Call(t.Context(), call(test.arguments))
		if err != nil || result.IsError {
			t.Errorf("%s: got %+v, error %v", test.name, result, err)
			continue
		}
		if got.Method != test.method || got.RequestURI != test.uri || body != test.body {
			t.Errorf("%s: got %s %s %s", test.name, got.Method, got.RequestURI, body)
		}
		for name, want := range test.header {
			if got.Header.Get(name) != want {
				t.Errorf("%s: header %s is %q, want %q", test.name, name, got.Header.Get(name), want)
			}
		}
	}
}

// TestArguments expects that arguments which cannot stand where they should are refused, and nothing is sent.
func TestArguments(t *testing.T) {
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was sent", r.Method, r.RequestURI) })
	tool := open(t, Config{
		URL: server.URL + "/orders/{args.order}/.{args.kind}", Header: map[string]string{"X-Note": "{args.note}"},
		Parameters: json.RawMessage(`{"type":"object","properties":{"order":{},"kind":{},"note":{}}}`),
	})
	for _, arguments := range []string{
		`{"kind":"x"}`, `{"order":"","kind":"x"}`, `{"order":null,"kind":"x"}`, `{"order":".","kind":"x"}`, `{"order":"..","kind":"x"}`, `{"order":"/","kind":"x"}`, `{"order":"a/","kind":"x"}`, `{"order":"//evil.example","kind":"x"}`,
		`{"order":"a/../b","kind":"x"}`, `{"order":"..\\b","kind":"x"}`, `{"order":"a\u0000","kind":"x"}`, `{"order":"a\nb","kind":"x"}`,
		`{"order":"a","kind":"."}`, `{"order":"a"}`, `{"order":"a","kind":"x","note":"a\r\nX-Admin: 1"}`, `{"order":"a","kind":"x","note":"a,b"}`, `{"order":"a","kind":"x","note":"é"}`,
	} {
		result, err := tool.Call(t.Context(), call(arguments))
		if err != nil || !result.IsError || !strings.HasPrefix(result.Text, "argument ") {
			t.Errorf("%s: got %+v, error %v", arguments, result, err)
		}
	}
	for _, arguments := range []string{`[]`, `"x"`, `null`, `{`} {
		if _, err := tool.Call(t.Context(), call(arguments)); !errors.Is(err, assistant.ErrNotCalled) {
			t.Errorf("%s: error %v", arguments, err)
		}
	}
	unknown := open(t, Config{URL: server.URL + "/{assistant.nobody}"})
	if _, err := unknown.Call(t.Context(), call(`{}`)); !errors.Is(err, assistant.ErrNotCalled) {
		t.Errorf("a placeholder that stands for nothing: error %v", err)
	}
}

func TestResponse(t *testing.T) {
	type response struct {
		status     int
		kind, body string
	}
	var answer response
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{answer.kind}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(answer.status)
		_, _ = io.WriteString(w, answer.body)
	})
	tool := open(t, Config{URL: server.URL})
	large := strings.Repeat("x", outbound.MaxResponse)
	for _, test := range []struct {
		response
		text, structured string
		isError          bool
	}{
		{response{200, "application/json", `{"ok":true}`}, `{"ok":true}`, `{"ok":true}`, false},
		{response{201, "application/problem+json; charset=utf-8", `[1]`}, `[1]`, `[1]`, false},
		{response{200, "application/json", `{`}, `{`, ``, false},
		{response{200, "text/plain", "hello \xff"}, "hello \ufffd", ``, false},
		{response{200, "", "hello"}, "hello", ``, false},
		{response{204, "", ""}, "204 No Content", ``, false},
		{response{200, "image/png", "12345"}, "[image/png, 5 bytes: left out]", ``, false},
		{response{200, "text/plain", large}, large, ``, false},
		{response{200, "text/plain", large + "x"}, "the call was made, but its result is larger than 4 MiB", ``, true},
		{response{302, "text/plain", "moved"}, "the service answered 302 Found", ``, true},
		{response{404, "application/json", `{"poison":"obey"}`}, "the service answered 404 Not Found", ``, true},
		{response{500, "text/plain", "stack"}, "the service answered 500 Internal Server Error", ``, true},
		{response{599, "text/plain", "odd"}, "the service answered 599", ``, true},
	} {
		answer = test.response
		result, err := tool.Call(t.Context(), call(`{}`))
		if err != nil || result.Text != test.text || string(result.Structured) != test.structured || result.IsError != test.isError {
			t.Errorf("%d %s: got %.100q, %s, %v, error %v", test.status, test.kind, result.Text, result.Structured, result.IsError, err)
		}
	}
}

// TestFaults expects that a request is sent once, whatever becomes of it.
func TestFaults(t *testing.T) {
	var requests atomic.Int64
	fault := http.HandlerFunc(nil)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body) // otherwise the server does not see that the client has gone
		fault(w, r)
	})
	vanish := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, answer := range map[string]http.HandlerFunc{
		"vanishes": vanish,
		"cut short": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "part")
		},
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "nonsense\r\n\r\n")
			_ = conn.Close()
		},
		"hangs in the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "part")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		for _, method := range []string{"GET", "POST"} {
			tool := open(t, Config{URL: server.URL + "/" + canary, Method: method, Timeout: 500 * time.Millisecond})
			fault = func(http.ResponseWriter, *http.Request) {}
			if _, err := tool.Call(t.Context(), call(`{}`)); err != nil { // a connection that could be used again
				t.Fatal(err)
			}
			fault = answer
			requests.Store(0)
			_, err := tool.Call(t.Context(), call(`{}`))
			if err == nil || errors.Is(err, assistant.ErrNotCalled) || strings.Contains(err.Error(), canary) {
				t.Errorf("%s %s: error %v", method, name, err)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%s %s: sent %d times", method, name, n)
			}
		}
	}
}

// TestNotSent expects that a call of which nothing was sent counts as not made.
func TestNotSent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	tls := open(t, Config{URL: "https://" + address + "/" + canary, Timeout: 300 * time.Millisecond}) // it never answers the handshake
	_, err = tls.Call(t.Context(), call(`{}`))
	if !errors.Is(err, assistant.ErrNotCalled) || strings.Contains(err.Error(), canary) {
		t.Errorf("a handshake that hangs: error %v", err)
	}
	listener.Close()
	for name, url := range map[string]string{"refused": "http://" + address, "no name": "http://no-such-host.invalid"} {
		_, err := open(t, Config{URL: url + "/" + canary, Timeout: 2 * time.Second}).Call(t.Context(), call(`{}`))
		if !errors.Is(err, assistant.ErrNotCalled) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
