package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// isMethod reports whether a request is one of the protocol's method. It leaves the body as it was.
func isMethod(r *http.Request, method string) bool {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var message struct{ Method string }
	return json.Unmarshal(body, &message) == nil && message.Method == method
}

// instead answers the requests of a method, and counts them.
func (s *theirs) instead(method string, answer http.HandlerFunc) *atomic.Int64 {
	var n atomic.Int64
	s.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !isMethod(r, method) {
				next.ServeHTTP(w, r)
				return
			}
			n.Add(1)
			answer(w, r)
		})
	})
	return &n
}

// vanish closes the connection without an answer.
func vanish(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// hang never answers.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func expectUnknown(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, assistant.ErrNotCalled) {
		t.Errorf("error %v, want one that leaves open whether the call was made", err)
	}
}

func expectNotCalled(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, assistant.ErrNotCalled) {
		t.Errorf("error %v, want ErrNotCalled", err)
	}
}

// expectWorks expects that a call succeeds.
func expectWorks(t *testing.T, s *Source) {
	t.Helper()
	if result, err := s.Call(t.Context(), toolCall("echo")); err != nil || result.Text == "" {
		t.Errorf("got %+v, error %v", result, err)
	}
}

var versions = map[string]serverOptions{"newest": {version: newest}, "older": {version: older}, "newest JSON": {version: newest, json: true}}

func TestDown(t *testing.T) {
	server := serve(t, serverOptions{})
	log, logged := observer.New(zap.DebugLevel)
	s := open(t, Config{URL: server.URL + "/" + canary, Refresh: time.Millisecond, Logger: zap.New(log), Header: map[string]string{"Authorization": "Bearer {token}"}})
	known := len(names(t, s))
	server.between(func(http.Handler) http.Handler { return http.HandlerFunc(vanish) })
	eventually(t, "the list is out of date", func() bool {
		tools, err := s.Tools(t.Context(), ann)
		if len(tools) != known {
			t.Fatalf("%d tools, want the %d that were known", len(tools), known)
		}
		return err != nil
	})
	_, err := s.Call(t.Context(), toolCall("echo"))
	expectNotCalled(t, err)
	server.between(nil)
	names(t, s)
	expectWorks(t, s)
	server.CloseClientConnections()
	server.Listener.Close()
	eventually(t, "the list is out of date again", func() bool {
		_, err := s.Tools(t.Context(), ann)
		return err != nil
	})
	_, err = s.Call(t.Context(), toolCall("echo"))
	expectNotCalled(t, err)
	for _, entry := range logged.All() {
		if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, canary) {
			t.Errorf("the log shows a secret: %s", text)
		}
	}
	if logged.FilterMessage("the server does not tell its tools").Len() == 0 {
		t.Error("nothing is logged")
	}
}

// TestBlackHole expects that a server that accepts connections and never answers holds up nobody.
func TestBlackHole(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := open(t, Config{URL: "http://" + listener.Addr().String(), Timeout: 2 * time.Second})
	begin := time.Now()
	if _, err := s.Tools(t.Context(), ann); err == nil || time.Since(begin) > time.Second {
		t.Errorf("the list: error %v after %s", err, time.Since(begin))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin = time.Now()
	_, err = s.Call(ctx, toolCall("echo"))
	expectNotCalled(t, err)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the call ended after %s", took)
	}
	begin = time.Now()
	_, err = s.Call(t.Context(), toolCall("echo"))
	expectNotCalled(t, err)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the call ended after %s, much more than the timeout", took)
	}
	begin = time.Now()
	go func() { _, _ = s.Tools(context.Background(), ann) }()
	if err := s.Close(); err != nil || time.Since(begin) > 2*time.Second {
		t.Errorf("closed with %v after %s", err, time.Since(begin))
	}
}

func TestHangsInCall(t *testing.T) {
	for name, o := range versions {
		t.Run(name, func(t *testing.T) {
			server := serve(t, o)
			s := open(t, Config{URL: server.URL, Timeout: 300 * time.Millisecond})
			expectWorks(t, s)
			n := server.instead("tools/call", hang)
			_, err := s.Call(t.Context(), toolCall("echo"))
			expectUnknown(t, err)
			if n.Load() != 1 {
				t.Errorf("sent %d times", n.Load())
			}
			server.between(nil)
			expectWorks(t, s)
		})
	}
}

// TestVanishesInCall expects that a call is sent once, whatever becomes of it, and a list twice.
func TestVanishesInCall(t *testing.T) {
	for name, o := range versions {
		t.Run(name, func(t *testing.T) {
			server := serve(t, o)
			s := open(t, Config{URL: server.URL + "/" + canary})
			expectWorks(t, s)
			calls := server.instead("tools/call", vanish)
			_, err := s.Call(t.Context(), toolCall("echo"))
			expectUnknown(t, err)
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error shows a secret: %v", err)
			}
			if calls.Load() != 1 {
				t.Errorf("the call was sent %d times", calls.Load())
			}
			server.between(nil)
			expectWorks(t, s)

			lists := server.instead("tools/list", vanish)
			s.mu.Lock()
			for _, l := range s.lines {
				l.stale = true
			}
			s.mu.Unlock()
			if _, err := s.Tools(t.Context(), ann); err == nil {
				t.Error("no error of the list")
			}
			if lists.Load() != 2 {
				t.Errorf("the list was asked for %d times", lists.Load())
			}
		})
	}
}

