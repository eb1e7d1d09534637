package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// firstSnippet is the README's first Caddyfile with the test's address, and conversations in a file.
func firstSnippet(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(harness.Root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindSubmatch(readme)
	if found == nil {
		t.Fatal("the README has no Caddyfile")
	}
	const site, assistant = "chat.example.com {\n", "assistant /ws/assistants/* {\n"
	text := string(found[1])
	if !strings.Contains(text, site) || !strings.Contains(text, assistant) {
		t.Fatalf("the README's first Caddyfile is\n%s", text)
	}
	return strings.NewReplacer(site, "http://{$SITE} {\nbind 127.0.0.1\n", assistant, assistant+"store sqlite\n").Replace(text)
}

// TestFirstSnippet: the README's first Caddyfile shows the chat and none of the machine's files, also where Caddy is
// started in /, as its packages do.
func TestFirstSnippet(t *testing.T) {
	c := harness.StartIn(t, []string{"env", "-C", "/"}, firstSnippet(t), "OPENAI_API_KEY="+canary)
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
	if response, body := c.Get(t, "/asyncapi/docs/"); response.StatusCode != http.StatusOK {
		t.Errorf("the docs page: %s\n%.200s", response.Status, body)
	}
	page := harness.Open(t, c, "/")
	if path := harness.Eval[string](page, "location.pathname"); path != "/assistants/" {
		t.Errorf("/ leads to %s, want /assistants/", path)
	}
	page.WaitFor(`$("#status")?.dataset.state === "connected"`)
}
