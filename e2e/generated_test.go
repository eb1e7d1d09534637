package e2e

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

const generatedQuestion = "Do you understand generated clients?"

// TestTypeScriptModels: what Modelina makes of the document compiles strictly, and a program that knows
// nothing else chats.
func TestTypeScriptModels(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site(documented))
	g := newGeneration(t, c, "/asyncapi.json", "chat.ts")
	if err := os.Symlink(g.tools+"/node_modules", g.folder+"/node_modules"); err != nil {
		t.Fatal(err)
	}
	g.run("node", g.tools+"/models.mjs", "asyncapi.json", "models")
	g.run("node", g.tools+"/node_modules/typescript/bin/tsc", "--strict", "--esModuleInterop", "--skipLibCheck", "--target", "es2022", "--module", "commonjs", "chat.ts")
	answer := g.run("node", "chat.js", c.URL(harness.AssistantPath), generatedQuestion)
	if !strings.Contains(answer, generatedQuestion) || !strings.Contains(answer, "\nstop, ") {
		t.Errorf("the program prints\n%s", answer)
	}
}

// TestPythonClient: AsyncAPI's own template makes a client of the client's view that chats as it is.
func TestPythonClient(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site(documented))
	g := newGeneration(t, c, "/asyncapi.json?view=client", "chat.py")
	g.run("node", g.tools+"/client.mjs", "asyncapi.json", "client", "development")
	if err := os.Rename(g.folder+"/chat.py", g.folder+"/client/chat.py"); err != nil {
		t.Fatal(err)
	}
	// Debian's own, since what the client imports are Debian's packages.
	answer := g.run("/usr/bin/python3", "client/chat.py", generatedQuestion)
	if !strings.Contains(answer, generatedQuestion) || !strings.Contains(answer, "\nstop\n") {
		t.Errorf("the program prints\n%s", answer)
	}
}

// TestChanxClient: Chanx's generator makes a client that takes every frame of a stored conversation.
func TestChanxClient(t *testing.T) {
	t.Parallel()
	c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n provider demo {\n delay 1ms\n }\n user {query.user}\n}\nasyncapi /asyncapi*"))
	g := newGeneration(t, c, "/asyncapi.json", "chanx.py")
	python := filepath.Join(harness.Root(t), ".cache", "python", "bin")
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("make deps installs the generator: %v", err)
	}
	g.run(filepath.Join(python, "chanx"), "generate-client", "--schema", "asyncapi.json", "--output", "client", "--no-format")
	out := g.run(filepath.Join(python, "python"), "chanx.py", c.Addr, generatedQuestion)
	for _, want := range []string{"answer: ", "stored: " + generatedQuestion, "ended: stop", "listed: Renamed"} {
		if !strings.Contains(out, want) {
			t.Errorf("the program does not print %q:\n%s", want, out)
		}
	}
}

// generation is a folder with a document, for generators, and a program that uses what they make.
type generation struct {
	t             *testing.T
	folder, tools string
}

func newGeneration(t *testing.T, c *harness.Caddy, path, program string) generation {
	t.Helper()
	g := generation{t, t.TempDir(), filepath.Join(harness.Root(t), "e2e", "asyncapi")}
	response, document := c.Get(t, path)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, response.Status)
	}
	text, err := os.ReadFile(filepath.Join(g.tools, program))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"asyncapi.json": document, program: string(text)} {
		if err := os.WriteFile(filepath.Join(g.folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// run returns what a program prints that ends well.
func (g generation) run(name string, args ...string) string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), harness.Patience)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = g.folder
	out, err := command.CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s %.200q: %v\n%s", filepath.Base(name), args, err, out)
	}
	return string(out)
}