// TestRefused expects that a call whose connection is refused counts as not made.
func TestRefused(t *testing.T) {
	server := serve(t, serverOptions{version: older})
	s := open(t, Config{URL: server.URL})
	expectWorks(t, s)
	server.Listener.Close()
	s.http.CloseIdleConnections() // a new one is needed
	_, err := s.Call(t.Context(), toolCall("echo"))
	expectNotCalled(t, err)
	if n := server.calls.made.Load(); n != 1 {
		t.Errorf("%d calls were made", n)
	}
}

// TestHangsInListen expects that a server which does not answer the client's wish to listen is given up.
func TestHangsInListen(t *testing.T) {
	server := serve(t, serverOptions{version: newest})
	server.instead("subscriptions/listen", hang)
	s := open(t, Config{URL: server.URL, Timeout: 200 * time.Millisecond})
	if _, err := s.Tools(t.Context(), ann); err == nil {
		t.Error("no error")
	}
	server.between(nil)
	names(t, s)
	expectWorks(t, s)
}

// TestStatus expects that a call counts as not made only where the status says so.
func TestStatus(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	server := serve(t, serverOptions{version: older})
	s := open(t, Config{URL: server.URL})
	for status, made := range map[int]bool{302: false, 307: false, 400: false, 401: false, 404: false, 429: false, 408: true, 409: true, 500: true, 502: true, 503: true, 504: true} {
		expectWorks(t, s)
		n := server.instead("tools/call", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(status)
		})
		_, err := s.Call(t.Context(), toolCall("echo"))
		if err == nil || errors.Is(err, assistant.ErrNotCalled) == made {
			t.Errorf("%d: error %v", status, err)
		}
		if n.Load() != 1 {
			t.Errorf("%d: sent %d times", status, n.Load())
		}
		server.between(nil)
	}
}

// TestNonsense expects that an answer that makes no sense fails its call, and nothing after it.
func TestNonsense(t *testing.T) {
	for name, o := range versions {
		t.Run(name, func(t *testing.T) {
			server := serve(t, o)
			s := open(t, Config{URL: server.URL, Timeout: 5 * time.Second})
			for _, answer := range [][2]string{
				{"application/json", `{`}, {"application/json", ``}, {"application/json", `"text"`}, {"text/html", `<html>`}, {"", ""},
				{"text/event-stream", "data: {\n\n"}, {"text/event-stream", "nonsense\n\n"}, {"text/event-stream", ""},
				{"application/json", `{"jsonrpc":"2.0","id":"other","result":{}}`},
				{"text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":\"other\",\"result\":{}}\n\n"},
			} {
				expectWorks(t, s)
				server.instead("tools/call", func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", answer[0])
					_, _ = io.WriteString(w, answer[1])
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_, err := s.Call(ctx, toolCall("echo"))
				cancel()
				expectUnknown(t, err)
				server.between(nil)
			}
			expectWorks(t, s)
		})
	}
}

// TestHuge expects that an answer of 17 MB fails its call, and no other on the same session.
func TestHuge(t *testing.T) {
	for name, o := range versions {
		t.Run(name, func(t *testing.T) {
			server := serve(t, o)
			s := open(t, Config{URL: server.URL})
			server.calls.end = make(chan struct{})
			expectWorks(t, s)
			var group sync.WaitGroup
			var beside assistant.Result
			var besideErr error
			group.Go(func() { beside, besideErr = s.Call(t.Context(), toolCall("hang")) })
			<-server.calls.begun
			result, err := s.Call(t.Context(), toolCall("huge"))
			expectUnknown(t, err)
			if len(result.Text) > 0 {
				t.Errorf("got %d bytes", len(result.Text))
			}
			expectWorks(t, s)
			close(server.calls.end)
			group.Wait()
			if besideErr != nil || beside.Text != "at last" {
				t.Errorf("the other call ended with %+v, error %v", beside, besideErr)
			}
		})
	}
}

// TestUnknownToServer expects that a call of a tool that the server no longer has counts as not made.
func TestUnknownToServer(t *testing.T) {
	for name, o := range map[string]serverOptions{"newest": {version: newest, quiet: true}, "older": {version: older}} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, o)
			s := open(t, Config{URL: server.URL})
			expectWorks(t, s)
			server.mcp.RemoveTools("echo")
			_, err := s.Call(t.Context(), toolCall("echo"))
			expectNotCalled(t, err)
		})
	}
}

// TestClosed expects that nothing is done after Close, and that calls end with it.
func TestClosed(t *testing.T) {
	server := serve(t, serverOptions{version: older})
	s := open(t, Config{URL: server.URL})
	expectWorks(t, s)
	ended := make(chan error, 1)
	go func() {
		_, err := s.Call(context.Background(), toolCall("hang"))
		ended <- err
	}()
	<-server.calls.begun
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	expectUnknown(t, <-ended)
	if _, err := s.Tools(t.Context(), ann); err == nil {
		t.Error("tools after Close")
	}
	_, err := s.Call(t.Context(), toolCall("echo"))
	expectNotCalled(t, err)
}

// TestHeaderOfUser expects that a user whose name cannot be in a header calls nothing.
func TestHeaderOfUser(t *testing.T) {
	server := serve(t, serverOptions{})
	s := open(t, Config{URL: server.URL, Header: map[string]string{"X-User": "{user}"}})
	c := toolCall("echo")
	c.Peer = assistant.Peer{Resolve: func(string) string { return "ann\r\nX-Admin: yes" }}
	_, err := s.Call(t.Context(), c)
	expectNotCalled(t, err)
	if server.calls.made.Load() != 0 {
		t.Error("the call was made")
	}
}
