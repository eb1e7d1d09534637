package e2e

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// exampleFile is the Caddyfile that newcomers run.
const exampleFile = "Caddyfile.example"

// TestValidate: checking a configuration opens no connection and creates no file.
func TestValidate(t *testing.T) {
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	connected := make(chan struct{}, 1)
	go func() {
		if conn, err := upstream.Accept(); err == nil {
			conn.Close()
			connected <- struct{}{}
		}
	}()
	openAI := func(settings string) string {
		return harness.Site("assistant /ws/assistants/* {\n provider openai {\n" + settings + "\n}\n}\nasyncapi /asyncapi/*")
	}
	for name, test := range map[string]struct{ caddyfile, provider string }{
		"example with demo":   {example(t), "demo"},
		"example with OpenAI": {example(t), "openai"},
		"OpenAI":              {openAI(""), ""},
		"OpenAI by URL":       {openAI("base_url http://" + upstream.Addr().String() + "/v1"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := harness.New(t)
			config := filepath.Join(t.TempDir(), "Caddyfile")
			if err := os.WriteFile(config, []byte(test.caddyfile), 0o600); err != nil {
				t.Fatal(err)
			}
			// A request to any host would pass by the proxy, which is not there for that.
			proxy := "http://" + upstream.Addr().String()
			environment := []string{"OPENAI_API_KEY=" + canary, "HTTP_PROXY=" + proxy, "HTTPS_PROXY=" + proxy, "ASSISTANT_PROVIDER=" + test.provider}
			for _, command := range []string{"adapt", "validate"} {
				out, err := c.Command(environment, command, "--config", config, "--adapter", "caddyfile").CombinedOutput()
				if err != nil {
					t.Fatalf("caddy %s: %v\n%s", command, err, out)
				}
				if strings.Contains(string(out), canary) {
					t.Errorf("caddy %s shows the key", command)
				}
			}
			if files := list(t, c.Home); len(files) > 0 {
				t.Errorf("files were created: %q", files)
			}
		})
	}
	select {
	case <-connected:
		t.Error("a connection was opened")
	default:
	}
}

// TestModules: the binary has the modules that the documentation names.
func TestModules(t *testing.T) {
	out, err := harness.New(t).Command(nil, "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Fields(string(out))
	for _, module := range []string{
		"http.handlers.assistant", "http.handlers.assistant_chat", "http.handlers.asyncapi",
		"http.assistant.providers.demo", "http.assistant.providers.openai",
	} {
		if !slices.Contains(modules, module) {
			t.Errorf("no module %s", module)
		}
	}
}

// example is the Caddyfile that newcomers run, with the test's port.
func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), exampleFile))
	if err != nil {
		t.Fatal(err)
	}
	const port = ":8080"
	if !strings.Contains(string(text), port) {
		t.Fatalf("%s has no port %s", exampleFile, port)
	}
	return strings.ReplaceAll(string(text), port, ":{$PORT}")
}

// list returns the files below folder.
func list(t *testing.T, folder string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
