package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestClientExample: the program in the README of webchat/client does in Node what it says, with the package as
// npm would install it.
func TestClientExample(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("You ask: ", call.Question())
		call.Finish()
	})
	c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n provider openai {\n base_url {$UPSTREAM}\n }\n }"), "UPSTREAM="+upstream.URL)
	source := filepath.Join(harness.Root(t), "webchat", "client")
	readme, err := os.ReadFile(filepath.Join(source, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```js\n(.*?)```").FindStringSubmatch(string(readme))
	if example == nil {
		t.Fatal("the README has no example")
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "example.mjs"), []byte(example[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	install(t, source, filepath.Join(folder, "node_modules", "caddy-assistant-client"))

	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	command := exec.CommandContext(ctx, "node", "--experimental-websocket", "--no-warnings", "example.mjs") // the flag is Node 20's
	command.Dir, command.Env = folder, append(os.Environ(), "ASSISTANT_URL=ws"+strings.TrimPrefix(c.URL(harness.AssistantPath), "http"))
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &out, &complaints)
	}
	first := "You ask: What is a WebSocket?"
	want := regexp.MustCompile(`^` + regexp.QuoteMeta(first) + `\nstop, [1-9]\d* tokens\n` + regexp.QuoteMeta(first) + `\nstop, 29 characters\n` + regexp.QuoteMeta("You ask: And what is it good for?") + `$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("the program prints\n%s", &out)
	}
	if got := complaints.String(); got != "connecting\nconnected\nclosed\n" {
		t.Errorf("the program complains\n%s", got)
	}
}

// install copies the files that npm would pack.
func install(t *testing.T, source, target string) {
	t.Helper()
	pack := exec.CommandContext(t.Context(), "npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", t.TempDir(), source)
	archive, err := pack.Output()
	if err != nil {
		t.Fatalf("npm pack: %v", err)
	}
	if err := os.MkdirAll(target, 0o700); err != nil {
		t.Fatal(err)
	}
	folder := pack.Args[len(pack.Args)-2]
	extract := exec.CommandContext(t.Context(), "tar", "-xzf", filepath.Join(folder, strings.TrimSpace(string(archive))), "--strip-components=1", "-C", target)
	if out, err := extract.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
}
