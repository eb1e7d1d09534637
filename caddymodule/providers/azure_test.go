package providers

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestAzure holds that the example for Azure in docs/models.md OpenAI asks as Azure expects it: the path of the deployment, the
// version in the query, and the key in its own header and nowhere else.
func TestAzure(t *testing.T) {
	const key = "azure-canary-0123456789"
	t.Setenv("AZURE_OPENAI_API_KEY", key)
	t.Setenv("OPENAI_API_KEY", "sk-of-openai")
	t.Setenv("OPENAI_ORG", "org-of-openai")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/openai/deployments/chat/chat/completions" || r.URL.RawQuery != "api-version=2024-10-21" {
			t.Errorf("asked %s %s", r.Method, r.URL)
		}
		if got := r.Header.Get("api-key"); got != key {
			t.Errorf("api-key is %q", got)
		}
		for _, name := range []string{"Authorization", "OpenAI-Organization", "OpenAI-Project"} {
			if got := r.Header.Get(name); got != "" {
				t.Errorf("%s is %q", name, got)
			}
		}
		if strings.Contains(string(body), "temperature") || strings.Contains(string(body), key) {
			t.Errorf("sent %s", body)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, `data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}`+"\n\n",
			`data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}`+"\n\n",
			`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	}))
	defer server.Close()

	o := provisioned(t, strings.Replace(example(t, "Azure OpenAI"), "https://example.openai.azure.com", server.URL, 1))
	text := ""
	for d, err := range o.Provider().Stream(t.Context(), assistant.Request{Turns: []assistant.Turn{{Role: assistant.RoleUser, Content: "Hi"}}}) {
		if err != nil {
			t.Fatal(err)
		}
		text += d.Text
	}
	if text != "Hello" {
		t.Errorf("the answer is %q", text)
	}
}

// example returns the provider block of docs/models.md below a heading.
func example(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/models.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "### "+heading+"\n")
	_, after, hasBlock := strings.Cut(after, "```caddyfile\n")
	block, _, _ := strings.Cut(after, "```")
	if !found || !hasBlock {
		t.Fatalf("docs/models.md has no example for %s", heading)
	}
	return block
}

// provisioned returns a provider of a Caddyfile's block.
func provisioned(t *testing.T, block string) *OpenAI {
	t.Helper()
	d := caddyfile.NewTestDispenser(block)
	d.Next() // provider
	o := new(OpenAI)
	if err := o.UnmarshalCaddyfile(d); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	if err := o.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = o.Cleanup()
		cancel()
	})
	return o
}
