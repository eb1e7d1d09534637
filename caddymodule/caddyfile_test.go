package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/caddy-assistant/caddy-assistant/caddymodule"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var update = flag.Bool("update", false, "rewrite the golden files with what comes out now")

const separator = "----------\n"

// TestCaddyfiles holds every golden pair of testdata: a Caddyfile and, below a line, its JSON or its error.
// What adapts must also provision and validate.
func TestCaddyfiles(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-canary")
	t.Setenv("OPENAI_ORG", "")
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			caddyfile, want, _ := strings.Cut(string(data), separator)
			got := load(caddyfile)
			if strings.Contains(got, "sk-canary") {
				t.Errorf("the key shows in %s", got)
			}
			if got == want {
				return
			}
			if !*update {
				t.Fatalf("rewrite with -update\n--- got\n%s\n--- want\n%s", got, want)
			}
			if err := os.WriteFile(file, []byte(caddyfile+separator+got), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// load adapts a Caddyfile and validates the result. It returns the JSON, or "error: " and the error.
func load(caddyfile string) string {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var parsed caddy.Config
	if err := json.Unmarshal(config, &parsed); err != nil {
		return "error: " + err.Error() + "\n"
	}
	if err := caddy.Validate(&parsed); err != nil {
		return "error: " + err.Error() + "\n"
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, config, "", "\t"); err != nil {
		return "error: " + err.Error() + "\n"
	}
	return indented.String() + "\n"
}
