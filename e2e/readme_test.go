package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/coder/websocket"
)

// readmeSite is the README's first Caddyfile that contains text, with the test's address.
func readmeSite(t *testing.T, text string) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(harness.Root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile("(?s)```caddyfile\nchat.example.com {\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if strings.Contains(found[1], text) {
			return "http://{$SITE} {\nbind 127.0.0.1\n" + found[1]
		}
	}
	t.Fatalf("the README has no Caddyfile with %q", text)
	return ""
}

// TestFirstSnippet: the README's first Caddyfile shows the chat and none of the machine's files, also where Caddy is
// started in /, as its packages do.
func TestFirstSnippet(t *testing.T) {
	c := harness.StartIn(t, []string{"env", "-C", "/"}, readmeSite(t, "assistant /ws/assistants/* {\n"), "OPENAI_API_KEY="+canary)
	database := filepath.Join(c.Home, "data", "caddy", "assistant", "assistants.db")
	for _, file := range []string{"/etc/passwd", database} {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{file, "/assistants" + file, "/assistants/.." + file, "/assistants/%2e%2e" + file, "/assistants//" + file, "/ws/.." + file} {
			if response, body := c.Get(t, path); response.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %s\n%.200s", path, response.Status, body)
			}
		}
	}
	if response, _ := c.Get(t, "/assistants"); response.StatusCode != http.StatusPermanentRedirect {
		t.Errorf("/assistants: %s", response.Status)
	}
	if response, body := c.Get(t, harness.AssistantPath); response.StatusCode != http.StatusUpgradeRequired || !strings.Contains(body, "/assistants/") {
		t.Errorf("the socket's address says %s %q", response.Status, body)
	}
	page := harness.Open(t, c, "/")
	if path := harness.Eval[string](page, "location.pathname"); path != "/assistants/" {
		t.Errorf("/ leads to %s, want /assistants/", path)
	}
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
}

// TestProtectedSnippets: the README's ways to sign in protect the page, its files and the socket.
func TestProtectedSnippets(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" || r.Header.Get("Connection") == "Upgrade" { // as a service that takes it for a WebSocket
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if r.Header.Get("Cookie") == "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		w.Header().Set("Remote-User", "ann")
	}))
	t.Cleanup(service.Close)
	for _, directive := range []string{"basic_auth", "forward_auth"} {
		t.Run(directive, func(t *testing.T) {
			text := strings.Replace(readmeSite(t, directive), "localhost:9091", strings.TrimPrefix(service.URL, "http://"), 1)
			c := harness.Start(t, text, "OPENAI_API_KEY="+canary)
			for path, want := range map[string]int{
				"/assistants": http.StatusPermanentRedirect, "/assistants/": http.StatusOK, "/assistants/assistant-chat.js": http.StatusOK,
				harness.AssistantPath: http.StatusUpgradeRequired,
			} {
				if response, _ := c.Get(t, path); response.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s without sign-in: %s", path, response.Status)
				}
				if directive == "basic_auth" {
					continue // nobody knows the password
				}
				if response, _ := harness.Fetch(t, c.URL(path), http.Header{"Cookie": {"session=1"}}); response.StatusCode != want {
					t.Errorf("%s after sign-in: %s", path, response.Status)
				}
			}
			if directive == "forward_auth" {
				expectOwner(t, c)
			}
		})
	}
}

// expectOwner opens a socket as a signed-in browser does, which also claims to be somebody else: its conversations belong
// to the user that the service names.
func expectOwner(t *testing.T, c *harness.Caddy) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, c.URL(harness.AssistantPath), &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {"session=1"}, "Remote-User": {"bob"}}})
	if err != nil {
		t.Fatalf("open socket: %v, %v", err, response)
	}
	defer func() { _ = conn.CloseNow() }()
	if out := succeeds(t, c, "sockets", "--user", "ann", "--json"); strings.Count(out, "\n") != 1 {
		t.Errorf("ann has the sockets %q", out)
	}
}
