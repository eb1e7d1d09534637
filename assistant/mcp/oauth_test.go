package mcp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// login is a service that gives tokens: canary-token-1, -2 and so on.
func login(t *testing.T) (url string, given *atomic.Int64) {
	t.Helper()
	given = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, ok := r.BasicAuth()
		if !ok || id != "shop" || secret != canary || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "read write" {
			http.Error(w, "not you, "+secret, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"canary-token-%d","token_type":"bearer","expires_in":3600}`, given.Add(1))
	}))
	t.Cleanup(s.Close)
	return s.URL, given
}

// TestOAuth holds that each request has a token, which is kept, got anew where the server does not take it any more, and shown
// to nobody.
func TestOAuth(t *testing.T) {
	server := serve(t, serverOptions{version: newest})
	url, given := login(t)
	valid := new(atomic.Int64)
	valid.Store(1)
	server.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != fmt.Sprintf("Bearer canary-token-%d", valid.Load()) {
				http.Error(w, "not with "+r.Header.Get("Authorization"), http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	core, log := observer.New(zap.DebugLevel)
	s := open(t, Config{URL: server.URL, OAuth: &OAuth{TokenURL: url, ClientID: "shop", ClientSecret: canary, Scopes: []string{"read", "write"}}, Logger: zap.New(core)})
	if tools, err := s.Tools(t.Context(), assistant.Peer{}); err != nil || len(tools) == 0 {
		t.Fatalf("%d tools, error %v", len(tools), err)
	}
	call := assistant.Call{ID: "1", Name: "shop__fail", Arguments: json.RawMessage(`{}`)} // which tells the header
	result, err := s.Call(t.Context(), call)
	if err != nil || !strings.Contains(result.Text, "out of stock") || strings.Contains(result.Text+string(result.Structured), "canary") {
		t.Errorf("got %+v, error %v", result, err)
	}
	if n := given.Load(); n != 1 {
		t.Errorf("got %d tokens", n)
	}
	valid.Store(2)
	if _, err = s.Call(t.Context(), call); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("with a token that is not taken any more: error %v", err)
	}
	eventually(t, "a call succeeds with another token", func() bool {
		result, err = s.Call(t.Context(), call)
		return err == nil
	})
	if strings.Contains(result.Text, "canary") || given.Load() != 2 {
		t.Errorf("got %+v and %d tokens", result, given.Load())
	}
	for _, entry := range log.All() {
		if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, "canary") {
			t.Errorf("the log has %s", text)
		}
	}
}

// TestOAuthRefused holds what happens without a token: there are no tools, and the error says why, without a secret.
func TestOAuthRefused(t *testing.T) {
	server := serve(t, serverOptions{version: newest})
	url, _ := login(t)
	for name, o := range map[string]OAuth{
		"refused": {TokenURL: url, ClientID: "shop", ClientSecret: canary + "-wrong"},
		"away":    {TokenURL: "http://127.0.0.1:1/token?key=" + canary, ClientID: "shop", ClientSecret: canary},
	} {
		s := open(t, Config{URL: server.URL, OAuth: &o})
		tools, err := s.Tools(t.Context(), assistant.Peer{})
		if len(tools) > 0 || err == nil || !strings.Contains(err.Error(), "oauth: ") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %d tools, error %v", name, len(tools), err)
		}
	}
	if n := server.calls.lists.Load(); n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
}
